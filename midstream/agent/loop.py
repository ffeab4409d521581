"""The loop of an agent's turn: ask the model, run the tools it asks for, show it their results, until it answers in
text or a limit is reached. At a limit one last call is made without tools, so a turn always ends in text. An answer
that was cut or filtered is its end too: nobody knows whether the calls in it are what the model was going to say.

It knows neither models nor tools: both are functions that it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.events import Answer, Choice
from ..core.json_words import arguments_in
from ..core.outcome import Step, StopReason
from ..core.parts import Message, Part, Text, ToolCall, ToolResult, spoken
from ..core.serving import Completed
from ..core.toolbox import ToolAnswer
from ..core.turn import Prompt
from ..core.usage import Usage

Ask: TypeAlias = Callable[[Prompt], Awaitable[Completed]]
CallTools: TypeAlias = Callable[[int, Sequence[ToolCall]], Awaitable[list[ToolAnswer]]]
#: Told of a round's reply before its tools are called, so that it is durable before they run: (round from 1, reply).
Keep: TypeAlias = Callable[[int, Message], None]
#: Usage so far, and what it cost in decimal USD, as far as there are prices (None while no call had one).
Spent: TypeAlias = Callable[[], tuple[Usage, str | None]]

#: How often a model that pauses is asked to go on, one time after the other.
PAUSES = 8


class Limits(Struct, frozen=True):
    """rounds: of tool calls. calls: most model calls, the last without tools. tokens, cost: once so much is spent, the
    next call is the last. A cost that is not known is not counted."""

    rounds: int = 3
    calls: int | None = None
    tokens: int | None = None
    cost: str | None = None


class Round(Struct, frozen=True):
    """A round that was begun before. reply: what the model said, as `keep` was told. answers: of its tools; () when
    they have not all answered: the tools are called again (whoever runs them knows what has been done)."""

    reply: Message
    answers: tuple[ToolAnswer, ...] = ()


class Ended(Struct, frozen=True):
    """answer: the last one, without tool calls unless its turn was transferred. completed: the call it came from.
    rounds: of tool calls. calls: of the model. transferred: the answer of the agent that goes on instead.
    stopped_by: the limit that made the last call one without tools: "" | rounds | calls | tokens | cost.
    messages: what was said between the prompt and the answer."""

    answer: Answer
    completed: Completed | None
    rounds: int
    calls: int
    steps: tuple[Step, ...] = ()
    transferred: ToolAnswer | None = None
    stopped_by: str = ""
    messages: tuple[Message, ...] = ()


async def loop(
    prompt: Prompt,
    ask: Ask,
    call_tools: CallTools,
    limits: Limits,
    spent: Spent,
    done: Sequence[Round] = (),
    keep: Keep | None = None,
    above: Callable[[], str] = lambda: "",
) -> Ended:
    """Raises what `ask` and `call_tools` raise. done: rounds made before a crash; the loop goes on after them.
    above: the ceiling that is reached of those who have called this turn's agent, "" = none."""
    turn = _Turn(prompt, call_tools)
    for past in done:
        turn.calls += 1
        transferred = await turn.run(past.reply, past.answers)
        if transferred is not None:
            return turn.ended(Answer(), None, transferred)
    offers = bool(prompt.tools) and (prompt.tool_choice is None or prompt.tool_choice.mode != "none")
    while True:
        spent_out = reached(limits, spent) or above()
        stopped_by = _limit(turn, limits) or spent_out if offers else ""
        completed = await ask(turn.prompt(with_tools=not stopped_by))
        turn.calls += 1
        choice = completed.answer.choices[0] if completed.answer.choices else Choice()
        if choice.stop == "pause" and not spent_out and turn.may_pause(limits.calls):
            turn.pause(choice)
            continue
        reply = turn.reply(choice)
        if reply is None or stopped_by or not offers or choice.stop in _ENDED:
            return turn.ended(_final(completed.answer, choice, turn.paused, stopped_by), completed, None, stopped_by)
        if keep is not None:
            keep(turn.rounds + 1, reply)
        transferred = await turn.run(reply)
        if transferred is not None:
            return turn.ended(completed.answer, completed, transferred)


