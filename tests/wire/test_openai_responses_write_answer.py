"""Answers written for a caller: relayed, or anew in the order that strict clients demand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.dialect import Say
from midstream.core.errors import BadRequest, Cut, LimitReached, MidstreamError, Refused, TimedOut
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
    Passed,
    Started,
    Stopped,
    Used,
    Whole,
    fold,
)  # fmt: skip
from midstream.core.parts import Citation, Foreign, Media, Native, Part, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import openai_responses as dialect

MINE = dialect.NAME
SAY = Say("resp_77", 1_700_000_000, "asked-model")
REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
}  # fmt: skip


def _written(*events: Event, echo: dialect.Echo | None = None) -> bytes:
    return dialect.answer_writer(SAY, echo).write([Attempted("p", "another"), *events])


def _frames(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked for its framing; the closing [DONE] is not among them."""
    pieces = body.split(b"\n\n")
    assert pieces[-1] == b""
    assert pieces[-2] == b"data: [DONE]"
    frames = []
    for piece in pieces[:-2]:
        head, data = piece.split(b"\n")
        frame = json.loads(data.removeprefix(b"data: "))
        assert head == b"event: " + frame["type"].encode()
        frames.append(frame)
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    return frames


def _read(body: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(body), *reader.finish()]


def test_the_events_of_a_text_come_in_the_strict_order() -> None:
    frames = _frames(
        _written(
            Started("chatcmpl-1", "real-model", 9), PartStarted(0, Text("")), Delta(0, "Hi "), Delta(0, 'y"\n%d'),
            PartEnded(0), Used(Usage(uncached_in=1, out_text=2)), Stopped("stop"), Done(),
        )
    )  # fmt: skip
    assert [frame["type"].removeprefix("response.") for frame in frames] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    at = {"item_id": "msg_77_0", "output_index": 0, "content_index": 0}
    assert frames[4] == {
        "type": "response.output_text.delta", "sequence_number": 4, **at, "delta": "Hi ", "logprobs": [],
    }  # fmt: skip
    assert frames[5]["delta"] == 'y"\n%d'
    assert frames[6]["text"] == 'Hi y"\n%d'
    message = {"id": "msg_77_0", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": 'Hi y"\n%d', "annotations": [], "logprobs": []}
    assert frames[2]["item"] == {**message, "status": "in_progress", "content": []}
    assert frames[8]["item"] == {**message, "status": "completed", "content": [part]}
    final = frames[9]["response"]
    assert final.keys() >= REQUIRED
    assert final["output"] == [frames[8]["item"]]
    assert (final["id"], final["model"], final["created_at"]) == ("resp_77", "real-model", 9)
    assert final["usage"]["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert frames[0]["response"].keys() >= REQUIRED
    assert frames[0]["response"]["status"] == "in_progress"


def test_parts_that_overlap_are_written_one_after_the_other() -> None:
    frames = _frames(
        _written(
            PartStarted(0, ToolCall("a", "f")), PartStarted(1, ToolCall("b", "g")), PartStarted(2, Text("end")),
            Delta(1, "[2"), PartEnded(2), Delta(0, "[1"), Delta(1, "]"), PartEnded(1), Delta(0, "]"), PartEnded(0),
            Stopped("tool_calls"), Done(),
        )
    )  # fmt: skip
    placed = [frame["output_index"] for frame in frames if "output_index" in frame]
    assert placed == sorted(placed)
    output = frames[-1]["response"]["output"]
    assert [item.get("call_id") for item in output] == ["a", "b", None]
    assert [item.get("arguments") for item in output] == ["[1]", "[2]", None]
    assert [item["id"] for item in output] == ["fc_77_0", "fc_77_1", "msg_77_2"]


def test_the_part_in_front_streams_at_once_and_the_next_when_it_ends() -> None:
    writer = dialect.answer_writer(SAY)
    writer.write([PartStarted(0, ToolCall("a", "f")), PartStarted(1, ToolCall("b", "g"))])
    assert b'"delta":"1"' in writer.write([Delta(0, "1")])
    assert writer.write([Delta(1, "2")]) == b""
    assert b'"delta":"2"' in writer.write([PartEnded(0)])
    assert b'"delta":"3"' in writer.write([Delta(1, "3")])


def test_texts_and_refusals_in_a_row_are_one_message_unless_their_issuer_had_two() -> None:
    def parts(*given: Part) -> list[Any]:
        answer = Answer(choices=(Choice(given),))
        return json.loads(dialect.write_answer(answer, SAY))["output"]

    assert len(parts(Text("a"), Text("b"), Refusal("c"))[0]["content"]) == 3
    first, second = State(MINE, {"id": "msg_a"}), State(MINE, {"id": "msg_b", "phase": "final_answer"})
    items = parts(Text("a", state=first), Text("b", state=first), Text("c", state=second))
    assert [(item["id"], len(item["content"]), item.get("phase")) for item in items] == [
        ("msg_a", 2, None), ("msg_b", 1, "final_answer"),
    ]  # fmt: skip


def test_thinking_of_another_dialect_is_a_summary_without_its_signature() -> None:
    body = _written(
        PartStarted(0, Reasoning("")), Delta(0, "hm"), Marked(0, state=State("another", {"signature": "secret"})),
        PartEnded(0), PartStarted(1, Reasoning("", state=State("another", {"data": "secret"}))), PartEnded(1),
        Stopped("stop"), Done(),
    )  # fmt: skip
    assert b"secret" not in body
    frames = _frames(body)
    assert [frame["type"].removeprefix("response.") for frame in frames[2:8]] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    assert frames[-1]["response"]["output"][1] == {"id": "rs_77_1", "type": "reasoning", "summary": []}


def test_state_of_this_dialect_is_written_back_as_it_was() -> None:
    sealed = {
        "id": "rs_x", "type": "reasoning", "summary": [{"type": "summary_text", "text": "a"},
        {"type": "summary_text", "text": "b"}], "encrypted_content": "gAAA",
    }  # fmt: skip
    raw = {"id": "rs_y", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "c"}]}
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    note = {"type": "file_citation", "file_id": "f", "filename": "a", "index": 1}
    parts: tuple[Part, ...] = (
        Reasoning("a\n\nb", summary=True, state=State(MINE, sealed)),
        Reasoning("c", state=State(MINE, raw)),
        Foreign("web_search_call", State(MINE, search)),
        Foreign("server_tool_use", State("another", {"type": "server_tool_use"})),
        Text("t", (Citation(title="a", state=State(MINE, note)),)),
        ToolCall("c", "f", "{}", state=State(MINE, {"id": "fc_z", "namespace": "n"})),
    )
    output = json.loads(dialect.write_answer(Answer(choices=(Choice(parts),)), SAY))["output"]
    assert output[:3] == [sealed, raw, search]
    assert output[3]["content"][0]["annotations"] == [note]
    assert (output[4]["id"], output[4]["namespace"]) == ("fc_z", "n")


