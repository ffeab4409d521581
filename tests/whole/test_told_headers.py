"""What a provider says of its limits in headers reaches the caller, whichever face asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .serving import Serving
from .test_chat import chunk
from .upstream import Asked, Said, Upstream, whole

KEY = "sk-operators-0123456789"
LIMITS = {"x-ratelimit-remaining-tokens": "149984", "x-ratelimit-reset-tokens": "6ms"}
TOML = f"""
[providers.up]
kind = "openai_compatible"
base_url = "{{url}}/v1"
api_key = "{KEY}"
"""
SAID = {"role": "assistant", "content": "Hello."}
ANSWER = {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": SAID, "finish_reason": "stop"}
]}  # fmt: skip
ASK = {"model": "up/m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}


def answer(asked: Asked) -> Said:
    headers = {**LIMITS, "x-request-id": "req_theirs", "x-ratelimit-key": f"of {KEY}", "x-other": "1", "server": "s"}
    if asked.path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
        said = whole({"object": "list", "model": "m", "data": [vector], "usage": {"prompt_tokens": 1}})
    elif b"refuse" in asked.body:
        said = whole({"error": {"message": "too many", "code": "rate_limit_exceeded"}}, 429)
    elif b"garble" in asked.body:
        said = whole(b"none") if not asked.json.get("stream") else Said((b'data: {"error": {"message": "no"}}\n\n',))
    elif asked.json.get("stream"):
        said = Said((chunk(SAID), chunk({}, "stop"), b"data: [DONE]\n\n"), content_type="text/event-stream")
    else:
        said = whole(ANSWER)
    said.headers = headers
    return said


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with (
        Upstream(answer) as upstream,
        Serving(tmp_path_factory.mktemp("told"), TOML.format(url=upstream.url)) as serving,
    ):
        yield serving


REFUSED = {**ASK, "messages": [{"role": "user", "content": "refuse"}]}
GARBLED = {**ASK, "messages": [{"role": "user", "content": "garble"}]}
ASKS: dict[str, tuple[str, Any, int]] = {
    "whole": ("/v1/chat/completions", ASK, 200),
    "streamed": ("/v1/chat/completions", {**ASK, "stream": True}, 200),
    "in another dialect": ("/v1/messages", ASK, 200),
    "streamed in another dialect": ("/v1/messages", {**ASK, "stream": True}, 200),
    "embedded": ("/v1/embeddings", {"model": "up/m", "input": "Hello."}, 200),
    "refused": ("/v1/chat/completions", REFUSED, 429),
    "refused before a stream": ("/v1/messages", {**REFUSED, "stream": True}, 429),
    "garbled": ("/v1/chat/completions", GARBLED, 502),
    "an error in a stream that was begun": ("/v1/chat/completions", {**GARBLED, "stream": True}, 502),
}


@pytest.mark.parametrize(("path", "body", "status"), ASKS.values(), ids=ASKS.keys())
def test_limits_and_the_providers_own_id_are_told_and_nothing_else(
    serving: Serving, path: str, body: Any, status: int
) -> None:
    reply = serving.ask("POST", path, body)
    assert reply.status == status, reply.body
    told = {name: value for name, value in reply.headers.items() if "ratelimit" in name or "upstream" in name}
    assert told == {**LIMITS, "x-upstream-request-id": "req_theirs"}
    assert reply.headers["x-request-id"] != "req_theirs"
    assert "x-other" not in reply.headers
