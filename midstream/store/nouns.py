"""The small nouns of an org: templates, keys of services, MCP servers, models, and its settings."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..core.errors import Conflict
from ..core.ids import new_id
from ..core.secret import Secret
from . import changes
from .agents import PAGE, TRIES
from .database import Database, Statement, Value, in_turn
from .owned import Owned
from .reading import LAST, missing
from .secrets import WITH_OWNERS, Owner, Secrets

#: Prefix of the ids, by kind.
KINDS = {
    "template": "tpl_",
    "service_key": "skey_",
    "mcp_server": "mcp_",
    "model": "mdl_",
    "guardrail": "grd_",
    "alert": "alr_",
    "webhook": "whk_",
}
#: What one org's loads read at most, of all kinds together.
MOST = 10_000


class NounRow(Struct, frozen=True):
    """body: JSON text of an object, without any secret. Times are unix seconds."""

    id: str
    org_id: str
    kind: str
    name: str
    body: bytes
    created_at: float
    updated_at: float

    COLUMNS = "id, org_id, kind, name, body, created_at, updated_at"

    def value(self) -> Any:
        return msgspec.json.decode(self.body)


#: Kinds of which an org has one of a name, by which agents name it.
ONE_OF_A_NAME = frozenset({"mcp_server"})
_IS_FREE = """NOT EXISTS (
    SELECT 1 FROM nouns o
    WHERE o.org_id = $2 AND o.kind = $3 AND o.name = $4 AND o.id <> $1 AND o.deleted_at IS NULL)"""
_AS_SEEN = "COALESCE((SELECT number FROM org_changes WHERE org_id = '*'), 0) = $8"
_INSERT = """
INSERT INTO nouns (id, org_id, kind, name, body, created_at, updated_at) SELECT $1, $2, $3, $4, $5, $6, $6
WHERE (SELECT COUNT(*) FROM nouns WHERE org_id = $2 AND deleted_at IS NULL) < $7 @and
ON CONFLICT (id) DO NOTHING"""
_NOUN = f"SELECT {NounRow.COLUMNS} FROM nouns WHERE id = $1 AND org_id = $2 AND kind = $3 AND deleted_at IS NULL"
_NOUNS = f"""
SELECT {NounRow.COLUMNS} FROM nouns
WHERE org_id = $1 AND kind = $2 AND deleted_at IS NULL AND (created_at, id) < ($3, $4)
ORDER BY created_at DESC, id DESC LIMIT $5"""
_NOUNS_SEALED = f"SELECT * FROM ({_NOUNS}) AS found {WITH_OWNERS} AND substr(name, 1, length($6)) = $6"
#: The place of the newest.
_NEWEST = (float(LAST), "")
_ALL = f"""
SELECT {NounRow.COLUMNS} FROM nouns WHERE org_id = $1 AND deleted_at IS NULL
ORDER BY created_at, id LIMIT $2"""
_ALL_SEALED = f"SELECT * FROM ({_ALL}) AS found {WITH_OWNERS}"
_EVERYWHERE = f"SELECT {NounRow.COLUMNS} FROM nouns WHERE kind = $1 AND deleted_at IS NULL ORDER BY created_at, id"
_COUNT = "SELECT COUNT(*) FROM nouns WHERE org_id = $1 AND deleted_at IS NULL"
_CHANGE = """
UPDATE nouns SET name = $4, body = $5, updated_at = $6
WHERE id = $1 AND org_id = $2 AND kind = $3 AND deleted_at IS NULL AND body = $7 @and"""
_DELETE = "UPDATE nouns SET deleted_at = $4 WHERE id = $1 AND org_id = $2 AND kind = $3 AND deleted_at IS NULL"
_SETTINGS = "SELECT COALESCE(settings, $2) FROM orgs WHERE id = $1"
_SET = "UPDATE orgs SET settings = $2 WHERE id = $1 AND COALESCE(settings, $4) = $3"


class NounStore(Owned):
    """One org's nouns. An id of another kind is as unknown as one of another org. A noun's secret stands among the
    org's secrets under the noun's id."""

    def __init__(self, db: Database, secrets: Secrets, org_id: str, clock: Callable[[], float]) -> None:
        super().__init__(db, org_id, clock)
        self._secrets = secrets

    async def create(
        self, kind: str, name: str, body: bytes, *, secret: str | None = None, seen: int | None = None
    ) -> NounRow:
        """seen: what `models_number` was before the org was found to be free to have this model; in one process those
        who look for that and write do so one by one, as what is committed together is not seen. Raises errors.Conflict,
        and makes nothing: too_many, already_exists (of a kind in ONE_OF_A_NAME), models_changed."""
        id = new_id(KINDS[kind])
        values = (id, self._org, kind, name, body, self._clock(), MOST)
        putting = [] if secret is None else [self._secrets.putting_of(Owner("nouns", id, body), id, secret)]
        await self._write(kind, *self._in_turn(kind), _guarded(_INSERT, kind, values, seen), *putting)
        rows = await self._db.look_up(_NOUN, id, self._org, kind)
        if not rows:
            [(there,)] = await self._db.look_up(_COUNT, self._org)
            if there >= MOST:
                raise Conflict(f"an org has at most {MOST} of these", code="too_many")
            raise _refused(kind, name)
        return NounRow(*rows[0])

    async def get(self, kind: str, id: str) -> NounRow:
        return NounRow(*await self._found(kind.replace("_", " "), _NOUN, id, kind))

    async def page(self, kind: str, *, after: str | None = None, limit: int = PAGE) -> list[NounRow]:
        """Newest first."""
        place = _NEWEST
        if after is not None:
            last = await self.get(kind, after)
            place = (last.created_at, last.id)
        return [NounRow(*row) for row in await self._db.read(_NOUNS, self._org, kind, *place, limit)]

    async def all(self) -> dict[str, list[NounRow]]:
        """By kind, oldest first, in one read."""
        return _by_kind([NounRow(*row) for row in await self._db.read(_ALL, self._org, MOST)])

    async def all_sealed(self) -> tuple[dict[str, list[NounRow]], dict[str, Secret]]:
        """The same, and every secret of the org by its name: both are of one moment."""
        rows = await self._db.read(_ALL_SEALED, self._org, MOST)
        found = sorted([NounRow(*row) for row in rows if row[6] is not None], key=lambda one: (one.created_at, one.id))
        return _by_kind(found), self._secrets.opened([row for row in rows if row[6] is None])

    async def sealed(self, kind: str, limit: int) -> list[tuple[NounRow, Secret | None]]:
        """The newest ones, each with its secret of the same moment."""
        rows = await self._db.read(_NOUNS_SEALED, self._org, kind, *_NEWEST, limit, KINDS[kind])
        secrets = self._secrets.opened([row for row in rows if row[6] is None])
        return [(NounRow(*row), secrets.get(row[0])) for row in rows if row[6] is not None]

    async def change(
        self,
        row: NounRow,
        name: str,
        body: bytes,
        *,
        secret: str | None = None,
        moved: bool = False,
        seen: int | None = None,
    ) -> NounRow:
        """row: as it was read. secret: None = as it is; moved: none at all. seen: as of `create`. Raises
        errors.Conflict when it has changed since, or as `create` does: then its secret is what it was, too."""
        values = (row.id, self._org, row.kind, name, body, self._clock(), row.body)
        owner = Owner("nouns", row.id, body)
        dropping = [self._secrets.dropping_of(owner)] if moved else []
        putting = [] if secret is None else [self._secrets.putting_of(owner, row.id, secret)]
        guard = None if name == row.name and row.kind in ONE_OF_A_NAME else row.kind
        change = _guarded(_CHANGE, guard, values, seen)
        await self._write(row.kind, *self._in_turn(row.kind), change, *dropping, *putting)
        now = await self.get(row.kind, row.id)
        if now.body == row.body != body:
            raise _refused(row.kind, name)
        if now.body != body:
            raise Conflict(f"{row.id} was changed by somebody else meanwhile", code="noun_changed")
        return now

    async def delete(self, kind: str, id: str) -> None:
        """Its secret is gone for good."""
        await self.get(kind, id)
        await self._write(kind, (_DELETE, (id, self._org, kind, self._clock())), self._secrets.dropping_all(id))

    async def models_number(self) -> int:
        """Another one after every change of any org's models."""
        return (await changes.numbers(self._db, changes.ALL)).all

    # settings and free secrets

    async def settings(self) -> dict[str, Any]:
        return _read(await self._stored())

    async def change_settings(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """With these fields in place of its own; None takes one out. Of changes at once none is lost: what another one
        has changed meanwhile is changed once more. Raises errors.Conflict when that does not end."""
        before = await self._stored()
        for _ in range(TRIES):
            settings = {name: one for name, one in {**_read(before), **fields}.items() if one is not None}
            after = msgspec.json.encode(settings)
            await self._write("", (_SET, (self._org, after, before, b"")))
            before = await self._stored()
            if before == after:
                return settings
        raise Conflict("the settings are changed by others all the time", code="settings_changed")

    async def _stored(self) -> bytes:
        rows = await self._db.look_up(_SETTINGS, self._org, b"")
        if not rows:
            raise missing("org", self._org)
        return bytes(rows[0][0])

    async def put_secret(self, name: str, value: str) -> None:
        await self._write("", self._secrets.putting(name, value))

    async def drop_secret(self, name: str) -> None:
        """Raises errors.NotFound."""
        if name not in await self._secrets.names():
            raise missing("secret", name)
        await self._write("", self._secrets.dropping(name))

    def _in_turn(self, kind: str) -> list[Statement]:
        names = ["models"] if kind == "model" else []
        return [one for name in (*names, f"nouns {self._org}") for one in in_turn(name, self._db.dialect)]

    async def _write(self, kind: str, *statements: Statement) -> None:
        everywhere = [changes.raised(changes.ALL)] if kind == "model" else []
        await self._db.write([*statements, changes.raised(self._org), *everywhere])


def _by_kind(rows: list[NounRow]) -> dict[str, list[NounRow]]:
    found: dict[str, list[NounRow]] = {kind: [] for kind in KINDS}
    for row in rows:
        found.setdefault(row.kind, []).append(row)
    return found


def _read(settings: bytes) -> dict[str, Any]:
    return dict(msgspec.json.decode(settings)) if settings else {}


async def every_model(db: Database) -> list[NounRow]:
    """The models of every org: what one owns is refused to the others."""
    return [NounRow(*row) for row in await db.read(_EVERYWHERE, "model")]


def _guarded(sql: str, kind: str | None, values: tuple[Value, ...], seen: int | None) -> Statement:
    if seen is not None:
        return sql.replace("@and", f"AND {_AS_SEEN}"), (*values, seen)
    return sql.replace("@and", f"AND {_IS_FREE}" if kind in ONE_OF_A_NAME else ""), values


def _refused(kind: str, name: str) -> Conflict:
    if kind in ONE_OF_A_NAME:
        what = kind.replace("_", " ")
        return Conflict(f"name: another {what} is called {name!r}", code="already_exists", param="name")
    return Conflict("a model was changed by somebody else meanwhile", code="models_changed")