def test_a_long_call_id_is_told_to_the_caller_as_it_is() -> None:
    long = "call_" + "x" * 90
    output = json.loads(dialect.write_answer(Answer(choices=(Choice((ToolCall(long, "f"),)),)), SAY))["output"]
    assert output[0]["call_id"] == long
    assert output[0]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        ("stop", "completed", None), ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"), ("pause", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("error", "failed", None),
    ],
)  # fmt: skip
def test_status_says_why_the_answer_stopped(stop: Any, status: str, reason: str | None) -> None:
    frames = _frames(_written(PartStarted(0, Text("x")), PartEnded(0), Stopped(stop), Done()))
    assert frames[-1]["type"] == f"response.{status}"
    response = frames[-1]["response"]
    assert response["status"] == status
    assert (response["incomplete_details"] or {}).get("reason") == reason
    if status == "incomplete":
        assert response["output"][-1]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cut("gone"), "server_error"),
        (TimedOut("slow", phase="between"), "server_error"),
        (LimitReached("wait"), "rate_limit_exceeded"),
        (BadRequest("no"), "invalid_prompt"),
        (Refused("bad picture", status=400, code="invalid_image"), "invalid_image"),
        (Refused("busy", status=529, code="overloaded_error"), "server_error"),
        (Refused("key", status=401, code="invalid_api_key"), "server_error"),
    ],
)
def test_a_failure_is_an_error_event_in_both_shapes_then_response_failed(error: MidstreamError, code: str) -> None:
    frames = _frames(_written(PartStarted(0, Text("Hi")), Used(Usage(out_text=1)), Failed(error)))
    assert frames[-2]["type"] == "error"
    assert frames[-2]["message"] == frames[-2]["error"]["message"] == error.message
    assert frames[-2]["code"] == frames[-2]["error"]["code"] == error.code
    response = frames[-1]["response"]
    assert frames[-1]["type"] == "response.failed"
    assert response["error"] == {"code": code, "message": error.message}
    assert response["usage"]["output_tokens"] == 1


