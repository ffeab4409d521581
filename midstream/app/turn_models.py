"""Whom a turn's model calls may go to, and what each of them is asked: a model that answers in another's place has a
document of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from ..agent.fitting import held, most, readable
from ..agent.prepare import Prepared, in_their_words
from ..core.agents import AgentAsk, ModelDocument
from ..core.errors import BadRequest, Unhonoured
from ..core.parts import has_media
from ..core.serving import Completed, Target
from ..core.turn import Prompt, Turn
from ..core.unread import at_places, check_honoured, places_of, unread_in
from .catalog import AGENT

#: What the model calls of a turn are written in: no provider speaks it.
DIALECT = AGENT


class TurnModels:
    """targets: in order. first: what the first of them is asked. document: of a target. again: what one with that
    document is asked; raises BadRequest."""

    def __init__(
        self,
        targets: Sequence[Target],
        first: Prepared,
        document: Callable[[Target], ModelDocument],
        again: Callable[[ModelDocument], Prepared],
    ) -> None:
        self._first = first
        self._made = [(targets[0], first)]
        for target in targets[1:]:
            known = document(target)
            try:
                self._made.append((target, first if known == first.document else again(known)))
            except BadRequest:  # it could not be asked this
                continue
        #: What the newest call of each is asked.
        self._asked: dict[int, Prompt] = {}

    @property
    def targets(self) -> list[Target]:
        return [target for target, _ in self._made]

    def prepared(self, answered: Target | None) -> Prepared:
        """What the one that answered was asked first, and what it was not shown later; None = nobody has."""
        made = self._first
        if answered is not None:
            made = next(one for target, one in self._made if _key(target) == _key(answered))
        if not made.document.modalities:  # it was shown all
            return made
        asked = self._asked.get(id(made), made.prompt)
        return replace(made, dropped=(*made.dropped, *unread_in(asked.messages)))

    def asks(self, prompt: Prompt, asked: Callable[[Prompt], Turn]) -> tuple[Turn, list[Target]]:
        """One model call. prompt: what the first is asked, with what has come to it in the turn.
        Raises BadRequest, context_length_exceeded, when the first model does not hold that any more."""
        fitted: dict[int, Turn] = {}
        turns: dict[tuple[str, str], Turn] = {}
        targets: list[Target] = []
        for target, made in self._made:
            try:
                turn = fitted.get(id(made)) or asked(self._fitted(prompt, made))
                bound = most(turn.prompt, made.document)
            except BadRequest:
                if not targets:
                    raise
                continue
            fitted[id(made)] = turns[_key(target)] = turn
            targets.append(target if bound is None else replace(target, max_tokens=min(target.max_tokens, bound)))
        first = turns[_key(targets[0])]
        first.instead = {key: turn for key, turn in turns.items() if turn is not first}
        return first, targets

    def _fitted(self, prompt: Prompt, made: Prepared) -> Prompt:
        first = self._first.prompt
        since = readable(prompt.messages[len(first.messages) :], made.document)
        params = prompt.params if made is self._first else made.prompt.params
        grown = replace(prompt, messages=(*made.prompt.messages, *since), params=params)
        fitted = self._asked[id(made)] = held(grown, made.first, made.past, made.document)
        return fitted


def honoured(made: Prepared, ask: AgentAsk) -> Prepared:
    """Raises Unhonoured where something is left out of what a strict request asks."""
    if ask.strict:
        check_honoured("this turn", made.dropped)
    return made


@contextmanager
def refused_in_words_of(made: Prepared) -> Iterator[None]:
    """What a provider cannot honour is named as it was asked for."""
    try:
        yield
    except Unhonoured as error:
        raise Unhonoured(error.who, in_their_words(made, error.names)) from None


def placed(prompt: Prompt, ask: AgentAsk) -> Prompt:
    """With the places of what the request attaches. What else there is of media was said before, or comes of tools."""
    if not has_media(prompt.messages):
        return prompt
    paths = ask.places or ("user",)
    places = {id(one): paths[min(at, len(paths) - 1)] for at, one in enumerate(ask.media)}
    places |= places_of(ask.messages)
    return replace(prompt, messages=at_places(prompt.messages, places))


def why_another(first: Target, completed: Completed) -> str:
    """Why another model than the first has answered; "" when it was the first, perhaps when asked once more."""
    return "" if _key(completed.target) == _key(first) else completed.first_error


def _key(target: Target) -> tuple[str, str]:
    return target.provider, target.model


def asked(prompt: Prompt, model: str, stream: bool, strict: bool = False) -> Turn:
    """A model call of the turn, in no provider's own words."""
    turn = Turn(DIALECT, {}, lambda fields: prompt, model=model, stream=stream, strict=strict)
    turn.put_prompt(prompt)
    turn.examined = True
    return turn
