"""Answers of a provider: whole bodies, streams and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midstream.core.errors import Cut, Garbled, Refused
from midstream.core.events import (
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
    fold,
    visible,
)  # fmt: skip
from midstream.core.parts import Citation, Foreign, Media, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire import openai_responses as dialect

MINE = dialect.NAME
URL_NOTE = {"type": "url_citation", "url": "https://e.org", "title": "t", "start_index": 1, "end_index": 2}
TOKEN = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 17,
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}


def _body(*output: Any, **more: Any) -> bytes:
    base = {"id": "resp_1", "object": "response", "created_at": 5, "model": "m", "status": "completed"}
    return json.dumps({**base, "output": output, **more}).encode()


def _message(text: str, **more: Any) -> dict[str, Any]:
    return {**SAID, "content": [{"type": "output_text", "text": text, "annotations": [], **more}]}


def _frame(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _terminal(kind: str = "response.completed", *output: Any, **more: Any) -> bytes:
    return _frame(kind, response=json.loads(_body(*output, **more)))


CREATED = _frame("response.created", response=json.loads(_body(status="in_progress")))


def _events(*frames: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(b"".join(frames)), *reader.finish()]


def _choice(*frames: bytes) -> Choice:
    return fold(_events(*frames)).choices[0]


def _added(item: dict[str, Any], place: int = 0) -> bytes:
    return _frame("response.output_item.added", output_index=place, item=item)


def _item_done(item: dict[str, Any], place: int = 0) -> bytes:
    return _frame("response.output_item.done", output_index=place, item=item)


def _text(kind: str, place: int = 0, content: int = 0, **fields: Any) -> bytes:
    return _frame(f"response.{kind}", output_index=place, content_index=content, item_id="msg_1", **fields)


OPEN_TEXT = _added({**SAID, "status": "in_progress", "content": []}) + _text(
    "content_part.added", part={"type": "output_text", "text": "", "annotations": []}
)


# whole answers


def test_every_output_item_becomes_its_part_in_order() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "a"}, {"text": "b"}], "encrypted_content": "g"}
    raw_thought = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"text": "c"}]}
    search = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}}
    opened = {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page"}}
    picture = {"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "output_format": "webp"}
    said = {
        **SAID,
        "phase": "final_answer",
        "content": [
            {"type": "output_text", "text": "hi", "annotations": [URL_NOTE], "logprobs": [TOKEN]},
            {"type": "refusal", "refusal": "no"},
        ],
    }
    custom = {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free"}
    output = (thought, search, opened, raw_thought, picture, said, CALL, custom)
    answer = dialect.read_answer(_body(*output, usage=USAGE))
    assert answer.choices == (
        Choice(
            (
                Reasoning("a\n\nb", summary=True, state=State(MINE, thought)),
                Foreign("web_search_call", State(MINE, search)),
                Foreign("web_search_call", State(MINE, opened)),
                Reasoning("c", state=State(MINE, raw_thought)),
                Media(
                    "image",
                    mime="image/webp",
                    data="aGk=",
                    state=State(MINE, {name: value for name, value in picture.items() if name != "result"}),
                ),
                Text(
                    "hi",
                    (Citation("https://e.org", "t", start=1, end=2),),
                    state=State(MINE, {"id": "msg_1", "phase": "final_answer"}),
                ),
                Refusal("no"),
                ToolCall("c1", "f", '{"a":1}', state=State(MINE, {"id": "fc_1"})),
                ToolCall("c2", "g", "free", kind="custom"),
            ),
            "tool_calls",
            "completed",
            logprobs=(TOKEN,),
        ),
    )
    assert answer.usage == Usage(uncached_in=3, cache_read=4, cache_write_5m=3, out_text=2, out_reasoning=5, searches=1)
    assert (answer.id, answer.model, answer.created) == ("resp_1", "m", 5)


def _incomplete(reason: str | None) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}}


@pytest.mark.parametrize(
    ("more", "stop", "native"),
    [
        ({}, "stop", "completed"),
        (_incomplete("max_output_tokens"), "length", "max_output_tokens"),
        (_incomplete("content_filter"), "content_filter", "content_filter"),
        (_incomplete(None), "length", "incomplete"),
        ({"status": "queued"}, "pause", "queued"),
        ({"status": "cancelled"}, "error", "cancelled"),
        ({"status": "brand_new"}, "error", "brand_new"),
        ({"status": "complete"}, "stop", "complete"),
        ({"status": None}, "stop", ""),
    ],
)  # fmt: skip
def test_why_an_answer_stopped(more: dict[str, Any], stop: str, native: str) -> None:
    choice = dialect.read_answer(_body(_message("x"), **more)).choices[0]
    assert (choice.stop, choice.native_stop) == (stop, native)


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("rate_limit_exceeded", 429, True), ("server_error", 500, True), ("invalid_prompt", 400, False),
        ("invalid_image", 400, False), ("never_heard_of", 500, True), ("vector_store_timeout", 504, True),
    ],
)  # fmt: skip
def test_a_failed_response_is_a_refusal_with_the_status_of_its_code(code: str, status: int, retryable: bool) -> None:
    error = {"code": code, "message": "boom"}
    with pytest.raises(Refused) as caught:
        dialect.read_answer(_body(status="failed", error=error))
    assert (caught.value.code, caught.value.status, caught.value.retryable) == (code, status, retryable)
    failed = _events(CREATED, _terminal("response.failed", status="failed", error=error))[-1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Refused)
    assert (failed.error.code, failed.error.status) == (code, status)


def test_what_a_failed_response_in_one_piece_has_used_is_known() -> None:
    usage = {"input_tokens": 30, "output_tokens": 5, "total_tokens": 35}
    with pytest.raises(Refused) as caught:
        dialect.read_answer(_body(status="failed", error={"code": "server_error", "message": "boom"}, usage=usage))
    assert caught.value.used == Usage(uncached_in=30, out_text=5)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"output":{}}', b"\xff", b"[" * 3000])
def test_a_body_that_is_no_response_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        dialect.read_answer(body)


@pytest.mark.parametrize(
    "usage", [None, 3, {}, {"input_tokens": "x"}, {"input_tokens": 2, "input_tokens_details": {"cached_tokens": 9}}]
)
def test_odd_usage_never_gives_a_negative_count(usage: Any) -> None:
    counted = dialect.read_answer(_body(usage=usage)).usage
    assert counted.uncached_in >= 0
    assert counted.input_tokens <= 2


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 9.0, "output_tokens": 3}, Usage(uncached_in=9, out_text=3)),
        ({"input_tokens": -9, "output_tokens": 3}, Usage(out_text=3, estimated=True)),
        ({"input_tokens": 9, "output_tokens": "3"}, Usage(uncached_in=9, estimated=True)),
    ],
)
def test_a_count_that_is_none_was_not_said(usage: Any, expected: Usage) -> None:
    assert dialect.read_answer(_body(usage=usage)).usage == expected


# streams


def test_a_plain_answer_is_read_event_by_event() -> None:
    events = _events(
        CREATED, _frame("response.in_progress", response={}), OPEN_TEXT,
        _text("output_text.delta", delta="Hel", logprobs=[]), _text("output_text.delta", delta="lo", logprobs=[]),
        _text("output_text.done", text="Hello", logprobs=[]),
        _text("content_part.done", part={"type": "output_text", "text": "Hello", "annotations": []}),
        _item_done(_message("Hello")), _terminal("response.completed", _message("Hello"), usage=USAGE),
        b"data: [DONE]\n\n",
    )  # fmt: skip
    kinds = [type(event) for event in events]
    assert kinds == [
        Started, Passed, Passed, PartStarted, Delta, Delta, Passed, PartEnded, Passed, Used, Stopped, Done,
    ]  # fmt: skip
    assert events[0] == Started("resp_1", "m", 5, CREATED)
    assert not any(visible(event) for event in events[:4])
    assert events[-3].native == _terminal("response.completed", _message("Hello"), usage=USAGE)
    assert events[-2].native == events[-1].native == b""


def test_parts_may_be_open_at_once() -> None:
    def item(call: str) -> dict[str, Any]:
        return {"type": "function_call", "id": f"fc_{call}", "call_id": call, "name": "f", "arguments": ""}

    def more(place: int, delta: str) -> bytes:
        return _frame("response.function_call_arguments.delta", output_index=place, item_id="x", delta=delta)

    choice = _choice(
        CREATED, _added(item("a"), 0), _added(item("b"), 1), more(1, "[2"), more(0, "[1"), more(1, "]"), more(0, "]"),
        _item_done({**item("b"), "arguments": "[2]"}, 1), _item_done({**item("a"), "arguments": "[1]"}, 0),
        _terminal("response.completed", {**item("a"), "arguments": "[1]"}, {**item("b"), "arguments": "[2]"}),
    )  # fmt: skip
    assert [(part.id, part.arguments) for part in choice.parts if isinstance(part, ToolCall)] == [
        ("a", "[1]"), ("b", "[2]"),
    ]  # fmt: skip
    assert choice.stop == "tool_calls"


@pytest.mark.parametrize("last", ["arguments", "item", "completed"])
def test_arguments_that_no_delta_brought_are_made_up_for(last: str) -> None:
    frames = [CREATED, _added({**CALL, "arguments": ""})]
    frames.append(_frame("response.function_call_arguments.delta", output_index=0, delta='{"a'))
    if last == "arguments":
        frames.append(_frame("response.function_call_arguments.done", output_index=0, arguments=CALL["arguments"]))
    if last == "item":
        frames.append(_item_done(CALL))
    choice = _choice(*frames, _terminal("response.completed", CALL))
    assert choice.parts == (ToolCall("c1", "f", '{"a":1}', state=State(MINE, {"id": "fc_1"})),)


def test_text_that_no_delta_brought_is_made_up_for() -> None:
    part = {"type": "output_text", "text": "Hello", "annotations": [URL_NOTE], "logprobs": [TOKEN]}
    want = (Text("Hello", (Citation("https://e.org", "t", start=1, end=2),), state=State(MINE, {"id": "msg_1"})),)
    for closing in (
        [_text("output_text.done", text="Hello", logprobs=[TOKEN]), _text("content_part.done", part=part)],
        [_text("content_part.done", part=part)],
        [_item_done({**SAID, "content": [part]})],
        [],
    ):
        choice = _choice(
            CREATED, OPEN_TEXT, _text("output_text.delta", delta="He"), *closing,
            _terminal("response.completed", {**SAID, "content": [part]}),
        )  # fmt: skip
        assert choice.parts == want
        assert choice.logprobs == (TOKEN,)


def test_an_answer_told_only_by_its_terminal_event_is_complete() -> None:
    choice = _choice(_terminal("response.completed", _message("Hi"), CALL))
    assert [type(part) for part in choice.parts] == [Text, ToolCall]
    assert choice.stop == "tool_calls"


def test_deltas_without_their_opening_events_open_the_part() -> None:
    choice = _choice(CREATED, _text("output_text.delta", delta="Hi"), _terminal("response.completed", _message("Hi")))
    assert choice.parts == (Text("Hi"),)
    refused = _choice(CREATED, _text("refusal.delta", delta="No"), _text("refusal.done", refusal="No."), _terminal())
    assert refused.parts == (Refusal("No."),)
    thought = _choice(
        CREATED, _frame("response.reasoning_text.delta", output_index=0, content_index=0, delta="hm"), _terminal()
    )
    assert thought.parts[0].text == "hm"  # type: ignore[union-attr]


def test_logprobs_and_annotations_are_marks_of_their_part() -> None:
    events = _events(
        CREATED, OPEN_TEXT, _text("output_text.delta", delta="a", logprobs=[TOKEN]),
        _text("output_text.annotation.added", annotation_index=0, annotation=URL_NOTE), _terminal(),
    )  # fmt: skip
    marks = [event for event in events if isinstance(event, Marked)]
    assert marks[0].logprobs == (TOKEN,)
    assert marks[0].native == b""
    assert marks[1].citations == (Citation("https://e.org", "t", start=1, end=2),)


def test_reasoning_is_told_by_summary_or_content_and_sealed_at_its_end() -> None:
    def summary(kind: str, number: int, **fields: Any) -> bytes:
        return _frame(f"response.reasoning_summary_{kind}", output_index=0, summary_index=number, **fields)

    start = {"type": "reasoning", "id": "rs_1", "summary": []}
    end = {**start, "summary": [{"text": "one"}, {"text": "two!"}], "encrypted_content": "gAAA"}
    choice = _choice(
        CREATED, _added(start), summary("part.added", 0, part={}), summary("text.delta", 0, delta="o"),
        summary("text.done", 0, text="one"), summary("part.added", 1, part={}), summary("text.delta", 1, delta="two"),
        _item_done(end), _terminal("response.completed", end),
    )  # fmt: skip
    assert choice.parts == (Reasoning("one\n\ntwo!", summary=True, state=State(MINE, end)),)
    raw = {**start, "content": [{"type": "reasoning_text", "text": "raw"}]}
    other = _choice(
        CREATED, _added({**start, "content": []}),
        _frame("response.reasoning_text.delta", output_index=0, content_index=0, delta="ra"),
        _frame("response.reasoning_text.done", output_index=0, content_index=0, text="raw"), _item_done(raw),
        _terminal("response.completed", raw),
    )  # fmt: skip
    assert other.parts == (Reasoning("raw", state=State(MINE, raw)),)


def test_sealed_reasoning_without_text_stands_before_what_follows() -> None:
    start = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {**start, "encrypted_content": "g"}
    for frames in (
        [_added(start), _item_done(sealed), _added(CALL, 1)],
        [_added(start), _added(CALL, 1), _item_done(sealed)],
    ):
        choice = _choice(CREATED, *frames, _item_done(CALL, 1), _terminal("response.completed", sealed, CALL))
        assert choice.parts[0] == Reasoning("", summary=True, state=State(MINE, sealed))
        assert isinstance(choice.parts[1], ToolCall)


def test_of_raw_and_summarised_reasoning_the_first_to_come_is_the_text() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "short"}], "content": [{"text": "long"}]}
    choice = _choice(
        CREATED, _added({**item, "summary": [], "content": []}),
        _frame("response.reasoning_text.delta", output_index=0, content_index=0, delta="long"),
        _frame("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="short"),
        _item_done(item), _terminal("response.completed", item),
    )  # fmt: skip
    assert choice.parts == (Reasoning("long", state=State(MINE, item)),)


def test_items_of_the_terminal_event_are_known_by_their_ids() -> None:
    first, second = {**CALL, "id": "fc_1", "call_id": "a"}, {**CALL, "id": "fc_2", "call_id": "b"}
    choice = _choice(
        CREATED, _added({**first, "arguments": ""}, 0), _added({**second, "arguments": ""}, 1),
        _terminal("response.completed", {**second, "arguments": "2"}, {**first, "arguments": "1"}),
    )  # fmt: skip
    assert [(part.id, part.arguments) for part in choice.parts if isinstance(part, ToolCall)] == [
        ("a", "1"), ("b", "2"),
    ]  # fmt: skip


def test_members_that_are_null_are_no_state() -> None:
    answer = dialect.read_answer(_body({**CALL, "namespace": None}))
    assert answer.choices[0].parts[0].state == State(MINE, {"id": "fc_1"})  # type: ignore[union-attr]


def test_hosted_tools_pass_and_end_in_their_final_state() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}
    ended = {**search, "status": "completed", "action": {"type": "search"}}
    events = _events(
        CREATED, _added(search), _frame("response.web_search_call.searching", output_index=0, item_id="ws_1"),
        _item_done(ended), _terminal("response.completed", ended),
    )  # fmt: skip
    assert [type(event) for event in events[1:5]] == [PartStarted, Passed, Marked, PartEnded]
    assert fold(events).choices[0].parts == (Foreign("web_search_call", State(MINE, ended)),)


def test_an_unknown_event_is_passed_with_its_bytes() -> None:
    frame = _frame("response.new_thing", x=1)
    assert _events(CREATED, frame, _terminal())[1] == Passed(frame)


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "rate_limit_exceeded", "message": "slow", "param": "model"},
        {"error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow", "param": "model"}},
    ],
)
def test_an_error_event_of_either_shape_fails_the_stream(fields: dict[str, Any]) -> None:
    frame = _frame("error", **fields)
    failed = _events(CREATED, frame, _terminal())[-1]
    assert isinstance(failed, Failed)
    assert failed.native == frame
    assert isinstance(failed.error, Refused)
    assert (failed.error.status, failed.error.code, failed.error.message, failed.error.param) == (
        429, "rate_limit_exceeded", "slow", "model",
    )  # fmt: skip


def test_an_error_object_without_a_type_fails_the_stream() -> None:
    failed = _events(b'data: {"error":{"message":"overloaded","code":503}}\n\n')[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.status, failed.error.retryable) == (503, True)


def test_usage_of_a_failed_response_is_kept() -> None:
    events = _events(CREATED, _terminal("response.failed", status="failed", error={"code": "x"}, usage=USAGE))
    assert [type(event) for event in events] == [Started, Used, Failed]


def test_the_tier_of_a_failed_response_is_kept() -> None:
    more = {"status": "failed", "error": {"code": "x"}, "usage": USAGE, "service_tier": "flex"}
    [used] = [event for event in _events(CREATED, _terminal("response.failed", **more)) if isinstance(event, Used)]
    assert used.tier == "flex"
    with pytest.raises(Refused) as caught:
        dialect.read_answer(_body(**more))
    assert caught.value.tier == "flex"


def test_a_cut_stream_is_an_error_never_a_stop() -> None:
    events = _events(CREATED, OPEN_TEXT, _text("output_text.delta", delta="Hi"))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, Cut)
    assert not any(isinstance(event, Stopped | Done) for event in events)


def test_a_terminal_event_without_its_blank_line_still_counts() -> None:
    assert isinstance(_events(CREATED, _terminal().rstrip())[-1], Done)


def test_one_broken_frame_is_skipped_and_its_text_made_up_for() -> None:
    broken = b'event: response.output_text.delta\ndata: {"type":"response.output_te\n\n'
    choice = _choice(
        CREATED, OPEN_TEXT, _text("output_text.delta", delta="He"), broken, _text("output_text.done", text="Hello"),
        _terminal("response.completed", _message("Hello")),
    )  # fmt: skip
    assert choice.parts[0].text == "Hello"  # type: ignore[union-attr]


STREAM = b"".join(
    [
        b"\xef\xbb\xbf: hello\r\n\r\n", CREATED, OPEN_TEXT, _text("output_text.delta", delta="Hé", logprobs=[]),
        _text("output_text.delta", delta="llo", logprobs=[TOKEN]).replace(b"\n", b"\r\n"),
        _text("output_text.done", text="Héllo"), _added(CALL, 1), _item_done(CALL, 1),
        b"data:\ndata: {}\n\n", _terminal("response.completed", _message("Héllo"), CALL), b"data: [DONE]\n\n",
    ]
)  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
@example([STREAM.index(b"\r\n\r\n", 30) + 3])
def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    reader = dialect.answer_reader()
    ends = sorted({*cuts, len(STREAM)})
    events = [event for start, end in zip([0, *ends], ends, strict=False) for event in reader.feed(STREAM[start:end])]
    assert [*events, *reader.finish()] == _events(STREAM)


KINDS = st.sampled_from(
    [
        "response.created", "response.output_item.added", "response.output_item.done", "response.content_part.added",
        "response.content_part.done", "response.output_text.delta", "response.output_text.done",
        "response.output_text.annotation.added", "response.refusal.delta", "response.refusal.done",
        "response.function_call_arguments.delta", "response.function_call_arguments.done",
        "response.reasoning_summary_text.delta", "response.reasoning_text.done", "response.reasoning_summary_text.done",
        "response.completed", "response.failed", "response.incomplete", "error",
    ]
)  # fmt: skip
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning", "image_generation_call", "x", 3])},
    optional={
        "id": st.sampled_from(["a", "b", 3]),
        "content": st.sampled_from([None, [{"type": "output_text", "text": "hey"}], [3], {"type": "refusal"}]),
        "summary": st.sampled_from([[{"text": "s"}], 3]),
        "arguments": st.sampled_from(["{}", 3]),
        "result": st.sampled_from(["aGk=", 3]),
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "output_index": st.sampled_from([0, 1, -1, "x"]),
        "content_index": st.sampled_from([0, 1, None]),
        "summary_index": st.sampled_from([0, 2]),
        "delta": st.sampled_from(["d", "", 3]),
        "text": st.sampled_from(["dd", 3]),
        "arguments": st.sampled_from(["{}", 3]),
        "part": st.sampled_from([{"type": "output_text", "text": "p"}, {"type": "refusal"}, 3]),
        "annotation": st.sampled_from([URL_NOTE, 3]),
        "logprobs": st.sampled_from([[TOKEN], 3]),
        "item": ITEMS | st.just(3),
        "response": st.fixed_dictionaries({"output": st.lists(ITEMS, max_size=2)}) | st.just(3),
    },
)


@given(st.lists(st.tuples(KINDS, FIELDS), max_size=8))
def test_no_stream_whatever_breaks_the_reader_or_the_grammar(frames: list[tuple[str, dict[str, Any]]]) -> None:
    events = _events(*[_frame(kind, **fields) for kind, fields in frames])
    assert isinstance(events[-1], Done | Failed)
    assert not any(isinstance(event, Done | Failed) for event in events[:-1])
    starts = [event.index for event in events if isinstance(event, PartStarted)]
    assert starts == list(range(len(starts)))
    opened: set[int] = set()
    for event in events:
        if isinstance(event, PartStarted):
            opened.add(event.index)
        elif isinstance(event, Delta | Marked):
            assert event.index in opened
        elif isinstance(event, PartEnded):
            opened.remove(event.index)
    if isinstance(events[-1], Done):
        assert not opened
        fold(events)


def _deltas(*pieces: str, at: int = 0, part: int = 0) -> bytes:
    return b"".join(
        _frame("response.output_text.delta", output_index=at, content_index=part, delta=piece) for piece in pieces
    )


def test_several_messages_of_the_terminal_event_stay_several() -> None:
    second = {**_message("two"), "id": "msg_2"}
    frames = _deltas("one", at=1) + _terminal("response.completed", _message("one"), second)
    reader = dialect.answer_reader()
    answer = fold([*reader.feed(frames), *reader.finish()])
    assert [part.text for part in answer.choices[0].parts if isinstance(part, Text)] == ["one", "two"]