def test_a_failure_before_anything_still_begins_with_created() -> None:
    frames = _frames(_written(Failed(Cut("gone"))))
    assert [frame["type"] for frame in frames] == [
        "response.created", "response.in_progress", "error", "response.failed",
    ]  # fmt: skip


def test_nothing_follows_the_terminal_event() -> None:
    writer = dialect.answer_writer(SAY)
    writer.write([Stopped("stop"), Done()])
    assert writer.write([PartStarted(0, Text("late")), Failed(Cut("late"))]) == b""


def test_other_choices_and_passed_frames_are_not_written() -> None:
    body = _written(
        PartStarted(0, Text("one")), PartStarted(0, Text("two"), choice=1), PartEnded(0, choice=1), PartEnded(0),
        Passed(b": ping\n\n"), Stopped("stop"), Done(),
    )  # fmt: skip
    assert b"two" not in body
    assert b"ping" not in body


def _relayed(*events: Event) -> bytes:
    return dialect.answer_writer(SAY).write([Attempted("p", MINE), *events])


CREATED = b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n'
TEXT = b'event: x\ndata: {"sequence_number": 41, "x":1}\n\n'


def test_an_attempt_of_this_dialect_is_relayed_by_its_bytes_alone() -> None:
    events = (
        Started("resp_up", "m", 1, native=CREATED), Passed(TEXT), Delta(0, "x", native=TEXT),
        Used(Usage(), native=b"data: {}\n\n"), Stopped("stop", native=b""), Done(native=b""),
    )  # fmt: skip
    assert _relayed(*events) == CREATED + TEXT + TEXT + b"data: {}\n\n"


def test_a_relayed_stream_that_is_cut_ends_in_our_own_failure_numbered_on() -> None:
    body = _relayed(Started("resp_up", "m", 1, native=CREATED), Delta(0, "x", native=TEXT), Failed(Cut("gone")))
    assert body.startswith(CREATED + TEXT + b"event: error\n")
    own = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")][2:]
    assert [frame["sequence_number"] for frame in own] == [42, 43]
    assert own[1]["type"] == "response.failed"
    assert own[1]["response"]["id"] == "resp_up"


def test_a_relayed_error_event_is_followed_by_response_failed_once() -> None:
    error = b'event: error\ndata: {"type":"error","sequence_number":5,"message":"no"}\n\n'
    body = _relayed(Started("r", "m", 1, native=CREATED), Failed(Refused("no", status=500), native=error))
    assert body.count(b"event: error") == 1
    assert body.count(b"event: response.failed") == 1
    failed = b'event: response.failed\ndata: {"type":"response.failed","sequence_number":5}\n\n'
    both = _relayed(Started("r", "m", 1, native=CREATED), Failed(Refused("no", status=500), native=failed))
    assert both == CREATED + failed


