"""The topic "memory": after a turn, a model is asked what to remember of it, and that is kept for the thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from ..agent.memory import remembered, remembering
from ..core.account import TurnAccount
from ..core.parts import Message, Text
from ..core.turn import Prompt
from ..metering.turns import account_in
from ..store import Store, memories
from ..store.database import Statement
from ..store.outbox import OutboxRow

MEMORY = "memory"

#: What a model says to a prompt, on behalf of a turn's agent: its text and the agent's own words on what to remember
#: come from whoever knows agents.
AskModel: TypeAlias = Callable[[TurnAccount, Prompt], Awaitable[str]]
Instructions: TypeAlias = Callable[[TurnAccount], Awaitable[str]]


def thread_of(row: OutboxRow) -> str:
    """The lane of a row: turns of one thread are remembered one after the other."""
    turn = account_in(row.payload)
    return f"{turn.org} {turn.agent} {turn.thread}"


class Remember:
    def __init__(self, store: Store, ask: AskModel, instructions: Instructions, clock: Callable[[], float]) -> None:
        self._store = store
        self._ask = ask
        self._instructions = instructions
        self._clock = clock

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        turn = account_in(row.payload)
        said = [Message("user", (Text(turn.asked),))] if turn.asked else []
        said += [Message("assistant", (Text(turn.answered),))] if turn.answered else []
        if not said or not turn.thread:
            return ()
        if await self._store.org(turn.org).threads.any_deleted(turn.conversation, turn.id, turn.answer):
            return ()
        store = self._store.memories(turn.org)
        if await store.forgotten_since(turn.agent, turn.thread, turn.created_at):
            return ()
        known = await store.get(turn.agent, turn.thread)
        memory = known.text if known is not None else ""
        prompt = remembering(memory, said, await self._instructions(turn))
        text = remembered(await self._ask(turn, prompt), memory)
        if text == memory:
            return ()
        new = memories.Remembered(
            turn.org, turn.agent, turn.thread, turn.conversation, turn.id, turn.answer, memory, text, self._clock(),
            turn.created_at, row.id,
        )  # fmt: skip
        return memories.remembered(new)
