"""What a server that died left behind: its attempts become `unknown`, its runs `failed`, each exactly once.

The updates only touch rows that have not ended, so two servers that do this at once, and a worker that was only
asleep and settles later, leave one terminal state: the first."""

from __future__ import annotations

from .database import Database, DialectName, Statement, with_clock

#: Seconds: how often a worker says that it lives, and how long it may be silent before it counts as dead.
HEARTBEAT, SILENCE = 10.0, 30.0
#: Heartbeats in a row that must have got through before a worker judges others by their silence: when it was the
#: database that was away, all have been silent, and each gets the time to be heard again.
WATCHED = 3
#: Nobody is dead for being silent: only for having said that it ends (`leave`).
_FOR_EVER = 1e12

_ATTEMPTS = """
UPDATE attempts SET status = 'unknown', estimated = TRUE, uncached_in = estimate_in, ended_at = @clock,
    error_code = 'interrupted', error_message = 'the server stopped before the answer was recorded'
WHERE status = 'started'
    AND NOT EXISTS (SELECT 1 FROM workers
        WHERE workers.id = attempts.worker AND workers.seen_at > 0 AND workers.seen_at > @clock - $1)"""
_RUNS = """
UPDATE runs SET status = 'failed', ended_at = @clock, error_code = 'interrupted',
    error_message = 'the server stopped while this was running'
WHERE status = 'running'
    AND NOT EXISTS (SELECT 1 FROM workers
        WHERE workers.id = runs.worker AND workers.seen_at > 0 AND workers.seen_at > @clock - $1)"""
_FORGET = "DELETE FROM workers WHERE seen_at <= 0 OR seen_at <= @clock - $1"
#: SQLite has no index of what is open: it looks from the lowest mark on (see `_advance_marks`).
_FROM_ATTEMPTS_MARK = " AND seq > (SELECT COALESCE(min(attempts_mark), 0) FROM workers)"
_FROM_RUNS_MARK = " AND seq > (SELECT COALESCE(min(runs_mark), 0) FROM workers)"
_RECOVERY: dict[DialectName, tuple[str, ...]] = {
    "sqlite": (_ATTEMPTS + _FROM_ATTEMPTS_MARK, _RUNS + _FROM_RUNS_MARK, _FORGET),
    "postgres": (_ATTEMPTS, _RUNS, _FORGET),
}
_SEEN = """
INSERT INTO workers (id, started_at, seen_at) VALUES ($1, @clock, @clock)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""
_ATTEMPTS_MARK = """
SELECT COALESCE(
    (SELECT seq - 1 FROM attempts
     WHERE status = 'started' AND seq > (SELECT attempts_mark FROM workers WHERE id = $1) ORDER BY seq LIMIT 1),
    (SELECT max(seq) FROM attempts), 0)"""
_RUNS_MARK = """
SELECT COALESCE(
    (SELECT seq - 1 FROM runs
     WHERE status = 'running' AND seq > (SELECT runs_mark FROM workers WHERE id = $1) ORDER BY seq LIMIT 1),
    (SELECT max(seq) FROM runs), 0)"""


async def join(db: Database, worker: str) -> None:
    """Registers this worker and ends what dead ones left. On SQLite every other one is dead: the directory's lock
    is held by this process. On PostgreSQL those that have ended in order are; the silent ones are watched first."""
    if db.dialect == "sqlite":
        await db.write([("UPDATE workers SET seen_at = 0", ()), *_recovery(db), _seen(db, worker)])
        await _advance_marks(db, worker)
    else:
        await beat(db, worker, watched=0)


async def beat(db: Database, worker: str, *, watched: int = WATCHED) -> None:
    """This worker lives; what dead ones left is ended. watched: how many of its heartbeats before this one got
    through in a row."""
    if db.dialect == "sqlite":
        await _advance_marks(db, worker)
    else:
        await db.write([_seen(db, worker)])
        await recover(db, SILENCE if watched >= WATCHED else _FOR_EVER)


async def leave(db: Database, worker: str) -> None:
    """This worker ends in order: what it still has open is ended at once by the next that looks."""
    await db.write([("UPDATE workers SET seen_at = 0 WHERE id = $1", (worker,))])


async def recover(db: Database, silence: float = SILENCE) -> None:
    """Ends what workers that are not alive had begun. Idempotent; any number of workers may do it at once."""
    await db.write(_recovery(db, silence))


def _recovery(db: Database, silence: float = SILENCE) -> list[Statement]:
    return [(with_clock(sql, db.dialect), (silence,)) for sql in _RECOVERY[db.dialect]]


def _seen(db: Database, worker: str) -> Statement:
    return with_clock(_SEEN, db.dialect), (worker,)


async def _advance_marks(db: Database, worker: str) -> None:
    """Moves the marks up to the oldest open row, so that the next start looks at few rows. The one writer of an
    SQLite file numbers its rows in the order of commits: what comes after this look has a higher number."""
    [(attempts,)] = await db.read(_ATTEMPTS_MARK, worker)
    [(runs,)] = await db.read(_RUNS_MARK, worker)
    sql = "UPDATE workers SET attempts_mark = $2, runs_mark = $3 WHERE id = $1"
    await db.write([(sql, (worker, attempts, runs))])
