"""What a server that died left behind: its attempts become `unknown`, its runs `failed`, each exactly once."""

from __future__ import annotations

from .database import CLOCK, Database, Statement

#: Seconds: how often a worker says that it lives, and how long it may be silent before it counts as dead.
HEARTBEAT, SILENCE = 10.0, 30.0

# Both updates only touch rows that have not ended, so two servers that do this at once, and a worker that was only
# asleep and settles later, leave one terminal state: the first.
_DEAD = "NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = {table}.worker AND workers.seen_at > {clock} - $1)"
_ATTEMPTS = """
UPDATE attempts SET status = 'unknown', estimated = TRUE, uncached_in = estimate_in, ended_at = {clock},
    error_code = 'interrupted', error_message = 'the server stopped before the answer was recorded'
WHERE status = 'started' AND """
_RUNS = """
UPDATE runs SET status = 'failed', ended_at = {clock}, error_code = 'interrupted',
    error_message = 'the server stopped while this was running'
WHERE status = 'running' AND """
_SEEN = """
INSERT INTO workers (id, started_at, seen_at) VALUES ($1, {clock}, {clock})
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""


async def join(db: Database, worker: str, *, alone: bool) -> None:
    """Registers this worker and recovers what dead ones left. alone: no other worker can be alive."""
    statements: list[Statement] = [("DELETE FROM workers WHERE id <> $1", (worker,))] if alone else []
    await db.write([*statements, _seen(db, worker)])
    await recover(db)


async def beat(db: Database, worker: str) -> None:
    """This worker lives; others' remains are looked after."""
    await db.write([_seen(db, worker)])
    await recover(db)


async def leave(db: Database, worker: str) -> None:
    """This worker ends in order: whatever it still had open is recovered at once by the next."""
    await db.write([("DELETE FROM workers WHERE id = $1", (worker,))])


async def recover(db: Database) -> None:
    """Ends what workers that are not alive had begun. Idempotent; any number of workers may do it at once."""
    clock = CLOCK[db.dialect]
    attempts = (_ATTEMPTS + _DEAD).format(clock=clock, table="attempts")
    runs = (_RUNS + _DEAD).format(clock=clock, table="runs")
    forget = f"DELETE FROM workers WHERE seen_at <= {clock} - $1"  # noqa: S608
    await db.write([(attempts, (SILENCE,)), (runs, (SILENCE,)), (forget, (SILENCE,))])


def _seen(db: Database, worker: str) -> Statement:
    return _SEEN.format(clock=CLOCK[db.dialect]), (worker,)
