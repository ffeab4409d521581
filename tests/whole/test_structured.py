"""Structured answers through the real server from a model that takes no schema; several answers where one is given;
the tier that a service bills by."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from .serving import Serving
from .upstream import Asked, Said, Upstream, stream, whole

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
HI = [{"role": "user", "content": "hi"}]
OLD = "claude/claude-3-5-haiku-latest"
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
USED = {"input_tokens": 9, "output_tokens": 3}
SAID = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_sequence": None, "usage": USED}


def claude(name: str, arguments: dict[str, Any]) -> Any:
    """Calls the tool, streamed in small pieces when a stream is asked for."""

    def answer(asked: Asked) -> Said:
        call = {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}
        if not asked.json.get("stream"):
            return whole({**SAID, "content": [call], "stop_reason": "tool_use"})
        text = json.dumps(arguments)
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**SAID, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {**call, "input": {}}},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": it},
                }
                for it in ("", *(text[at : at + 5] for at in range(0, len(text), 5)))
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": USED},
            {"type": "message_stop"},
        ]
        return stream(*(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events))

    return answer


def chat(serving: Serving, **members: Any) -> Any:
    return serving.ask("POST", "/v1/chat/completions", {"messages": HI, **members})


def chunks(body: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def test_an_answer_by_a_schema_is_text_though_the_model_gave_it_as_a_call(serving: Serving, upstream: Upstream):
    upstream.answer = claude("place", {"city": "Oslo"})
    reply = chat(serving, model=OLD, response_format=FORM)
    [choice] = reply.json["choices"]
    assert json.loads(choice["message"]["content"]) == {"city": "Oslo"}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert upstream.asked[0].json["tool_choice"]["name"] == "place"
    assert "x-midstream-dropped-params" not in reply.headers


def test_streamed_it_comes_as_text_in_pieces(serving: Serving, upstream: Upstream):
    upstream.answer = claude("place", {"city": "Oslo"})
    choices = [one["choices"][0] for one in chunks(chat(serving, model=OLD, stream=True, response_format=FORM).body)]
    pieces = [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]
    assert json.loads("".join(pieces)) == {"city": "Oslo"}
    assert len(pieces) > 2
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert not any("tool_calls" in choice["delta"] for choice in choices)


def saying(text: str) -> Any:
    """Claude says the text, streamed in small pieces when a stream is asked for."""

    def answer(asked: Asked) -> Said:
        if not asked.json.get("stream"):
            return whole({**SAID, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**SAID, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
                for piece in pieces
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USED},
            {"type": "message_stop"},
        ]
        return stream(*(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events))

    return answer


@pytest.mark.parametrize("streams", [False, True])
def test_json_that_a_model_is_asked_for_in_words_is_json_or_an_error(
    serving: Serving, upstream: Upstream, streams: bool
):
    asked = {"model": "claude/claude-sonnet-4-5", "response_format": {"type": "json_object"}, "stream": streams}

    def said(text: str) -> Any:
        upstream.answer = saying(text)
        return chat(serving, **asked)

    for text in ('{"city": "Oslo"}', '```json\n{"city": "Oslo"}\n```'):
        reply = said(text)
        if streams:
            deltas = [choice["delta"].get("content") or "" for one in chunks(reply.body) for choice in one["choices"]]
            content = "".join(deltas)
        else:
            content = reply.json["choices"][0]["message"]["content"]
        assert json.loads(content) == {"city": "Oslo"}
        assert serving.attempts()[-1]["status"] == "ok"
    before = len(upstream.asked)
    reply = said("Gladly! It is Oslo.")
    error = chunks(reply.body)[-1]["error"] if streams else reply.json["error"]
    assert (reply.status, error["code"]) == (200 if streams else 502, "response_invalid")
    assert "Gladly" not in error["message"]
    assert b'"finish_reason":"stop"' not in b"".join(reply.body.split())
    assert b"[DONE]" not in reply.body
    assert len(upstream.asked) == before + 1
    attempt = serving.attempts()[-1]
    assert (attempt["usage"]["input_tokens"], attempt["usage"]["output_tokens"]) == (9, 3)
    assert attempt["status"] != "ok"


def test_answers_that_are_no_json_say_nothing_of_the_providers_health(serving: Serving, upstream: Upstream):
    upstream.answer = saying("Gladly!")
    for _ in range(6):
        assert chat(serving, model="claude/claude-x", response_format={"type": "json_object"}).status == 502
    assert chat(serving, model="claude/claude-x").status == 200


def test_where_the_caller_has_begun_the_answer_its_second_half_is_no_json(serving: Serving, upstream: Upstream):
    upstream.answer = saying('"city": "Oslo"}')
    begun = [*HI, {"role": "assistant", "content": "{"}]
    reply = serving.ask("POST", "/v1/chat/completions", {
        "model": "claude/claude-x", "messages": begun, "response_format": {"type": "json_object"}
    })  # fmt: skip
    assert (reply.status, reply.json["choices"][0]["message"]["content"]) == (200, '"city": "Oslo"}')


def test_gemini_callers_may_get_any_json(serving: Serving, upstream: Upstream):
    upstream.answer = saying("[1, 2]")
    config = {"responseMimeType": "application/json"}
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": config}
    reply = serving.ask("POST", "/v1beta/models/claude/claude-x:generateContent", body)
    assert reply.json["candidates"][0]["content"]["parts"][0]["text"] == "[1, 2]"


def test_gemini_callers_get_it_too(serving: Serving, upstream: Upstream):
    upstream.answer = claude("answer", {"city": "Oslo"})
    config = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": config}
    [candidate] = serving.ask("POST", f"/v1beta/models/{OLD}:generateContent", body).json["candidates"]
    assert json.loads(candidate["content"]["parts"][0]["text"]) == {"city": "Oslo"}
    assert candidate["finishReason"] == "STOP"


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_of_the_callers_own_tool_stays_a_call(serving: Serving, upstream: Upstream, streams: bool):
    upstream.answer = claude("look", {"q": 1})
    reply = chat(serving, model=OLD, response_format=FORM, tools=[LOOK], stream=streams)
    said = b"".join(reply.body.split())
    assert upstream.asked[0].json["tool_choice"] == {"type": "any"}
    assert b'"finish_reason":"tool_calls"' in said
    assert b'"name":"look"' in said


@pytest.mark.parametrize("model", [OLD, "answers/gpt-4.1", "midstream/rehearsal"])
def test_several_answers_are_refused_where_one_is_given_and_nothing_leaves(
    serving: Serving, upstream: Upstream, model: str
):
    reply = chat(serving, model=model, n=2)
    assert reply.status == 400
    assert (reply.json["error"]["param"], reply.json["error"]["code"]) == ("n", "unsupported")
    assert upstream.asked == []


TIERS = """
[providers.openai]
api_key = "sk-upstream-secret"
base_url = "{url}/v1"
"""


def test_the_tier_that_the_service_says_it_used_is_what_is_paid(upstream: Upstream, tmp_path: Any):
    counts = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    told = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5", "usage": counts}
    tier = ""

    def answer(asked: Asked) -> Said:
        message = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        if not asked.json.get("stream"):
            return whole({**told, "choices": [message], "service_tier": tier})
        head = {**told, "object": "chat.completion.chunk", "service_tier": tier, "usage": None}
        delta = {"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        frames = ({**head, "choices": [delta]}, {**head, "choices": [], "usage": counts})
        return stream(*(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames), b"data: [DONE]\n\n")

    upstream.answer = answer
    paid: dict[str, Any] = {}
    with Serving(tmp_path, TIERS.format(url=upstream.url)) as serving:
        for tier in ("default", "flex", "priority", "unheard-of"):
            for streams in (False, True):
                assert chat(serving, model="openai/gpt-5", service_tier="auto", stream=streams).status == 200
                attempt = serving.attempts()[-1]
                assert attempt["price"]["service_tier"] == tier
                paid.setdefault(tier, []).append((Decimal(attempt["cost"]), attempt["price"]["priced_as"]))
    assert {tier: [name for _, name in costs] for tier, costs in paid.items()} == {
        "default": ["default"] * 2, "flex": ["flex"] * 2, "priority": ["priority"] * 2, "unheard-of": ["standard"] * 2,
    }  # fmt: skip
    usual = paid["default"][0][0]
    assert [cost / usual for cost, _ in paid["flex"]] == [Decimal("0.5")] * 2
    assert all(cost > usual for cost, _ in paid["priority"])
    assert [cost for cost, _ in paid["unheard-of"]] == [usual] * 2
