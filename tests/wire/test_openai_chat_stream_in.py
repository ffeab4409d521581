"""Streams in OpenAI Chat as a client reads them: every oddity of services."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Cut, Refused, UpstreamError
from midstream.core.events import (
    Answer,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Fold,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Whole,
    visible,
)
from midstream.core.parts import Citation, Media, Part, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Usage
from midstream.wire.openai_chat import NAME, StreamReader

DONE = "data: [DONE]\n\n"


def chunk(delta: Any = None, finish: str | None = None, choice: int | None = 0, **top: Any) -> str:
    one = {"index": choice, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 9, "model": "m", "choices": [one]}
    return "data: " + json.dumps(head | top) + "\n\n"


def call(**members: Any) -> dict[str, Any]:
    return {"tool_calls": [members]}


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop") + DONE
CALLED = chunk(finish="tool_calls") + DONE


def events_of(*frames: str) -> list[Event]:
    reader = StreamReader()
    return reader.feed("".join(frames).encode()) + reader.finish()


def answer_of(*frames: str) -> Answer:
    return folded(events_of(*frames))


def folded(events: list[Event]) -> Answer:
    folding = Fold()
    for event in events:
        folding.add(event)
    assert folding.error is None
    return folding.answer()


def parts_of(*frames: str) -> tuple[Part, ...]:
    (choice,) = answer_of(*frames).choices
    return choice.parts


def failure_of(*frames: str) -> UpstreamError:
    last = events_of(*frames)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamError)
    return last.error


def test_a_role_alone_is_no_visible_output() -> None:
    reader = StreamReader()
    first = reader.feed(ROLE.encode())
    assert first == [Started("c1", "m", 9, native=ROLE.encode())]
    assert not any(visible(event) for event in first)
    text = reader.feed(chunk({"content": "a"}).encode())
    assert [type(event) for event in text] == [PartStarted, Delta]
    assert [event.native for event in text] == [chunk({"content": "a"}).encode(), b""]
    assert visible(text[1])


def test_more_text_is_one_delta_with_its_bytes() -> None:
    reader = StreamReader()
    reader.feed((ROLE + chunk({"content": "a"})).encode())
    more, most = chunk({"content": "b"}).encode(), chunk({"content": "c"}).encode()
    assert reader.feed(more + most) == [Delta(0, "bc", 0, more + most)]
    assert reader.feed(more) == [Delta(0, "b", 0, more)]


def test_thinking_and_text_in_turns_make_parts_in_order() -> None:
    frames = [
        chunk({"reasoning_content": "a", "content": None}),
        chunk({"reasoning_content": "b", "content": ""}),
        chunk({"content": "c", "reasoning_content": None}),
        chunk({"reasoning": "d"}),
        chunk({"content": "e", "reasoning_content": ""}),
        chunk({"refusal": "f"}),
    ]
    expected = (Reasoning("ab"), Text("c"), Reasoning("d"), Text("e"), Refusal("f"))
    assert parts_of(*frames, STOP) == expected


def test_thinking_inside_content_lists_is_reasoning() -> None:
    thinking = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}
    assert parts_of(ROLE, chunk(thinking), chunk(thinking), chunk({"content": "b"}), STOP) == (
        Reasoning("aa"),
        Text("b"),
    )


def test_reasoning_details_come_back_as_state() -> None:
    frames = [
        chunk({"reasoning": "ab", "reasoning_details": [{"type": "reasoning.text", "text": "ab", "index": 0}]}),
        chunk({"reasoning": "c", "reasoning_details": [{"type": "reasoning.text", "text": "c", "index": 0}]}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]}),
        chunk({"content": "x"}),
        chunk({"content": "", "reasoning_details": [{"type": "reasoning.encrypted", "data": "y", "index": 1}]}),
    ]
    details = [{"type": "reasoning.text", "text": "abc", "index": 0, "signature": "s"}]
    late = [{"type": "reasoning.encrypted", "data": "y", "index": 1}]
    assert parts_of(*frames, STOP) == (
        Reasoning("abc", state=State(NAME, {"reasoning_details": details})),
        Text("x"),
        Reasoning("", state=State(NAME, {"reasoning_details": late})),
    )


CALL_ODDITIES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str, str]]]] = {
    "in pieces": (
        [
            call(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            call(index=0, function={"arguments": '{"x"'}),
            call(index=0, function={"arguments": ":1}"}),
        ],
        [("a", "f", '{"x":1}')],
    ),
    "interleaved": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": "1"}),
            call(index=1, id="b", function={"name": "g", "arguments": "2"}),
            call(index=2, id="c", function={"name": "h", "arguments": "3"}),
            call(index=0, function={"arguments": "4"}),
            call(index=2, function={"arguments": "5"}),
            call(index=1, function={"arguments": "6"}),
        ],
        [("a", "f", "14"), ("b", "g", "26"), ("c", "h", "35")],
    ),
    "id on every chunk": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": "1"}),
            call(index=0, id="a", function={"name": "f", "arguments": "2"}),
        ],
        [("a", "f", "12")],
    ),
    "no index": (
        [
            call(id="a", function={"name": "f", "arguments": "1"}),
            call(function={"arguments": "2"}),
            call(id="b", function={"name": "g", "arguments": "3"}),
            call(id="a", function={"arguments": "4"}),
        ],
        [("a", "f", "124"), ("b", "g", "3")],
    ),
    "one index for all": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": "1"}),
            call(index=0, id="b", function={"name": "f", "arguments": "2"}),
        ],
        [("a", "f", "1"), ("b", "f", "2")],
    ),
    "one id for all": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": "1"}),
            call(index=1, id="a", function={"name": "f", "arguments": "2"}),
        ],
        [("a", "f", "1"), ("a_1", "f", "2")],
    ),
    "no id": (
        [call(index=0, function={"name": "f", "arguments": "1"}), call(index=1, id="", function={"name": "g"})],
        [("call_c10x0", "f", "1"), ("call_c10x1", "g", "")],
    ),
    "arguments as an object": (
        [call(index=0, id="a", function={"name": "f", "arguments": {"x": 1}})],
        [("a", "f", '{"x":1}')],
    ),
    "arguments inside a string": (
        [
            call(index=0, id="a", function={"name": "f", "arguments": ' "{\\"x\\"'}),
            call(index=1, id="b", function={"name": "g", "arguments": "\n"}),
            call(index=0, function={"arguments": ':1}"'}),
            call(index=1, function={"arguments": '"no JSON'}),
        ],
        [("a", "f", '{"x":1}'), ("b", "g", '\n"no JSON')],
    ),
    "the name comes late": (
        [call(index=0, id="a", function={"arguments": "1"}), call(index=0, function={"name": "f", "arguments": "2"})],
        [("a", "f", "12")],
    ),
    "the old kind": (
        [{"function_call": {"name": "f", "arguments": "1"}}, {"function_call": {"arguments": "2"}}],
        [("call_c10x0", "f", "12")],
    ),
}


@pytest.mark.parametrize(("deltas", "calls"), CALL_ODDITIES.values(), ids=CALL_ODDITIES.keys())
def test_tool_calls_are_read_however_they_come(deltas: list[dict[str, Any]], calls: list[tuple[str, str, str]]) -> None:
    frames = [chunk(delta) for delta in deltas]
    parts = parts_of(ROLE, *frames, CALLED)
    assert [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCall)] == calls
    assert len(parts) == len(calls)
    (choice,) = answer_of(*frames, STOP).choices
    assert choice.stop == "tool_calls"
    assert choice.native_stop == "stop"


def test_frames_of_arguments_that_wait_for_their_end_are_relayed_as_they_come() -> None:
    frames = [ROLE, *(chunk(delta) for delta in CALL_ODDITIES["arguments inside a string"][0]), CALLED]
    reader = StreamReader()
    for frame in frames:
        assert b"".join(event.native or b"" for event in reader.feed(frame.encode())) == frame.encode()


def test_part_indexes_rise_and_every_part_ends() -> None:
    events = events_of(
        chunk({"content": "a"}),
        chunk(call(index=0, id="x", function={"name": "f", "arguments": "1"})),
        chunk({"content": "b"}),
        CALLED,
    )
    begun = [event.index for event in events if isinstance(event, PartStarted)]
    assert begun == [0, 1, 2]
    assert sorted(event.index for event in events if isinstance(event, PartEnded)) == begun
    assert isinstance(events[-2], Stopped)


def test_choices_of_one_stream_are_told_apart() -> None:
    frames = [chunk({"content": letter}, choice=number) for letter, number in zip("axby", (0, 1, 0, 1), strict=True)]
    answer = answer_of(*frames, chunk(finish="stop", choice=1), chunk(finish="length", choice=0), DONE)
    assert [(choice.parts, choice.stop) for choice in answer.choices] == [
        ((Text("ab"),), "length"), ((Text("xy"),), "stop"),
    ]  # fmt: skip


USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


@pytest.mark.parametrize(
    "frames",
    [
        [chunk({"content": "a"}), chunk(finish="stop"), chunk(choices=[], usage=USAGE), DONE],
        [chunk({"content": "a"}), chunk(finish="stop", usage=USAGE), DONE],
        [chunk({"content": "a"}, usage=USAGE | {"completion_tokens": 1}), chunk(finish="stop", usage=USAGE), DONE],
        [chunk({"content": "a"}), chunk(choices=[], usage=USAGE), chunk(finish="stop"), DONE],
        [chunk({"content": "a"}), chunk(finish="stop"), chunk({"content": ""}, usage=USAGE), DONE],
        [chunk({"content": "a"}), chunk(finish="stop", x_groq={"usage": USAGE}), DONE],
        [chunk({"content": "a"}), chunk(finish="stop"), chunk(finish="stop", usage=USAGE), DONE],
    ],
)
def test_usage_is_read_wherever_it_stands(frames: list[str]) -> None:
    answer = answer_of(*frames)
    assert answer.usage == Usage(uncached_in=10, out_text=4)
    assert answer.choices == (Choice((Text("a"),), "stop", "stop"),)


def test_logprobs_and_citations_mark_the_text() -> None:
    probs = {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]}
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": probs, "finish_reason": None}
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}
    (read,) = answer_of(chunk(choices=[choice]), chunk({"annotations": [cited]}), STOP).choices
    assert read.logprobs == tuple(probs["content"])
    assert read.parts == (Text("a", citations=(Citation("u", "t", start=0, end=1),)),)


def test_images_and_sound_are_media() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    frames = [
        chunk({"images": [image]}),
        chunk({"audio": {"id": "s", "transcript": "h"}}),
        chunk({"audio": {"data": "QQ=="}}),
        chunk({"audio": {"data": "Qg==", "transcript": "i", "expires_at": 3}}),
    ]
    assert parts_of(*frames, STOP) == (
        Media("image", mime="image/png", data="QUJD"),
        Media("audio", data="QUI=", state=State(NAME, {"id": "s", "transcript": "hi", "expires_at": 3})),
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"), ("length", "length"), ("model_length", "length"), ("eos", "stop"), ("error", "error"),
        ("content_filter", "content_filter"), ("tool_calls", "tool_calls"), ("sensitive", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"), ("insufficient_system_resource", "error"),
    ],
)  # fmt: skip
def test_a_reason_keeps_its_own_word_and_an_unknown_one_is_no_stop(word: str, reason: str) -> None:
    (choice,) = answer_of(chunk({"content": "a"}), chunk(finish=word), DONE).choices
    assert (choice.stop, choice.native_stop) == (reason, word)


def test_openrouters_native_reason_and_vllms_stop_sequence_are_kept() -> None:
    one = {"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn", "stop_reason": "###"}
    (choice,) = answer_of(chunk({"content": "a"}), chunk(choices=[one]), DONE).choices
    assert (choice.stop, choice.native_stop, choice.sequence) == ("stop", "end_turn", "###")


CUTS = {
    "nothing": [],
    "role only": [ROLE],
    "in the text": [ROLE, chunk({"content": "a"})],
    "in a call": [ROLE, chunk(call(index=0, id="a", function={"name": "f", "arguments": "{"}))],
    "in a frame": [ROLE, chunk({"content": "a"}), chunk(finish="stop")[:-8]],
    "done too early": [ROLE, chunk({"content": "a"}), DONE],
    "one of two choices": [chunk({"content": "a"}), chunk({"content": "b"}, choice=1), chunk(finish="stop"), DONE],
    "comments only": [": ping\n\n"],
}


@pytest.mark.parametrize("frames", CUTS.values(), ids=CUTS.keys())
def test_a_cut_stream_is_an_error_never_a_stop(frames: list[str]) -> None:
    assert isinstance(failure_of(*frames), Cut)


def test_a_choice_that_was_only_announced_ends_with_the_others() -> None:
    frames = [
        ROLE,
        chunk({"role": "assistant", "content": ""}, choice=1),
        chunk({"content": "a"}),
        chunk(finish="stop"),
    ]
    assert [choice.parts for choice in answer_of(*frames, DONE).choices] == [(Text("a"),)]
    assert isinstance(failure_of(*frames), Cut)


@pytest.mark.parametrize("end", ["", "data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n\r\n"])
def test_an_answer_that_has_ended_needs_no_end_mark(end: str) -> None:
    assert isinstance(events_of(chunk({"content": "a"}), chunk(finish="stop"), end)[-1], Done)


@pytest.mark.parametrize("end", ["data: [DONE] \n", "data: [DONE] \n\n", "data:[DONE]\t\n\n"])
def test_space_after_the_end_mark_does_not_hide_it(end: str) -> None:
    events = events_of(chunk({"content": "a"}), chunk(finish="stop"), end)
    last = events[-1]
    assert isinstance(last, Done)
    assert b"[DONE]" in (last.native or b"")


def test_an_object_for_content_is_its_json() -> None:
    (choice,) = answer_of(chunk({"content": {"city": "Rome"}}), STOP).choices
    assert choice.parts == (Text('{"city":"Rome"}'),)


def test_an_error_in_place_of_data_is_told_in_its_own_words() -> None:
    """llama.cpp's way, which an SSE client does not see."""
    error = failure_of(chunk({"content": "a"}), 'error: {"error":{"code":500,"message":"no room"}}\n\n')
    assert isinstance(error, Refused)
    assert error.message == "no room"
    assert isinstance(failure_of(chunk({"content": "a"}), "error: odd\n\n"), Cut)


