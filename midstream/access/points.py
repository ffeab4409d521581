"""Points: how often an agent and each of its threads may be asked in a window of time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

from ..core.errors import LimitReached
from ..store import Store
from ..store.points import PointRows, Spent

AGENT, THREAD = 100, 20
WINDOW = 60.0
#: Seconds between two clearings of windows that are over.
CLEARING = 60.0
#: Windows kept in process before those that are over are forgotten.
KEPT = 10_000

Name = tuple[str, str, str]


class Spending(Protocol):
    async def spend(self, org: str, agent: str, thread: str, most: tuple[int, int]) -> Spent: ...
    async def clear(self) -> None: ...


class InProcess:
    """The points of a server that has no others beside it. window: seconds. steady: seconds that never jump."""

    def __init__(self, window: float, steady: Callable[[], float]) -> None:
        self._window = window
        self._steady = steady
        #: When the window of each began, and what is spent in it.
        self._spent: dict[Name, tuple[float, int]] = {}

    async def spend(self, org: str, agent: str, thread: str, most: tuple[int, int]) -> Spent:
        now = self._steady()
        names: list[tuple[Name, int]] = [((org, "agent", agent), most[0])]
        if thread:
            names.insert(0, ((org, "thread", thread), most[1]))
        windows = [(name, self._window_of(name, now), limit) for name, limit in names]
        for name, (start, used), limit in windows:
            if used >= limit:
                return Spent(name[1], used, max(start + self._window - now, 0.0))
        if len(self._spent) >= KEPT:
            await self.clear()
        for name, (start, used), _ in windows:
            self._spent[name] = (start, used + 1)
        return Spent()

    def _window_of(self, name: Name, now: float) -> tuple[float, int]:
        start, used = self._spent.get(name, (now, 0))
        return (start, used) if now < start + self._window else (now, 0)

    async def clear(self) -> None:
        over = self._steady() - self._window
        self._spent = {name: one for name, one in self._spent.items() if one[0] > over}


class Points:
    """agent, thread: points in a window of `window` seconds, where an agent has no limits of its own. On PostgreSQL
    all servers spend from the same ones."""

    def __init__(
        self,
        store: Store,
        steady: Callable[[], float],
        *,
        agent: int = AGENT,
        thread: int = THREAD,
        window: float = WINDOW,
    ) -> None:
        shared = store.db.dialect == "postgres"
        self._spending: Spending = PointRows(store.db, round(window * 1000)) if shared else InProcess(window, steady)
        self._most = {"agent": agent, "thread": thread}
        self._steady = steady
        self._clear_at = steady() + max(CLEARING, window)
        self._every = max(CLEARING, window)

    async def spend(self, org: str, agent: str, thread: str, limits: Mapping[str, int], *, share: float = 1.0) -> None:
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
            return
        most_of_it = most[spent.refused]
        error = LimitReached(
            f"the {spent.refused} has used its {most_of_it} points of this window",
            code="metrix_limit_reached",
            retry_after=max(spent.wait, 0.001),
        )
        error.limit = {"limit_type": spent.refused, "current_usage": spent.used, "limit_value": most_of_it}
        raise error
