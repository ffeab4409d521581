"""What happens after a turn: rows of the outbox, done by topic, each in the transaction that marks it as done.

A row that fails is tried again after pauses that grow, and holds up no other. A server that ends lets go of what it
has not finished; what a dead one had taken is taken by the next."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from ..core.errors import Busy, MidstreamError, StoreDown
from ..store.database import Statement
from ..store.outbox import LEASE, Outbox, OutboxRow
from .supervisor import Supervisor

logger = logging.getLogger("midstream.after")

#: What is to be written because of a row, once all that must be done outside of the store is done.
Handle: TypeAlias = Callable[[OutboxRow], Awaitable[Iterable[Statement]]]


class Topic(Struct, frozen=True):
    """lane: rows of one lane are done one after the other, oldest first; each row is one of its own by default.
    then: called when a row is done and what it caused is durable.
    only_writes: its rows ask nobody, so that many are done in one transaction.
    tries: after so many failures a row is done without what it was to cause, be it that nobody could say that or that
    the store does not take it (0 = never)."""

    handle: Handle
    lane: Callable[[OutboxRow], str] = lambda row: row.id
    then: Callable[[], None] = lambda: None
    only_writes: bool = False
    tries: int = 0


#: Rows of a topic that are worked on at once, and those that are done in one transaction.
PARALLEL, TOGETHER = 16, 128
#: Seconds between the news of a row and the look for it: what else has come by then is taken and done with it.
GATHER = 0.02
#: Seconds: between looks when nobody says that there is something, for one row, for the last ones at the end.
POLL, PATIENCE, LAST = 5.0, 120.0, 5.0
#: Seconds between two times that a worker says which rows are still its own: they may stand in a lane for long.
RENEW = LEASE / 3
#: Seconds between looks for what dead workers had taken, and how many such looks until old rows are cleared away.
RECOVER, FORGET = 60.0, 60


class After:
    """The workers of one process: one a topic. clock: unix seconds, as the outbox has them."""

    def __init__(
        self, outbox: Outbox, topics: Mapping[str, Topic], clock: Callable[[], float], supervisor: Supervisor
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._supervisor = supervisor
        self._topics = {name: _Worker(name, topic, outbox, clock) for name, topic in topics.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self._looks = 0

    def start(self) -> None:
        keep = self._supervisor.keep
        self._tasks = [keep(f"topic {name}", topic.work, vital=True) for name, topic in self._topics.items()]
        self._tasks.append(keep("outbox", self._look_after))

    def wake(self, topic: str) -> None:
        """A row of this topic has been committed."""
        found = self._topics.get(topic)
        if found is not None:
            found.awake.set()

    async def close(self) -> None:
        """Takes no more rows; those under way get a moment, then they are let go. Idempotent."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        for topic in self._topics.values():
            topic.stop()
        tasks.pop().cancel()
        await asyncio.wait(tasks, timeout=LAST)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        loop = asyncio.get_running_loop()
        await asyncio.wait([loop.create_task(topic.finish()) for topic in self._topics.values()])

    async def _look_after(self) -> float:
        await self._outbox.recover()
        if self._looks % FORGET == 0:
            await self._outbox.forget()
        self._looks += 1
        for topic in self._topics.values():
            topic.awake.set()
        return RECOVER


