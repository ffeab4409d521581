"""What an answer says beside its text means the same in every other dialect, whole and streamed: written there and
read back, the thoughts, calls, sources, searches, log probabilities, tokens and the reason of the end are still
there."""

from __future__ import annotations

import re
from itertools import permutations
from types import ModuleType
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Fold,
    PartEnded,
    PartStarted,
    fold,
    unfold,
)
from midstream.core.parts import Citation, Reasoning, Text, ToolCall, text_of
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses

DIALECTS: dict[str, ModuleType] = {one.NAME: one for one in (openai_chat, openai_responses, anthropic_messages, gemini)}
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
SAY = Say("id", 1, "m", True)
SPOKEN = Answer(
    "a1",
    "m",
    1,
    (
        Choice(
            (
                Reasoning("hm"),
                Text("Hé🙂", citations=(Citation("https://e.org", "t", start=0, end=1),)),
                ToolCall("c1", "f", '{"a":1}'),
                ToolCall("c2", "g", "{}"),
            ),
            "tool_calls",
            logprobs=(TOKEN,),
        ),
    ),
    Usage(uncached_in=7, cache_read=3, out_text=15, out_reasoning=5, searches=2),
)


def facts(answer: Answer, target: str) -> dict[str, Any]:
    (choice,) = answer.choices
    texts = [part for part in choice.parts if isinstance(part, Text)]
    found: dict[str, Any] = {
        "text": text_of(choice.parts),
        "thoughts": "".join(part.text for part in choice.parts if isinstance(part, Reasoning)),
        "calls": [(part.id, part.name, part.arguments) for part in choice.parts if isinstance(part, ToolCall)],
        "sources": [(one.url, one.title) for text in texts for one in text.citations],
        "stop": choice.stop,
        "tokens": (answer.usage.input_tokens, answer.usage.cache_read, answer.usage.output_tokens),
        "thought": answer.usage.out_reasoning,
    }
    if target != anthropic_messages.NAME:  # which has no place for them
        found["logprobs"] = [(token["token"], token["logprob"]) for token in choice.logprobs]
    if target != gemini.NAME:  # which tells what was searched for, and not how often
        found["searches"] = answer.usage.searches
    return found


def written(answer: Answer, source: ModuleType, target: ModuleType) -> bytes:
    body: bytes = target.answer_writer(SAY).write([Attempted("x", source.NAME), *unfold(answer), Done()])
    return body


def streamed(answer: Answer, source: ModuleType, target: ModuleType) -> Answer:
    reader = target.answer_reader()
    folding = Fold()
    for event in [*reader.feed(written(answer, source, target)), *reader.finish()]:
        folding.add(event)
    assert folding.error is None
    return folding.answer()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("source", "target"), [*permutations(DIALECTS, 2)])
def test_what_an_answer_says_beside_its_text_is_said_in_every_dialect(source: str, target: str, stream: bool) -> None:
    spoken = DIALECTS[source].read_answer(DIALECTS[source].write_answer(SPOKEN, SAY))
    assert facts(spoken, source) == facts(SPOKEN, source)
    if stream:
        heard = streamed(spoken, DIALECTS[source], DIALECTS[target])
    else:
        heard = DIALECTS[target].read_answer(DIALECTS[target].write_answer(spoken, SAY))
    assert facts(heard, target) == facts(spoken, target)


#: How a client finds that a call has no arguments.
NOTHING = {
    openai_chat.NAME: b'"arguments":"{}"',
    openai_responses.NAME: b'"arguments":"{}"',
    anthropic_messages.NAME: b'"input":{}',
    gemini.NAME: b'"args":{}',
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("source", "target"), [*permutations(DIALECTS, 2)])
def test_a_call_without_arguments_has_those_of_an_empty_object(source: str, target: str, stream: bool) -> None:
    two = Choice((ToolCall("c1", "f"), ToolCall("c2", "g", '{"a":1}')), "tool_calls")
    answer = Answer("a1", "m", 1, (two,))
    if stream:
        body = written(answer, DIALECTS[source], DIALECTS[target])
        reader = DIALECTS[target].answer_reader()
        heard = fold([*reader.feed(body), *reader.finish()])
    else:
        body = DIALECTS[target].write_answer(answer, SAY)
        heard = DIALECTS[target].read_answer(body)
    assert NOTHING[target] in body
    assert [part.arguments or "{}" for part in heard.choices[0].parts] == ["{}", '{"a":1}']


def test_arguments_that_come_late_or_never_are_told_once_each() -> None:
    """Of two open calls the second one's begin first; a call that was cut says nothing that it did not say."""
    opened = [PartStarted(0, ToolCall("c1", "f")), PartStarted(1, ToolCall("c2", "g"))]
    said = [Delta(1, '{"a":'), Delta(0, "[]"), Delta(1, "1}"), PartEnded(1), PartEnded(0)]
    pieces = openai_chat.answer_writer(SAY).write([Attempted("x", "another"), *opened, *said])
    assert re.findall(rb'"index":(\d),"function":{"arguments":"(.*?)"}', pieces) == [
        (b"1", b'{\\"a\\":'), (b"0", b"[]"), (b"1", b"1}"),
    ]  # fmt: skip
    cut = openai_chat.answer_writer(SAY).write([Attempted("x", "another"), *opened])
    assert b"{}" not in cut
