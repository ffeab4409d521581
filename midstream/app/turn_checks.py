"""What a turn's text has to pass: guardrails before the model and after it, and the form that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..agent.guardrails import NO_CHECKS, Classifier, Guardrails, Webhook, blocked, said_in, unchecked
from ..agent.loop import Ended
from ..agent.prepare import Prepared
from ..agent.structured import structured
from ..core.agents import Loaded
from ..core.events import Delta, Event, PartEnded, PartStarted
from ..core.parts import Message, Text, text_of
from ..core.serving import Completed, Desk
from ..core.turn import Prompt
from .turn_ends import ending_of, own_ending, said_last
from .turn_models import asked
from .turn_rooms import TurnRooms


class Judged(Struct, frozen=True):
    """text: what the user may read. value: of a structured answer. blocked: why it is not the model's own text.
    declined: it is the model's refusal."""

    text: str
    value: Any = None
    blocked: str = ""
    declined: bool = False


class Judges:
    """Who is asked of a text besides expressions: a model, as a call of the turn's own run (desk), and a webhook."""

    def __init__(self, rooms: TurnRooms, org: str, loaded: Loaded, desk: Desk) -> None:
        self._rooms = rooms
        self._org = org
        self._loaded = loaded
        self._desk = desk

    async def classify(self, classifier: Classifier, prompt: Prompt) -> str:
        keys = self._loaded.spec.keys
        judges = self._rooms.models.targets(self._org, classifier.service, classifier.model, keys, None)
        completed = await self._desk.complete(asked(prompt, classifier.model, False), judges, quiet=True)
        return text_of(completed.answer.choices[0].parts) if completed.answer.choices else ""

    async def consult(self, webhook: Webhook, question: dict[str, Any]) -> Any:
        await self._desk.write()
        return await self._rooms.consult(self._loaded, webhook, question)


async def input_judged(rails: Guardrails, message: Message, judges: Judges) -> Judged | None:
    """What to answer instead, None when what the user says, with all that is attached, may go to the model."""
    if rails.input == NO_CHECKS:
        return None
    reason = unchecked(rails, message)
    if reason is None:
        reason = await blocked(rails, "input", said_in(message), judges.classify, judges.consult)
    return Judged(rails.message, blocked=reason) if reason is not None else None


class TurnChecks:
    """ask: the turn's model, without anybody reading along."""

    def __init__(
        self, prepared: Prepared, rails: Guardrails, ask: Callable[[Prompt], Awaitable[Completed]], judges: Judges
    ) -> None:
        self._prepared = prepared
        self._rails = rails
        self._ask = ask
        self._judges = judges

    @property
    def judges_output(self) -> bool:
        """May the text still change once the model has said it?"""
        return self._prepared.format is not None or self._rails.output != NO_CHECKS

    async def of_input(self) -> Judged | None:
        return await input_judged(self._rails, self._prepared.prompt.messages[-1], self._judges)

    async def of_output(self, ended: Ended) -> Judged:
        """Of an agent that went on instead, too: what its own turn let pass has yet to pass this one. Raises Garbled
        when a structured answer could not be had."""
        text, value = said_last(ended)
        end = ending_of(ended, own_ending(ended))
        declined = end.declined  # which is no answer of a wrong form: who asks again pays for the same words
        if end.blocked:  # there: it is what is said instead of an answer
            return Judged(text, blocked=end.blocked)
        if self._prepared.format is not None and not declined:
            prompt = self._prepared.prompt
            said = replace(prompt, messages=(*prompt.messages, *ended.messages))
            quoting = self._rails.output == NO_CHECKS  # else nobody has seen yet what its error would quote
            checked = await structured(said, text, self._prepared.format, self._ask, end.stop, quoting=quoting)
            text, value, declined = checked.text, checked.value, checked.declined
        reason = await blocked(self._rails, "output", text, self._judges.classify, self._judges.consult)
        return Judged(text, value, declined=declined) if reason is None else Judged(self._rails.message, blocked=reason)


def shown(text: str) -> tuple[Event, ...]:
    """A text that nobody has seen yet, for the log."""
    return PartStarted(0, Text("")), Delta(0, text), PartEnded(0)
