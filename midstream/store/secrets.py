"""Secrets at rest: AES-256-GCM, each bound to its own row, so that a moved or copied ciphertext does not open."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from ..core.errors import StoreDown
from ..core.ids import new_id
from ..core.secret import Secret
from .database import Database, Row, Statement, Value
from .owned import Owned

_NONCE = 12
_REPLACES = """
ON CONFLICT (org_id, name) DO UPDATE SET id = excluded.id, key_id = excluded.key_id, sealed = excluded.sealed"""
_PUT = f"""
INSERT INTO secrets (id, org_id, name, key_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5, $6) {_REPLACES}"""
_DROP = "DELETE FROM secrets WHERE org_id = $1 AND name = $2"
#: @owners: the table of what the secrets belong to.
_PUT_OF = f"""
INSERT INTO secrets (id, org_id, name, key_id, sealed, created_at) SELECT $1, $2, $3, $4, $5, $6
WHERE EXISTS (SELECT 1 FROM @owners WHERE id = $7 AND org_id = $2 AND deleted_at IS NULL AND body = $8) {_REPLACES}"""
_DROP_ALL = """
DELETE FROM secrets WHERE org_id = $1 AND (name = $2 OR substr(name, 1, length($2) + 1) = $2 || '.')"""
_DROP_OF = f"""{_DROP_ALL}
AND EXISTS (SELECT 1 FROM @owners WHERE id = $2 AND org_id = $1 AND deleted_at IS NULL AND body = $3)"""
#: To be read in one statement with what they belong to, of which it has the columns: in two statements one might be of
#: another time than the other, and what was sealed for one address be found with another one. The last column is empty.
WITH_OWNERS = """
UNION ALL SELECT id, org_id, key_id, name, sealed, created_at, NULL FROM secrets WHERE org_id = $1"""
_SETTLED = "SELECT key_id FROM sealing_key"
_SETTLE = "INSERT INTO sealing_key (place, key_id) VALUES (1, $1) ON CONFLICT (place) DO NOTHING"


class Owner(Struct, frozen=True):
    """What secrets belong to, whose names are its id or begin with it and a dot. body: as it must be for them to be
    touched, so that of two who change it at once only the one who did changes its secrets."""

    table: Literal["tools", "nouns"]
    id: str
    body: bytes


class SealingKey:
    """32 bytes that every secret is sealed with. id: says which key sealed a row, without saying the key."""

    __slots__ = ("_cipher", "id")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a sealing key has 32 bytes")
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"midstream sealing key id\0" + key).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"SealingKey({self.id})"

    def seal(self, text: bytes, org_id: str, row_id: str) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text, _bound_to(org_id, row_id))

    def open(self, sealed: bytes, org_id: str, row_id: str) -> bytes:
        """Raises errors.StoreDown when the key is another, or the row is not the one it was sealed for."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound_to(org_id, row_id))
        except (InvalidTag, ValueError):  # ValueError: too short to be a sealed text
            raise StoreDown("a stored secret cannot be opened: is the secret key the one it was stored with?") from None


def _bound_to(org_id: str, row_id: str) -> bytes:
    return f"{org_id}|secrets|{row_id}".encode()


async def key_of(db: Database) -> str | None:
    """The id of the key that the database is used with; None before the first server has started on it."""
    rows = await db.read(_SETTLED)
    return rows[0][0] if rows else None


async def settle(db: Database, key: SealingKey) -> str:
    """That id: this key's, if the database was used with none. Of several that do this at once all get the same."""
    await db.write([(_SETTLE, (key.id,))])
    [(settled,)] = await db.read(_SETTLED)
    return str(settled)


class Secrets(Owned):
    """One org's secrets by name."""

    def __init__(self, db: Database, org_id: str, key: SealingKey, clock: Callable[[], float]) -> None:
        super().__init__(db, org_id, clock)
        self._key = key

    def putting(self, name: str, value: str) -> Statement:
        """Replaces what had this name, within a transaction of the caller's."""
        return _PUT, self._sealed(name, value)

    def putting_of(self, owner: Owner, name: str, value: str) -> Statement:
        """The same of what belongs to something; to follow its change, in that transaction."""
        return _PUT_OF.replace("@owners", owner.table), (*self._sealed(name, value), owner.id, owner.body)

    def _sealed(self, name: str, value: str) -> tuple[Value, ...]:
        id = new_id("sec_")
        sealed = self._key.seal(value.encode(), self._org, id)
        return id, self._org, name, self._key.id, sealed, self._clock()

    def dropping(self, name: str) -> Statement:
        """Forgets a secret, if there is one, within a transaction of the caller's."""
        return _DROP, (self._org, name)

    def dropping_all(self, owner_id: str) -> Statement:
        """Forgets all that belongs to something, however it has been changed; in the transaction that deletes it."""
        return _DROP_ALL, (self._org, owner_id)

    def dropping_of(self, owner: Owner) -> Statement:
        """Forgets all that belongs to something; to follow its change, in that transaction."""
        return _DROP_OF.replace("@owners", owner.table), (self._org, owner.id, owner.body)

    def opened(self, rows: Iterable[Row]) -> dict[str, Secret]:
        """By name. rows: id, org, key, name and sealed text of each, as `WITH_OWNERS` reads them."""
        return {name: Secret(self._key.open(sealed, self._org, id).decode()) for id, _, _, name, sealed, *_ in rows}

    async def names(self) -> list[str]:
        rows = await self._db.read("SELECT name FROM secrets WHERE org_id = $1 ORDER BY name", self._org)
        return [row[0] for row in rows]
