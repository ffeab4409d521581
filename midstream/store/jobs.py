"""Work that was accepted and is done later: turns whose answer goes elsewhere, and the items of batches.

    queued -> running -> done | failed

A job whose worker died is queued again; what it had done is in its run's journal. Turns of one conversation stand in
line: none begins before those that were accepted earlier are over, whoever works on them."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from .database import Database, Statement, Value, with_place
from .ledger import JobEnded, Record, statement
from .reading import missing
from .recovery import given_up
from .shares import Line, Places, Shares
from .tool_calls import left_behind

JobStatus: TypeAlias = Literal["queued", "running", "done", "failed"]
#: A turn whose answer goes elsewhere; an item of a batch.
JobKind: TypeAlias = Literal["turn", "batch"]
#: A job that has taken so many workers with it is not given to another.
TRIES = 5


class Job(Struct, frozen=True):
    """id: what the caller was told. run_id: of its run, the same each time it is tried. request: JSON text of what was
    asked. delivery: JSON text of where the answer goes. result: the answer in the face's own words, once there is one.
    line: the conversation in which it stands in line ("" = in none). place: in the order of acceptance, given with it.
    tries: how often its work was begun. Times are unix seconds."""

    id: str
    org_id: str
    key_id: str
    kind: JobKind
    batch_id: str | None
    run_id: str
    request: bytes
    delivery: bytes | None
    created_at: float
    available_at: float
    status: JobStatus = "queued"
    tries: int = 0
    result: bytes | None = None
    ended_at: float | None = None
    line: str = ""
    place: int = 0


_COLUMNS = (
    "id, org_id, key_id, kind, batch_id, run_id, request, delivery, created_at, available_at, status, tries, result, "
    "ended_at, line, place"
)
_ADD = """
INSERT INTO jobs (id, org_id, key_id, kind, batch_id, run_id, request, delivery, created_at, available_at, status,
    line, place)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', $11, @place) ON CONFLICT (id) DO NOTHING"""
#: Nobody stands before it. One that is under way is before all others, also one that was accepted while it began.
_FIRST = """
NOT EXISTS (SELECT 1 FROM jobs AS ahead
    WHERE ahead.line = jobs.line AND ahead.line <> '' AND ahead.status IN ('queued', 'running') AND ahead.id <> jobs.id
        AND (ahead.place < jobs.place OR ahead.status = 'running'))"""
