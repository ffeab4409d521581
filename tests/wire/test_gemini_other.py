"""Errors, embeddings, token counts and model lists."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from midstream.core.errors import BadRequest, Busy, Garbled, LimitReached, NotFound, Refused, Unauthenticated
from midstream.core.events import Embedded, Failed
from midstream.core.parts import Message, Text
from midstream.core.turn import Asked, EmbedAsk, Plan, Prompt, Tool, Turn
from midstream.core.usage import Usage
from midstream.wire import gemini
from midstream.wire.strict_json import read_object


def fields(value: Any) -> Any:
    return read_object(json.dumps(value).encode())


# ----------------------------------------------------------------------------------------------------------- errors

RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
FIELD = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents"}]}


def error(code: int, status: str, message: str = "m", details: Any = ()) -> bytes:
    return json.dumps(
        {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
    ).encode()


def test_a_refusal_keeps_its_words_and_says_when_to_come_back() -> None:
    body = error(429, "RESOURCE_EXHAUSTED", "slow down", [RETRY])
    for native in (body, b"[" + body + b"]"):
        refused = gemini.read_error(429, {"retry-after": "9"}, native)
        assert (refused.status, refused.kind, refused.code) == (429, "RESOURCE_EXHAUSTED", "rate_limit_exceeded")
        assert (refused.message, refused.retry_after, refused.retryable) == ("slow down", 3.5, True)
        assert (refused.dialect, gemini.write_error(refused, "req")) == ("gemini", native)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (error(400, "INVALID_ARGUMENT", "API key not valid", [BAD_KEY]), "invalid_api_key", None),
        (error(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
         "context_length_exceeded", None),
        (error(400, "INVALID_ARGUMENT", "bad", [FIELD]), "upstream_error", "contents"),
    ],
)  # fmt: skip
def test_a_refusal_names_its_cause(body: bytes, code: str, param: str | None) -> None:
    refused = gemini.read_error(400, {}, body)
    assert (refused.status, refused.code, refused.param) == (400, code, param)


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[]", b'{"error":"x"}', b'{"error":[]}', b"\xff"])
def test_a_body_that_is_no_error_is_still_a_refusal(body: bytes) -> None:
    refused = gemini.read_error(502, {"retry-after-ms": "1500"}, body)
    assert (refused.status, refused.retry_after, refused.native) == (502, 1.5, None)
    assert refused.message
    assert b'"status":"UNAVAILABLE"' in gemini.write_error(refused, "req")


@pytest.mark.parametrize(
    ("problem", "code", "status"),
    [
        (BadRequest("no", param="contents[0].role"), 400, "INVALID_ARGUMENT"),
        (Unauthenticated("no"), 401, "UNAUTHENTICATED"),
        (NotFound("no"), 404, "NOT_FOUND"),
        (LimitReached("no", retry_after=2), 429, "RESOURCE_EXHAUSTED"),
        (Busy("no"), 503, "UNAVAILABLE"),
        (Refused("no", status=529, dialect="anthropic_messages", native=b"{}"), 529, "UNAVAILABLE"),
        (Refused("no", status=418), 418, "INVALID_ARGUMENT"),
    ],
)
def test_our_errors_are_written_in_googles_words(problem: Any, code: int, status: str) -> None:
    written = json.loads(gemini.write_error(problem, "req_1"))["error"]
    assert (written["code"], written["status"], written["message"]) == (code, status, "no")
    again = gemini.read_error(code, {}, json.dumps({"error": written}).encode())
    assert (again.retry_after, again.param) == (problem.retry_after, problem.param)
    assert written["details"][-1]["requestId"] == "req_1"


# ------------------------------------------------------------------------------------------------------- embeddings


def embedding(dialect: str, given: Any, ask: Any, caller: str = "alias") -> Asked:
    turn = Turn(dialect, given, gemini.read_ask, model=caller, kind="embedding", embed=ask)
    return gemini.write_embed_ask(Plan(turn, "e-1", False))


def content(text: str) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}}


def test_one_embedding_is_asked_for_in_either_spelling() -> None:
    ask = gemini.read_embed_ask(fields({**content("a"), "task_type": "T", "outputDimensionality": 3}), batch=False)
    assert ask == EmbedAsk(inputs=("a",), dimensions=3, task="T")


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=9), min_size=1, max_size=3), st.none() | st.integers(1, 9)
)
@settings(deadline=None)
def test_embedding_requests_written_read_back(texts: list[str], dimensions: int | None) -> None:
    ask = EmbedAsk(tuple(texts), model="e-1", dimensions=dimensions, task="RETRIEVAL_QUERY", title="t")
    body = embedding("other", {}, ask).body
    assert gemini.read_embed_ask(msgspec.json.decode(body, type=dict[str, Raw]), batch=True) == ask


@pytest.mark.parametrize(
    ("body", "relayed"),
    [
        (
            b'{"requests": [ {"zz":1.0, "model":"models/e-1", "content":{"parts":[{"text":"a"}]}}], "zz": 2e1}',
            b'{"requests":[ {"zz":1.0, "model":"models/e-1", "content":{"parts":[{"text":"a"}]}}],"zz":2e1}',
        ),
        (
            b'{"requests": {"model":"models/alias", "zz":1.0, "content":{"parts":{"text": "a"}}}}',
            b'{"requests":[{"model":"models/e-1","zz":1.0,"content":{"parts":{"text": "a"}}}]}',
        ),
        (
            b'{"requests": [{"content":{"parts":{"text": "a"}}}]}',
            b'{"requests":[{"content":{"parts":{"text": "a"}},"model":"models/e-1"}]}',
        ),
        (
            b'{"content": {"parts":{"text": "a"}}, "zz": 1.0}',
            b'{"content":{"parts":{"text": "a"}},"zz":1.0}',
        ),
        (
            b'{"model":"alias", "content": {"parts":{"text": "a"}}, "task_type": "RETRIEVAL_DOCUMENT", "title": "t"}',
            b'{"model":"models/e-1","content":{"parts":{"text": "a"}},"task_type":"RETRIEVAL_DOCUMENT","title":"t"}',
        ),
        (
            b'{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}, {"fileData":{}}, 5]}}',
            b'{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}, {"fileData":{}}, 5]}}',
        ),
        (
            b'{"requests":[{"model":"models/other","taskType":"A"},{"model":"models/e-1","taskType":5}]}',
            b'{"requests":[{"model":"models/other","taskType":"A"},{"model":"models/e-1","taskType":5}]}',
        ),
        (
            b'{"requests":"none"}',
            b'{"requests":"none"}',
        ),
    ],
)
def test_a_callers_own_embedding_request_goes_on_byte_for_byte_but_for_the_models_name(
    body: bytes, relayed: bytes
) -> None:
    given = msgspec.json.decode(body, type=dict[str, Raw])
    asked = embedding("gemini", given, gemini.read_embed_ask)
    assert (asked.body, asked.dropped) == (relayed, ())


def test_what_google_does_not_embed_by_is_named() -> None:
    ask = EmbedAsk(("a",), user="u", as_base64=True, extras={"input_type": "query"})
    assert embedding("openai_chat", {}, ask).dropped == ("user", "input_type")


def test_members_of_an_embedding_request_without_a_neutral_meaning_are_extras() -> None:
    options = {"auto_truncate": True, "embedContentConfig": {"taskType": "T", "documentOcr": True}}
    ask = gemini.read_embed_ask(fields({"requests": [{**content("a"), **options}], "zz": 1}), batch=True)
    assert (ask.task, [*ask.extras]) == ("T", ["autoTruncate", "embedContentConfig.documentOcr", "zz"])


@pytest.mark.parametrize(
    ("body", "batch", "param"),
    [
        ({}, False, "content"),
        ({}, True, "requests"),
        ({"requests": [content("a"), {**content("b"), "taskType": "T"}]}, True, "requests[1]"),
        ({"requests": [content("a"), {"content": 5}]}, True, "requests[1].content"),
        ({"content": {"parts": [{"inlineData": {"data": ""}}]}}, False, "content.parts[0]"),
        ({**content("a"), "outputDimensionality": "x"}, False, "outputDimensionality"),
    ],
)
def test_embedding_requests_that_make_no_sense_are_refused(body: Any, batch: bool, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        gemini.read_embed_ask(fields(body), batch)
    assert caught.value.param == param


def test_token_ids_are_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        embedding("openai_chat", {}, EmbedAsk(inputs=("a", [1, 2])))
    assert caught.value.param == "input[1]"


def test_vectors_come_in_the_form_that_was_asked_for() -> None:
    many = gemini.read_embedded(b'{"embeddings":[{"values":[1,2.5]}],"usageMetadata":{"promptTokenCount":4}}')
    assert (many.vectors, many.usage) == (((1.0, 2.5),), Usage(4))
    assert gemini.write_embedded(many, batch=True) == many.native.raw
    one = gemini.read_embedded(gemini.write_embedded(many, batch=False))
    assert one.vectors == many.vectors
    assert json.loads(gemini.write_embedded(Embedded("m", ()), batch=True)) == {"embeddings": []}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"embeddings":[5]}', b'{"embeddings":[{"values":["x"]}]}'])
def test_what_holds_no_vectors_is_garbled(body: bytes) -> None:
    with pytest.raises(Garbled):
        gemini.read_embedded(body)


@pytest.mark.parametrize(
    "body", [{"embeddings": []}, {"embedding": {"values": [1]}}, {"embeddings": [{"values": [1]}] * 3}]
)
def test_vectors_that_are_not_one_for_each_text_are_garbled(body: Any) -> None:
    with pytest.raises(Garbled) as caught:
        gemini.read_embedded(json.dumps({**body, "usageMetadata": {"promptTokenCount": 4}}).encode(), 2)
    assert caught.value.used == Usage(4)
    assert gemini.read_embedded(json.dumps({"embeddings": [{"values": [1]}] * 2}).encode(), 2).usage == Usage()


def test_an_error_where_vectors_are_due_is_a_refusal() -> None:
    with pytest.raises(Refused):
        gemini.read_embedded(error(500, "INTERNAL"))


# --------------------------------------------------------------------------------------------------- counts, models

CONTENTS = b'[ {"parts":[{"text":"x"}]}]'


def count_plan(body: bytes) -> Plan:
    turn = Turn("gemini", read_object(body), gemini.read_count_ask, model="m", kind="count_tokens")
    return Plan(turn, "up-1", stream=False)


def test_contents_are_counted_as_their_caller_wrote_them() -> None:
    body = b'{"contents":' + CONTENTS + b"}"
    assert gemini.write_count_ask(count_plan(body)) == body
    assert count_plan(body).turn.prompt.messages[0].parts == (Text("x"),)


@pytest.mark.parametrize("name", [b"generateContentRequest", b"generate_content_request"])
def test_a_whole_request_is_counted_for_the_plans_model(name: bytes) -> None:
    body = b'{"' + name + b'":{"model":"models/alias","contents":' + CONTENTS + b',"tools":[{"googleSearch":{}}]}}'
    plan = count_plan(body)
    assert [tool.name for tool in plan.turn.prompt.tools] == ["googleSearch"]
    assert gemini.write_count_ask(plan) == (
        b'{"generateContentRequest":{"model":"models/up-1","contents":' + CONTENTS + b',"tools":[{"googleSearch":{}}]}}'
    )


def test_a_whole_request_that_names_the_model_is_counted_as_it_is() -> None:
    body = b'{"generateContentRequest":{"contents":' + CONTENTS + b',"model":"models/up-1","tools":[]}}'
    assert gemini.write_count_ask(count_plan(body)) == body
    assert gemini.write_count_ask(count_plan(body.replace(b"models/up-1", b"up-1"))) == body


def test_other_dialects_are_counted_whole() -> None:
    prompt = Prompt((Message("user", (Text("x"),)),), (Tool("f"),))
    asked = json.loads(gemini.write_count_ask(Plan(Turn("o", {}, lambda _: prompt, model="m"), "m", stream=False)))
    request = asked["generateContentRequest"]
    assert request["model"] == "models/m"
    assert request["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


def test_a_count_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest):
        gemini.read_count_ask({})


def test_counts_and_models_read_back() -> None:
    assert gemini.read_count(gemini.write_count(12)) == 12
    assert gemini.read_models(gemini.write_models(["a", "b/c"], {})) == ["a", "b/c"]
    for read in (gemini.read_count, gemini.read_models):
        with pytest.raises(Garbled):
            read(b"[5")


def test_one_model_is_described_like_those_of_the_list() -> None:
    assert json.loads(gemini.write_models(["a"], {}))["models"] == [json.loads(gemini.write_model("a"))]


def test_a_stream_of_white_space_ends_before_it_costs_anything() -> None:
    reader = gemini.answer_reader()
    events = [event for _ in range(2000) for event in reader.feed(b" " * 65_536)]
    assert [type(event) for event in events] == [Failed]
