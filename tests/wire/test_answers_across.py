"""What an answer says beside its text means the same in every other dialect, whole and streamed: written there and
read back, the thoughts, calls, sources, searches, log probabilities, tokens and the reason of the end are still
there."""

from __future__ import annotations

from itertools import permutations
from types import ModuleType
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Choice, Done, Fold, unfold
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


def streamed(answer: Answer, source: ModuleType, target: ModuleType) -> Answer:
    written = target.answer_writer(SAY).write([Attempted("x", source.NAME), *unfold(answer), Done()])
    reader = target.answer_reader()
    folding = Fold()
    for event in [*reader.feed(written), *reader.finish()]:
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
