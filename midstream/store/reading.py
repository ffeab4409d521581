"""Questions about runs, attempts and usage, asked within one org or, by the operator, about all of them.

A scope is the org's id or None for all. Every statement here names the org in its condition."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from ..core.errors import NotFound
from ..core.usage import Usage
from .database import Database, DialectName, Value
from .exact import plain
from .rows import USAGE_COLUMNS, AttemptRow, EventRow, RunRow, UsageRow

UsageGroup: TypeAlias = Literal["model", "provider", "org", "key", "agent", "day"]

_DAY: dict[DialectName, str] = {
    "sqlite": "strftime('%Y-%m-%d', started_at, 'unixepoch')",
    "postgres": "to_char(to_timestamp(started_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_COST: dict[DialectName, str] = {"sqlite": "exact_sum(cost)", "postgres": "sum(cost::numeric)::text"}
_GROUPS: dict[UsageGroup, str] = {
    "model": "model",
    "provider": "provider",
    "org": "org_id",
    "key": "key_id",
    "agent": "NULL",
    "day": "",
}


def missing(what: str, id: str) -> NotFound:
    """The same words whether it does not exist or belongs to another org."""
    return NotFound(f"no such {what}: {id}")


class Conditions:
    """A WHERE clause that grows. `?` in a condition stands for its value."""

    def __init__(self, scope: str | None) -> None:
        self._parts: list[str] = []
        self.values: list[Value] = []
        if scope is not None:
            self.add("org_id = ?", scope)

    def add(self, condition: str, *values: Value) -> None:
        for value in values:
            self.values.append(value)
            condition = condition.replace("?", f"${len(self.values)}", 1)
        self._parts.append(condition)

    def __str__(self) -> str:
        return "WHERE " + " AND ".join(self._parts) if self._parts else ""


async def place_of(db: Database, table: str, what: str, id: str, scope: str | None) -> int:
    """The rising number of a row, to go on after it. Raises errors.NotFound."""
    where = Conditions(scope)
    where.add("id = ?", id)
    rows = await db.look_up(f"SELECT seq FROM {table} {where}", *where.values)  # noqa: S608
    if not rows:
        raise missing(what, id)
    return int(rows[0][0])


async def run_of(db: Database, id: str, scope: str | None) -> RunRow:
    where = Conditions(scope)
    where.add("id = ?", id)
    rows = await db.look_up(f"SELECT {RunRow.COLUMNS} FROM runs {where}", *where.values)  # noqa: S608
    if not rows:
        raise missing("run", id)
    return RunRow(*rows[0])


async def runs_page(db: Database, scope: str | None, after: str | None, limit: int) -> list[RunRow]:
    where = Conditions(scope)
    if after is not None:
        where.add("seq < ?", await place_of(db, "runs", "run", after, scope))
    sql = f"SELECT {RunRow.COLUMNS} FROM runs {where} ORDER BY seq DESC LIMIT ${len(where.values) + 1}"  # noqa: S608
    return [RunRow(*row) for row in await db.read(sql, *where.values, limit)]


async def run_events(db: Database, id: str, scope: str | None, after: int, limit: int) -> list[EventRow]:
    await run_of(db, id, scope)
    where = Conditions(scope)
    where.add("run_id = ?", id)
    where.add("seq > ?", after)
    sql = f"SELECT {EventRow.COLUMNS} FROM events {where} ORDER BY seq LIMIT ${len(where.values) + 1}"  # noqa: S608
    return [EventRow(*row) for row in await db.read(sql, *where.values, limit)]


async def attempts_page(
    db: Database, scope: str | None, after: str | None, limit: int, run_id: str | None
) -> list[AttemptRow]:
    where = Conditions(scope)
    if run_id is not None:
        await run_of(db, run_id, scope)
        where.add("run_id = ?", run_id)
    if after is not None:
        where.add("seq > ?", await place_of(db, "attempts", "attempt", after, scope))
    sql = f"SELECT {AttemptRow.COLUMNS} FROM attempts {where} ORDER BY seq LIMIT ${len(where.values) + 1}"  # noqa: S608
    return [AttemptRow.of(row) for row in await db.read(sql, *where.values, limit)]


async def usage_sums(
    db: Database, scope: str | None, since: float | None, until: float | None, group_by: UsageGroup
) -> list[UsageRow]:
    """Attempts begun in [since, until), unix seconds."""
    where = Conditions(scope)
    if since is not None:
        where.add("started_at >= ?", float(since))
    if until is not None:
        where.add("started_at < ?", float(until))
    group = _GROUPS[group_by] or _DAY[db.dialect]
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in USAGE_COLUMNS.split(", "))
    settled = "status <> 'started' AND cost IS NULL"
    sql = (
        f"SELECT {group} AS of_group, count(*), sum(CASE WHEN {settled} THEN 1 ELSE 0 END), {_COST[db.dialect]}, "  # noqa: S608
        f"max(CASE WHEN estimated THEN 1 ELSE 0 END), {sums} FROM attempts {where} "
        "GROUP BY 1 ORDER BY 1"
    )
    rows = await db.read(sql, *where.values)
    return [
        UsageRow(
            group=row[0],
            attempts=int(row[1]),
            unpriced=int(row[2]),
            usage=Usage(*(*row[5:], bool(row[4]))),
            cost=plain(Decimal(row[3] or 0)),
        )
        for row in rows
    ]