class _Worker:
    """One topic's worker. awake: there may be something to do."""

    def __init__(self, name: str, topic: Topic, outbox: Outbox, clock: Callable[[], float]) -> None:
        self._name = name
        self._topic = topic
        self._outbox = outbox
        self._clock = clock
        #: The last row of each lane.
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._running: dict[asyncio.Task[None], OutboxRow] = {}
        #: Rows that failed, with why, until that is written down.
        self._failed: deque[tuple[OutboxRow, BaseException]] = deque()
        #: When those under way were last said to be this worker's.
        self._renewed = 0.0
        self._stopping = False
        self.awake = asyncio.Event()

    def stop(self) -> None:
        self._stopping = True
        self.awake.set()

    async def work(self) -> float | None:
        if self._stopping:
            return None
        self.awake.clear()
        await self._settle()
        await self._renew()
        await self._rest(await self._take())
        return 0.0

    async def _renew(self) -> None:
        """Before others are taken: those whose time is over would be among them."""
        now = self._clock()
        if now - self._renewed >= RENEW:
            if rows := [row for task, row in self._running.items() if not task.done()]:
                await self._outbox.renew(rows)
            self._renewed = now

    async def _rest(self, pause: float) -> None:
        """Until there is news, and a moment more, or until the pause is over."""
        if pause <= 0:
            return
        try:
            async with asyncio.timeout(pause):
                await self.awake.wait()
                if not self._stopping and not self._running:
                    await asyncio.sleep(GATHER)
        except TimeoutError:
            pass

    async def _take(self) -> float:
        """Does rows that are due, or begins as many as there is room for. Seconds until it is worth looking again."""
        room = (TOGETHER if self._topic.only_writes else PARALLEL) - len(self._running)
        if room <= 0:
            return POLL  # the end of a row wakes
        rows = await self._outbox.take(self._name, room)
        if rows and not (self._topic.only_writes and await self._do_all(rows)):
            for row in rows:
                task = asyncio.get_running_loop().create_task(self._do(row))
                self._running[task] = row
                task.add_done_callback(lambda _: self.awake.set())
            return POLL
        if len(rows) == room:
            return 0
        at = await self._outbox.next_at(self._name)
        return POLL if at is None else min(POLL, max(0.05, at - self._clock()))

    async def _do_all(self, rows: Sequence[OutboxRow]) -> bool:
        """In one transaction. False: that failed, and each is to be done, or to fail, by itself."""
        task = asyncio.get_running_loop().create_task(self._caused(rows))
        await asyncio.wait([task])
        return task.exception() is None

    async def _caused(self, rows: Sequence[OutboxRow]) -> None:
        await self._outbox.done(rows, [one for row in rows for one in await self._topic.handle(row)])

    async def _do(self, row: OutboxRow) -> None:
        task = asyncio.current_task()
        assert task is not None
        lane = self._topic.lane(row)
        before, self._lanes[lane] = self._lanes.get(lane), task
        try:
            if before is not None:
                await asyncio.wait([before])
                if not await self._outbox.is_mine(row):
                    return  # another server has taken it meanwhile: the store was away, or this machine stood still
            try:
                async with asyncio.timeout(PATIENCE):
                    caused = await self._topic.handle(row)
                await self._outbox.done([row], caused)
            except (MidstreamError, TimeoutError) as error:
                if not self._topic.tries or not _counts(error) or row.failures + 1 < self._topic.tries:
                    raise
                logger.warning("%s of the outbox is given up: %s", row.id, _why(error))
                await self._outbox.done([row])
            self._topic.then()
        finally:
            if self._lanes[lane] is task:
                del self._lanes[lane]

    async def _settle(self) -> None:
        """Rows that have ended. What failed is due again after a pause; when that cannot be written now, it is what is
        written first when it can."""
        for task in [task for task in self._running if task.done()]:
            row = self._running.pop(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._failed.append((row, error))
        while self._failed:
            row, error = self._failed[0]
            pause = await self._outbox.failed(row, counts=_counts(error))
            self._failed.popleft()
            _tell(row, error, pause)

    async def finish(self) -> None:
        """Of what is under way, once it has been stopped."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=LAST)
        open_rows = []
        for task, row in self._running.items():
            if not task.done():
                task.cancel()
                open_rows.append(row)
        if self._running:
            await asyncio.wait(list(self._running))
        try:
            await self._settle()
            if open_rows:
                await self._outbox.let_go(open_rows)
        except StoreDown:
            logger.warning("topic %s: the store is away, its open rows are taken by the next server", self._name)


def _counts(error: BaseException) -> bool:
    """Among a row's failures: neither that the store was away nor that this server ends."""
    return not isinstance(error, StoreDown | Busy)


def _tell(row: OutboxRow, error: BaseException, pause: float) -> None:
    """A row that failed keeps its reason in the log."""
    logger.warning("%s of the outbox failed, try %d, again in %g s: %s", row.id, row.attempts, pause, _why(error))


def _why(error: BaseException) -> str:
    """With the traceback when nobody expected it."""
    if isinstance(error, MidstreamError):
        return error.message
    if isinstance(error, TimeoutError):
        return f"not done after {PATIENCE:g} s"
    return "".join(traceback.format_exception(error))
