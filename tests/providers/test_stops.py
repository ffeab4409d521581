"""Stop sequences are sent to OpenAI's models that take them, and named where they do not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.turn import Plan, Turn
from midstream.providers import openai
from midstream.wire import anthropic_messages, openai_chat
from midstream.wire.strict_json import read_object

HI = [{"role": "user", "content": "hi"}]


def stop_of(model: str, text: bytes, dialect: Any) -> tuple[Any, tuple[str, ...]]:
    turn = Turn(dialect.NAME, read_object(text), dialect.read_ask, model="m")
    assert openai.SERVICE.write is not None
    written = openai.SERVICE.write(Plan(turn, model, stream=False))
    return msgspec.json.decode(written.body).get("stop"), written.dropped


ANTHROPIC = msgspec.json.encode({"messages": HI, "max_tokens": 99, "stop_sequences": ["END"]})
CHAT = msgspec.json.encode({"messages": HI, "stop": "END"})


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1", "o1", "o3-mini", "gpt-5-chat-latest", "a-model-of-ours"])
def test_they_are_sent_to_a_model_that_takes_them(model: str) -> None:
    assert stop_of(model, ANTHROPIC, anthropic_messages) == (["END"], ())


@pytest.mark.parametrize(
    "model", ["o3", "o3-pro", "o4-mini-2025-04-16", "o1-mini", "gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.2", "gpt-5.4"]
)
def test_they_are_named_where_a_model_refuses_them(model: str) -> None:
    assert stop_of(model, ANTHROPIC, anthropic_messages) == (None, ("stop_sequences",))
    # who speaks the service's own format is told by it
    assert stop_of(model, CHAT, openai_chat) == ("END", ())
