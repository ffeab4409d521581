"""Signed thoughts go back to their issuer also where the call that they belong to is sent within a conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .dialect_upstream import DialectUpstream
from .serving import Reply, Serving
from .upstream import Upstream

KINDS = ("anthropic", "gemini")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "dig")]


@pytest.fixture
def dialects(upstream: Upstream) -> DialectUpstream:
    dialects = DialectUpstream()
    upstream.answer = dialects.answer
    return dialects


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}/{kind}"\napi_key = "sk-{kind}"\n'
        for kind in KINDS
    )
    with Serving(tmp_path_factory.mktemp("thoughts"), toml) as running:
        yield running


def ask(serving: Serving, kind: str, *said: dict[str, Any], **more: Any) -> Reply:
    body = {"model": f"{kind}/m", "messages": said, "tools": TOOLS, "reasoning_effort": "low", **more}
    reply = serving.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    return reply


def transcript(serving: Serving, kind: str) -> tuple[dict[str, Any], ...]:
    """A question, the call that was thought about, and its result, as a client of OpenAI's format has them."""
    question = {"role": "user", "content": "think, then dig"}
    message = ask(serving, kind, question).json["choices"][0]["message"]
    calls = message["tool_calls"]
    said = {"role": "assistant", "content": message["content"], "tool_calls": calls}
    return question, said, {"role": "tool", "tool_call_id": calls[0]["id"], "content": "42"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_that_begins_with_a_transcript(serving: Serving, dialects: DialectUpstream, kind: str):
    begun = transcript(serving, kind)
    ask(serving, kind, *begun, conversation={})
    assert dialects.heard[-1].signed == [dialects.said[0].signature]
    assert dialects.refused == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_turn_of_a_conversation_that_has_calls(serving: Serving, dialects: DialectUpstream, kind: str):
    called = ask(serving, kind, {"role": "user", "content": "look"}, conversation={})
    id = called.headers["x-conversation-id"]
    call = called.json["choices"][0]["message"]["tool_calls"][0]["id"]
    ask(serving, kind, {"role": "tool", "tool_call_id": call, "content": "7"}, conversation=id)
    more = transcript(serving, kind)
    ask(serving, kind, *more, conversation=id)
    assert dialects.heard[-1].signed == [dialects.said[-2].signature]
    assert [name for _, name, _ in dialects.heard[-1].calls] == ["look", "dig"]
    assert dialects.refused == []
