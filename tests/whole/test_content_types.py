"""Services that call a stream JSON, or JSON a stream: what comes is told by what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from .serving import Serving
from .upstream import Asked, Said, Upstream

CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello there"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
CLAUDE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "hello there"}],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hello there"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
    "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "hello there", "annotations": []}]}],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}  # fmt: skip
WHOLE = {"openai": CHAT, "anthropic": CLAUDE, "gemini": GEMINI, "openai_response": RESPONSE}


def frames(*events: Any, named: bool = False) -> bytes:
    written = b""
    for event in events:
        name = f"event: {event['type']}\n".encode() if named else b""
        written += name + b"data: " + msgspec.json.encode(event) + b"\n\n"
    return written


def streamed(kind: str) -> bytes:
    if kind == "openai":
        first = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
        text = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "hello there"}}]}
        last = {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": CHAT["usage"]}
        return frames(first, text, last) + b"data: [DONE]\n\n"
    if kind == "anthropic":
        begun = {**CLAUDE, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
        return frames(
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello there"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
            named=True,
        )
    if kind == "gemini":
        return frames(GEMINI)
    return frames({"type": "response.completed", "response": RESPONSE}, named=True)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as one:
        yield one


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(f'[providers.{kind}]\napi_key = "k"\nbase_url = "{upstream.url}"\n' for kind in WHOLE)
    with Serving(tmp_path_factory.mktemp("types"), toml) as running:
        yield running


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize(
    ("form", "content_type"),
    [("stream", "application/json"), ("stream", "text/plain"), ("json", "text/event-stream"), ("json", "")],
)
def test_an_answer_is_told_by_what_it_is(serving: Serving, upstream: Upstream, kind: str, form: str, content_type: str):
    body = streamed(kind) if form == "stream" else b" \n" + msgspec.json.encode(WHOLE[kind])

    def answer(asked: Asked) -> Said:
        return Said((body[:1], body[1:9], body[9:]), content_type=content_type)

    upstream.answer = answer
    asked = {"model": f"{kind}/m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    reply = serving.ask("POST", "/v1/chat/completions", asked)
    assert reply.status == 200, reply.body
    told = [line[6:] for line in reply.body.decode().split("\n") if line.startswith("data: ")]
    assert told[-1] == "[DONE]"
    chunks = [msgspec.json.decode(line) for line in told[:-1]]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text == "hello there"
    [attempt] = serving.ask("GET", "/v1/admin/attempts?limit=1").json["data"]
    assert (attempt["status"], attempt["usage"]["input_tokens"], attempt["usage"]["output_tokens"]) == ("ok", 3, 2)


@pytest.mark.parametrize("kind", WHOLE)
def test_an_error_in_place_of_a_stream_is_that_error(serving: Serving, upstream: Upstream, kind: str):
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "not so", "code": 400}}

    def answer(asked: Asked) -> Said:
        return Said((msgspec.json.encode(error),), content_type="text/event-stream")

    upstream.answer = answer
    asked = {"model": f"{kind}/m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    reply = serving.ask("POST", "/v1/chat/completions", asked)
    assert reply.status >= 400
    assert "not so" in reply.body.decode()
