"""What a service takes or refuses in its own dialect it decides itself: an odd request arrives as it was written. A
service of another dialect gets it in its own words, or the caller is told what is wrong: it is never our failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .odd_asks import BODIES
from .serving import Reply, Serving
from .upstream import Asked, Said, Upstream, whole

KINDS = {
    "openai": ("chat", "/v1"),
    "openai_compatible": ("chat", "/v1"),
    "openai_response": ("responses", "/v1"),
    "anthropic": ("claude", ""),
    "gemini": ("google", ""),
}
FACES = {"chat": "/v1/chat/completions", "claude": "/v1/messages", "google": "/v1beta/models/{model}:generateContent"}
CASES = [(face, name) for face, bodies in BODIES.items() for name in bodies]
#: What a service is known to refuse is fitted for it, and named when it said something.
FITTED = {
    ("openai", "reasoning of before"): "reasoning_details",
    ("openai", "reasoning that is an object"): "reasoning",
    ("openai_compatible", "a system late"): "",
}
SAID = {
    "chat": {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]},
    "responses": {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [
        {"type": "message", "id": "m", "role": "assistant", "content": [
            {"type": "output_text", "text": "ok", "annotations": []}]}]},
    "claude": {"id": "a", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
               "content": [{"type": "text", "text": "ok"}], "usage": {"input_tokens": 1, "output_tokens": 1}},
    "google": {"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
}  # fmt: skip


def answer(asked: Asked) -> Said:
    return whole(SAID[KINDS[asked.path.split("/")[1]][0]])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answer) as running:
        yield running


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}/{kind}{version}"\napi_key = "sk-{kind}"\n'
        for kind, (_, version) in KINDS.items()
    )
    with Serving(tmp_path_factory.mktemp("own"), toml) as running:
        yield running


def ask(serving: Serving, face: str, kind: str, body: dict[str, Any]) -> Reply:
    model = kind if "/" in kind else f"{kind}/m"
    asked = body if face == "google" else {"model": model, **body}
    return serving.ask("POST", FACES[face].format(model=model), json.dumps(asked, indent=1).encode())


@pytest.mark.parametrize(("face", "name"), CASES)
def test_an_odd_request_arrives_as_it_was_written_at_a_service_of_its_dialect(
    serving: Serving, upstream: Upstream, face: str, name: str
):
    body = BODIES[face][name]
    for kind in [kind for kind, (dialect, _) in KINDS.items() if dialect == face]:
        upstream.asked.clear()
        got = ask(serving, face, kind, body)
        assert got.status == 200, got.body
        [arrived] = upstream.asked
        assert got.headers.get("x-midstream-dropped-params", "") == FITTED.get((kind, name), "")
        if (kind, name) in FITTED:
            continue
        told = body if face == "google" else {"model": "m", **body}
        assert list(arrived.json.items()) == list(told.items())
        written = json.dumps(told, indent=1).encode()
        for member in told.values():  # values in their own bytes, with spaces and all
            if isinstance(member, list | dict):
                text = json.dumps(member, indent=1).replace("\n", "\n ").encode()
                assert text in written
                assert text in arrived.body


@pytest.mark.parametrize(("face", "name"), CASES)
def test_an_odd_request_across_dialects_is_understood_or_refused_by_name(serving: Serving, face: str, name: str):
    for kind in [kind for kind, (dialect, _) in KINDS.items() if dialect != face] + ["midstream"]:
        got = ask(serving, face, kind if kind != "midstream" else "midstream/rehearsal", BODIES[face][name])
        assert got.status in (200, 400), (kind, got.body)
        if got.status == 400:
            said = got.json["error"]
            assert said["message"], kind
            assert got.json.get("type") == "error" or "type" in said or said["status"] == "INVALID_ARGUMENT"


def test_a_conversation_goes_on_after_a_message_that_only_its_own_service_understands(
    serving: Serving, upstream: Upstream
):
    odd = {"role": "user", "content": [{"type": "text", "text": {"parts": ["hi"]}}]}
    first = ask(serving, "chat", "openai", {"messages": [odd], "conversation": {}})
    assert first.status == 200, first.body
    upstream.asked.clear()
    named = first.headers["x-conversation-id"]
    again = ask(serving, "chat", "openai", {"messages": [{"role": "user", "content": "go on"}], "conversation": named})
    assert again.status == 200, again.body
    [arrived] = upstream.asked
    assert [message["content"] for message in arrived.json["messages"]] == [odd["content"], "ok", "go on"]
    other = ask(serving, "chat", "anthropic", {"messages": [{"role": "user", "content": "and"}], "conversation": named})
    assert other.status == 200, other.body
