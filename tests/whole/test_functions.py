"""Conversations of callers who offer OpenAI's older `functions`, and answer a call by its function's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .dialect_upstream import DialectUpstream
from .serving import Reply, Serving
from .upstream import Asked, Said, Upstream, stream, whole

NAMES = [{"name": "look"}, {"name": "find"}]
FUNCTIONS = [{**one, "parameters": {"type": "object"}} for one in NAMES]
BASES = {"anthropic": "", "gemini": "", "openai_response": "/v1", "openai_compatible": "/v1"}
TRANSCRIPT: list[dict[str, Any]] = [
    {"role": "user", "content": "look and find"},
    {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": '{"a":1}'}},
    {"role": "function", "name": "look", "content": "42"},
]
CALL = {"name": "look", "arguments": '{"a":1}'}


class Older:
    """A service that speaks OpenAI's format and knows functions alone, and DialectUpstream for the others."""

    def __init__(self) -> None:
        self.others = DialectUpstream()
        self.heard: list[list[dict[str, Any]]] = []

    def answer(self, asked: Asked) -> Said:
        if not asked.path.startswith("/openai_compatible/"):
            return self.others.answer(asked)
        messages = asked.json["messages"]
        self.heard.append(messages)
        for before, message in zip([{}, *messages], messages, strict=False):
            fits = (message["role"] == "function") == ("function_call" in before)
            named = message.get("name") == before.get("function_call", {}).get("name")
            if message["role"] == "tool" or "tool_calls" in message or not fits or not named:
                return whole({"error": {"message": f"not after {before}: {message}"}}, 400)
        calls = messages[-1].get("content") == "look and find"
        said = {"content": None, "function_call": CALL} if calls else {"content": "done"}
        end, asks = "function_call" if calls else "stop", asked.json.get("stream")
        kind, member = ("chat.completion.chunk", "delta") if asks else ("chat.completion", "message")
        choice = {"index": 0, member: {"role": "assistant", **said}, "finish_reason": end}
        body = {"id": "c", "object": kind, "created": 1, "model": "m", "choices": [choice]}
        return stream(b"data: " + json.dumps(body).encode() + b"\n\n", b"data: [DONE]\n\n") if asks else whole(body)


@pytest.fixture
def older() -> Older:
    return Older()


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    toml = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}/{kind}{version}"\napi_key = "sk-{kind}"\n'
        for kind, version in {**BASES, "mistral": "/v1"}.items()
    )
    with Serving(tmp_path_factory.mktemp("functions"), toml) as running:
        yield running


def ask(serving: Serving, kind: str, conversation: Any, *said: dict[str, Any], streams: bool = False) -> Reply:
    body = {"model": f"{kind}/m", "conversation": conversation, "messages": said, "functions": FUNCTIONS}
    reply = serving.ask("POST", "/v1/chat/completions", {**body, "stream": streams})
    assert reply.status == 200, reply.body
    return reply


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("kind", BASES)
def test_the_result_of_a_function_reaches_the_stored_call_and_no_other_call_is_spoken_of(
    serving: Serving, upstream: Upstream, older: Older, kind: str, streams: bool
):
    upstream.answer = older.answer
    called = ask(serving, kind, {}, {"role": "user", "content": "look and find"}, streams=streams)
    assert b"function_call" in called.body
    assert b"find" not in called.body.replace(b"look and find", b"")
    id = called.headers["x-conversation-id"]
    told = {"role": "function", "name": "look", "content": "42"}
    ask(serving, kind, id, told, streams=streams)
    ask(serving, kind, id, {"role": "user", "content": "thanks"}, streams=streams)
    if kind == "openai_compatible":
        first, last = {"role": "user", "content": "look and find"}, {"role": "user", "content": "thanks"}
        call = {"role": "assistant", "content": None, "function_call": CALL}
        assert older.heard[1] == [first, call, told]
        assert older.heard[2] == [first, call, told, {"role": "assistant", "content": "done"}, last]
        return
    assert older.others.refused == []
    _, answer, after = older.others.heard
    assert [name for _, name, _ in answer.calls] == ["look"]
    assert [text for _, _, text in answer.results] == ["42"]
    assert [name for _, name, _ in after.calls] == ["look"]
    assert "No result of this call" not in json.dumps(after.body)
    assert "42" in json.dumps(after.body)


def test_who_goes_on_with_a_conversation_of_functions_in_another_format_has_its_results(
    serving: Serving, upstream: Upstream, older: Older
):
    upstream.answer = older.answer
    called = ask(serving, "openai_compatible", {}, {"role": "user", "content": "look and find"})
    id = called.headers["x-conversation-id"]
    ask(serving, "anthropic", id, {"role": "function", "name": "look", "content": "42"})
    ask(serving, "openai_compatible", id, {"role": "user", "content": "thanks"})
    [answer] = older.others.heard
    assert [(one, text) for one, _, text in answer.results] == [(answer.calls[0][0], "42")]
    assert [one["role"] for one in older.heard[-1]] == ["user", "assistant", "function", "assistant", "user"]


def test_calls_that_a_service_of_the_same_format_has_shown_are_all_there_when_they_are_answered(
    serving: Serving, upstream: Upstream
):
    calls = [{"id": f"call_{one['name']}", "type": "function", "function": {**CALL, **one}} for one in NAMES]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    upstream.answer = lambda asked: whole(body)
    called = ask(serving, "openai_compatible", {}, {"role": "user", "content": "look and find"})
    assert called.json["choices"][0]["message"] == message
    told = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in calls]
    ask(serving, "openai_compatible", called.headers["x-conversation-id"], *told)
    assert upstream.asked[-1].json["messages"][1:] == [message, *told]


@pytest.mark.parametrize("begun", [TRANSCRIPT[:1], TRANSCRIPT])
def test_a_service_that_has_never_known_functions_goes_on_with_a_conversation_of_them(
    serving: Serving, upstream: Upstream, older: Older, begun: list[dict[str, Any]]
):
    upstream.answer = older.answer
    id = ask(serving, "openai_compatible", {}, *begun).headers["x-conversation-id"]
    if begun != TRANSCRIPT:
        ask(serving, "openai_compatible", id, TRANSCRIPT[-1])
    body = {"model": "mistral/m", "conversation": id, "messages": [{"role": "user", "content": "thanks"}]}
    assert serving.ask("POST", "/v1/chat/completions", body).status == 200
    assert older.others.refused == []
    sent = older.others.heard[-1].body["messages"]
    assert [one["role"] for one in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]
    assert sent[2]["content"] == "42"