def test_the_last_frame_may_lack_its_blank_line() -> None:
    assert answer_of(chunk({"content": "a"}), chunk(finish="stop").rstrip()).choices[0].stop == "stop"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({"message": "m", "code": 502}, 502, "502"),
        ({"message": "m", "type": "overloaded_error"}, 529, None),
        ({"message": "m", "type": "rate_limit_error", "code": "rate_limit_exceeded"}, 429, "rate_limit_exceeded"),
        ({"message": "m", "code": "service_unavailable"}, 503, "service_unavailable"),
        ({"message": "m", "code": "429"}, 429, "429"),
        (
            {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"},
            400,
            "context_length_exceeded",
        ),
        ({"message": "m"}, 502, None),
        ("m", 502, None),
    ],
)
def test_an_error_inside_the_stream_has_the_status_it_names(error: Any, status: int, code: str | None) -> None:
    frame = "data: " + json.dumps({"error": error}) + "\n\n"
    last = events_of(ROLE, frame, STOP)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, Refused)
    assert (last.error.status, last.error.message, last.native) == (status, "m", frame.encode())
    assert last.error.code == (code or "upstream_error")


def test_a_frame_named_error_is_an_error_whatever_it_holds() -> None:
    error = failure_of(ROLE, 'event: error\ndata: {"message": "m", "code": 503}\n\n')
    assert (error.status, error.message) == (503, "m")


