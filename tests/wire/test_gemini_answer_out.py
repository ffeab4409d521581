"""Answers, whole bodies and streams, as they are written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.dialect import Say
from midstream.core.errors import Cut, MidstreamError, TimedOut
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Marked,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    fold,
    unfold,
)
from midstream.core.parts import Citation, Foreign, Media, Native, Reasoning, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import gemini

SAY = Say("say-1", 1, "as-called")


def candidate(*parts: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    end = {"finishReason": finish} if finish else {}
    return {"content": {"parts": list(parts), "role": "model"}, "index": index, **end, **more}


def chunk(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"candidates": [candidate(*parts, finish=finish)], "modelVersion": "m1", "responseId": "r1", **more}


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(one, indent=2).encode() for one in chunks) + b"\n]"


def events_of(body: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    reader = gemini.answer_reader()
    out: list[Event] = []
    start = 0
    for cut in (*sorted(cuts), len(body)):
        out += reader.feed(body[start:cut])
        start = cut
    return out + reader.finish()


def last_error(events: list[Event]) -> MidstreamError:
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, Stopped | Done) for event in events)
    return events[-1].error


def whole(value: Any) -> Answer:
    return gemini.read_answer(json.dumps(value).encode())


COUNTS = st.integers(0, 1000)


# --------------------------------------------------------------------------------------------------------- writing


def chunks_of(written: bytes) -> list[Any]:
    assert written.endswith(b"\n\n")
    return [json.loads(frame.removeprefix(b"data: ")) for frame in written.split(b"\n\n") if frame]


def test_text_is_written_as_it_comes_and_the_end_holds_reason_and_usage() -> None:
    writer = gemini.answer_writer(SAY)
    start = [Attempted("x", "openai_chat"), Started("id-1", "gpt", 5), PartStarted(0, Text(""))]
    assert writer.write(start) == b""
    (one,) = chunks_of(writer.write([Delta(0, 'h"i')]))
    assert one == {
        "candidates": [{"content": {"parts": [{"text": 'h"i'}], "role": "model"}, "index": 0}],
        "modelVersion": "gpt",
        "responseId": "id-1",
    }
    assert writer.write([PartEnded(0), Stopped("length"), Used(Usage(3, out_text=2))]) == b""
    (last,) = chunks_of(writer.write([Done()]))
    assert last["candidates"] == [
        {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    ]
    assert last["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}


def test_calls_are_written_when_they_are_complete() -> None:
    writer = gemini.answer_writer(SAY)
    calls = [PartStarted(0, ToolCall("c1", "f")), PartStarted(1, ToolCall("c2", "g")), Delta(1, ""), Delta(0, '{"a"')]
    assert writer.write([Attempted("x", "other"), *calls]) == b""
    (one,) = chunks_of(writer.write([Delta(0, ":1}"), PartEnded(0)]))
    assert one["candidates"][0]["content"]["parts"] == [{"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}]
    second, last = chunks_of(writer.write([Stopped("tool_calls"), Done()]))  # its end was never said
    assert second["candidates"][0]["content"]["parts"] == [{"functionCall": {"id": "c2", "name": "g", "args": {}}}]
    assert last["candidates"][0]["finishReason"] == "STOP"


def test_a_call_that_was_cut_is_not_written() -> None:
    events = [Attempted("x", "other"), PartStarted(0, ToolCall("c1", "f")), Delta(0, '{"a"'), Failed(Cut("gone"))]
    (only,) = chunks_of(gemini.answer_writer(SAY).write(events))
    assert only["error"]["status"] == "UNAVAILABLE"


def test_a_calls_signature_that_comes_late_is_written_with_it() -> None:
    state = State("gemini", {"thoughtSignature": "c2ln"})
    events = [Attempted("x", "other"), PartStarted(0, ToolCall("c1", "f")), Marked(0, state), PartEnded(0)]
    (one,) = chunks_of(gemini.answer_writer(SAY).write(events))
    assert one["candidates"][0]["content"]["parts"][0]["thoughtSignature"] == "c2ln"


def test_text_in_an_array_is_framed_alike() -> None:
    events = [Attempted("x", "other"), PartStarted(0, Text("")), Delta(0, "a"), Delta(0, "b"), Stopped("stop"), Done()]
    written = json.loads(gemini.answer_writer(SAY, as_array=True).write(events))
    assert [one["candidates"][0]["content"]["parts"][0]["text"] for one in written] == ["a", "b", ""]


def test_other_issuers_thinking_is_shown_without_their_signature() -> None:
    state = State("anthropic_messages", {"signature": "x"})
    events = [Attempted("x", "other"), PartStarted(0, Reasoning()), Delta(0, "hm"), Marked(0, state), PartEnded(0)]
    (one,) = chunks_of(gemini.answer_writer(SAY).write(events))
    assert one["candidates"][0]["content"]["parts"] == [{"text": "hm", "thought": True}]
    whole_part = [PartStarted(0, Reasoning("hm", state=state)), PartEnded(0)]
    (same,) = chunks_of(gemini.answer_writer(SAY).write([Attempted("x", "other"), *whole_part]))
    assert same["candidates"][0]["content"]["parts"] == [{"text": "hm", "thought": True}]


@pytest.mark.parametrize("as_array", [False, True])
def test_a_failure_is_googles_error_as_the_last_frame(as_array: bool) -> None:
    events = [Attempted("x", "other"), PartStarted(0, Text("a")), Failed(TimedOut("slow", phase="between"))]
    written = gemini.answer_writer(SAY, as_array).write(events)
    last = (json.loads(written) if as_array else chunks_of(written))[-1]
    assert (last["error"]["code"], last["error"]["status"]) == (504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("as_array", [False, True])
def test_a_relayed_stream_that_we_must_end_says_so(as_array: bool) -> None:
    events = [Attempted("g", "gemini"), *events_of(sse(chunk({"text": "x"})))]
    written = gemini.answer_writer(SAY, as_array).write(events)
    found = json.loads(written) if as_array else [json.loads(frame[6:]) for frame in _frames(written)]
    assert "candidates" in found[0]
    assert found[-1]["error"]["status"] == "UNAVAILABLE"


def _frames(written: bytes) -> list[bytes]:
    return [frame for frame in written.replace(b"\r\n", b"\n").split(b"\n\n") if frame]


def test_an_empty_array_is_still_one() -> None:
    assert gemini.answer_writer(SAY, as_array=True).write([Attempted("g", "gemini"), Done()]) == b"[]"


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("dialect", ["gemini", "other"])
def test_a_whole_answer_is_streamed(dialect: str, as_array: bool) -> None:
    body = json.dumps(chunk({"text": "x"}, finish="STOP"), indent=1).encode()
    answer = gemini.read_answer(body)
    events = [Attempted("g", dialect), Whole(answer, body), Done()]
    again = fold(events_of(gemini.answer_writer(SAY, as_array).write(events)))
    assert again.choices == answer.choices


def test_unreadable_arguments_stay_visible() -> None:
    answer = Answer(choices=(Choice((ToolCall("c", "f", "{oops"),), "tool_calls"),))
    (part,) = json.loads(gemini.write_answer(answer, SAY))["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["args"] == {"_raw": "{oops"}


WORD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
SIGNED = st.none() | st.builds(lambda word: State("gemini", {"thoughtSignature": word}), WORD)
ARGUMENTS = st.dictionaries(WORD, st.integers(-9, 9) | WORD, max_size=2).map(
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
)
PARTS = st.lists(
    st.builds(lambda t, s: Text(t, state=s), WORD, SIGNED)
    | st.builds(lambda t, s: Reasoning(t, summary=True, state=s), WORD, SIGNED)
    | st.builds(lambda i, n, a, s: ToolCall(i, n, a, state=s), WORD, WORD, ARGUMENTS, SIGNED)
    | st.builds(lambda data: Media("image", "image/png", data=data), st.sampled_from(["AAAA", "AA=="])),
    min_size=1,
    max_size=5,
).map(tuple)


def answers(stop: str, parts: tuple[Any, ...], usage: Usage) -> Answer:
    called = any(isinstance(part, ToolCall) for part in parts)
    reason = "tool_calls" if called and stop == "STOP" else {"STOP": "stop", "MAX_TOKENS": "length"}[stop]
    return Answer("id", "model", 0, (Choice(parts, reason, stop),), usage)  # type: ignore[arg-type]


ANSWERS = st.builds(
    answers,
    st.sampled_from(["STOP", "MAX_TOKENS"]),
    PARTS,
    st.builds(Usage, COUNTS, COUNTS, out_text=COUNTS, out_reasoning=COUNTS),
)


@given(ANSWERS)
@settings(deadline=None)
def test_a_whole_answer_written_reads_back(answer: Answer) -> None:
    assert replace(gemini.read_answer(gemini.write_answer(answer, SAY)), native=None) == answer


@given(ANSWERS, st.booleans())
@settings(deadline=None)
def test_a_streamed_answer_written_reads_back(answer: Answer, as_array: bool) -> None:
    written = gemini.answer_writer(SAY, as_array).write([Attempted("x", "other"), Whole(answer), Done()])
    assert _joined(fold(events_of(written))) == _joined(answer)


def _joined(answer: Answer) -> Answer:
    """A stream does not say where one unsigned text ends and the next begins."""
    (choice,) = answer.choices
    parts: list[Any] = []
    for part in choice.parts:
        last = parts[-1] if parts else None
        if isinstance(part, Text | Reasoning) and type(last) is type(part) and last.state is None:
            parts[-1] = replace(part, text=last.text + part.text)
        else:
            parts.append(part)
    return replace(answer, choices=(replace(choice, parts=tuple(parts)),))


def test_an_answer_of_this_dialect_is_given_back_as_it_came() -> None:
    assert gemini.write_answer(Answer(native=Native("gemini", b"{ }")), SAY) == b"{ }"


def test_grounding_names_a_text_by_its_place_among_the_parts_that_are_told() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
    parts = (
        Foreign("server_tool_use", State("anthropic_messages", search)),
        Reasoning("", state=State("anthropic_messages", {"signature": "s"})),
        Text("Before."),
        Text("Cited.", citations=(Citation("https://a.example", "A", start=0, end=6),)),
    )
    answer = Answer("i", "m", 0, (Choice(parts, "stop", "end_turn"),))
    [told] = json.loads(gemini.write_answer(answer, SAY))["candidates"]
    assert [part["text"] for part in told["content"]["parts"]] == ["Before.", "Cited."]
    streamed = gemini.answer_writer(SAY).write([Attempted("x", "anthropic_messages"), *unfold(answer), Done()])
    [last] = json.loads(streamed.splitlines()[-2].removeprefix(b"data: "))["candidates"]
    for candidate in (told, last):
        [support] = candidate["groundingMetadata"]["groundingSupports"]
        assert support["segment"] == {"partIndex": 1, "startIndex": 0, "endIndex": 6, "text": "Cited."}