#: Of which a turn is due, by when the first of them was: read from the index alone, by leaps.
_ORGS = """
WITH RECURSIVE orgs(org_id) AS (
    SELECT min(org_id) FROM jobs WHERE status = 'queued' AND kind = 'turn'
    UNION ALL
    SELECT (SELECT min(one.org_id) FROM jobs AS one
        WHERE one.status = 'queued' AND one.kind = 'turn' AND one.org_id > orgs.org_id)
    FROM orgs WHERE orgs.org_id IS NOT NULL
), firsts AS (
    SELECT orgs.org_id, (SELECT min(one.available_at) FROM jobs AS one
        WHERE one.status = 'queued' AND one.kind = 'turn' AND one.org_id = orgs.org_id) AS due
    FROM orgs WHERE orgs.org_id IS NOT NULL
) SELECT org_id FROM firsts WHERE due <= $1 ORDER BY due, org_id"""
_DUE = f"""
SELECT id FROM jobs WHERE status = 'queued' AND kind = 'turn' AND org_id = $1 AND available_at <= $2 AND {_FIRST}
ORDER BY available_at, id LIMIT $3"""
_LINES = """
SELECT org_id, id,
    (SELECT count(*) FROM jobs WHERE jobs.org_id = batches.org_id AND batch_id = batches.id AND status = 'running'),
    (SELECT count(*) FROM (
        SELECT 1 FROM jobs WHERE jobs.org_id = batches.org_id AND batch_id = batches.id AND status = 'queued'
            AND available_at <= $1 LIMIT $2) AS due)
FROM batches WHERE ended_at IS NULL ORDER BY created_at, id"""
_DUE_OF_BATCH = """
SELECT id FROM jobs WHERE org_id = $1 AND batch_id = $2 AND status = 'queued' AND available_at <= $3
ORDER BY available_at, id LIMIT $4"""
_TAKE = f"""
UPDATE jobs SET status = 'running', worker = $2, tries = tries + 1 WHERE id = $1 AND status = 'queued' AND {_FIRST}"""
_TAKEN = f"SELECT {_COLUMNS} FROM jobs WHERE id = $1 AND status = 'running' AND worker = $2"
# Said twice, when the store was away, it does nothing to a job that was put off by the first time and is taken again.
_LET_GO = """
UPDATE jobs SET status = 'queued', tries = $3, available_at = $4
WHERE id = $1 AND status = 'running' AND worker = $2 AND available_at = $5"""
_UNKNOWN = """
UPDATE jobs SET status = 'queued', worker = NULL, tries = tries - 1
WHERE id = $1 AND status = 'running' AND worker = $2"""
_TRIED = "UPDATE jobs SET tries = $3 WHERE id = $1 AND status = 'running' AND worker = $2"
_PUT_OFF = """
UPDATE jobs SET status = 'queued', worker = NULL, tries = tries - 1, available_at = $3
WHERE id = $1 AND status = 'running' AND worker = $2"""
_PUT_OFF_BATCH = """
UPDATE jobs SET available_at = $3
WHERE org_id = $1 AND batch_id = $2 AND status = 'queued' AND available_at < $3"""
#: Once it is known what its run has spent: see recovery.
_AGAIN = """
UPDATE jobs SET status = 'queued', worker = NULL WHERE status = 'running' AND worker <> $1
    AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = jobs.worker AND workers.seen_at > 0)
    AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.run_id = jobs.run_id AND attempts.status = 'started')"""
_ONE = f"SELECT {_COLUMNS} FROM jobs WHERE id = $1 AND org_id = $2"
_OF_BATCH = f"SELECT {_COLUMNS} FROM jobs WHERE batch_id = $1 AND org_id = $2 ORDER BY created_at, id"


