"""The event stream, read with tolerance and written with none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.errors import Bug, Cut, Refused
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
    unfold,
)
from midstream.core.parts import Citation, Foreign, Media, Part, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Inner, Usage
from midstream.wire import anthropic_messages as dialect

NAME = dialect.NAME
SAY = Say("msg_ours", 1, "asked", request_id="req_1")
OTHER = Attempted("p", "another")
START = {"type": "message_start", "message": {"id": "msg_1", "model": "c", "usage": {"input_tokens": 9}}}
END = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)


def frames(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in events)


def block(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def read(data: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(data), *reader.finish()]


def parts(*events: dict[str, Any]) -> tuple[Part, ...]:
    return fold(read(frames(START, *events, *END))).choices[0].parts


def write(*events: Event, attempted: Attempted = OTHER) -> list[dict[str, Any]]:
    """The written events, after checking what every client checks."""
    out = dialect.answer_writer(SAY).write([attempted, *events])
    pieces = [piece.split("\n") for piece in out.decode().split("\n\n")[:-1]]
    written = [json.loads(lines[1].removeprefix("data: ")) for lines in pieces]
    assert [lines[0] for lines in pieces] == [f"event: {one['type']}" for one in written]
    check_grammar(written)
    return written


KINDS = {
    "text_delta": ["text"],
    "citations_delta": ["text"],
    "thinking_delta": ["thinking"],
    "signature_delta": ["thinking"],
    "input_json_delta": ["tool_use", "server_tool_use", "mcp_tool_use"],
}


def check_grammar(written: list[dict[str, Any]]) -> None:
    if written and written[0]["type"] == "error":
        return
    assert [one["type"] for one in written].count("message_start") == bool(written)
    opened: str | None = None
    number = -1
    for place, one in enumerate(written):
        match one["type"]:
            case "message_start":
                assert place == 0
            case "content_block_start":
                assert opened is None
                assert one["index"] == number + 1
                opened, number = one["content_block"]["type"], one["index"]
            case "content_block_delta":
                assert one["index"] == number
                assert opened in KINDS[one["delta"]["type"]]
            case "content_block_stop":
                assert one["index"] == number
                assert opened is not None
                opened = None
            case "message_delta":
                assert opened is None
                assert written[place + 1]["type"] == "message_stop"


def again(written: list[dict[str, Any]]) -> Answer:
    return fold(read(frames(*written)))


# --- reading


def test_the_frames_of_an_answer_become_events_with_their_bytes() -> None:
    sent = [
        START, {"type": "ping"}, block(0, "text", text=""), delta(0, "text_delta", text="hi"), stop(0), *END
    ]  # fmt: skip
    raws = [frames(one) for one in sent]
    assert read(b"".join(raws)) == [
        Started("msg_1", "c", 0, raws[0]),
        Used(Usage(uncached_in=9), b""),
        Passed(raws[1]),
        PartStarted(0, Text(""), 0, raws[2]),
        Delta(0, "hi", 0, raws[3]),
        PartEnded(0, 0, raws[4]),
        Used(Usage(uncached_in=9, out_text=3), raws[5]),
        Stopped("stop", "end_turn", None, 0, b""),
        Done(raws[6]),
    ]


def test_usage_is_replaced_not_summed() -> None:
    start = {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                "output_tokens": 1,
            }
        },
    }
    change = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {
            "input_tokens": 6,
            "cache_creation_input_tokens": 35,
            "output_tokens": 40,
            "output_tokens_details": {"thinking_tokens": 30},
            "server_tool_use": {"web_search_requests": 2},
            "cache_read_input_tokens": None,
        },
    }
    usages = [event.usage for event in read(frames(start, change, END[1])) if isinstance(event, Used)]
    assert usages == [
        Usage(uncached_in=5, cache_read=7, cache_write_5m=10, cache_write_1h=20, out_text=1),
        Usage(
            uncached_in=6,
            cache_read=7,
            cache_write_5m=15,
            cache_write_1h=20,
            out_text=10,
            out_reasoning=30,
            searches=2,
        ),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause"),
        ("compaction", "pause"),
        ("brand_new", "error"),
    ],
)
def test_stop_reasons_in_both_directions(word: str, reason: str) -> None:
    sequence = "END" if word == "stop_sequence" else None
    change = {"type": "message_delta", "delta": {"stop_reason": word, "stop_sequence": sequence}}
    choice = fold(read(frames(START, change, END[1]))).choices[0]
    assert (choice.stop, choice.native_stop, choice.sequence) == (reason, word, sequence)
    if word != "brand_new":
        written = write(Stopped(reason, word, sequence), Done())  # type: ignore[arg-type]
        assert written[-2]["delta"] == {"stop_reason": word, "stop_sequence": sequence}


@pytest.mark.parametrize(
    ("stopped", "word"),
    [
        (Stopped("stop", "STOP"), "end_turn"),
        (Stopped("stop", "stop", "x"), "stop_sequence"),
        (Stopped("length", "length"), "max_tokens"),
        (Stopped("tool_calls"), "tool_use"),
        (Stopped("content_filter", "SAFETY"), "refusal"),
        (Stopped("error", "MALFORMED_FUNCTION_CALL"), "refusal"),
        (Stopped("pause"), "pause_turn"),
    ],
)
def test_other_services_stop_reasons_get_this_ones_words(stopped: Stopped, word: str) -> None:
    assert write(stopped, Done())[-2]["delta"]["stop_reason"] == word


def test_every_kind_of_block_is_read() -> None:
    location = {"type": "web_search_result_location", "url": "https://a", "cited_text": "q", "title": None}
    assert parts(
        block(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="hm"),
        delta(0, "signature_delta", signature="sig"),
        stop(0),
        block(1, "redacted_thinking", data="zz"),
        stop(1),
        block(2, "server_tool_use", id="s", name="web_search", input={}),
        delta(2, "input_json_delta", partial_json='{"q":'),
        delta(2, "input_json_delta", partial_json='"x"}'),
        stop(2),
        block(3, "text", text="", citations=[]),
        delta(3, "citations_delta", citation=location),
        delta(3, "text_delta", text="t"),
        stop(3),
        block(4, "tool_use", id="t", name="f", input={}, caller={"type": "direct"}),
        delta(4, "input_json_delta", partial_json=""),
        delta(4, "input_json_delta", partial_json='{"a":1}'),
        stop(4),
        block(5, "compaction", content=None),
        delta(5, "compaction_delta", content="all "),
        delta(5, "compaction_delta", content="of it"),
        stop(5),
    ) == (
        Reasoning("hm", state=State(NAME, {"signature": "sig"})),
        Reasoning(state=State(NAME, {"type": "redacted_thinking", "data": "zz"})),
        Foreign(
            "server_tool_use",
            State(NAME, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}),
        ),
        Text("t", (Citation("https://a", None, "q", state=State(NAME, location)),)),
        ToolCall("t", "f", '{"a":1}', state=State(NAME, {"caller": {"type": "direct"}})),
        Foreign("compaction", State(NAME, {"type": "compaction", "content": "all of it"})),
    )


def test_what_servers_get_wrong_is_read_as_it_was_meant() -> None:
    thought = delta(0, "thinking_delta", thinking="a")
    assert parts(block(0, "text", text=""), thought, stop(0)) == (Text(""), Reasoning("a"))
    assert parts(block(0, "thinking", thinking="", signature=""), thought) == (Reasoning("a"),)
    assert parts(delta(7, "text_delta", text="a"), delta(7, "text_delta", text="b")) == (Text("ab"),)
    assert parts(block(3, "text", text="x"), block(9, "text", text="y")) == (Text("x"), Text("y"))
    assert parts(block(0, "text", text="x"), block(0, "text"), delta(0, "text_delta", text="y")) == (
        Text("x"),
        Text("y"),
    )
    assert parts(START, block(0, "text", text="x")) == (Text("x"),)
    whole = block(0, "tool_use", id="t", name="f", input={"a": 1})
    assert parts(whole, stop(0)) == (ToolCall("t", "f", '{"a":1}'),)
    assert parts(whole, delta(0, "input_json_delta", partial_json='{"a":1}')) == (ToolCall("t", "f", '{"a":1}'),)
    assert parts(stop(4), delta(1, "odd_delta"), {"type": "content_block_start", "content_block": 3}) == ()


def test_a_second_message_start_is_read_but_never_shown() -> None:
    data = frames(START, START, *END)
    written = dialect.answer_writer(SAY).write([Attempted("p", NAME), *read(data)])
    assert written == frames(START, *END)


def test_frames_nobody_knows_are_passed_and_broken_ones_are_not() -> None:
    new = frames({"type": "brand_new", "x": 1})
    odd = b'data: {"type":"content_block_delta","index":"zero"}\n\n'
    comment = b": hello\n\n"
    data = frames(START) + new + odd + comment + b"data: {broken\n\ndata: [DONE]\n\n" + frames(*END)
    relayed = dialect.answer_writer(SAY).write([Attempted("p", NAME), *read(data)])
    assert relayed.replace(b"data: [DONE]\n\n", b"") == frames(START) + new + odd + comment + frames(*END)


@pytest.mark.parametrize("sent", [(), (START,), (START, block(0, "text", text="x")), (START, END[0])])
def test_a_cut_stream_is_an_error_never_a_stop(sent: tuple[dict[str, Any], ...]) -> None:
    events = read(frames(*sent))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, Cut)
    out = dialect.answer_writer(SAY).write([Attempted("p", NAME), *events])
    assert out.startswith(frames(*sent) + b"event: error\n")
    assert b"event: message_stop" not in out


def test_a_last_frame_without_its_blank_line_still_counts() -> None:
    assert isinstance(read(frames(START, *END)[:-2])[-1], Done)


def test_nothing_is_read_after_the_end() -> None:
    assert sum(isinstance(event, Done) for event in read(frames(START, *END, *END))) == 1


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        ("overloaded_error", 529, True),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("timeout_error", 504, True),
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("billing_error", 402, False),
        ("permission_error", 403, False),
        ("not_found_error", 404, False),
        ("request_too_large", 413, False),
        ("unheard_of", 500, True),
    ],
)
def test_an_error_inside_a_good_answer_has_the_status_of_its_type(kind: str, status: int, retryable: bool) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}}
    error = read(frames(START, body))[-1].error  # type: ignore[union-attr]
    assert isinstance(error, Refused)
    assert (error.status, error.retryable, error.kind, error.message) == (status, retryable, kind, "no")
    out = dialect.answer_writer(SAY).write([Attempted("p", NAME), *read(frames(START, body))])
    assert out == frames(START, body)
    with pytest.raises(Refused) as caught:
        dialect.read_answer(json.dumps(body).encode())
    assert caught.value.status == status


def test_calls_that_the_sums_leave_out_are_counted_and_told_apart_whole_and_in_streams() -> None:
    usage = {
        "input_tokens": 23_000,
        "output_tokens": 1000,
        "iterations": [
            {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
            {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
            {"type": "advisor_message", "model": "claude-opus-4-6", "input_tokens": 5000, "output_tokens": 800,
             "cache_read_input_tokens": 40},
            {"type": "of tomorrow", "input_tokens": 7},
            None,
        ],
    }  # fmt: skip
    inner = (
        Inner("", Usage(uncached_in=180_000, out_text=3500)),
        Inner("claude-opus-4-6", Usage(uncached_in=5000, cache_read=40, out_text=800)),
    )
    all_of_it = Usage(uncached_in=208_000, cache_read=40, out_text=5300)
    message = {"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    answer = dialect.read_answer(json.dumps({**message, "usage": usage}).encode())
    assert (answer.usage, answer.inner) == (all_of_it, inner)
    change = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    events = read(frames(START, change, END[1]))
    folded = fold(events)
    assert (folded.usage, folded.inner) == (all_of_it, inner)
    assert fold([*unfold(answer), Done()]).inner == inner


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 9.0, "cache_creation_input_tokens": 2.0, "output_tokens": 3}, Usage(9, 0, 2, out_text=3)),
        ({"input_tokens": -9, "output_tokens": 3}, Usage(out_text=3, estimated=True)),
        ({"input_tokens": 9, "output_tokens": 2.5}, Usage(9, estimated=True)),
        ({}, Usage()),
        (None, Usage()),
    ],
)
def test_a_count_that_is_none_was_not_said(usage: Any, expected: Usage) -> None:
    message = {"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    assert dialect.read_answer(json.dumps({**message, "usage": usage}).encode()).usage == expected


def test_json_where_a_stream_was_asked_for() -> None:
    message = {"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    assert fold(read(json.dumps(message).encode())).choices[0].parts == (Text("x"),)
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"later"}}'
    assert read(body)[-1].error.status == 529  # type: ignore[union-attr]


# --- writing


def test_text_streams_with_usage_at_both_ends() -> None:
    written = write(
        Started("chatcmpl-1", "gpt", 5),
        PartStarted(0, Text("")),
        Delta(0, "a\n\u2028"),
        Delta(0, ""),
        PartEnded(0),
        Stopped("stop", "stop"),
        Used(Usage(uncached_in=5, cache_read=2, out_text=3, out_reasoning=4, searches=1)),
        Done(),
    )
    assert [one["type"] for one in written] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message = written[0]["message"]
    assert (message["id"], message["model"], message["content"]) == ("msg_ours", "gpt", [])
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (0, 0)
    usage = written[-2]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (5, 2, 7)
    assert usage["output_tokens_details"] == {"thinking_tokens": 4}
    assert usage["server_tool_use"]["web_search_requests"] == 1


def test_the_message_begins_as_soon_as_the_provider_has_begun() -> None:
    writer = dialect.answer_writer(SAY)
    assert writer.write([OTHER]) == b""
    first = writer.write([Started("msg_theirs", "c"), Used(Usage(uncached_in=5))])
    assert b'"id":"msg_theirs"' in first
    assert b'"input_tokens":5' in first
    assert writer.write([Used(Usage(uncached_in=6))]) == b""


def test_parallel_calls_that_interleave_come_one_after_another() -> None:
    written = write(
        PartStarted(0, Text("")),
        Delta(0, "t"),
        PartStarted(1, ToolCall("call.1", "f")),
        PartStarted(2, ToolCall("b", "g")),
        Delta(2, '{"y":'),
        Delta(1, '{"x":'),
        PartEnded(0),
        Delta(2, "2}"),
        Delta(1, "1}"),
        PartEnded(2),
        PartEnded(1),
        Stopped("tool_calls"),
        Done(),
    )
    _, first, second = again(written).choices[0].parts
    assert (first.name, first.arguments, second.id, second.arguments) == ("f", '{"x":1}', "b", '{"y":2}')  # type: ignore[union-attr]
    assert first.id.startswith("call_1_")  # type: ignore[union-attr]
    # What could be sent at once was: the first call's pieces after the text had ended.
    pieces = [one["delta"]["partial_json"] for one in written if one.get("delta", {}).get("type") == "input_json_delta"]
    assert pieces == ['{"x":', "1}", '{"y":2}']


def test_an_empty_text_opens_no_block() -> None:
    written = write(PartStarted(0, Text("")), PartEnded(0), PartStarted(1, Reasoning()), PartEnded(1), Done())
    assert [one["type"] for one in written] == ["message_start", "message_delta", "message_stop"]


def test_parts_left_open_are_closed_at_the_end() -> None:
    written = write(PartStarted(0, Text("a")), PartStarted(1, ToolCall("a", "f", "{}")), Stopped("tool_calls"), Done())
    assert [type(part) for part in again(written).choices[0].parts] == [Text, ToolCall]


def test_only_our_own_signatures_are_shown() -> None:
    written = write(
        PartStarted(0, Reasoning("a")),
        Marked(0, State(NAME, {"signature": "sig"})),
        PartEnded(0),
        PartStarted(1, Reasoning("b", state=State("another", "x"))),
        PartEnded(1),
        PartStarted(2, Reasoning(state=State(NAME, {"type": "redacted_thinking", "data": "d"}))),
        PartEnded(2),
        PartStarted(3, Reasoning(state=State(NAME, {"signature": "alone"}))),
        PartEnded(3),
        Done(),
    )
    signatures = [one["delta"]["signature"] for one in written if "signature" in one.get("delta", {})]
    assert signatures == ["sig", "alone"]
    blocks = [one["content_block"] for one in written if one["type"] == "content_block_start"]
    assert [one["type"] for one in blocks] == ["thinking", "thinking", "redacted_thinking", "thinking"]


def test_citations_refusals_media_free_text_and_foreign_parts() -> None:
    location = {"type": "char_location", "cited_text": "c"}
    hosted = {"type": "server_tool_use", "id": "s", "name": "n", "input": {"q": 1}}
    written = write(
        *unfold(
            Answer(
                choices=(
                    Choice(
                        (
                            Text("t", (Citation("https://a", "A"), Citation(state=State(NAME, location)), Citation())),
                            Refusal("no"),
                            ToolCall("c", "free", "words", kind="custom"),
                            Foreign("server_tool_use", State(NAME, hosted)),
                            Foreign("theirs", State("another", {})),
                            Media("image", url="https://a/x.png"),
                            Media("image", "image/png", data="xx"),
                        )
                    ),
                )
            )
        ),
        Done(),
    )
    cited, refusal, call, foreign, image, blob = again(written).choices[0].parts
    assert [one.url for one in cited.citations] == ["https://a", None]  # type: ignore[union-attr]
    assert refusal == Text("no")
    assert json.loads(call.arguments) == {"input": "words"}  # type: ignore[union-attr]
    assert foreign == Foreign("server_tool_use", State(NAME, hosted))
    assert image == Text("![image](https://a/x.png)")
    assert "image/png" in blob.text  # type: ignore[union-attr]


def test_sources_that_come_after_their_text_has_ended_stand_with_the_text_that_is_open() -> None:
    early, late = Marked(0, citations=(Citation("https://a"),)), Marked(0, citations=(Citation("https://b"),))
    ended = (PartStarted(0, Text("a")), early, PartEnded(0))
    written = write(*ended, PartStarted(1, Text("b")), late, PartEnded(1), Done())
    assert [one.citations[0].url for one in again(written).choices[0].parts] == ["https://a", "https://b"]  # type: ignore[union-attr]
    # None is made up: a text without words would be refused when it comes back.
    written = write(*ended, PartStarted(1, ToolCall("c", "f")), PartEnded(1), late, Done())
    assert [type(part) for part in again(written).choices[0].parts] == [Text, ToolCall]


def test_only_the_first_choice_is_written() -> None:
    written = write(
        PartStarted(0, Text("a"), 1), Delta(0, "b", 1), PartEnded(0, 1), Stopped("length", choice=1), Done()
    )
    assert [one["type"] for one in written] == ["message_start", "message_delta", "message_stop"]
    assert written[1]["delta"]["stop_reason"] == "end_turn"


def test_an_answer_in_one_piece_is_streamed_even_from_the_same_service() -> None:
    message = {"type": "message", "id": "msg_9", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    answer = dialect.read_answer(json.dumps(message).encode())
    written = write(Whole(answer, answer.native and answer.native.raw), Done(), attempted=Attempted("p", NAME))
    assert written[0]["message"]["id"] == "msg_9"
    assert again(written).choices[0].parts == (Text("x"),)


def test_a_failure_is_an_error_event_and_no_stop() -> None:
    written = write(PartStarted(0, Text("a")), Failed(Bug("bug_1")))
    assert written[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "unexpected error, reported as bug_1"},
        "request_id": "req_1",
    }
    pretty = Refused("m", status=529, dialect=NAME, native=b'{\n  "type": "error",\n  "error": {}\n}')
    assert write(Failed(pretty)) == [{"type": "error", "error": {}}]


def test_after_another_services_attempt_ours_goes_on_in_the_words_already_begun() -> None:
    data = frames(START, block(0, "text", text="x"), stop(0), *END)
    writer = dialect.answer_writer(SAY)
    out = writer.write([OTHER, Started("x", "y")]) + writer.write([Attempted("p", NAME, 2), *read(data)])
    assert out.count(b"message_start\n") == 1
    assert fold(read(out)).choices[0].parts == (Text("x"),)
