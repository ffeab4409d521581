"""API keys: shown once, stored as a hash."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from ..core.ids import new_id, secret
from .agents import among, listed
from .database import Database, Row
from .reading import missing

PREFIX = "ms-"
#: Characters of a key that are kept to recognise it by.
SHOWN = len(PREFIX) + 6


class ApiKey(Struct, frozen=True):
    """What is known of a key; never the key. prefix: its first characters. Times are unix seconds.
    last_used_at: to the minute."""

    id: str
    org_id: str
    name: str
    prefix: str
    scopes: frozenset[str]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    requests_per_minute: int | None = None

    def valid(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_COLUMNS = "id, org_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at, requests_per_minute"

_VALID = """
SELECT id FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) AND id IN @listed"""


def hash_of(key: str) -> str:
    """What a presented key is found by. A key is 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Row) -> ApiKey:
    id, org_id, name, prefix, scopes, *times = row
    return ApiKey(id, org_id, name, prefix, frozenset(scopes.split()), *times)


class Keys:
    """find is how a caller's org becomes known, so it alone asks without one."""

    def __init__(self, db: Database, clock: Callable[[], float]) -> None:
        self._db = db
        self._clock = clock

    async def create(
        self,
        org_id: str,
        name: str,
        scopes: Iterable[str] = (),
        *,
        expires_at: float | None = None,
        requests_per_minute: int | None = None,
    ) -> tuple[ApiKey, str]:
        """The key's record and the key itself, which nobody can read again. Raises errors.NotFound for the org."""
        if not await self._db.look_up("SELECT 1 FROM orgs WHERE id = $1", org_id):
            raise missing("org", org_id)
        text = secret(PREFIX)
        now = self._clock()
        key = ApiKey(
            new_id("key_"), org_id, name, text[:SHOWN], frozenset(scopes), now, expires_at,
            requests_per_minute=requests_per_minute,
        )  # fmt: skip
        sql = """
INSERT INTO api_keys (id, org_id, name, hash, prefix, scopes, created_at, expires_at, requests_per_minute)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING"""
        words = " ".join(sorted(key.scopes))
        row = (key.id, org_id, name, hash_of(text), key.prefix, words, now, expires_at, requests_per_minute)
        await self._db.write([(sql, row)])
        return key, text

    async def find(self, key: str) -> ApiKey | None:
        """The record of a presented key, valid or not; None when there is none."""
        rows = await self._db.look_up(f"SELECT {_COLUMNS} FROM api_keys WHERE hash = $1", hash_of(key))
        return _key(rows[0]) if rows else None

    async def list(self, org_id: str) -> list[ApiKey]:
        """An org's keys, oldest first, revoked ones too."""
        sql = f"SELECT {_COLUMNS} FROM api_keys WHERE org_id = $1 ORDER BY created_at, id"
        return [_key(row) for row in await self._db.read(sql, org_id)]

    async def valid(self, ids: Iterable[str]) -> set[str]:
        """Those of the keys that still open anything."""
        rows = await self._db.read(among(_VALID, self._db.dialect), self._clock(), listed(ids))
        return {id for (id,) in rows}

    async def revoke(self, org_id: str, id: str) -> None:
        """Idempotent. Raises errors.NotFound."""
        if not await self._db.look_up("SELECT 1 FROM api_keys WHERE id = $1 AND org_id = $2", id, org_id):
            raise missing("key", id)
        sql = "UPDATE api_keys SET revoked_at = $3 WHERE id = $1 AND org_id = $2 AND revoked_at IS NULL"
        await self._db.write([(sql, (id, org_id, self._clock()))])

    async def limit(self, org_id: str, id: str, requests_per_minute: int | None) -> ApiKey:
        """requests_per_minute: None = any number. Raises errors.NotFound."""
        sql = "UPDATE api_keys SET requests_per_minute = $3 WHERE id = $1 AND org_id = $2"
        await self._db.write([(sql, (id, org_id, requests_per_minute))])
        rows = await self._db.look_up(f"SELECT {_COLUMNS} FROM api_keys WHERE id = $1 AND org_id = $2", id, org_id)
        if not rows:
            raise missing("key", id)
        return _key(rows[0])

    async def touch(self, used: Mapping[str, float]) -> None:
        """When each of these keys was used last."""
        sql = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)"
        await self._db.write([(sql, one) for one in used.items()])
