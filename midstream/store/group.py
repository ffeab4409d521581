"""Group commit: what is handed in while a commit is under way is committed together by the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..core.errors import StoreDown
from .database import Statement, Value


class Outcome(asyncio.Future[None]):
    """Set when a group's commit is decided. Shared by its callers, so that none of them may cancel it; asyncio then
    tells a cancelled caller after the outcome instead of before."""

    def cancel(self, msg: Any = None) -> bool:
        return False


class Entry:
    """One caller's transaction. error: why it alone did not happen."""

    __slots__ = ("error", "statements")

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements
        self.error: BaseException | None = None


class Group:
    """Transactions that share one commit. turns: of the event loop that it has waited for more of them."""

    __slots__ = ("_seen", "entries", "outcome", "turns")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.entries: list[Entry] = []
        self.turns = 0
        self._seen = 1  # whoever made it
        self.outcome = Outcome(loop=loop)

    def grows(self) -> bool:
        """Have more come in since this was asked last?"""
        seen, self._seen = self._seen, len(self.entries)
        self.turns += 1
        return self._seen > seen

    def decided(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)

    def fail(self, error: BaseException) -> None:
        for entry in self.entries:
            if entry.error is None:
                entry.error = error


class Flusher:
    """Hands one group after the other to `commit`, which sets the errors of entries that did not happen."""

    def __init__(self, commit: Callable[[list[Entry]], Awaitable[None]]) -> None:
        self._commit = commit
        self._pending: Group | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, statements: Sequence[Statement]) -> None:
        if self._closed:
            raise StoreDown("the store is closed")
        loop = asyncio.get_running_loop()
        group = self._pending
        if group is None:
            group = self._pending = Group(loop)
        if self._task is None:
            self._task = loop.create_task(self._flush())
        entry = Entry(statements)
        group.entries.append(entry)
        await group.outcome
        if entry.error is not None:
            raise entry.error

    async def _flush(self) -> None:
        try:
            while (group := self._pending) is not None:
                self._pending = None
                await self._decide(group)
        finally:
            self._task = None
            if (rest := self._pending) is not None:  # only when the loop is being torn down
                self._pending = None
                rest.fail(StoreDown())
                rest.decided()

    async def _decide(self, group: Group) -> None:
        """In a task of its own: neither a cancelled flusher nor a broken commit may leave callers without answer."""
        commit = asyncio.ensure_future(self._commit(group.entries))
        try:
            await asyncio.wait([commit])
            error = commit.exception()
            if error is not None:
                group.fail(error)
        except asyncio.CancelledError:
            group.fail(StoreDown())
            raise
        finally:
            group.decided()

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])


def batched(entries: Sequence[Entry]) -> list[tuple[str, list[tuple[Value, ...]]]]:
    """Statements of one text run as one, whoever they come from; each caller's own keep their order."""
    batches: list[tuple[str, list[tuple[Value, ...]]]] = []
    #: The newest batch of each text: its place and its rows.
    last: dict[str, tuple[int, list[tuple[Value, ...]]]] = {}
    for entry in entries:
        at = 0
        for sql, args in entry.statements:
            batch = last.get(sql)
            if batch is None or batch[0] < at:
                batch = last[sql] = (len(batches), [])
                batches.append((sql, batch[1]))
            at, rows = batch
            rows.append(args)
    return batches
