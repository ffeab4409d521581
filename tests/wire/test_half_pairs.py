r"""Half of a surrogate pair, as a service writes it that cuts an emoji in two: `"\ud83d"` and `"\ude42"`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.dialect import AnswerWriter, Say
from midstream.core.events import Answer, Attempted, Delta, Done, Event, fold, unfold
from midstream.core.parts import ToolCall, text_of
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from midstream.wire.half_pairs import forgiving, mended

from .test_fields_across import DIALECTS

SAY = Say("id", 1, "m", True)
PIECES = ("a\ud83d", "\ude42b", "\U0001f642!")
SAID = "a\ufffd\ufffdb\U0001f642!"
USAGE = {"input_tokens": 1, "output_tokens": 2}
Texts = tuple[str, ...]


def _frame(value: Any) -> bytes:
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n".encode()


def _chat(texts: Texts) -> tuple[list[bytes], bytes]:
    top = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks: list[Any] = [{"delta": {"content": text}, "finish_reason": None} for text in texts]
    chunks.append({"delta": {}, "finish_reason": "stop"})
    frames = [_frame({**top, "choices": [{"index": 0, **one}]}) for one in chunks]
    return [*frames, b"data: [DONE]\n\n"], _whole_chat({"content": "".join(texts)})


def _whole_chat(message: dict[str, Any], finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def _responses(texts: Texts) -> tuple[list[bytes], bytes]:
    at = {"output_index": 0, "item_id": "m1"}
    item = {"id": "m1", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": "".join(texts), "annotations": []}
    whole = {"id": "r", "object": "response", "model": "m", "status": "completed",
             "output": [{**item, "status": "completed", "content": [part]}]}  # fmt: skip
    begun = {**whole, "status": "in_progress", "output": []}
    events: list[Any] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", **at, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **at, "content_index": 0, "part": {**part, "text": ""}},
    ]
    events += [{"type": "response.output_text.delta", **at, "content_index": 0, "delta": text} for text in texts]
    events += [
        {"type": "response.output_text.done", **at, "content_index": 0, "text": part["text"]},
        {"type": "response.completed", "response": whole},
    ]
    return [_frame(event) for event in events], json.dumps(whole).encode()


def _messages(texts: Texts) -> tuple[list[bytes], bytes]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": USAGE}
    events: list[Any] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    deltas = [{"type": "text_delta", "text": text} for text in texts]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ]
    whole = {**message, "content": [{"type": "text", "text": "".join(texts)}], "stop_reason": "end_turn"}
    return [_frame(event) for event in events], json.dumps(whole).encode()


def _contents(texts: Texts) -> tuple[list[bytes], bytes]:
    def body(text: str, **more: str) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}]}

    frames = [_frame(body(text)) for text in texts]
    return [*frames, _frame(body("", finishReason="STOP"))], json.dumps(
        body("".join(texts), finishReason="STOP")
    ).encode()


SPEAKERS: dict[str, Callable[[Texts], tuple[list[bytes], bytes]]] = {
    openai_chat.NAME: _chat,
    openai_responses.NAME: _responses,
    anthropic_messages.NAME: _messages,
    gemini.NAME: _contents,
}


def events_of(dialect: str, pieces: list[bytes]) -> list[Event]:
    reader = DIALECTS[dialect].answer_reader()
    events: list[Event] = [Attempted("p", dialect)]
    for piece in pieces:
        events += reader.feed(piece)
    return events + reader.finish()


@pytest.mark.parametrize("together", [False, True], ids=["frame by frame", "at once"])
@pytest.mark.parametrize("target", list(DIALECTS))
@pytest.mark.parametrize("source", list(SPEAKERS))
def test_a_character_cut_over_two_frames_loses_nothing_else(source: str, target: str, together: bool) -> None:
    frames, _ = SPEAKERS[source](("a", "b", "c", "d", *PIECES))
    events = events_of(source, [b"".join(frames)] if together else frames)
    writer: AnswerWriter = DIALECTS[target].answer_writer(SAY)
    body = writer.write(events)
    if source == target:
        assert body == b"".join(frames)
        return
    told = fold(events_of(target, [body]))
    assert text_of(told.choices[0].parts) == "abcd" + SAID
    assert told.choices[0].stop == "stop"


@pytest.mark.parametrize("target", list(DIALECTS))
@pytest.mark.parametrize("source", list(SPEAKERS))
def test_a_whole_answer_with_half_a_character_is_read(source: str, target: str) -> None:
    _, body = SPEAKERS[source](("a\ud83d",))
    answer: Answer = DIALECTS[source].read_answer(body)
    assert text_of(answer.choices[0].parts) == "a\ufffd"
    written = DIALECTS[target].write_answer(answer, SAY)
    if source == target:
        assert written == body
        return
    again: Answer = DIALECTS[target].read_answer(written)
    assert text_of(again.choices[0].parts) == "a\ufffd"
    streamed = DIALECTS[target].answer_writer(SAY).write([Attempted("p", source), *unfold(answer), Done()])
    assert text_of(fold(events_of(target, [streamed])).choices[0].parts) == "a\ufffd"


def test_a_call_beside_a_half_is_whole() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    answer = openai_chat.read_answer(_whole_chat({"content": "\ude42", "tool_calls": calls}, "tool_calls"))
    assert answer.choices[0].parts[1] == ToolCall("c1", "f", '{"a": 1}')
    parts = [{"text": "hi"}, {"functionCall": {"name": "f", "args": {"a": "\ud83d"}}}]
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, "finishReason": "STOP"}
    read = fold(events_of(gemini.NAME, [_frame({"candidates": [candidate]})]))
    text, call = read.choices[0].parts
    assert isinstance(call, ToolCall)
    assert (text_of((text,)), json.loads(call.arguments)) == ("hi", {"a": "\ufffd"})


def test_the_last_frame_without_its_blank_line_may_hold_a_half() -> None:
    reader = openai_chat.StreamReader()
    frames, _ = _chat(("a",))
    choice = {"index": 0, "delta": {"content": "\ud83d"}, "finish_reason": "stop"}
    events = reader.feed(frames[0]) + reader.feed(_frame({"choices": [choice]}).rstrip()) + reader.finish()
    assert "".join(event.text for event in events if type(event) is Delta) == "a\ufffd"
    assert reader.skipped == 0


def test_an_error_may_hold_a_half() -> None:
    told = {"message": "no \ud83d", "code": 503}
    for line in (f"event: error\ndata: {json.dumps(told)}", f"error: {json.dumps({'error': told})}"):
        *_, failed = events_of(openai_chat.NAME, [line.encode() + b"\n\n"])
        assert getattr(failed, "error", None) is not None
        assert failed.error.message == "no \ufffd"  # type: ignore[union-attr]


def test_nonsense_beside_a_half_is_skipped_as_before() -> None:
    reader = openai_chat.StreamReader()
    assert reader.feed(b'data: {"choices":"\\ud83d"\n\n') == []
    assert reader.skipped == 1


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\uDE42\uD83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude42"', rb'"\ufffd\ud83d\ude42"'),
        (rb'{"\ud83d": 1.50, "a":1e2}', rb'{"\ufffd": 1.50, "a":1e2}'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\\ud83d"', None),
        (rb'"\ud83d\ude42"', None),
        (rb'"\u0041\n"', None),
        (b'"\xed\xa0\xbd"', None),
    ],
)
def test_only_lone_halves_are_replaced(given: bytes, made: bytes | None) -> None:
    assert mended(given) == made


@given(st.text(st.characters() | st.sampled_from('\ud83d\ude42\\u"')))
def test_what_is_mended_is_what_others_read_but_for_the_halves(text: str) -> None:
    read = forgiving(msgspec.json.Decoder(str).decode)
    # As Python reads it: halves that stand side by side in JSON are one character.
    expected = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in json.loads(json.dumps(text)))
    assert read(json.dumps(text).encode()) == expected
