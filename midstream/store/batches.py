"""Batches: many turns asked at once. What each came to is in its job; a batch says which jobs are its own, in order.

Its end is told once: what marks it as told is committed together with the message that tells it."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from .database import Database, Statement
from .ledger import Record, statement
from .reading import missing

#: Ended batches that are looked for at once.
PAGE = 20


class Batch(Struct, frozen=True):
    """body: what was asked, sealed by whoever asked it. ended_at: None = its end is not told. Times: unix seconds."""

    id: str
    org_id: str
    body: bytes
    created_at: float
    ended_at: float | None = None


_COLUMNS = "id, org_id, body, created_at, ended_at"
_ADD = "INSERT INTO batches (id, org_id, body, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING"
_ONE = f"SELECT {_COLUMNS} FROM batches WHERE id = $1 AND org_id = $2"
_OPEN = """
SELECT 1 FROM jobs WHERE org_id = $1 AND batch_id = $2 AND (status = 'queued' OR status = 'running') LIMIT 1"""
_OVER = f"""
SELECT {_COLUMNS} FROM batches WHERE ended_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE jobs.org_id = batches.org_id AND jobs.batch_id = batches.id
        AND (jobs.status = 'queued' OR jobs.status = 'running'))
ORDER BY created_at, id LIMIT $1"""
_END = "UPDATE batches SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL"


def added(batch: Batch) -> Statement:
    """To be committed together with its jobs."""
    return _ADD, (batch.id, batch.org_id, batch.body, batch.created_at)


class Batches:
    """All orgs' batches, for whoever tells their ends."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def is_over(self, org_id: str, id: str) -> bool:
        """Whether each of its turns has ended."""
        return not await self._db.look_up(_OPEN, org_id, id)

    async def over(self) -> list[Batch]:
        """Some of those that are over and whose end is not told, oldest first."""
        return [Batch(*row) for row in await self._db.read(_OVER, PAGE)]

    async def end(self, id: str, at: float, also: Sequence[Record]) -> None:
        """also: what tells its end; committed twice, it is there once."""
        await self._db.write([(_END, (id, at)), *[statement(record) for record in also]])


class OrgBatches:
    """One org's batches."""

    def __init__(self, db: Database, org_id: str) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id

    async def one(self, id: str) -> Batch:
        """Raises errors.NotFound."""
        rows = await self._db.look_up(_ONE, id, self._org)
        if not rows:
            raise missing("batch", id)
        return Batch(*rows[0])