@pytest.mark.parametrize("bad", [b"data: {nonsense\n\n", b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'])
def test_an_unreadable_line_is_skipped_and_counted_and_reaches_no_client(bad: bytes) -> None:
    reader = StreamReader()
    events = reader.feed(chunk({"content": "a"}).encode() + bad + chunk({"content": "b"}).encode())
    assert all(event.native != bad for event in events)
    events += reader.feed(b': hello\n\ndata: "text"\n\n' + STOP.encode())
    assert reader.skipped == 2
    assert folded(events).choices[0].parts == (Text("ab"),)


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None}, {"choices": []}, {"choices": [{"delta": None}]}, {"choices": [{}]}, {"usage": {}},
        {"usage": {"prompt_tokens": None}}, {"created": 1.5}, {"choices": [{"index": "0", "delta": {"content": ""}}]},
        {"choices": [{"index": -1, "delta": {}}]}, {"choices": [{"index": None, "delta": {"content": ""}}]},
    ],
)  # fmt: skip
def test_odd_chunks_do_no_harm(odd: dict[str, Any]) -> None:
    frames = [ROLE, chunk({"content": "a"}), chunk(**odd), chunk({"content": "b"}), STOP]
    (choice,) = [choice for choice in answer_of(*frames).choices if choice.parts]
    assert choice == Choice((Text("ab"),), "stop", "stop")


