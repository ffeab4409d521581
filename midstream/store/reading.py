"""Questions about runs, attempts and usage, asked within one org or, by the operator, about all of them.

A scope is the org's id, or None for all. Every statement names it: `@scope` is the only place where the two differ."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias, get_args

from ..core.errors import NotFound
from ..core.usage import Usage
from .database import Database, DialectName, Row, Value
from .exact import plain
from .ledger import AttemptStatus, RunStatus
from .rows import USAGE_COLUMNS, AttemptRow, RunRow, UsageRow

Scope: TypeAlias = str | None
UsageGroup: TypeAlias = Literal["model", "provider", "org", "key", "agent", "day"]

PAGE = 100
#: Beyond every row's number, every message's place and every time.
LAST = 2**62


def missing(what: str, id: str) -> NotFound:
    """The same words whether it does not exist or belongs to another org."""
    return NotFound(f"no such {what}: {id}")


class Question:
    """A statement whose $1 is the scope."""

    __slots__ = ("_all", "_one")

    def __init__(self, sql: str) -> None:
        self._one = sql.replace("@scope", "org_id = $1")
        self._all = sql.replace("@scope", "CAST($1 AS TEXT) IS NULL")

    async def look_up(self, db: Database, scope: Scope, *args: Value) -> list[Row]:
        return await db.look_up(self._all if scope is None else self._one, scope, *args)

    async def read(self, db: Database, scope: Scope, *args: Value) -> list[Row]:
        return await db.read(self._all if scope is None else self._one, scope, *args)


_RUN = Question(f"SELECT {RunRow.COLUMNS} FROM runs WHERE @scope AND id = $2")
_RUN_PLACE = Question("SELECT seq FROM runs WHERE @scope AND id = $2")
_RUNS = Question(f"SELECT {RunRow.COLUMNS} FROM runs WHERE @scope AND seq < $2 ORDER BY seq DESC LIMIT $3")
_RUNS_OF_STATUS = Question(
    f"SELECT {RunRow.COLUMNS} FROM runs WHERE @scope AND seq < $2 AND status = $4 ORDER BY seq DESC LIMIT $3"
)
_ATTEMPT_PLACE = Question("SELECT seq FROM attempts WHERE @scope AND id = $2")
#: By what they are chosen: a run, a status.
_ATTEMPTS = {
    (by_run, by_status): Question(
        f"SELECT {AttemptRow.COLUMNS} FROM attempts WHERE @scope AND seq > $2"
        + " AND run_id = $4" * by_run
        + f" AND status = ${4 + by_run}" * by_status
        + " ORDER BY seq LIMIT $3"
    )
    for by_run in (False, True)
    for by_status in (False, True)
}
#: A run that is called begins after the one that calls it.
_ATTEMPTS_BELOW = Question(f"""
WITH RECURSIVE below (id) AS (
    SELECT id FROM runs WHERE @scope AND seq > $3 AND parent_run_id = $2
    UNION SELECT runs.id FROM runs JOIN below ON runs.parent_run_id = below.id WHERE @scope AND runs.seq > $3)
SELECT {AttemptRow.COLUMNS} FROM attempts WHERE @scope AND run_id IN (SELECT id FROM below) ORDER BY seq""")

#: Of a second: both round what is less than that, the last of a day to the next one.
_DAY: dict[DialectName, str] = {
    "sqlite": "strftime('%Y-%m-%d', CAST(started_at AS INTEGER), 'unixepoch')",
    "postgres": "to_char(to_timestamp(floor(started_at)) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}
_COST: dict[DialectName, str] = {"sqlite": "exact_sum(cost)", "postgres": "sum(CAST(cost AS NUMERIC))"}
_GROUPS: dict[UsageGroup, str] = {
    "model": "model", "provider": "provider", "org": "org_id", "key": "key_id",
    "agent": "(SELECT runs.agent_id FROM runs WHERE runs.id = attempts.run_id)",
}  # fmt: skip
#: Of an agent's run without an agent the id is '', of other runs it is none: that is one group.
_USAGE = """
SELECT NULLIF(@group, ''), count(*), sum(CASE WHEN status <> 'started' AND cost IS NULL THEN 1 ELSE 0 END),
    CAST(@cost AS TEXT), max(CASE WHEN estimated THEN 1 ELSE 0 END), @sums
