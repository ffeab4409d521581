"""Where a stream of OpenAI Chat ends: a spoken answer says so in its own way, and some services go on after a stop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.errors import Cut
from midstream.core.events import (
    Answer,
    Attempted,
    Done,
    Event,
    Failed,
    Fold,
    PartEnded,
    PartStarted,
    Stopped,
    fold,
    visible,
)
from midstream.core.parts import Media, Reasoning, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages, gemini, openai_responses
from midstream.wire.openai_chat import NAME, StreamReader, answer_writer, read_answer

from .test_openai_chat_stream_in import DONE, ROLE, STOP, USAGE, call, chunk, events_of

SAY = Say("id", 1, "m", True)
OTHERS = {one.NAME: one for one in (anthropic_messages, gemini, openai_responses)}

BEGUN = chunk({"content": None, "audio": {"id": "s1", "transcript": "Good"}})
SOUND = chunk({"audio": {"data": "QQ=="}}) + chunk({"audio": {"transcript": " day", "data": "Qg=="}})
NO_CHOICE = "data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "usage": None}) + "\n\n"
COUNTED = chunk(choices=[], usage=USAGE)
KEPT = chunk({"audio": {"expires_at": 7}})
SPOKEN = [ROLE, BEGUN, SOUND, NO_CHOICE, COUNTED, KEPT, DONE]


def relayed(events: list[Event]) -> bytes:
    written: bytes = answer_writer(SAY).write([Attempted("up", NAME), *events])
    return written


def across(name: str, events: list[Event]) -> Answer:
    body = OTHERS[name].answer_writer(SAY).write([Attempted("up", NAME), *events])
    reader = OTHERS[name].answer_reader()
    return fold([*reader.feed(body), *reader.finish()])


def ended(*frames: str) -> Any:
    return events_of(*frames)[-1]


CALL = call(index=0, id="a", function={"name": "f", "arguments": "{}"})

# ------------------------------------------------------------------------------------------------------------ sound


def test_a_spoken_answer_ends_with_its_tokens_how_long_it_is_kept_and_the_end_mark() -> None:
    events = events_of(*SPOKEN)
    answer = fold(events)
    sound = Media("audio", data="QUI=", state=State(NAME, {"id": "s1", "transcript": "Good day", "expires_at": 7}))
    assert [(choice.parts, choice.stop, choice.native_stop) for choice in answer.choices] == [((sound,), "stop", "")]
    assert answer.usage == Usage(uncached_in=10, out_text=4)
    assert relayed(events) == "".join(SPOKEN).encode()


@pytest.mark.parametrize("name", OTHERS)
def test_the_end_of_a_spoken_answer_is_a_natural_one_in_every_dialect(name: str) -> None:
    [choice] = across(name, events_of(*SPOKEN)).choices
    assert choice.stop == "stop"


ENDED = {
    "text": ([ROLE, chunk({"content": "a"}), COUNTED, DONE], ["stop"]),
    "a call": ([ROLE, chunk(CALL), chunk({"content": ""}, usage=USAGE), DONE], ["tool_calls"]),
    "a sound": ([ROLE, BEGUN, SOUND, NO_CHOICE, COUNTED, DONE], ["stop"]),
    "one of two choices": ([chunk({"content": "a"}), chunk({"content": "b"}, choice=1), chunk(finish="length"),
                            chunk({}, usage=USAGE), chunk({}), DONE], ["length", "stop"]),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "stops"), ENDED.values(), ids=ENDED.keys())
def test_what_is_counted_and_marked_as_done_has_ended_without_a_word_for_it(
    frames: list[str], stops: list[str]
) -> None:
    events = events_of(*frames)
    assert isinstance(events[-1], Done)
    assert relayed(events) == "".join(frames).encode()
    assert [choice.stop for choice in fold(events).choices] == stops


NOT_ENDED = {
    "no end mark": [ROLE, BEGUN, SOUND, NO_CHOICE, COUNTED, KEPT],
    "not counted": [ROLE, BEGUN, SOUND, NO_CHOICE, KEPT, DONE],
    "nothing said": [ROLE, NO_CHOICE, COUNTED, KEPT, DONE],
    "more said than counted": [ROLE, chunk({"content": "a"}), COUNTED, chunk({"content": "b"}), DONE],
    "counted with what is said": [ROLE, chunk({"content": "a"}, usage=USAGE), DONE],
}


@pytest.mark.parametrize("frames", NOT_ENDED.values(), ids=NOT_ENDED.keys())
def test_what_says_less_of_its_end_is_cut(frames: list[str]) -> None:
    last = ended(*frames)
    assert isinstance(last, Failed)
    assert isinstance(last.error, Cut)


def test_a_spoken_answer_that_says_why_it_stopped_is_told_once() -> None:
    events = events_of(ROLE, BEGUN, SOUND, chunk(finish="stop"), NO_CHOICE, COUNTED, KEPT, DONE)
    [choice] = fold(events).choices
    assert [type(part) for part in choice.parts] == [Media]
    assert choice.native_stop == "stop"
    assert [type(event) for event in events].count(Stopped) == 1


def test_each_frame_of_sound_is_relayed_when_it_comes_and_the_first_can_be_seen() -> None:
    reader = StreamReader()
    assert not any(visible(event) for event in reader.feed(ROLE.encode()))
    for frame in (BEGUN, *(piece + "\n\n" for piece in SOUND.split("\n\n")[:-1])):
        events = reader.feed(frame.encode())
        assert any(visible(event) for event in events)
        assert b"".join(event.native or b"" for event in events) == frame.encode()
    later = reader.feed((NO_CHOICE + COUNTED + KEPT).encode())
    assert not any(visible(event) for event in later)  # what says no more of the answer


# ----------------------------------------------------------------------------------------------------- after a stop


def called(id: str, number: int, name: str, arguments: str, finish: str | None = "tool_calls") -> list[str]:
    return [
        chunk(call(index=number, id=id, type="function", function={"name": name, "arguments": ""})),
        chunk(call(index=number, function={"arguments": arguments}), finish=finish),
    ]


#: Each call with a stop of its own.
TWO_CALLS = [ROLE, *called("a", 0, "f", '{"x":1}'), *called("b", 1, "g", '{"y":2}'), COUNTED, DONE]


def calls_of(answer: Answer) -> list[tuple[str, str, str]]:
    [choice] = answer.choices
    return [(part.id, part.name, part.arguments) for part in choice.parts if isinstance(part, ToolCall)]


def test_calls_that_follow_a_stop_belong_to_the_answer() -> None:
    events = events_of(*TWO_CALLS)
    answer = fold(events)
    assert calls_of(answer) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
    assert answer.choices[0].stop == "tool_calls"
    assert relayed(events) == "".join(TWO_CALLS).encode()


#: What says in each dialect that the answer is over.
OVER = {
    anthropic_messages.NAME: b'"stop_reason":"',
    gemini.NAME: b'"finishReason"',
    openai_responses.NAME: b"response.completed",
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_dialect_is_told_all_calls_and_then_the_stop(name: str) -> None:
    answer = across(name, events_of(*TWO_CALLS))
    assert [called[1:] for called in calls_of(answer)] == [("f", '{"x":1}'), ("g", '{"y":2}')]
    assert answer.choices[0].stop == "tool_calls"
    body = OTHERS[name].answer_writer(SAY).write([Attempted("up", NAME), *events_of(*TWO_CALLS)])
    assert 0 < body.index(b'"g"') < body.index(OVER[name])


def test_every_part_ends_once_also_after_a_stop() -> None:
    events = events_of(*called("a", 0, "f", "{}"), chunk({"content": "b"}), *called("c", 1, "g", "{}"), DONE)
    begun = [event.index for event in events if isinstance(event, PartStarted)]
    assert begun == [0, 1, 2]
    assert [event.index for event in events if isinstance(event, PartEnded)] == begun


@pytest.mark.parametrize(
    ("frames", "parts", "stop", "word"),
    [
        ([chunk(finish="stop"), chunk({"content": "b"}), chunk(finish="length")], (Text("a"), Text("b")), "length",
         "length"),
        ([chunk(finish="stop"), chunk({"content": "b"})], (Text("a"), Text("b")), "stop", "stop"),
        ([chunk(finish="stop"), chunk({"reasoning": "b"}), chunk({"content": "c"}, finish="stop")],
         (Text("a"), Reasoning("b"), Text("c")), "stop", "stop"),
        ([chunk(finish="stop"), *called("c", 0, "f", "1", None)], (Text("a"), ToolCall("c", "f", "1")), "tool_calls",
         "stop"),
        ([chunk(finish="stop"), chunk(finish="length")], (Text("a"),), "stop", "stop"),
        ([chunk(finish="stop"), chunk({"content": ""}), chunk({"role": "assistant"})], (Text("a"),), "stop", "stop"),
    ],
)  # fmt: skip
def test_the_last_stop_that_ends_something_holds(
    frames: list[str], parts: tuple[Any, ...], stop: str, word: str
) -> None:
    """What a client of this dialect makes of it as well: it reads on to the end mark."""
    [choice] = fold(events_of(chunk({"content": "a"}), *frames, DONE)).choices
    assert (choice.parts, choice.stop, choice.native_stop) == (parts, stop, word)


def test_an_answer_that_went_on_and_then_broke_off_is_cut() -> None:
    for frames in ([chunk({"content": "b"})], called("c", 0, "f", "1", None)):
        last = ended(chunk({"content": "a"}), chunk(finish="stop"), *frames)
        assert isinstance(last, Failed)
        assert isinstance(last.error, Cut)


def test_citations_after_a_stop_are_no_going_on() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
    events = events_of(chunk({"content": "a"}), chunk(finish="stop"), chunk({"annotations": [cited]}))
    [choice] = fold(events).choices
    assert [(part.text, len(part.citations)) for part in choice.parts if isinstance(part, Text)] == [("a", 1)]


def test_text_goes_on_at_once_after_a_stop() -> None:
    reader, folding = StreamReader(), Fold()
    folding.extend(reader.feed((chunk({"content": "a"}) + chunk(finish="stop")).encode()))
    for letter in "bcd":
        events = reader.feed(chunk({"content": letter}).encode())
        folding.extend(events)
        assert any(visible(event) for event in events)
    folding.extend(reader.feed(STOP.encode()))
    assert folding.answer().choices[0].parts == (Text("a"), Text("bcd"))


@pytest.mark.parametrize(
    "details, stop",
    [
        ({"type": "stop", "stop": "<|fim_suffix|>"}, "stop"),
        ({"type": "max_tokens"}, "length"),
        ({"type": "invented"}, "error"),
    ],
)
def test_the_details_of_an_end_count_where_no_reason_is_told(details: dict[str, str], stop: str):
    """As gpt-4-vision-preview told it, streamed and not."""
    end = chunk(choices=[{"index": 0, "delta": {}, "finish_details": details}])
    answer = fold(events_of(ROLE, chunk({"content": "a cat"}), end, DONE))
    assert (answer.choices[0].stop, answer.choices[0].native_stop) == (stop, details["type"])
    last = chunk(
        choices=[{"index": 0, "delta": {"content": "a cat"}, "finish_reason": None, "finish_details": details}]
    )
    assert fold(events_of(ROLE, chunk({"content": "look: "}), last, DONE)).choices[0].stop == stop
    one = {"index": 0, "message": {"role": "assistant", "content": "a cat"}, "finish_details": details}
    whole = read_answer(json.dumps({"id": "c1", "choices": [one]}).encode())
    assert (whole.choices[0].stop, whole.choices[0].native_stop) == (stop, details["type"])
    told = {**one, "finish_reason": "length", "finish_details": {"type": "stop"}}
    assert read_answer(json.dumps({"choices": [told]}).encode()).choices[0].stop == "length"


@pytest.mark.parametrize("details", [None, "stop", {}, {"type": 7}])
def test_details_that_tell_no_end_end_nothing(details: object):
    end = chunk(choices=[{"index": 0, "delta": {}, "finish_details": details}])
    last = events_of(ROLE, chunk({"content": "a cat"}), end, DONE)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, Cut)
