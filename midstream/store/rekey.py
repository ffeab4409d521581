"""The key that a database is used with is replaced by another one, as when it has leaked."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from msgspec import Struct

from ..core.errors import Conflict, StoreDown
from .database import Database, Statement, with_clock
from .recovery import SILENCE
from .secrets import SealingKey, key_of

#: Servers on PostgreSQL.
_LIVE = f"SELECT 1 FROM workers WHERE seen_at > @clock - {SILENCE}"
_NONE_BEGINS = "LOCK TABLE workers IN EXCLUSIVE MODE"
_SUCCEED = "UPDATE sealing_key SET key_id = $1 WHERE key_id = $2"
#: Where no server lives, nor has begun since $3.
_SUCCEED_ALONE = f"{_SUCCEED} AND NOT EXISTS ({_LIVE} OR started_at >= $3)"
#: Asked by what follows it in its transaction.
_SUCCEEDED = "EXISTS (SELECT 1 FROM sealing_key WHERE key_id = $1)"
#: All that is sealed, and how a text ($4) takes another one's place ($3).
_SEALED = (
    (
        "SELECT id, org_id, sealed FROM secrets",
        f"UPDATE secrets SET sealed = $4, key_id = $1 WHERE id = $2 AND sealed = $3 AND {_SUCCEEDED}",
    ),
    (
        "SELECT id, org_id, request FROM jobs WHERE status IN ('queued', 'running')",
        f"UPDATE jobs SET request = $4 WHERE id = $2 AND request = $3 AND {_SUCCEEDED}",
    ),
    (
        "SELECT id, org_id, body FROM batches",
        f"UPDATE batches SET body = $4 WHERE id = $2 AND body = $3 AND {_SUCCEEDED}",
    ),
    (
        "SELECT id, org_id, target FROM deliveries WHERE kind = 'webhook'",
        f"UPDATE deliveries SET target = $4 WHERE id = $2 AND target = $3 AND {_SUCCEEDED}",
    ),
)
#: Of turns that have ended: nobody opens again what was asked, and it may be large.
_EMPTY = f"UPDATE jobs SET request = $2 WHERE status NOT IN ('queued', 'running') AND {_SUCCEEDED}"


class Resealed(Struct, frozen=True):
    """lost: texts that the old key did not open, left as they were."""

    count: int
    lost: int


async def in_use(db: Database) -> bool:
    """By servers that live. (SQLite's file is locked by its one: who has it open may ask.)"""
    return db.dialect == "postgres" and bool(await db.read(with_clock(_LIVE, db.dialect)))


async def replace_key(db: Database, old: SealingKey, new: SealingKey) -> Resealed:
    """What the old key has sealed for any org is sealed with the new one, which is the database's from now on: in one
    transaction. Raises errors.Conflict, with nothing changed, when servers use it or the old key is not its key."""
    [(now,)] = await db.read(with_clock("SELECT @clock", db.dialect))
    work: list[Statement] = []
    lost = 0
    for texts, change in _SEALED:
        for id, org, sealed in await db.read(texts):
            try:
                again = new.seal(old.open(sealed, org, id), org, id)
            except StoreDown:
                lost += 1
                continue
            work.append((change, (new.id, id, sealed, again)))
    await db.alter([*_succession(db, float(now), old, new), *work, (_EMPTY, (new.id, b""))])
    if await key_of(db) != new.id:
        raise Conflict("a server uses the database, or its key was replaced meanwhile")
    return Resealed(len(work), lost)


def _succession(db: Database, since: float, old: SealingKey, new: SealingKey) -> list[Statement]:
    """The new key is the database's, unless a server was there after that time, which may have sealed with the old."""
    if db.dialect == "sqlite":
        return [(_SUCCEED, (new.id, old.id))]
    return [(_NONE_BEGINS, ()), (with_clock(_SUCCEED_ALONE, db.dialect), (new.id, old.id, since))]