FROM attempts WHERE @scope AND started_at >= $2 AND started_at < $3 GROUP BY 1 ORDER BY 1"""
_SUMS = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in USAGE_COLUMNS.split(", "))


def _usage(group: UsageGroup, dialect: DialectName) -> Question:
    key = _GROUPS.get(group) or _DAY[dialect]
    return Question(_USAGE.replace("@group", key).replace("@cost", _COST[dialect]).replace("@sums", _SUMS))


_USAGE_BY = {
    (dialect, group): _usage(group, dialect) for dialect in get_args(DialectName) for group in get_args(UsageGroup)
}


class Accounts:
    """Runs, attempts and usage of a scope. Lists go on after the id `after`, and raise errors.NotFound when there is no
    such row, as everything does that is asked of a run."""

    def __init__(self, db: Database, scope: Scope) -> None:
        self._db = db
        self._scope = scope

    async def run(self, id: str) -> RunRow:
        rows = await _RUN.look_up(self._db, self._scope, id)
        if not rows:
            raise missing("run", id)
        return RunRow(*rows[0])

    async def runs(
        self, *, after: str | None = None, limit: int = PAGE, status: RunStatus | None = None
    ) -> list[RunRow]:
        """Newest first; status: only those."""
        place = LAST if after is None else await self._place(_RUN_PLACE, "run", after)
        if status is None:
            rows = await _RUNS.read(self._db, self._scope, place, limit)
        else:
            rows = await _RUNS_OF_STATUS.read(self._db, self._scope, place, limit, status)
        return [RunRow(*row) for row in rows]

    async def attempts(
        self,
        *,
        after: str | None = None,
        limit: int = PAGE,
        run_id: str | None = None,
        status: AttemptStatus | None = None,
    ) -> list[AttemptRow]:
        """Oldest first; run_id, status: only those."""
        place = 0 if after is None else await self._place(_ATTEMPT_PLACE, "attempt", after)
        if run_id is not None:
            await self.run(run_id)
        chosen = [value for value in (run_id, status) if value is not None]
        question = _ATTEMPTS[run_id is not None, status is not None]
        return [AttemptRow.of(row) for row in await question.read(self._db, self._scope, place, limit, *chosen)]

    async def attempts_below(self, run_id: str) -> list[AttemptRow]:
        """Of the runs that this one has called, and those that these have called, oldest first."""
        place = await self._place(_RUN_PLACE, "run", run_id)
        return [AttemptRow.of(row) for row in await _ATTEMPTS_BELOW.read(self._db, self._scope, run_id, place)]

    async def _place(self, question: Question, what: str, id: str) -> int:
        """The rising number of a row."""
        rows = await question.look_up(self._db, self._scope, id)
        if not rows:
            raise missing(what, id)
        return int(rows[0][0])

    async def usage(
        self, *, since: float | None = None, until: float | None = None, group_by: UsageGroup = "model"
    ) -> list[UsageRow]:
        """Attempts begun in [since, until), unix seconds, in the order of their groups."""
        begin, end = 0.0 if since is None else float(since), float(LAST) if until is None else float(until)
        rows = await _USAGE_BY[self._db.dialect, group_by].read(self._db, self._scope, begin, end)
        return [
            UsageRow(
                group=group,
                attempts=int(attempts),
                unpriced=int(unpriced),
                usage=Usage(*(*counts, bool(estimated))),
                cost=plain(Decimal(cost or 0)),
            )
            for group, attempts, unpriced, cost, estimated, *counts in rows
        ]
