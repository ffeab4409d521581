"""What is to be done because of something that was committed: rows by topic, each done once, by whoever takes it.

A row is marked done in the transaction that writes what it causes, so it is never half done. A worker takes rows for
a while, and for longer as long as it says so; when it dies, or the while is over, they are due again. Those who do a
row must bear doing it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from .database import Database, DialectName, Statement

#: Seconds that a taken row is its worker's own, and that one which is done is remembered.
LEASE, KEPT = 180.0, 86_400.0
#: Seconds until a row that failed is tried again: doubled each time, no more than an hour.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0


class OutboxRow(Struct, frozen=True):
    """attempts: how often it has been begun, this time included. failures: how often that was its own fault, or that of
    whoever was asked: not when the store was away, or this server ended."""

    id: str
    org_id: str
    topic: str
    payload: bytes
    created_at: float
    attempts: int
    failures: int = 0

    COLUMNS = "id, org_id, topic, payload, created_at, attempts, failures"


# Materialized, or PostgreSQL may choose the rows again for each that it updates, and take more than it should.
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT id FROM outbox WHERE topic = $3 AND done_at IS NULL AND available_at <= $4
    ORDER BY available_at, id LIMIT $5 @locked)
UPDATE outbox SET worker = $1, attempts = attempts + 1, available_at = $2
WHERE id IN (SELECT id FROM due) AND done_at IS NULL AND available_at <= $4"""
_DUE = "SELECT 1 FROM outbox WHERE topic = $1 AND done_at IS NULL AND available_at <= $2 LIMIT 1"
_LOCKED: dict[DialectName, str] = {"sqlite": "", "postgres": "FOR UPDATE SKIP LOCKED"}
_TAKEN = f"""
SELECT {OutboxRow.COLUMNS} FROM outbox
WHERE topic = $1 AND done_at IS NULL AND available_at = $2 AND worker = $3 ORDER BY created_at, id"""  # noqa: S608
_DONE = "UPDATE outbox SET done_at = $2, worker = NULL WHERE id = $1 AND done_at IS NULL"
_FAILED = """
UPDATE outbox SET available_at = $2, worker = NULL, failures = failures + $4
WHERE id = $1 AND done_at IS NULL AND worker = $3"""
_RENEW = "UPDATE outbox SET available_at = $2 WHERE id = $1 AND done_at IS NULL AND worker = $3"
_MINE = "SELECT 1 FROM outbox WHERE id = $1 AND done_at IS NULL AND worker = $2 AND available_at > $3"
_LET_GO = """
UPDATE outbox SET available_at = $2, worker = NULL, attempts = attempts - 1
WHERE id = $1 AND done_at IS NULL AND worker = $3"""
_UNKNOWN = """
UPDATE outbox SET available_at = $4, worker = NULL, attempts = attempts - 1
WHERE topic = $1 AND available_at = $2 AND worker = $3 AND done_at IS NULL"""
_OF_THE_DEAD = """
UPDATE outbox SET available_at = $2, worker = NULL WHERE worker IS NOT NULL AND done_at IS NULL AND worker <> $1
    AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = outbox.worker AND workers.seen_at > 0)"""
_NEXT = "SELECT min(available_at) FROM outbox WHERE topic = $1 AND done_at IS NULL"
_FORGET = "DELETE FROM outbox WHERE done_at < $1"


class Outbox:
    """Every org's rows, for the workers of this process. worker: its name in the store."""

    def __init__(self, db: Database, worker: str, clock: Callable[[], float]) -> None:
        self._db = db
        self._worker = worker
        self._clock = clock
        self._lease = 0.0
        #: Leases of each topic under which rows may have been taken of which nobody here knows.
        self._unknown: dict[str, list[float]] = {}

    async def take(self, topic: str, limit: int) -> list[OutboxRow]:
        """Rows that are due, this worker's for LEASE seconds; no two workers get the same. Oldest first. Raises
        StoreDown: what had been taken by then is due again with the next call."""
        await self._give_back(topic)
        now = self._clock()
        lease = self._next_lease(now)
        sql = _TAKE.replace("@locked", _LOCKED[self._db.dialect])
        if not await self._db.look_up(_DUE, topic, now):
            return []
        try:
            await self._db.write([(sql, (self._worker, lease, topic, now, limit))])
            return [OutboxRow(*row) for row in await self._db.look_up(_TAKEN, topic, lease, self._worker)]
        except BaseException:
            self._unknown.setdefault(topic, []).append(lease)
            raise

    def _next_lease(self, now: float) -> float:
        """Unlike that of any other take, so that the rows of one can be told."""
        self._lease = max(now + LEASE, self._lease + 0.001)
        return self._lease

    async def renew(self, rows: Iterable[OutboxRow]) -> None:
        """They are still this worker's, for LEASE seconds from now; not those that another has taken by then."""
        lease = self._next_lease(self._clock())
        await self._db.write([(_RENEW, (row.id, lease, self._worker)) for row in rows])

    async def is_mine(self, row: OutboxRow) -> bool:
        """Is it still to be done, and by this worker?"""
        return bool(await self._db.look_up(_MINE, row.id, self._worker, self._clock()))

    async def _give_back(self, topic: str) -> None:
        leases = self._unknown.get(topic)
        if leases:
            now = self._clock()
            await self._db.write([(_UNKNOWN, (topic, lease, self._worker, now)) for lease in leases])
            del self._unknown[topic]

    async def done(self, rows: Iterable[OutboxRow], caused: Iterable[Statement] = ()) -> None:
        """What the rows cause and that they are done, in one transaction."""
        now = self._clock()
        await self._db.write([*caused, *[(_DONE, (row.id, now)) for row in rows]])

    async def failed(self, row: OutboxRow, *, counts: bool = True) -> float:
        """It is due again after a pause that grows with its attempts: seconds. counts: as one of its failures."""
        pause = float(min(FIRST_PAUSE * 2 ** min(row.attempts - 1, 20), LONGEST_PAUSE))
        await self._db.write([(_FAILED, (row.id, self._clock() + pause, self._worker, int(counts)))])
        return pause

    async def let_go(self, rows: Sequence[OutboxRow]) -> None:
        """This worker ends before they are done: they are due again, as if it had never taken them."""
        now = self._clock()
        await self._db.write([(_LET_GO, (row.id, now, self._worker)) for row in rows])

    async def recover(self) -> None:
        """Rows of workers that are no longer there are due again."""
        await self._db.write([(_OF_THE_DEAD, (self._worker, self._clock()))])

    async def next_at(self, topic: str) -> float | None:
        """When the next row is due, unix seconds."""
        [(at,)] = await self._db.look_up(_NEXT, topic)
        return None if at is None else float(at)

    async def forget(self) -> None:
        """Rows that were done long ago are cleared away."""
        await self._db.write([(_FORGET, (self._clock() - KEPT,))])
