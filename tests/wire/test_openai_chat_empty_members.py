"""Servers that name every member of a message, also those that hold nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.events import Done, Failed, Stopped, fold
from midstream.core.parts import Text, ToolCall
from midstream.core.turn import Plan, Turn
from midstream.wire import anthropic_messages, openai_chat
from midstream.wire.openai_chat import read_answer
from midstream.wire.strict_json import read_object

from .test_openai_chat_answer import body_of, choice_of
from .test_openai_chat_stream_in import DONE, ROLE, chunk, events_of

EMPTY: dict[str, Any] = {
    "annotations": None,
    "audio": {"data": "", "expires_at": 0, "id": "", "transcript": ""},
    "function_call": {"arguments": "", "name": ""},
    "refusal": "",
    "role": "assistant",
    "tool_calls": None,
}
CALL = {
    "custom": {"input": "", "name": ""},
    "function": {"arguments": '{"x":1}', "name": "f"},
    "id": "a",
    "type": "function",
}
CALLED = EMPTY | {"content": "", "tool_calls": [CALL]}


def test_a_member_that_holds_nothing_is_no_part() -> None:
    assert choice_of(EMPTY | {"content": "4"}).parts == (Text("4"),)
    assert choice_of(CALLED).parts == (ToolCall("a", "f", '{"x":1}'),)


def test_a_whole_answer_without_a_word_for_its_end_has_ended() -> None:
    assert choice_of(EMPTY | {"content": "4"}, "").stop == "stop"
    assert choice_of({"content": "4"}, "").stop == "stop"
    assert choice_of(CALLED, "").stop == "tool_calls"
    assert choice_of(CALLED, "").native_stop == ""
    body = body_of(CALLED, "")
    assert read_answer(body).native.raw == body  # type: ignore[union-attr]


def test_an_empty_word_in_a_stream_is_none() -> None:
    frames = [
        ROLE,
        chunk({"content": "a"}, finish=""),
        chunk({"content": "b"}, finish=""),
        chunk(finish="length"),
        DONE,
    ]
    events = events_of(*frames)
    assert [event.reason for event in events if isinstance(event, Stopped)] == ["length"]
    assert isinstance(events[-1], Done)
    assert fold(events).choices[0].parts == (Text("ab"),)


def test_a_stream_that_has_no_other_word_ends_with_its_mark() -> None:
    events = events_of(ROLE, chunk({"content": "a"}, finish=""), DONE)
    assert isinstance(events[-1], Done)
    assert fold(events).choices[0].stop == "stop"
    assert isinstance(events_of(ROLE, chunk({"content": "a"}, finish=""))[-1], Failed)


def test_a_call_in_a_stream_is_a_function_when_the_custom_one_is_empty() -> None:
    first = CALL | {"index": 0, "function": {"name": "f", "arguments": ""}}
    later = CALL | {"index": 0, "function": {"name": "", "arguments": '{"x":1}'}}
    events = events_of(chunk({"tool_calls": [first]}), chunk({"tool_calls": [later]}), chunk(finish="tool_calls"), DONE)
    assert fold(events).choices[0].parts == (ToolCall("a", "f", '{"x":1}'),)


@pytest.mark.parametrize("name", ["audio", "function_call", "custom"])
def test_such_a_message_comes_back_as_history(name: str) -> None:
    said = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    if name != "custom":
        said = {"role": "assistant", "content": "4", name: EMPTY[name]}
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": "2 + 2"}, said, {"role": "user", "content": "go on"}],
    }
    turn = Turn(openai_chat.NAME, read_object(json.dumps(asked).encode()), openai_chat.read_ask, model="m")
    [_, message, _] = turn.prompt.messages
    assert message.parts == ((ToolCall("a", "f", '{"x":1}'),) if name == "custom" else (Text("4"),))
    assert not anthropic_messages.write_ask(Plan(turn, "claude-sonnet-4-5", stream=False)).dropped