class _Turn:
    """What has been said so far. pauses: in a row. paused: the text of an answer that is not at its end."""

    def __init__(self, prompt: Prompt, call_tools: CallTools) -> None:
        self._prompt = prompt
        self._call_tools = call_tools
        self._said: list[Message] = []
        self._steps: list[Step] = []
        self._ids = {part.id for message in prompt.messages for part in message.parts if type(part) is ToolCall}
        self.rounds = 0
        self.calls = 0
        self.pauses = 0
        self.paused: list[Part] = []

    def prompt(self, *, with_tools: bool) -> Prompt:
        messages = (*self._prompt.messages, *self._said)
        if with_tools:
            # A tool that must be called has been, once there is a round: asking for it again would never end.
            forced = self.rounds and self._prompt.tool_choice and self._prompt.tool_choice.mode in ("tool", "required")
            return replace(self._prompt, messages=messages, tool_choice=None if forced else self._prompt.tool_choice)
        return replace(self._prompt, messages=messages, tools=(), tool_choice=None)

    def may_pause(self, calls: int | None) -> bool:
        """calls: as in Limits."""
        return self.pauses < PAUSES and (calls is None or self.calls < calls)

    def pause(self, choice: Choice) -> None:
        self.pauses += 1
        self._said.append(Message("assistant", choice.parts))
        self.paused += [part for part in choice.parts if type(part) is Text]

    def reply(self, choice: Choice) -> Message | None:
        """A reply that asks for tools, each call by an id of its own; None when it asks for none.

        What a provider calls its calls is not to be trusted: where an id is missing or was seen before, the call is
        known by its place."""
        calls = [part for part in choice.parts if type(part) is ToolCall]
        if not calls:
            return None
        parts: list[Part] = []
        seen = set(self._ids)
        for part in choice.parts:
            if type(part) is ToolCall:
                if not part.id or part.id in seen:
                    part = replace(part, id=_unused(f"call_{self.rounds + 1}_{len(seen) - len(self._ids)}", seen))
                seen.add(part.id)
            parts.append(part)
        return Message("assistant", tuple(parts))

    async def run(self, reply: Message, answers: Sequence[ToolAnswer] = ()) -> ToolAnswer | None:
        """One round of tools. The answer of an agent that takes over, if one does."""
        calls = [part for part in reply.parts if type(part) is ToolCall]
        self._ids.update(call.id for call in calls)
        self.rounds += 1
        if len(answers) != len(calls):
            answers = await self._call_tools(self.rounds, calls)
        paired = list(zip(calls, answers, strict=True))
        self._steps += [_step(call, answer, self.rounds) for call, answer in paired]
        self._said.append(reply)
        self._said.append(Message("tool", tuple(_result(call, answer) for call, answer in paired)))
        self.pauses = 0
        self.paused.clear()
        return next((answer for answer in answers if answer.transfer), None)

    def ended(
        self, answer: Answer, completed: Completed | None, transferred: ToolAnswer | None, stopped_by: str = ""
    ) -> Ended:
        return Ended(
            answer=answer,
            completed=completed,
            rounds=self.rounds,
            calls=self.calls,
            steps=tuple(self._steps),
            transferred=transferred,
            stopped_by=stopped_by,
            messages=tuple(self._said),
        )


def _limit(turn: _Turn, limits: Limits) -> str:
    """Why the next call must be the last one; "" when it need not."""
    if turn.rounds >= limits.rounds:
        return "rounds"
    if limits.calls is not None and turn.calls >= limits.calls - 1:
        return "calls"
    return ""


def reached(limits: Limits, spent: Spent) -> str:
    """The ceiling of them that has been spent: "" | tokens | cost."""
    usage, cost = spent()
    if limits.tokens is not None and usage.total_tokens >= limits.tokens:
        return "tokens"
    if limits.cost is not None and cost is not None and Decimal(cost) >= Decimal(limits.cost):
        return "cost"
    return ""


def _unused(id: str, seen: set[str]) -> str:
    while id in seen:
        id += "_"
    return id


def _step(call: ToolCall, answer: ToolAnswer, round: int) -> Step:
    return Step(
        id=call.id,
        name=call.name,
        arguments=arguments_of(call),
        status=answer.status,
        result=answer.text,
        error=answer.error,
        round=round,
        ms=answer.ms,
    )


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """As they are shown. What is no JSON object stands under "input", as it was written."""
    try:
        value = arguments_in(call.arguments)
    except msgspec.DecodeError:
        return {"input": call.arguments}
    return value if isinstance(value, dict) else {"input": call.arguments}


def _result(call: ToolCall, answer: ToolAnswer) -> ToolResult:
    return ToolResult(
        id=call.id,
        parts=(Text(answer.text), *answer.media),
        name=call.name,
        is_error=answer.status != "ok",
    )


def _final(answer: Answer, choice: Choice, paused: Sequence[Part], stopped_by: str) -> Answer:
    """The answer as the user reads it: a call that nobody will run is no part of it."""
    parts = tuple(part for part in choice.parts if type(part) is not ToolCall)
    asked = len(parts) < len(choice.parts)
    if asked and not spoken((*paused, *parts)).strip():
        parts = (*parts, Text(_unanswered(stopped_by, choice.stop)))
    if not asked and not paused and choice.stop != "pause":
        return answer
    stop = _STOPS.get(choice.stop, choice.stop)
    final = replace(choice, parts=(*paused, *parts), stop=stop)
    return replace(answer, choices=(final, *answer.choices[1:]), native=None)


def _unanswered(stopped_by: str, stop: StopReason) -> str:
    if stop in _ENDED:
        return (
            f"There is no answer: the model asked for tools, and {_ENDED[stop]} before it had ended. They were not run."
        )
    if not stopped_by:
        return "There is no answer: the model asked for tools that it does not have."
    return (
        f"There is no answer: the model asked for more tools after it had reached the limit of {_LIMITS[stopped_by]}."
    )


_LIMITS = {"rounds": "tool rounds", "calls": "model calls", "tokens": "tokens", "cost": "cost"}
#: Ends of an answer that was not complete.
_ENDED = {
    "length": "its answer was cut, as it was longer than max_tokens or than the model says at once,",
    "content_filter": "the service's content filter stopped its answer",
}
#: Of an answer that ends here, whatever the model would have gone on to do.
_STOPS: dict[str, StopReason] = {"tool_calls": "stop", "pause": "length"}