def test_negative_usage_is_none_and_is_marked_as_one_that_could_not_be_read() -> None:
    answer = answer_of(chunk({"content": "a"}), chunk(finish="stop", usage={"prompt_tokens": -4}), DONE)
    assert answer.usage == Usage(estimated=True)


@pytest.mark.parametrize("count", [-4, 4.5, "many", []])
def test_a_count_that_cannot_be_read_takes_neither_the_others_nor_its_frame_away(count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 2}
    frames = [chunk({"content": "a"}), chunk(finish="stop", usage=usage), DONE]
    assert answer_of(*frames).usage == Usage(out_text=2, estimated=True)
    assert b"".join(event.native or b"" for event in events_of(*frames)) == "".join(frames).encode()


def test_nothing_follows_a_terminal_event() -> None:
    assert isinstance(events_of(chunk({"content": "a"}), STOP, chunk({"content": "b"}), DONE)[-1], Done)
    reader = StreamReader()
    reader.feed((chunk({"content": "a"}) + STOP).encode())
    assert reader.feed(chunk({"content": "b"}).encode()) == []
    assert reader.finish() == []


def test_an_answer_that_is_no_stream_is_taken_whole() -> None:
    body = {"id": "x", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    events = events_of(json.dumps(body, indent=1))
    assert [type(event) for event in events] == [Whole, Done]
    assert failure_of('{"error": {"message": "m", "code": 429}}').status == 429


def test_an_endless_event_ends_in_an_error() -> None:
    reader = StreamReader()
    reader.feed(b"data: ")
    events = [event for _ in range(33) for event in reader.feed(b"x" * (1 << 20))]
    assert [type(event) for event in events] == [Failed]


@given(st.binary(max_size=60), st.lists(st.binary(max_size=10), max_size=5))
def test_any_bytes_end_in_one_terminal_event(noise: bytes, pieces: list[bytes]) -> None:
    reader = StreamReader()
    events = reader.feed(chunk({"content": "a"}).encode() + b"data: " + noise + b"\n\n")
    for piece in pieces:
        events += reader.feed(piece)
    events += reader.finish()
    assert [event for event in events if isinstance(event, Done | Failed)] == events[-1:]


def read_as(pieces: list[bytes]) -> tuple[Any, ...]:
    """What a stream means, its bytes as relayed, and its end."""
    reader, folding = StreamReader(), Fold()
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    folding.extend(events)
    last = events[-1]
    end = (type(last.error), str(last.error)) if isinstance(last, Failed) else None
    natives = b"".join(event.native or b"" for event in events)
    # The mark after an error stays with it only where both came together.
    return folding.answer(), folding.usage, natives.removesuffix(DONE.encode()), end


FRAMES = [
    chunk({"content": "a"}),
    chunk({"content": 'b","c'}),
    chunk({"content": "\\"}),
    chunk({"content": "é😀"}),
    chunk({"reasoning_content": "t"}),
    chunk({"content": "o"}, choice=1),
    chunk({"content": "a"}, obfuscation="x1"),
    chunk(call(index=0, id="c", function={"name": "f", "arguments": ""})),
    chunk(call(index=0, function={"arguments": "{}"})),
    chunk(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    chunk(finish="stop"),
    ": ping\n\n",
    "event: note\ndata: {}\n\n",
    "data: not json\n\n",
    'data: {"error":{"message":"m"}}\n\n',
    DONE,
]


@given(
    st.lists(st.sampled_from([0] * 12 + [1, 2, 3] * 3 + [*range(4, len(FRAMES))]), max_size=40),
    st.lists(st.integers(1, 12), max_size=8),
)
def test_frames_that_come_together_mean_what_they_mean_one_by_one(chosen: list[int], together: list[int]) -> None:
    frames = [FRAMES[number].encode() for number in chosen]
    one_by_one = read_as(frames)
    pieces, rest = [], frames
    for count in together:
        pieces.append(b"".join(rest[:count]))
        rest = rest[count:]
    pieces.append(b"".join(rest))
    assert read_as(pieces) == one_by_one


@pytest.mark.parametrize("before", range(8))
def test_the_end_mark_of_a_stream_that_failed_stays_with_its_error_wherever_that_comes(before: int) -> None:
    error = 'data: {"error":{"message":"m"}}\n\n'
    last = events_of(ROLE, *[chunk({"content": "a" * 300})] * before, error, DONE)[-1]
    assert isinstance(last, Failed)
    assert last.native == (error + DONE).encode()
