"""A call's arguments are the same in an answer in one piece and in a stream, however a service cuts and writes them;
what is no object never breaks a client, nor looks as if it were whole."""

from __future__ import annotations

import json
from itertools import pairwise
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jiter import from_json

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Choice, Delta, Done, Event, Stopped, Used, Whole, fold
from midstream.core.json_words import arguments_in
from midstream.core.parts import ToolCall
from midstream.wire import anthropic_messages, gemini, openai_chat
from midstream.wire.strict_json import read_object

SAY = Say("msg_1", 1, "m")
#: What services write where an object belongs, and what it means to a client whose format knows only objects.
ODD: dict[str, dict[str, Any]] = {
    "null": {},
    " \n": {},
    "": {},
    "[1]": {"input": "[1]"},
    '"{\\"a\\": 1}"': {"a": 1},
    ' "{\\"a\\": 1}" ': {"a": 1},
    '"words"': {"input": '"words"'},
    '"{\\"a\\": 1': {"input": '"{\\"a\\": 1'},
    "plain words": {"input": "plain words"},
    "<a>1</a>": {"input": "<a>1</a>"},
    ' {"a": "b\\u00e9\\n", "c": [1.5e3, {}, null]} ': {"a": "bé\n", "c": [1500.0, {}, None]},
}
#: What begins an object and is none.
MALFORMED = ("{'a': 1}", '{"a": True}', '{"a":1}{"a":1}', '{"a":"x\ny"}', '{"a":1,}', '{"a":"\\ud83d"}', '{"a":1e999}')
CUT = ('{"a":', '{"a":"b', "{", '{"a":1')

#: No request may hold the character NUL.
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
texts = (
    st.sampled_from([*ODD, *MALFORMED, *CUT])
    | st.text('{}[]":,\\ \nua1é😀', max_size=12)
    | st.dictionaries(words, st.text('"\\\né😀', max_size=5) | st.integers() | st.none()).map(json.dumps)
    | st.dictionaries(words, st.integers()).map(lambda value: json.dumps(json.dumps(value)))
)
splits = st.sets(st.integers(0, 40), max_size=6)


