"""What a server that died left behind: its attempts become `unknown`, its runs `failed`, each exactly once.

The updates only touch rows that have not ended, so two servers that do this at once, and a worker that was only
asleep and settles later, leave one terminal state: the first."""

from __future__ import annotations

from .database import CLOCK, Database, Statement

#: Seconds: how often a worker says that it lives, and how long it may be silent before it counts as dead.
HEARTBEAT, SILENCE = 10.0, 30.0

_ATTEMPTS = """
UPDATE attempts SET status = 'unknown', estimated = TRUE, uncached_in = estimate_in, ended_at = {clock},
    error_code = 'interrupted', error_message = 'the server stopped before the answer was recorded'
WHERE status = 'started' AND {dead}"""
_RUNS = """
UPDATE runs SET status = 'failed', ended_at = {clock}, error_code = 'interrupted',
    error_message = 'the server stopped while this was running'
WHERE status = 'running' AND {dead}"""
_DEAD = "NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = {table}.worker AND workers.seen_at > {clock} - $1)"
#: SQLite has no index of what is open: it looks from the lowest mark on (see `_marks`).
_FROM_MARK = " AND seq > (SELECT COALESCE(min({table}_mark), 0) FROM workers)"
_SEEN = """
INSERT INTO workers (id, started_at, seen_at) VALUES ($1, {clock}, {clock})
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""


async def join(db: Database, worker: str) -> None:
    """Registers this worker and ends what dead ones left. On SQLite every other one is dead: the directory's lock
    is held by this process."""
    if db.dialect == "sqlite":
        await db.write([("UPDATE workers SET seen_at = 0", ()), *_recovery(db), _seen(db, worker)])
        await _advance_marks(db, worker)
    else:
        await beat(db, worker)


async def beat(db: Database, worker: str) -> None:
    """This worker lives; what dead ones left is ended."""
    if db.dialect == "sqlite":
        await _advance_marks(db, worker)
    else:
        await db.write([_seen(db, worker)])
        await recover(db)


async def leave(db: Database, worker: str) -> None:
    """This worker ends in order: what it still has open is ended at once by the next that looks."""
    await db.write([("UPDATE workers SET seen_at = 0 WHERE id = $1", (worker,))])


async def recover(db: Database) -> None:
    """Ends what workers that are not alive had begun. Idempotent; any number of workers may do it at once."""
    await db.write(_recovery(db))


def _recovery(db: Database) -> list[Statement]:
    clock = CLOCK[db.dialect]
    statements: list[Statement] = []
    for table, update in (("attempts", _ATTEMPTS), ("runs", _RUNS)):
        dead = _DEAD + _FROM_MARK if db.dialect == "sqlite" else _DEAD
        statements.append((update.format(clock=clock, dead=dead.format(clock=clock, table=table)), (SILENCE,)))
    forget = f"DELETE FROM workers WHERE seen_at <= {clock} - $1"  # noqa: S608
    return [*statements, (forget, (SILENCE,))]


def _seen(db: Database, worker: str) -> Statement:
    return _SEEN.format(clock=CLOCK[db.dialect]), (worker,)


async def _advance_marks(db: Database, worker: str) -> None:
    """Moves the marks up to the oldest open row, so that the next start looks at few rows. The one writer of an
    SQLite file numbers its rows in the order of commits: what comes after this look has a higher number."""
    marks: dict[str, int] = {}
    for table, open_status in (("attempts", "started"), ("runs", "running")):
        sql = f"""
SELECT COALESCE(
    (SELECT seq - 1 FROM {table} WHERE status = $1 AND seq > (SELECT {table}_mark FROM workers WHERE id = $2)
     ORDER BY seq LIMIT 1),
    (SELECT max(seq) FROM {table}),
    0)"""  # noqa: S608
        [(marks[table],)] = await db.read(sql, open_status, worker)
    sql = "UPDATE workers SET attempts_mark = $2, runs_mark = $3 WHERE id = $1"
    await db.write([(sql, (worker, marks["attempts"], marks["runs"]))])