def test_another_attempt_goes_on_where_a_relayed_one_began() -> None:
    body = _relayed(
        Started("resp_up", "m", 1, native=CREATED), Attempted("q", "another", 2), Started("x", "n"),
        PartStarted(0, Text("Hi")), PartEnded(0), Stopped("stop"), Done(),
    )  # fmt: skip
    frames = _frames(body)
    assert [frame["type"] for frame in frames][:2] == ["response.created", "response.output_item.added"]
    assert frames[-1]["response"]["id"] == "resp_up"


def test_an_answer_in_one_piece_streams_even_in_this_dialect() -> None:
    answer = Answer("resp_up", "m", 3, (Choice((Text("Hi"),)),), Usage(out_text=1), Native(MINE, b"{}"))
    frames = _frames(dialect.answer_writer(SAY).write([Attempted("p", MINE), Whole(answer, b"{}"), Done()]))
    assert frames[0]["response"]["id"] == "resp_up"
    assert frames[-1]["response"]["output"][0]["content"][0]["text"] == "Hi"


def test_a_whole_answer_of_another_dialect_is_written_anew() -> None:
    answer = Answer("x", "m", 3, (Choice((Text("Hi"),)),), Usage(out_text=1), Native("another", b"{}"))
    assert json.loads(dialect.write_answer(answer, SAY))["output"][0]["content"][0]["text"] == "Hi"
    assert dialect.write_answer(msgspec.structs.replace(answer, native=Native(MINE, b"{ }")), SAY) == b"{ }"


