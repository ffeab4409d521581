"""Points spent. Where several servers share them, one statement spends both of a turn's, by the database's clock; a
server that has no others beside it counts in memory, and what it has counted is kept for the one after it."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from secrets import token_hex

from msgspec import Struct

from .database import Database, with_clock

_NOW = "CAST(FLOOR((@clock) * 1000) AS BIGINT)"
#: Characters of a mark, and of the marks that a row keeps: of its last 32 changes.
_MARK, _MARKS = 12, 384
#: A window begins with its first point and is over $3 milliseconds later. What is said again, because its answer was
#: lost with the connection, finds its mark and spends nothing.
_MINE = "position(excluded.marks IN points.marks) > 0"
_OVER = "points.start + $3 <= excluded.start"
_ON_CONFLICT = f"""
ON CONFLICT (org_id, kind, name) DO UPDATE SET
    used = CASE WHEN {_MINE} THEN points.used WHEN {_OVER} THEN 1 ELSE points.used + 1 END,
    start = CASE WHEN {_OVER} AND NOT {_MINE} THEN excluded.start ELSE points.start END,
    marks = CASE WHEN {_MINE} THEN points.marks ELSE right(points.marks || excluded.marks, {_MARKS}) END"""
_SPEND = f"""
WITH thread AS (
    INSERT INTO points (org_id, kind, name, start, used, marks)
    VALUES ($1, 'thread', $4, {_NOW}, 1, CAST($7 AS TEXT)) {_ON_CONFLICT}
    WHERE points.used < $5 OR {_OVER} OR {_MINE} RETURNING start
), agent AS (
    INSERT INTO points (org_id, kind, name, start, used, marks)
    SELECT CAST($1 AS TEXT), 'agent', CAST($2 AS TEXT), {_NOW}, 1, CAST($7 AS TEXT)
    WHERE EXISTS (SELECT 1 FROM thread) {_ON_CONFLICT}
    WHERE points.used < $6 OR {_OVER} OR {_MINE} RETURNING start
) SELECT (SELECT start FROM thread), (SELECT start FROM agent)"""
_SPEND_AGENT = f"""
INSERT INTO points (org_id, kind, name, start, used, marks) VALUES ($1, 'agent', $2, {_NOW}, 1, $5) {_ON_CONFLICT}
WHERE points.used < $4 OR {_OVER} OR {_MINE} RETURNING start"""
#: Of no other window than the one that it was spent in.
_GIVE_BACK = f"""
UPDATE points SET used = used - 1, marks = right(marks || CAST($5 AS TEXT), {_MARKS})
WHERE org_id = $1 AND kind = $2 AND name = $3 AND start = $4 AND used > 0 AND position(CAST($5 AS TEXT) IN marks) = 0"""
_LEFT = f"SELECT used, start + $4 - {_NOW}, start FROM points WHERE org_id = $1 AND kind = $2 AND name = $3"
_CLEAR = f"DELETE FROM points WHERE start < {_NOW} - CAST($1 AS BIGINT)"

_KEEP = """
INSERT INTO points (org_id, kind, name, start, used) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (org_id, kind, name) DO UPDATE SET start = excluded.start, used = excluded.used"""
_KEPT = "SELECT org_id, kind, name, start, used FROM points WHERE start > $1"
_FORGET = "DELETE FROM points WHERE start <= $1"


class Point(Struct, frozen=True):
    """One that was spent. kind: agent | thread. start: of its window."""

    kind: str
    name: str
    start: float


class Spent(Struct, frozen=True):
    """refused: "" | agent | thread. used: points of that kind. wait: seconds until its window is over. since: when it
    began, unix milliseconds, the same for whoever is refused in it. points: those that were spent."""

    refused: str = ""
    used: int = 0
    wait: float = 0.0
    since: int = 0
    points: tuple[Point, ...] = ()


class PointRows:
    """On PostgreSQL. window: milliseconds."""

    def __init__(self, db: Database, window: int) -> None:
        self._db = db
        self._window = window
        self._spend = with_clock(_SPEND, db.dialect)
        self._spend_agent = with_clock(_SPEND_AGENT, db.dialect)
        self._left = with_clock(_LEFT, db.dialect)
        self._clear = with_clock(_CLEAR, db.dialect)

    async def spend(self, org: str, agent: str, thread: str, most: tuple[int, int]) -> Spent:
        """One point of the agent and one of the thread ("" = of none), or neither. most: of the agent, of the
        thread."""
        mark = _mark()
        if not thread:
            done = await self._db.read(self._spend_agent, org, agent, self._window, most[0], mark)
            if not done:
                return await self._refused(org, "agent", agent)
            return Spent(points=(Point("agent", agent, done[0][0]),))
        [(of_thread, of_agent)] = await self._db.read(
            self._spend, org, agent, self._window, thread, most[1], most[0], mark
        )
        if of_thread is None:
            return await self._refused(org, "thread", thread)
        point = Point("thread", thread, of_thread)
        if of_agent is None:
            await self.give_back(org, [point])
            return await self._refused(org, "agent", agent)
        return Spent(points=(point, Point("agent", agent, of_agent)))

    async def give_back(self, org: str, points: Sequence[Point]) -> None:
        """What was spent for nothing."""
        mark = _mark()
        await self._db.write([(_GIVE_BACK, (org, one.kind, one.name, one.start, mark)) for one in points])

    async def load(self) -> None:
        """Nothing: all of it is in the database."""

    async def clear(self) -> None:
        """Forgets windows that are long over."""
        await self._db.write([(self._clear, (2 * self._window,))])

    async def _refused(self, org: str, kind: str, name: str) -> Spent:
        rows = await self._db.look_up(self._left, org, kind, name, self._window)
        used, left, since = rows[0] if rows else (0, 0, 0)
        return Spent(kind, used, max(left, 0) / 1000, since)


def _mark() -> str:
    return token_hex(_MARK // 2)


class Window(Struct, frozen=True):
    """Points of one agent or thread. kind: agent | thread. start: unix milliseconds of the first of them."""

    org_id: str
    kind: str
    name: str
    start: int
    used: int


class KeptPoints:
    """What a server that counts in memory leaves to the one after it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def keep(self, windows: Iterable[Window], over: int | None = None) -> None:
        """As they are now. over: those that began at this moment or before are forgotten."""
        rows = [(_KEEP, (one.org_id, one.kind, one.name, one.start, one.used)) for one in windows]
        await self._db.write(rows if over is None else [*rows, (_FORGET, (over,))])

    async def kept(self, after: int) -> list[Window]:
        """Those that began after this moment."""
        return [Window(*row) for row in await self._db.read(_KEPT, after)]