def pieces(text: str, places: set[int]) -> list[str]:
    bounds = [0, *sorted(place for place in places if place < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def chat_whole(calls: list[str], finish: str) -> bytes:
    told = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": text}}
        for n, text in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": told}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def chat_stream(calls: list[str], finish: str, places: set[int]) -> list[Event]:
    """The events, one frame at a time: calls side by side."""
    deltas: list[dict[str, Any]] = [
        {"tool_calls": [{"index": n, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        for n in range(len(calls))
    ]
    cut = [pieces(text, places) for text in calls]
    for turn in range(max(map(len, cut))):
        for n, one in enumerate(cut):
            if turn < len(one):
                deltas.append({"tool_calls": [{"index": n, "function": {"arguments": one[turn]}}]})
    chunks: list[Any] = [{"index": 0, "delta": delta} for delta in deltas]
    chunks.append({"index": 0, "delta": {}, "finish_reason": finish})
    reader = openai_chat.answer_reader()
    events: list[Event] = []
    for chunk in chunks:
        told = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [chunk]}
        events += reader.feed(b"data: " + json.dumps(told).encode() + b"\n\n")
    return [*events, *reader.feed(b"data: [DONE]\n\n"), *reader.finish()]


def written(events: list[Event], target: ModuleType) -> bytes:
    writer = target.answer_writer(SAY)
    out: bytes = writer.write([Attempted("p", openai_chat.NAME)])
    return out + b"".join(writer.write([event]) for event in events)


def heard(stream: bytes) -> tuple[list[Any], str]:
    """The inputs of the calls as Anthropic's own client puts them together, and how the message ended. Every beginning
    of them can be parsed, as that client does."""
    inputs: list[Any] = []
    text, end, opened = b"", "", False
    for frame in stream.decode().split("\n\n")[:-1]:
        event = json.loads(frame.split("\n")[1].removeprefix("data: "))
        assert end in ("", "tool_use", "max_tokens"), "nothing follows an error"
        match event:
            case {"type": "content_block_start", "content_block": {"type": "tool_use", "input": given}}:
                inputs.append(given)
                text, opened = b"", True
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": more}}:
                text += more.encode()
                if text:
                    inputs[-1] = from_json(text, partial_mode=True)
            case {"type": "content_block_stop"}:
                opened = False
            case {"type": "message_delta", "delta": {"stop_reason": reason}}:
                end = reason
            case {"type": "error", "error": {"message": message}}:
                end = f"error: {message}"
    assert opened == end.startswith("error"), "a call that is none never ends"
    return inputs, end


def inputs_of(body: bytes) -> list[Any]:
    return [block["input"] for block in json.loads(body)["content"]]


def is_object(text: str) -> bool:
    try:
        return isinstance(arguments_in(text), dict)
    except msgspec.DecodeError:
        return False


@given(st.lists(texts, min_size=1, max_size=3), splits)
def test_a_stream_gives_the_same_input_as_an_answer_in_one_piece(calls: list[str], places: set[int]) -> None:
    whole = anthropic_messages.write_answer(openai_chat.read_answer(chat_whole(calls, "tool_calls")), SAY)
    inputs, end = heard(written(chat_stream(calls, "tool_calls", places), anthropic_messages))
    assert all(isinstance(one, dict) for one in inputs_of(whole))
    if end == "tool_use":
        assert inputs == inputs_of(whole)
        content = json.loads(whole)["content"]
        again = {"model": "m", "messages": [{"role": "assistant", "content": content}]}
        assert anthropic_messages.read_ask(read_object(json.dumps(again).encode()))
    else:  # of the one that is no object a beginning was told; those before it are as they are
        broken = calls[len(inputs) - 1]
        assert broken.lstrip(" \t\n\r").startswith("{")
        assert not is_object(broken)
        assert end == "error: the model's arguments for f are no JSON object"
        assert inputs[:-1] == inputs_of(whole)[: len(inputs) - 1]


@pytest.mark.parametrize(("text", "meant"), ODD.items())
def test_what_is_no_object_means_the_same_in_every_way_it_comes(text: str, meant: dict[str, Any]) -> None:
    for places in (set[int](), {1}, {2, 5}, set(range(1, 60))):
        inputs, end = heard(written(chat_stream([text], "tool_calls", places), anthropic_messages))
        assert (inputs, end) == ([meant], "tool_use")
        [answer] = fold(chat_stream([text], "tool_calls", places)).choices
        assert answer == openai_chat.read_answer(chat_whole([text], "tool_calls")).choices[0]
        stream = written(chat_stream([text], "tool_calls", places), gemini)
        [part] = [part for part in fold(read(stream)).choices[0].parts if isinstance(part, ToolCall)]
        args = json.loads(part.arguments)
        assert args == meant or args == {"_raw": meant.get("input")}


def read(stream: bytes) -> list[Event]:
    reader = gemini.answer_reader()
    return [*reader.feed(stream), *reader.finish()]


@pytest.mark.parametrize("text", [*MALFORMED, *CUT])
def test_a_call_that_is_no_object_is_an_error_in_place_of_the_end_once_a_piece_was_told(text: str) -> None:
    events = chat_stream([text, '{"x":1}'], "tool_calls", set(range(1, 60)))
    inputs, end = heard(written(events, anthropic_messages))
    assert (len(inputs), end[:5]) == (1, "error")
    # What was there before a piece of it was told stays visible under a name.
    whole = Answer(choices=(Choice((ToolCall("a", "f", text),), "tool_calls"),))
    assert heard(written([Whole(whole), Done()], anthropic_messages)) == ([{"input": text}], "tool_use")
    if text in MALFORMED[:-1]:  # which shows in its letters
        for events in (chat_stream([text], "tool_calls", set()), chat_stream(['{"x":1}', text], "tool_calls", {3})):
            inputs, end = heard(written(events, anthropic_messages))
            assert (inputs[-1], end) == ({"input": text}, "tool_use")


@pytest.mark.parametrize("text", CUT)
def test_a_call_that_a_limit_has_cut_ends_as_its_message_does(text: str) -> None:
    for reason, word in (("length", "max_tokens"), ("tool_calls", "error"), ("stop", "error")):
        _, end = heard(written(chat_stream([text], reason, set(range(1, 60))), anthropic_messages))
        assert end.startswith(word)


@pytest.mark.parametrize("text", MALFORMED[:-1])
def test_a_malformed_call_is_none_that_a_limit_has_cut(text: str) -> None:
    _, end = heard(written(chat_stream([text], "length", set(range(1, 60))), anthropic_messages))
    assert end.startswith("error")


def test_a_call_that_is_an_object_so_far_is_told_as_it_comes() -> None:
    events = chat_stream(['{"a": "some words", "b": 1}'], "tool_calls", {1, 6, 12, 20})
    stream = written([one for one in events if not isinstance(one, Done | Stopped | Used)], anthropic_messages)
    assert stream.count(b"input_json_delta") == 5
    told = [event for event in events if isinstance(event, Delta)]
    assert len(told) == 5