def test_the_request_is_echoed_with_every_member_a_client_requires() -> None:
    asked = {
        "instructions": "Be brief.", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}, 3],
        "temperature": 0.5, "metadata": {"a": "b"}, "reasoning": {"effort": "low"}, "text": {"verbosity": "low"},
        "top_p": "much", "store": None, "service_tier": "auto", "max_output_tokens": 64, "input": "x",
    }  # fmt: skip
    echo = dialect.echo_of({name: msgspec.Raw(json.dumps(value).encode()) for name, value in asked.items()})
    response = _frames(_written(Stopped("stop"), Done(), echo=echo))[-1]["response"]
    assert response.keys() >= REQUIRED
    function = {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
    expected = {
        "instructions": "Be brief.", "tools": [function, {"type": "web_search"}], "temperature": 0.5,
        "metadata": {"a": "b"}, "reasoning": {"effort": "low", "summary": None}, "max_output_tokens": 64,
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "top_p": 1.0, "store": False,
        "service_tier": "default",
    }  # fmt: skip
    assert {name: response[name] for name in expected} == expected


# what is written reads back the same

WORDS = st.text(max_size=6)
STATE = st.sampled_from([None, State(MINE, {"id": "msg_q"}), State(MINE, {"id": "msg_r", "phase": "commentary"})])
CALL_STATE = st.sampled_from([State(MINE, {"id": "fc_%d"}), State(MINE, {"id": "fc_r", "namespace": "n"})])
NOTES = st.lists(st.builds(Citation, st.just("https://e.org"), WORDS.filter(bool), start=st.integers(0, 9),
                           end=st.integers(0, 9)), max_size=2).map(tuple)  # fmt: skip


def _sealed(texts: list[str], summary: bool) -> Reasoning:
    pieces = [{"type": "summary_text" if summary else "reasoning_text", "text": text} for text in texts]
    item = {"id": "rs_q", "type": "reasoning", "encrypted_content": "g", "summary": pieces if summary else []}
    if not summary:
        item["content"] = pieces
    return Reasoning("\n\n".join(texts), summary=summary or not any(texts), state=State(MINE, item))


PARTS = st.lists(
    st.builds(Text, WORDS, NOTES, state=STATE)
    | st.builds(Refusal, WORDS)
    | st.builds(ToolCall, WORDS.filter(bool), WORDS, st.just('{"a": 1}') | WORDS.filter(bool), state=CALL_STATE)
    | st.builds(ToolCall, WORDS.filter(bool), WORDS, WORDS, st.just("custom"), state=CALL_STATE)
    | st.builds(_sealed, st.lists(WORDS.filter(bool), max_size=3), st.booleans())
    | st.just(Foreign("web_search_call", State(MINE, {"id": "ws_q", "type": "web_search_call"})))
    | st.just(Media("image", "image/png", "aGk=", state=State(MINE, {"id": "ig", "type": "image_generation_call"}))),
    max_size=5,
    unique_by=lambda part: ("call", part.id) if isinstance(part, ToolCall) else id(part),
)
USAGES = st.builds(
    Usage, *[st.integers(0, 99)] * 3, out_text=st.integers(0, 99), out_reasoning=st.integers(0, 99)
)  # fmt: skip


def _without_made_up_ids(part: Part) -> Part:
    """A text without state gets an id on the way, and shares the message that it stands in."""
    return msgspec.structs.replace(part, state=None) if isinstance(part, Text) else part


def _streamed(parts: list[Part], overlap: bool) -> list[Event]:
    """Each text in two deltas; overlapping: every part starts before the first one ends."""
    starts: list[list[Event]] = []
    for index, part in enumerate(parts):
        if isinstance(part, Text | Refusal):
            said = part.text
            begun = msgspec.structs.replace(part, text="")
        elif isinstance(part, ToolCall):
            said, begun = part.arguments, msgspec.structs.replace(part, arguments="")
        else:
            starts.append([PartStarted(index, part), PartEnded(index)])
            continue
        half = len(said) // 2
        starts.append([PartStarted(index, begun), Delta(index, said[:half]), Delta(index, said[half:]),
                       PartEnded(index)])  # fmt: skip
    if overlap:
        return [events[0] for events in starts] + [event for events in reversed(starts) for event in events[1:]]
    return [event for events in starts for event in events]


@given(PARTS, USAGES, st.booleans())
def test_a_stream_reads_back_as_the_answer_that_was_written(parts: list[Part], usage: Usage, overlap: bool) -> None:
    calls = any(isinstance(part, ToolCall) for part in parts)
    body = _written(*_streamed(parts, overlap), Used(usage), Stopped("tool_calls" if calls else "stop"), Done())
    _frames(body)
    answer = fold(_read(body))
    assert [_without_made_up_ids(part) for part in answer.choices[0].parts] == [
        _without_made_up_ids(part) for part in parts
    ]
    assert answer.choices[0].stop == ("tool_calls" if calls else "stop")
    counted = msgspec.structs.replace(answer.usage, searches=0)
    assert counted == usage


@given(PARTS, USAGES)
def test_a_whole_answer_reads_back_as_it_was_written(parts: list[Part], usage: Usage) -> None:
    calls = any(isinstance(part, ToolCall) for part in parts)
    answer = Answer("resp_q", "m", 5, (Choice(tuple(parts), "tool_calls" if calls else "stop"),), usage)
    again = dialect.read_answer(dialect.write_answer(answer, SAY))
    assert [_without_made_up_ids(part) for part in again.choices[0].parts] == [
        _without_made_up_ids(part) for part in parts
    ]
    assert (again.id, again.model, again.created) == ("resp_q", "m", 5)
    assert again.choices[0].stop == answer.choices[0].stop
    assert msgspec.structs.replace(again.usage, searches=0) == usage


def test_a_call_id_that_a_provider_uses_twice_becomes_two():
    calls = [ToolCall("a", "f", "{}"), ToolCall("a", "g", "{}"), ToolCall("b", "h", "{}")]
    answer = fold(_read(_written(*_streamed(list(calls), False), Stopped("tool_calls"), Done())))
    assert [part.id for part in answer.choices[0].parts] == ["a", "a_1", "b"]
