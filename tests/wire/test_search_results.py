"""A search result that a caller of Anthropic hands in is read by every model: its title and text are text in other
dialects, where it stands, and the block itself goes back to its issuer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from midstream.core.parts import Cache, Foreign, State, Text
from midstream.core.turn import Plan, Turn
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from midstream.wire.anthropic_messages import NAME
from midstream.wire.strict_json import read_object

from .test_fields_across import HI, written

OTHERS = [one.NAME for one in (openai_chat, openai_responses, gemini)]
FOUND = {
    "type": "search_result",
    "source": "https://peaks.example/k2",
    "title": "K2",
    "content": [{"type": "text", "text": "It is 8611 m high."}, {"type": "text", "text": "It is steep."}],
    "citations": {"enabled": True},
}
TOLD = "K2:\nIt is 8611 m high.\nIt is steep.\n"
ASKED = {"type": "text", "text": "How high?"}
NAMED = ("messages.content.source", "messages.content.citations")


CALLED = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]}


def body(*content: Any) -> dict[str, Any]:
    return {**HI[NAME], "messages": [{"role": "user", "content": list(content)}]}


def answered(*content: Any) -> dict[str, Any]:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": list(content)}]}
    return {**HI[NAME], "messages": [{"role": "user", "content": "go"}, CALLED, result]}


def said(target: str, asked: bytes) -> Any:
    """What the last message holds, as its dialect writes it."""
    value = json.loads(asked)
    last = value[{"openai_chat": "messages", "gemini": "contents", "openai_responses": "input"}[target]][-1]
    return last.get("content") or last.get("output") or last["parts"]


@pytest.mark.parametrize(
    ("target", "want"),
    [
        ("openai_chat", [{"type": "text", "text": TOLD}, ASKED]),
        ("openai_responses", [{"type": "input_text", "text": TOLD}, {"type": "input_text", "text": "How high?"}]),
        ("gemini", [{"text": TOLD}, {"text": "How high?"}]),
    ],
)
def test_it_is_read_in_a_users_message(target: str, want: Any) -> None:
    asked, dropped = written(NAME, target, body(FOUND, ASKED))
    assert (said(target, asked), dropped) == (want, NAMED)


@pytest.mark.parametrize("target", OTHERS)
def test_it_is_read_in_the_result_of_the_tool_that_found_it(target: str) -> None:
    asked, dropped = written(NAME, target, answered(FOUND))
    found = said(target, asked)
    if target == "gemini":
        found = found[0]["functionResponse"]["response"]["output"]
    assert (found, dropped) == (TOLD, NAMED)


@pytest.mark.parametrize("target", OTHERS)
def test_several_in_one_result_stay_apart(target: str) -> None:
    other = {"type": "search_result", "source": "s", "title": "", "content": [{"type": "text", "text": "Far away."}]}
    asked, _ = written(NAME, target, answered(FOUND, other))
    text = json.dumps(said(target, asked))
    assert text.count("K2:\\n") == 1
    assert "steep.\\n" in text
    assert "Far away.\\n" in text


def test_what_marks_its_texts_is_named() -> None:
    marked = {**FOUND, "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}
    _, dropped = written(NAME, "openai_responses", body(marked))
    assert dropped == ("messages.content.source", "messages.content.content", "messages.content.citations")


@pytest.mark.parametrize("odd", [{**FOUND, "content": [{"type": "image"}]}, {**FOUND, "content": 5}])
def test_one_that_is_not_only_text_is_named(odd: dict[str, Any]) -> None:
    for target in OTHERS:
        _, dropped = written(NAME, target, body(odd, ASKED))
        assert [name.rpartition(".")[2] for name in dropped] == ["search_result"]


def test_a_result_of_which_nothing_can_be_said_invents_no_message() -> None:
    hidden = {"type": "tool_reference", "tool_name": "look"}
    asked, dropped = written(NAME, "openai_chat", answered(hidden))
    roles = [message["role"] for message in json.loads(asked)["messages"]]
    assert (roles, dropped) == (["user", "assistant", "tool"], ("tool_reference",))


@pytest.mark.parametrize("block", [FOUND, {**FOUND, "cache_control": {"type": "ephemeral", "ttl": "1h"}}])
def test_its_issuer_gets_it_back_as_it_was(block: dict[str, Any]) -> None:
    """Where a message is written anew, as something else in it was changed."""
    for asked in (body(block, ASKED), answered(block)):
        prompt = anthropic_messages.read_ask(read_object(json.dumps(asked).encode()))
        bare = replace(prompt, messages=tuple(replace(message, native=None) for message in prompt.messages))
        out = anthropic_messages.write_ask(
            Plan(Turn("another", {}, lambda fields, bare=bare: bare, model="m"), "m", False)
        )
        [first, *_] = json.loads(out.body)["messages"][-1]["content"]
        assert (first if first["type"] == "search_result" else first["content"][0]) == block
        assert out.dropped == ()


def test_it_is_text_with_its_mark_and_what_is_none_stays_whole() -> None:
    marked = {**FOUND, "cache_control": {"type": "ephemeral"}}
    [message] = anthropic_messages.read_ask(read_object(json.dumps(body(marked)).encode())).messages
    assert message.parts == (Text(TOLD, cache=Cache(), state=State(NAME, {"search_result": marked})),)
    odd = {"type": "search_result", "x": 1}
    [message] = anthropic_messages.read_ask(read_object(json.dumps(body(odd)).encode())).messages
    assert message.parts == (Foreign("search_result", State(NAME, odd)),)
