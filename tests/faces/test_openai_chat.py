from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.errors import BadRequest
from midstream.core.turn import Turn
from midstream.core.web import Request
from midstream.faces import openai_chat

HI = [{"role": "user", "content": "hi"}]


def read(task: str = "chat", **body: Any) -> Turn:
    path = "/v1/chat/completions" if task == "chat" else "/v1/embeddings"
    return openai_chat.read(task, Request("POST", path, {}, {}, {}, "req", msgspec.json.encode(body)))


def test_who_offers_functions_and_no_tools_reads_a_function_call():
    functions = [{"name": "f"}]
    assert read(model="m", messages=HI, functions=functions).function_call
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert not read(model="m", messages=HI, functions=functions, tools=tools).function_call
    assert not read(model="m", messages=HI).function_call


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "m", "messages": HI, "stream": "yes"}, "stream"),
        ({"model": "m", "messages": HI, "store": 1}, "store"),
        ({"model": "m", "messages": HI, "conversation": 7}, "conversation"),
        ({"model": "m", "messages": HI, "conversation": {"id": 7}}, "conversation.id"),
        ({"model": "m", "messages": HI, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_mistake_is_named_by_its_path(body: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        read(**body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "body, param", [({}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": ["hi"]}, "messages[0]")]
)
def test_messages_that_are_none_are_refused_with_their_path(body: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        read(model="m", **body)
    assert refused.value.param == param


def test_what_was_not_said_is_not_assumed():
    turn = read(model="m", messages=HI)
    assert (turn.stream, turn.store, turn.conversation, turn.strict, turn.include_usage) == (
        False, None, None, False, False,
    )  # fmt: skip


@pytest.mark.parametrize("said, meant", [("conv_1", "conv_1"), ({"id": "conv_1"}, "conv_1"), ({}, ""), (None, None)])
def test_a_conversation_may_be_named_or_asked_for(said: Any, meant: str | None):
    assert read(model="m", messages=HI, conversation=said).conversation == meant


def test_null_is_the_same_as_not_said():
    turn = read(model="m", messages=HI, stream=None, store=None, stream_options=None)
    assert (turn.stream, turn.store, turn.include_usage) == (False, None, False)


def test_usage_in_the_stream_is_for_those_who_ask():
    assert read(model="m", messages=HI, stream=True, stream_options={"include_usage": True}).include_usage


def test_an_embedding_knows_its_model_and_its_texts():
    turn = read("embedding", model="m", input=["a", "b"], dimensions=3)
    assert turn.embed is not None
    assert (turn.kind, turn.model, turn.embed.inputs, turn.embed.dimensions) == ("embedding", "m", ("a", "b"), 3)


def test_new_messages_of_tools_and_systems_keep_their_role():
    said = [*HI, {"role": "assistant", "content": "x"}, {"role": "tool", "tool_call_id": "1", "content": "r"},
            {"role": "system", "content": "s"}]  # fmt: skip
    assert [role for role, _ in read(model="m", messages=said).fresh] == ["tool", "system"]


@pytest.mark.parametrize(
    ("message", "alone"),
    [
        ({"role": "user", "content": "developer"}, True),
        ({"content": "", "role": "system"}, True),
        ({"role": "assistant", "content": "x"}, True),
        ({"role": "developer", "content": "x"}, False),
        ({"role": "tool", "content": "x"}, False),
        ({"role": ["user"], "content": "x"}, False),
        ({"role": "user"}, False),
        ({"role": "user", "content": None}, False),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, False),
        ({"role": "assistant", "content": "x", "refusal": None}, False),
        ({"role": "assistant", "tool_calls": []}, False),
        ({}, False),
    ],
)
def test_messages_of_a_role_and_a_text_are_told_from_all_others(message: dict[str, Any], alone: bool):
    long = {"role": "user", "content": "x" * 5000}
    assert read(model="m", messages=[long, message]).only_texts is alone
    assert read(model="m", messages=[message, long]).only_texts is alone
