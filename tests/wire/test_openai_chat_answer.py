"""Whole replies, errors, embeddings and lists of models in OpenAI Chat."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from midstream.core.dialect import Say
from midstream.core.errors import BadRequest, Busy, Garbled, LimitReached, Refused, Unauthenticated
from midstream.core.events import Answer, Choice, Embedded
from midstream.core.parts import Citation, Foreign, Media, Native, Part, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.turn import Asked, EmbedAsk, Plan, Turn
from midstream.core.usage import Usage
from midstream.wire import openai_chat
from midstream.wire.openai_chat import NAME, read_answer, read_error, usage, write_answer, write_error
from midstream.wire.openai_chat.shapes import InDetails, OutDetails, Tokens
from midstream.wire.strict_json import read_object

SAY = Say(id="chatcmpl-x", created=5, model="alias")


def body_of(message: Any, finish: str | None = "stop", **top: Any) -> bytes:
    one = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "c1", "created": 9, "model": "m", "choices": [one]} | top).encode()


def choice_of(message: Any, finish: str | None = "stop") -> Choice:
    (choice,) = read_answer(body_of(message, finish)).choices
    return choice


_COUNTS = st.sampled_from([None, 0, 1, 3, -2])
_SEARCHES = st.sampled_from([None, {}, {"web_search_requests": 2}])


@given(
    st.builds(
        Tokens,
        prompt_tokens=_COUNTS, completion_tokens=_COUNTS, total_tokens=_COUNTS, prompt_cache_hit_tokens=_COUNTS,
        num_cached_tokens=_COUNTS, cached_tokens=_COUNTS, server_tool_use_details=_SEARCHES,
        prompt_tokens_details=st.none() | st.builds(InDetails, *[_COUNTS] * 5),
        completion_tokens_details=st.none() | st.builds(OutDetails, _COUNTS, _COUNTS, _COUNTS),
    )
)  # fmt: skip
def test_usage_without_classes_is_what_the_classes_give(tokens: Tokens) -> None:
    assert usage.read_usage(tokens) == usage._classed(tokens)


@pytest.mark.parametrize(
    "name", ["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "video_tokens"]
)
def test_any_class_of_input_alone_is_told(name: str) -> None:
    tokens = Tokens(prompt_tokens=3, prompt_tokens_details=InDetails(**{name: 1}))
    assert usage.read_usage(tokens).uncached_in == 2


@pytest.mark.parametrize("name", ["reasoning_tokens", "audio_tokens", "image_tokens"])
def test_any_class_of_output_alone_is_told(name: str) -> None:
    tokens = Tokens(completion_tokens=3, completion_tokens_details=OutDetails(**{name: 1}))
    assert usage.read_usage(tokens).out_text == 2


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens"])
def test_cached_tokens_are_found_wherever_a_service_puts_them(name: str) -> None:
    assert usage.read_usage(Tokens(prompt_tokens=3, **{name: 1})).cache_read == 1


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning_content": "r"}, {"reasoning": "r"}, {"reasoning_details": [{"type": "x"}]}, {"refusal": "no"},
        {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}, {"images": [{"image_url": "u"}]},
        {"function_call": {"name": "f", "arguments": "{}"}}, {"audio": {"transcript": "t"}},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]}, {"executed_tools": [{"x": 1}]},
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_nothing_beside_the_text_is_lost(more: dict[str, Any]) -> None:
    assert choice_of({"content": "a", **more}).parts != (Text("a"),)


def test_a_plain_choice_keeps_its_stop_words_and_token_probabilities() -> None:
    one = {"message": {"content": "a"}, "finish_reason": "stop", "stop_reason": "END"}

    def read(**more: Any) -> Choice:
        return read_answer(json.dumps({"choices": [{**one, **more}]}).encode()).choices[0]

    assert read() == Choice((Text("a"),), "stop", "stop", "END")
    assert read(stop_reason=7).sequence is None
    assert read(native_finish_reason="eos").native_stop == "eos"
    assert read(logprobs={"content": [{"token": "a"}]}).logprobs == ({"token": "a"},)


DETAILS = [{"type": "reasoning.summary", "summary": "why"}]


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": "a"}, (Text("a"),)),
        ({"content": ""}, ()),
        ({"content": None}, ()),
        (None, ()),
        ({"content": None, "refusal": "no"}, (Refusal("no"),)),
        ({"content": "a", "reasoning_content": "r"}, (Reasoning("r"), Text("a"))),
        ({"content": "a", "reasoning": "r", "reasoning_content": None}, (Reasoning("r"), Text("a"))),
        (
            {"content": "a", "reasoning_details": DETAILS},
            (Reasoning("why", state=State(NAME, {"reasoning_details": DETAILS})), Text("a")),
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "r"}]},
                    {"type": "text", "text": "a"},
                    {"type": "reference", "reference_ids": [1]},
                    "odd",
                ]
            },
            (
                Reasoning("r"),
                Text("a"),
                Foreign("reference", State(NAME, {"type": "reference", "reference_ids": [1]})),
            ),
        ),
        ({"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]}, (ToolCall("x", "f", "{}"),)),
        (
            {"tool_calls": [{"id": 7, "function": {"name": "f", "arguments": {"a": 1}}}]},
            (ToolCall("7", "f", '{"a":1}'),),
        ),
        (
            {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": '"{\\"a\\":1}"'}}]},
            (ToolCall("x", "f", '{"a":1}'),),
        ),
        ({"tool_calls": [{"function": {"name": "f"}}]}, (ToolCall("call_c10x0", "f"),)),
        (
            {"tool_calls": [{"id": "x", "function": {"name": "f"}}, {"id": "x", "function": {"name": "g"}}]},
            (ToolCall("x", "f"), ToolCall("x_1", "g")),
        ),
        (
            {"tool_calls": [{"id": "x", "type": "custom", "custom": {"name": "f", "input": "free"}}]},
            (ToolCall("x", "f", "free", kind="custom"),),
        ),
        ({"function_call": {"name": "f", "arguments": "1"}}, (ToolCall("call_c10x0", "f", "1"),)),
        ({"images": [{"image_url": {"url": "u"}}]}, (Media("image", url="u"),)),
        (
            {"audio": {"id": "s", "data": "QQ==", "transcript": "t", "expires_at": 1}},
            (Media("audio", data="QQ==", state=State(NAME, {"id": "s", "transcript": "t", "expires_at": 1})),),
        ),
        (
            {"content": "a", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}, {"type": "file"}]},
            (Text("a", citations=(Citation("u"), Citation(state=State(NAME, {"type": "file"})))),),
        ),
    ],
)
def test_every_form_of_message_is_read(message: Any, parts: tuple[Part, ...]) -> None:
    assert choice_of(message).parts == parts


def test_an_object_for_content_is_its_json_and_goes_on_as_it_came() -> None:
    """The way of a service that was asked for JSON."""
    body = body_of({"content": {"city": "Rome", "n": [1]}})
    answer = read_answer(body)
    assert answer.choices[0].parts == (Text('{"city":"Rome","n":[1]}'),)
    assert answer.native is not None
    assert answer.native.raw == body


def test_a_call_tells_more_than_the_word_stop() -> None:
    choice = choice_of({"tool_calls": [{"id": "x", "function": {"name": "f"}}]}, "stop")
    assert (choice.stop, choice.native_stop) == ("tool_calls", "stop")


def test_a_reply_without_a_reason_is_no_stop() -> None:
    assert choice_of({"content": "a"}, None).stop == "error"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({"prompt_tokens": 10, "completion_tokens": 5}, Usage(uncached_in=10, out_text=5)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 9,
                "total_tokens": 19,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 2, "image_tokens": 1},
            },
            Usage(4, 3, 2, audio_in=1, out_text=2, out_reasoning=4, audio_out=2, image_out=1),
        ),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(uncached_in=6, cache_read=4)),
        ({"prompt_tokens": 10, "num_cached_tokens": 4}, Usage(uncached_in=6, cache_read=4)),
        ({"prompt_tokens": 3, "cached_tokens": 9}, Usage(cache_read=3)),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "total_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            Usage(uncached_in=1, out_text=2, out_reasoning=5),
        ),
        ({"prompt_tokens": -5, "completion_tokens": "7"}, Usage(out_text=7, estimated=True)),
        ({"prompt_tokens": 5.0, "completion_tokens": 7.5}, Usage(uncached_in=5, estimated=True)),
        ({"prompt_tokens": [], "prompt_tokens_details": {"cached_tokens": 2}}, Usage(estimated=True)),
        ({"prompt_tokens": 5, "prompt_tokens_details": [], "cost": "free"}, Usage(uncached_in=5)),
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 900.5, "audio_tokens": 50},
                "completion_tokens_details": {"reasoning_tokens": 2.0, "audio_tokens": "some"},
            },
            Usage(950, audio_in=50, out_text=3, out_reasoning=2),
        ),
        ("none", Usage()),
        ({"server_tool_use_details": {"web_search_requests": 2}}, Usage(searches=2)),
    ],
)
def test_usage_is_read_from_every_place_and_never_counts_twice(usage: Any, expected: Usage) -> None:
    assert read_answer(body_of({"content": "a"}, usage=usage)).usage == expected


def test_an_error_with_status_200_is_refused_with_the_status_it_names() -> None:
    body = b'{"error":{"message":"no credits","code":402}}'
    with pytest.raises(Refused) as caught:
        read_answer(body)
    assert (caught.value.status, caught.value.native) == (402, body)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"[" * 100_000, b"{}", b'{"choices":[]}', b'{"choices":{"a":1}}', b"\xff"]
)
def test_what_is_no_reply_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        read_answer(body)


def test_the_providers_own_body_goes_back_as_it_came() -> None:
    body = body_of({"content": "a", "x": 1})
    assert write_answer(read_answer(body), SAY) == body
    other = Answer(native=Native("gemini", b"{}"), choices=(Choice((Text("a"),)),))
    assert json.loads(write_answer(other, SAY))["choices"][0]["message"]["content"] == "a"


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
_CALLS = st.lists(
    st.tuples(_TEXT, st.sampled_from(['{"a":1}', "{}"]), st.sampled_from(["function", "custom"])), max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """What this dialect can say in one reply: reasoning, then text, a refusal, and calls."""
    parts: list[Part] = []
    if draw(st.booleans()):
        details = draw(st.sampled_from([None, State(NAME, {"reasoning_details": [{"type": "x", "index": 0}]})]))
        parts.append(Reasoning(draw(_TEXT), state=details))
    if draw(st.booleans()):
        cited = draw(st.sampled_from([(), (Citation("u", "t", "q", 1, 2),)]))
        parts.append(Text(draw(_TEXT), citations=cited))
    if draw(st.booleans()):
        parts.append(Refusal(draw(_TEXT)))
    calls: list[tuple[str, str, Any]] = draw(_CALLS)
    parts += [ToolCall(f"id{at}", name, text, kind) for at, (name, text, kind) in enumerate(calls)]
    reason: Any = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    probs = ({"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []},) if parts else ()
    choice = Choice(tuple(parts), reason, reason, logprobs=draw(st.sampled_from([(), probs])))
    counts = draw(st.tuples(*[st.integers(0, 9)] * 8))
    usage = Usage(counts[0], counts[1], counts[2], 0, *counts[3:])
    return Answer(draw(_TEXT), draw(_TEXT), draw(st.integers(1, 9**9)), (choice,) * draw(st.integers(1, 2)), usage)


@given(answers())
def test_a_written_answer_reads_back_the_same_and_passes_openais_sdk(answer: Answer) -> None:
    body = write_answer(answer, SAY)
    again = read_answer(body)
    assert (again.choices, again.usage) == (answer.choices, answer.usage)
    assert (again.id, again.model, again.created) == (answer.id, answer.model, answer.created)
    told = ChatCompletion.model_validate_json(body, strict=True)
    assert told.object == "chat.completion"


# errors


@pytest.mark.parametrize(
    ("body", "message", "code", "kind"),
    [
        (b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}', "m", "c", "t"),
        (b'{"object":"error","message":"m","type":"t","param":null,"code":1500}', "m", "1500", "t"),
        (b'{"error":"m"}', "m", "upstream_error", None),
        (b'{"detail":"m"}', "m", "upstream_error", None),
        (b'{"detail":[{"msg":"m"}]}', '[{"msg":"m"}]', "upstream_error", None),
        (b'[{"error":{"message":"m","code":400}}]', "m", "400", None),
        (b"plain words", "the provider answered with status 400: plain words", "upstream_error", None),
        (b"<html>secret</html>", "the provider answered with status 400", "upstream_error", None),
        (b"", "the provider answered with status 400", "upstream_error", None),
        (b"\xff\xfe", "the provider answered with status 400: \ufffd\ufffd", "upstream_error", None),
        (b"null", "the provider answered with status 400: null", "upstream_error", None),
        (b'{"error":{}}', "the provider answered with status 400", "upstream_error", None),
    ],
)
def test_every_shape_of_error_is_read(body: bytes, message: str, code: str, kind: str | None) -> None:
    error = read_error(400, {}, body)
    assert (error.message, error.code, error.kind, error.status, error.retryable) == (message, code, kind, 400, False)


def test_long_errors_are_cut() -> None:
    assert len(read_error(500, {}, b"x" * 10_000_000).message) == 2048
    long = read_error(500, {}, json.dumps({"error": {"message": "x" * 100_000}}).encode())
    assert len(long.message) == 2048
    assert long.native is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9999"}, 9999.0),
        ({"retry-after-ms": "10", "retry-after": "2"}, 0.01),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:29:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "soon", "date": "now"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_waiting_times_are_read(headers: dict[str, str], seconds: float | None) -> None:
    error = read_error(429, headers, b"{}")
    assert error.retry_after == seconds
    assert error.retryable


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            BadRequest("m", param="p"),
            {"message": "m", "type": "invalid_request_error", "param": "p", "code": "invalid_request"},
        ),
        (
            Unauthenticated("m"),
            {"message": "m", "type": "authentication_error", "param": None, "code": "invalid_api_key"},
        ),
        (LimitReached("m"), {"message": "m", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}),
        (Busy("m"), {"message": "m", "type": "server_error", "param": None, "code": "server_busy"}),
        (
            Refused("m", status=529, dialect="anthropic_messages", native=b"{}"),
            {"message": "m", "type": "server_error", "param": None, "code": "upstream_error"},
        ),
    ],
)
def test_errors_are_written_in_openais_words(error: Any, expected: dict[str, Any]) -> None:
    assert json.loads(write_error(error, "req_1")) == {"error": expected}


# embeddings and models


@pytest.mark.parametrize(
    ("told", "inputs"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ([1, 2],)), ([[1], [2, 3]], ([1], [2, 3]))],
)
def test_every_form_of_input_is_read(told: Any, inputs: tuple[Any, ...]) -> None:
    fields = {"model": "m", "input": told, "encoding_format": "base64", "dimensions": 2, "user": "u", "x": 1}
    ask = openai_chat.read_embed_ask(read_object(json.dumps(fields).encode()))
    assert ask == EmbedAsk(model="m", inputs=inputs, dimensions=2, as_base64=True, user="u", extras={"x": 1})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "a"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["a", 1]}, "input[1]"),
        ({"model": "m", "input": [[1], ["a"]]}, "input[1]"),
        ({"model": "m", "input": [True]}, "input[0]"),
        ({"model": "m", "input": "a", "encoding_format": "x"}, "encoding_format"),
        ({"model": "m", "input": "a", "dimensions": "x"}, "dimensions"),
    ],
)
def test_input_that_makes_no_sense_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        openai_chat.read_embed_ask(read_object(json.dumps(fields).encode()))
    assert caught.value.param == param


def embedding(dialect: str, fields: Any, ask: Any) -> Asked:
    turn = Turn(dialect, fields, openai_chat.read_ask, model="m", kind="embedding", embed=ask)
    return openai_chat.write_embed_ask(Plan(turn, "up", False))


def test_embedding_requests_go_out_as_they_came_or_anew() -> None:
    own = read_object(b'{"model":"m","input":[ "a" ],"x":1}')
    assert embedding("openai_chat", own, openai_chat.read_embed_ask).body == b'{"model":"up","input":[ "a" ],"x":1}'
    anew = EmbedAsk(model="m", inputs=("a",), dimensions=3, as_base64=True, user="u")
    assert json.loads(embedding("other", {}, anew).body) == {
        "model": "up", "input": ["a"], "dimensions": 3, "encoding_format": "base64", "user": "u",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"up","input":[1,2,3]}',
        b'{"model":"up","input":[[1,2],[3]],"encoding_format":"base64"}',
        b'{"model":"up","input":[{"type":"image_url","image_url":{"url":"https://x.example/a.png"}}]}',
        b'{"model":"up","messages":[{"role":"user","content":"a"}]}',
        b'{"model":"up","input":"a","encoding_format":"int8","input_type":"query","dimensions":"many"}',
    ],
)
def test_what_a_callers_own_service_shall_embed_is_its_own_affair(body: bytes) -> None:
    asked = embedding("openai_chat", read_object(body), openai_chat.read_embed_ask)
    assert (asked.body, asked.dropped) == (body, ())


MISTRAL = openai_chat.Quirks(dimensions="output_dimension", lacks=frozenset({"user"}))


@pytest.mark.parametrize(
    ("said", "sent", "dropped"),
    [
        (b'"dimensions":3', {"output_dimension": 3}, ()),
        (b'"dimensions":3,"output_dimension":4', {"output_dimension": 4}, ("dimensions",)),
        (b'"user":"u","output_dtype":"int8","encoding_format":"float"',
         {"output_dtype": "int8", "encoding_format": "float"}, ("user",)),
    ],
)  # fmt: skip
def test_the_length_of_a_vector_has_the_services_own_name(
    said: bytes, sent: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    own = Turn("openai_chat", read_object(b'{"model":"m","input":"a",' + said + b"}"), openai_chat.read_ask, model="m")
    asked = openai_chat.write_embed_ask(Plan(own, "up", False), MISTRAL)
    assert (json.loads(asked.body), asked.dropped) == ({"model": "up", "input": "a", **sent}, dropped)


def test_the_length_of_a_vector_has_the_services_own_name_for_other_dialects_too() -> None:
    ask = EmbedAsk(("a",), dimensions=3, user="u")
    turn = Turn("gemini", {}, openai_chat.read_ask, model="m", kind="embedding", embed=ask)
    asked = openai_chat.write_embed_ask(Plan(turn, "up", False), MISTRAL)
    assert json.loads(asked.body) == {"model": "up", "input": ["a"], "output_dimension": 3}
    assert asked.dropped == ("user",)


def test_what_openai_does_not_embed_by_is_named() -> None:
    ask = EmbedAsk(("a",), task="RETRIEVAL_QUERY", title="t", extras={"autoTruncate": True})
    assert embedding("gemini", {}, ask).dropped == ("taskType", "title", "autoTruncate")


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4), min_size=1)
)
def test_vectors_survive_both_encodings(vectors: list[list[float]]) -> None:
    made = Embedded("m", tuple(tuple(vector) for vector in vectors), Usage(uncached_in=3))
    for as_base64 in (True, False):
        body = openai_chat.write_embedded(made, EmbedAsk(model="m", inputs=("a",), as_base64=as_base64))
        again = openai_chat.read_embedded(body)
        assert (again.vectors, again.usage, again.model) == (made.vectors, made.usage, "m")
        if not as_base64:
            CreateEmbeddingResponse.model_validate_json(body)


def test_vectors_are_in_the_order_of_the_inputs() -> None:
    data = [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": base64.b64encode(struct.pack("<f", 2)).decode()}]
    read = openai_chat.read_embedded(json.dumps({"data": data, "model": "m"}).encode())
    assert read.vectors == ((2.0,), (1.0,))


@pytest.mark.parametrize("numbers", [[], [0], [1], [0, 0], [0, 2], [0, 1, 2], [-1, 0], [None], [1, None]])
def test_vectors_that_are_not_one_for_each_text_are_garbled(numbers: list[int | None]) -> None:
    data = [{"index": number, "embedding": [1.0]} for number in numbers]
    body = json.dumps({"data": data, "usage": {"prompt_tokens": 4}}).encode()
    with pytest.raises(Garbled) as caught:
        openai_chat.read_embedded(body, 2)
    assert caught.value.used == Usage(uncached_in=4)
    assert len(openai_chat.read_embedded(body).vectors) == len(numbers)  # to whom the body itself goes


def test_vectors_may_come_without_their_numbers() -> None:
    body = json.dumps({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}).encode()
    assert openai_chat.read_embedded(body, 2).vectors == ((1.0,), (2.0,))


@pytest.mark.parametrize(
    ("cost", "billed"),
    [(1.4e-05, "0.000014"), (0, "0"), (2, "2"), (-1, ""), (True, ""), (1e300, ""), ("1", ""), ({}, "")],
)
def test_what_a_service_says_that_it_charges_is_read(cost: Any, billed: str) -> None:
    usage = {"prompt_tokens": 1, "cost": cost}
    assert read_answer(body_of({"content": "a"}, usage=usage)).billed == billed
    body = json.dumps({"data": [{"embedding": [1.0]}], "usage": usage}).encode()
    assert openai_chat.read_embedded(body).billed == billed


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"data":[{"embedding":"!"}]}', b'{"data":[{"embedding":"QQ=="}]}', b"[]"]
)
def test_what_are_no_vectors_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        openai_chat.read_embedded(body)


def test_models_are_listed_and_read() -> None:
    body = openai_chat.write_models(["a", "b/c"])
    assert openai_chat.read_models(body) == ["a", "b/c"]
    assert json.loads(body)["data"][0] == json.loads(openai_chat.write_model("a"))
    assert openai_chat.read_models(b'[{"id":"x"}, {"name":"y"}, "z", 1]') == ["x", "y", "z"]
    for bad in (b"", b"{}", b"1"):
        with pytest.raises(Garbled):
            openai_chat.read_models(bad)
