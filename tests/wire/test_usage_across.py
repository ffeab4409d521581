"""Tokens are the same in every dialect, whole and streamed, each counted in its own way: what is cached stands inside
of the input or beside it, thoughts inside of the output or beside it, and no total counts anything twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Choice, Done, fold, unfold
from midstream.core.parts import Text
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses

from .test_fields_across import DIALECTS

SAY = Say("id", 1, "m", True)
tokens = st.integers(0, 1_000_000)
usages = st.builds(
    Usage,
    uncached_in=tokens,
    cache_read=tokens,
    cache_write_5m=tokens,
    cache_write_1h=tokens,
    out_text=tokens,
    out_reasoning=tokens,
)


def _chat(body: Any) -> tuple[int, int, int, int, int]:
    used = body["usage"]
    cached, thought = used["prompt_tokens_details"], used["completion_tokens_details"]
    return (used["prompt_tokens"], cached["cached_tokens"], used["completion_tokens"], thought["reasoning_tokens"],
            used["total_tokens"])  # fmt: skip


def _responses(body: Any) -> tuple[int, int, int, int, int]:
    used = body["usage"]
    cached, thought = used["input_tokens_details"], used["output_tokens_details"]
    return (used["input_tokens"], cached["cached_tokens"], used["output_tokens"], thought["reasoning_tokens"],
            used["total_tokens"])  # fmt: skip


def _messages(body: Any) -> tuple[int, int, int, int, int]:
    used = body["usage"]
    whole = used["input_tokens"] + used["cache_read_input_tokens"] + used["cache_creation_input_tokens"]
    thought = used.get("output_tokens_details", {}).get("thinking_tokens", 0)
    return whole, used["cache_read_input_tokens"], used["output_tokens"], thought, whole + used["output_tokens"]


def _google(body: Any) -> tuple[int, int, int, int, int]:
    used = body["usageMetadata"]
    thought = used.get("thoughtsTokenCount", 0)
    return (used["promptTokenCount"], used.get("cachedContentTokenCount", 0), used["candidatesTokenCount"] + thought,
            thought, used["totalTokenCount"])  # fmt: skip


COUNTED: dict[str, Callable[[Any], tuple[int, int, int, int, int]]] = {
    openai_chat.NAME: _chat,
    openai_responses.NAME: _responses,
    anthropic_messages.NAME: _messages,
    gemini.NAME: _google,
}


def counts(usage: Usage) -> tuple[int, int, int, int, int]:
    return usage.input_tokens, usage.cache_read, usage.output_tokens, usage.out_reasoning, usage.total_tokens


@pytest.mark.parametrize("target", DIALECTS)
@given(usage=usages)
def test_tokens_are_the_same_in_every_dialect(target: str, usage: Usage) -> None:
    dialect = DIALECTS[target]
    answer = Answer("a", "m", 1, (Choice((Text("hi"),)),), usage)
    whole = dialect.write_answer(answer, SAY)
    assert COUNTED[target](json.loads(whole)) == counts(usage)
    streamed = dialect.answer_writer(SAY).write([Attempted("x", "another"), *unfold(answer), Done()])
    reader = dialect.answer_reader()
    for read in (dialect.read_answer(whole), fold([*reader.feed(streamed), *reader.finish()])):
        assert counts(read.usage) == counts(usage)
        if target != gemini.NAME:  # to which writing to a cache is input like any other
            assert read.usage.cache_write == usage.cache_write
