"""One turn of a conversation at a time; the others wait their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TypeAlias

from ..core.errors import Conflict

#: What is entered while somebody waits, and by nobody else. It may end the wait: by cancelling it, then raising.
Waiting: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]


def busy() -> Conflict:
    return Conflict("another turn of this conversation is under way", code="conversation_busy", retry_after=1.0)


class Turnstile:
    """Its length: how many conversations somebody is in or waits for."""

    def __init__(self) -> None:
        #: By org as well: nobody waits for a conversation that is not theirs.
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @asynccontextmanager
    async def through(
        self, org: str, conversation: str, *, wait: bool = True, waiting: Waiting = nullcontext
    ) -> AsyncIterator[None]:
        """In the order of asking. wait False: raises Conflict instead, code conversation_busy."""
        name = (org, conversation)
        lock, inside = self._turns.get(name, (asyncio.Lock(), 0))
        if inside and not wait:
            raise busy()
        self._turns[name] = (lock, inside + 1)
        try:
            if inside:
                async with waiting():
                    await lock.acquire()
            else:
                await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, inside = self._turns.pop(name)
            if inside > 1:
                self._turns[name] = (lock, inside - 1)
