"""How near an answer comes to what was expected: by its words, by its meaning, or by a model's word on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..agent.judging import VERDICT, judging, verdict
from ..agent.prepare import chosen
from ..agent.structured import structured
from ..core.agents import AgentAsk, Loaded
from ..core.errors import BadRequest, Garbled
from ..core.events import Embedded
from ..core.json_same import same
from ..core.json_words import value_of
from ..core.parts import text_of
from ..core.serving import Completed, Desk, Target
from ..core.turn import EmbedAsk, Prompt, Turn
from ..runs.order import Act, Order
from ..runs.run import Runs
from .asides import FACE, finished
from .models_of import Models
from .turn_models import DIALECT, asked

#: Digits of a score by meaning: what is behind them is the noise of services.
DIGITS = 6
_NOTHING = object()


class Tried(Struct, frozen=True):
    """Who tries which version. embedding: {service, model} that embeds unless a case says another, None = none."""

    loaded: Loaded
    key: str
    request: str = ""
    embedding: Mapping[str, str] | None = None


class Score(Struct, frozen=True):
    """value: from 0 to 1. reason: a judge's, "" otherwise."""

    value: float
    reason: str = ""


class Scorer:
    def __init__(self, models: Models, runs: Runs) -> None:
        self._models = models
        self._runs = runs

    async def score(self, tried: Tried, case: Mapping[str, Any], answer: str) -> Score:
        """case: {input, expected, match} and, of those that ask a model, {by, rubric}. What a model is asked is a run
        like any other. Raises BadRequest when no model is named, and what asking it raises."""
        how, expected = case["match"], case["expected"]
        if how == "cosine":
            return Score(await self._near(tried, case, answer))
        if how == "judge":
            return await self._judged(tried, case, answer)
        return Score(float(matches(how, expected, answer)))

    def _targets(self, tried: Tried, by: Mapping[str, str]) -> tuple[Target, ...]:
        loaded = tried.loaded
        return self._models.targets(loaded.org, by.get("service", ""), by["model"], loaded.spec.keys, None)

    async def _near(self, tried: Tried, case: Mapping[str, Any], answer: str) -> float:
        by = case.get("by") or tried.embedding
        if by is None:
            raise BadRequest("by: say which model embeds", param="by", code="model_missing")
        if not answer.strip():
            return 0.0
        embed = EmbedAsk((case["expected"], answer))
        turn = Turn(DIALECT, {}, lambda fields: Prompt(()), model=by["model"], kind="embedding", embed=embed)
        _, _, gave = await finished(self._runs, self._order(tried, turn, self._targets(tried, by)))
        assert gave is not None
        assert isinstance(gave.result, Embedded)
        return cosine(*gave.result.vectors)

    async def _judged(self, tried: Tried, case: Mapping[str, Any], answer: str) -> Score:
        by = case.get("by")
        if by is None:  # the agent's own model
            service, model = chosen(tried.loaded, AgentAsk())
            by = {"service": service, "model": model}
        targets = self._targets(tried, by)
        prompt = judging(case.get("rubric", ""), case["input"], case["expected"], answer)
        found: list[Any] = []

        async def work(desk: Desk) -> None:
            async def ask(prompt: Prompt) -> Completed:
                return await desk.complete(asked(prompt, by["model"], False), targets, quiet=True)

            choices = (await ask(prompt)).answer.choices
            said = text_of(choices[0].parts) if choices else ""
            found.append((await structured(prompt, said, VERDICT, ask)).value)

        turn = Turn(DIALECT, {}, lambda fields: prompt, model=by["model"])
        act = Act(work, agent=tried.loaded.id, version=tried.loaded.version_id)
        await finished(self._runs, self._order(tried, turn, (), act))
        return Score(*verdict(found[-1]))

    def _order(self, tried: Tried, turn: Turn, targets: tuple[Target, ...], act: Act | None = None) -> Order:
        return Order(
            org=tried.loaded.org,
            key_id=tried.key,
            face=FACE,
            request_id=tried.request,
            turn=turn,
            targets=targets,
            transactions=True,
            act=act,
        )


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors: from 0 (nothing in common, or opposed) to 1. Raises Garbled when they do not compare."""
    if len(one) != len(other):
        raise Garbled(f"the service gave vectors of {len(one)} and {len(other)} numbers")
    length, other_length = math.hypot(*one), math.hypot(*other)
    if not length or not other_length:
        return 0.0
    near = sum((a / length) * (b / other_length) for a, b in zip(one, other, strict=True))
    return round(min(1.0, max(0.0, near)), DIGITS)


def matches(how: str, expected: str, answer: str) -> bool:
    """exact: but for blanks around them. contains: whatever the case of letters. json: as values."""
    if how == "contains":
        return expected.casefold() in answer.casefold()
    if how == "json":
        value = _value(answer)
        return value is not _NOTHING and same(value, _value(expected))
    return expected.strip() == answer.strip()


def is_json(text: str) -> bool:
    return _value(text) is not _NOTHING


def _value(text: str) -> Any:
    value, why = value_of(text)
    return value if why is None else _NOTHING
