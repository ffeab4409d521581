"""Points: how often an agent and each of its threads may be asked in a window of time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from ..core.errors import LimitReached, StoreDown
from ..store import Store
from ..store.points import KeptPoints, Point, PointRows, Spent, Window

#: Seconds between two clearings of windows that are over.
CLEARING = 60.0
#: Windows kept in process before those that are over are forgotten.
KEPT = 10_000

Name = tuple[str, str, str]


class Spending(Protocol):
    async def load(self) -> None: ...
    async def spend(self, org: str, agent: str, thread: str, most: tuple[int, int]) -> Spent: ...
    async def give_back(self, org: str, points: Sequence[Point]) -> None: ...
    async def clear(self) -> None: ...


class Paid(Struct, frozen=True):
    """What a turn has spent."""

    org: str
    points: tuple[Point, ...]


class InProcess:
    """The points of a server that has no others beside it: counted in memory, written down beside the turns, so that
    the next server goes on from there. window: seconds. steady: seconds that never jump. wall: unix seconds."""

    def __init__(self, kept: KeptPoints, window: float, steady: Callable[[], float], wall: Callable[[], float]) -> None:
        self._kept = kept
        self._window = window
        self._steady = steady
        self._wall = wall
        #: When the window of each began, and what is spent in it.
        self._spent: dict[Name, tuple[float, int]] = {}
        #: With so many windows it is worth looking for those that are over.
        self._many = KEPT
        #: What has been spent since it was written down, and whether that is about to happen.
        self._unwritten: set[Name] = set()
        self._writing: set[asyncio.Task[None]] = set()
        self._soon = self._clears = False

    async def load(self) -> None:
        """What the server before this one has counted. Raises StoreDown."""
        wall, now = self._wall(), self._steady()
        for one in await self._kept.kept(round((wall - self._window) * 1000)):
            passed = max(0.0, wall - one.start / 1000)  # clocks of machines are set back sometimes
            self._spent[(one.org_id, one.kind, one.name)] = (now - passed, one.used)

    async def spend(self, org: str, agent: str, thread: str, most: tuple[int, int]) -> Spent:
        now = self._steady()
        names: list[tuple[Name, int]] = [((org, "agent", agent), most[0])]
        if thread:
            names.insert(0, ((org, "thread", thread), most[1]))
        windows = [(name, self._window_of(name, now), limit) for name, limit in names]
        for name, (start, used), limit in windows:
            if used >= limit:
                since = round((start + self._wall() - self._steady()) * 1000)
                return Spent(name[1], used, max(start + self._window - now, 0.0), since)
        if len(self._spent) >= self._many:
            self._drop()
        for name, (start, used), _ in windows:
            self._spent[name] = (start, used + 1)
            self._unwritten.add(name)
        self._write_soon()
        return Spent(points=tuple(Point(kind, of, start) for (_, kind, of), (start, _), _ in windows))

    async def give_back(self, org: str, points: Sequence[Point]) -> None:
        for one in points:
            name = (org, one.kind, one.name)
            start, used = self._spent.get(name, (None, 0))
            if start == one.start and used:
                self._spent[name] = (start, used - 1)
                self._unwritten.add(name)
        self._write_soon()

    def _window_of(self, name: Name, now: float) -> tuple[float, int]:
        start, used = self._spent.get(name, (now, 0))
        return (start, used) if now < start + self._window else (now, 0)

    def _write_soon(self) -> None:
        """Nobody waits for that, but it is handed in before what the turn has to write, and committed with it."""
        if not self._soon:
            self._soon = True
            task = asyncio.get_running_loop().create_task(self._write())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self) -> None:
        self._soon = False
        names, self._unwritten = self._unwritten, set()
        clears, self._clears = self._clears, False
        ahead = self._wall() - self._steady()
        found = [(name, self._spent[name]) for name in names if name in self._spent]
        windows = [Window(*name, round((start + ahead) * 1000), used) for name, (start, used) in found]
        written = False
        try:
            with suppress(StoreDown):
                await self._kept.keep(windows, round((self._wall() - self._window) * 1000) if clears else None)
                written = True
        finally:
            if not written:  # with what is spent next
                self._unwritten |= names
                self._clears |= clears

    async def clear(self) -> None:
        """What is kept is cleared with what is written next."""
        self._drop()
        self._clears = True

    def _drop(self) -> None:
        over = self._steady() - self._window
        self._spent = {name: one for name, one in self._spent.items() if one[0] > over}
        self._many = max(KEPT, 2 * len(self._spent))  # or each turn would look through those that are not over


class Points:
    """agent, thread: points in a window of `window` seconds, where an agent has no limits of its own. On PostgreSQL
    all servers spend from the same ones. steady: seconds that never jump. wall: unix seconds."""

    def __init__(
        self,
        store: Store,
        steady: Callable[[], float],
        wall: Callable[[], float],
        *,
        agent: int,
        thread: int,
        window: float,
    ) -> None:
        self._spending: Spending = (
            PointRows(store.db, round(window * 1000))
            if store.db.dialect == "postgres"
            else InProcess(KeptPoints(store.db), window, steady, wall)
        )
        self._most = {"agent": agent, "thread": thread}
        self._steady = steady
        self._clear_at = steady() + max(CLEARING, window)
        self._every = max(CLEARING, window)

    async def load(self) -> None:
        """Before the first is spent. Raises StoreDown."""
        await self._spending.load()

    async def spend(self, org: str, agent: str, thread: str, limits: Mapping[str, int], *, share: float = 1.0) -> Paid:
        """One point of the agent and one of its thread, or neither. agent: its resolved id, "" for a turn without one.
        thread: "" = of none. limits: the agent's own, by "agent" and "thread". share: how much of them may be
        spent in this way, at least one of each.

        Raises errors.LimitReached, whose `limit` is {limit_type, current_usage, limit_value}."""
        if self._steady() >= self._clear_at:
            self._clear_at = self._steady() + self._every
            await self._spending.clear()
        most = {kind: max(1, int(number * share)) for kind, number in {**self._most, **limits}.items()}
        name = hashlib.sha256(f"{agent}\0{thread}".encode("utf-8", "surrogatepass")).hexdigest() if thread else ""
        spent = await self._spending.spend(org, agent, name, (most["agent"], most["thread"]))
        if not spent.refused:
            return Paid(org, spent.points)
        most_of_it = most[spent.refused]
        error = LimitReached(
            f"the {spent.refused} has used its {most_of_it} points of this window",
            code="metrix_limit_reached",
            retry_after=max(spent.wait, 0.001),
        )
        error.since = spent.since
        error.limit = {"limit_type": spent.refused, "current_usage": spent.used, "limit_value": most_of_it}
        raise error

    async def give_back(self, paid: Paid) -> None:
        """Of a turn that has not begun; of a window that is over by now nothing is left."""
        with suppress(StoreDown):  # the turn is refused for a reason of its own
            await self._spending.give_back(paid.org, paid.points)