class Jobs:
    """All orgs' queue, for those who work it off. worker: this process's name in the store."""

    def __init__(self, db: Database, worker: str, clock: Callable[[], float]) -> None:
        self._db = db
        self._worker = worker
        self._clock = clock
        self._shares = Shares()
        #: Jobs that may have been taken of which nobody here knows.
        self._unknown: list[str] = []

    async def add(self, jobs: Sequence[Job], also: Sequence[Statement] = ()) -> None:
        """Durable on return."""
        add = with_place(_ADD, self._db.dialect)
        await self._db.write([*also, *[(add, _values(job)) for job in jobs]])

    async def take(self, limit: int, begun: Mapping[str, int] | None = None, most: int | None = None) -> list[Job]:
        """Turns that are due and have nobody before them in line, now this worker's; of those that several reach for,
        one gets each. begun: turns under way here, by org; the next one is of the org that has the fewest, and of each
        there are at most `most`. Raises StoreDown: what had been taken by then is due again with the next call."""
        if limit <= 0:
            return []
        await self._give_back()
        now, places = self._clock(), Places(limit, begun or {}, most)
        orgs = [org for (org,) in await self._db.read(_ORGS, now)]
        due: dict[str, list[str]] = {}
        for org in sorted(orgs, key=places.begun.__getitem__):
            if len(due) < limit and (room := places.room(org)) > 0:
                rows = await self._db.look_up(_DUE, org, now, min(room, limit))
                if rows:
                    due[org] = [id for (id,) in rows]
        return await self._taken(places.share({org: due[org] for org in orgs if org in due}))

    async def take_items(
        self, limit: int, begun: Mapping[str, int] | None = None, most: int | None = None
    ) -> list[Job]:
        """Items of batches, likewise: of each org and each of its batches in turn."""
        if limit <= 0:
            return []
        await self._give_back()
        now = self._clock()
        lines = [Line(*row) for row in await self._db.read(_LINES, now, limit)]
        given = self._shares.share(lines, Places(limit, begun or {}, most))
        found: list[str] = []
        for line in lines:
            if places := given[line.batch_id]:
                rows = await self._db.look_up(_DUE_OF_BATCH, line.org_id, line.batch_id, now, places)
                found += [id for (id,) in rows]
        return await self._taken(found)

    async def _taken(self, ids: Sequence[str]) -> list[Job]:
        if not ids:
            return []
        try:
            await self._db.write([(_TAKE, (id, self._worker)) for id in ids])
            taken = [await self._db.look_up(_TAKEN, id, self._worker) for id in ids]
        except BaseException:
            self._unknown += ids
            raise
        return [Job(*rows[0]) for rows in taken if rows]

    async def _give_back(self) -> None:
        if self._unknown:
            await self._db.write([(_UNKNOWN, (id, self._worker)) for id in self._unknown])
            self._unknown.clear()

    async def end(self, id: str, status: JobStatus, result: bytes, also: Sequence[Record | Statement] = ()) -> None:
        """Of a job whose run never began; others end with their run. The first end is the one that counts."""
        records = [JobEnded(id, status, result, self._clock()), *also]
        await self._db.write([statement(record) for record in records])

    def given_up(self, job: Job, error: dict[str, str]) -> list[Statement]:
        """For its end, when nobody goes on with it: its run's end is told where that of every run is. error:
        {code, message}."""
        calls = [statement(one) for one in left_behind(job.run_id, job.org_id, self._clock())]
        return [*calls, *given_up(self._db.dialect, job.run_id, error)]

    async def let_go(self, job: Job, until: float | None = None) -> None:
        """This worker ends before the job does, or cannot do it now: another one may have it, as if this one had not
        tried. until: not before that, unix seconds."""
        await self._db.write([self.letting_go(job, until)])

    def letting_go(self, job: Job, until: float | None = None, *, tried: bool = False) -> Statement:
        """To be written with something else. tried: it counts all the same."""
        tries, at = (job.tries if tried else job.tries - 1), (job.available_at if until is None else until)
        return _LET_GO, (job.id, self._worker, tries, at, job.available_at)

    async def waits(self, job: Job) -> None:
        """It is this worker's, but cannot begin yet: while it waits, it is not being tried."""
        await self._db.write([(_TRIED, (job.id, self._worker, job.tries - 1))])

    async def begins(self, job: Job) -> bool:
        """It has waited long enough. False: another worker has taken it meanwhile, or has ended it."""
        await self._db.write([(_TRIED, (job.id, self._worker, job.tries))])
        return bool(await self._db.look_up(_TAKEN, job.id, self._worker))

    async def put_off(self, job: Job, until: float) -> None:
        """It has not begun, and may not before `until` (unix seconds); nor may others of its batch."""
        statements: list[Statement] = [(_PUT_OFF, (job.id, self._worker, until))]
        if job.batch_id is not None:
            statements.append((_PUT_OFF_BATCH, (job.org_id, job.batch_id, until)))
        await self._db.write(statements)

    async def requeue(self) -> None:
        """Jobs of workers that are no longer there are due again."""
        await self._db.write([(_AGAIN, (self._worker,))])


class OrgJobs:
    """One org's jobs, for those who ask what became of them."""

    def __init__(self, db: Database, org_id: str) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id

    async def job(self, id: str) -> Job:
        """Raises errors.NotFound."""
        rows = await self._db.look_up(_ONE, id, self._org)
        if not rows:
            raise missing("message", id)
        return Job(*rows[0])

    async def of_batch(self, batch_id: str) -> list[Job]:
        """In the order of the batch."""
        return [Job(*row) for row in await self._db.read(_OF_BATCH, batch_id, self._org)]


def _values(job: Job) -> tuple[Value, ...]:
    return (
        job.id, job.org_id, job.key_id, job.kind, job.batch_id, job.run_id, job.request, job.delivery, job.created_at,
        job.available_at, job.line,
    )  # fmt: skip
