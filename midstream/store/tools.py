"""An org's tools."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from ..core.errors import Conflict
from ..core.ids import new_id
from ..core.secret import Secret
from . import changes
from .agents import PAGE, among, listed
from .database import Database, Statement
from .owned import Owned
from .reading import LAST
from .secrets import WITH_OWNERS, Owner, Secrets


class ToolRow(Struct, frozen=True):
    """body: JSON text of core.agents.Tool. Times are unix seconds."""

    id: str
    org_id: str
    name: str
    kind: str
    body: bytes
    created_at: float
    updated_at: float

    COLUMNS = "id, org_id, name, kind, body, created_at, updated_at"


#: That are read at once where all are.
MANY = 500
_ADD = """
INSERT INTO tools (id, org_id, name, kind, body, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)"""
_INSERT = f"{_ADD} ON CONFLICT (id) DO NOTHING"
_TOOL = f"SELECT {ToolRow.COLUMNS} FROM tools WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_TOOLS = f"""
SELECT {ToolRow.COLUMNS} FROM tools WHERE org_id = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4"""
_SOME = f"SELECT {ToolRow.COLUMNS} FROM tools WHERE org_id = $1 AND deleted_at IS NULL AND id IN @listed"
_SOME_SEALED = f"""
SELECT id, org_id, kind, name, body, created_at, updated_at FROM tools
WHERE org_id = $1 AND deleted_at IS NULL AND id IN @listed {WITH_OWNERS} AND substr(name, 1, 5) = 'tool_'"""
_NAMED = f"SELECT {ToolRow.COLUMNS} FROM tools WHERE org_id = $1 AND deleted_at IS NULL AND name IN @listed ORDER BY id"
_TAKEN = "SELECT 1 FROM tools WHERE id = $1"
_CHANGE = """
UPDATE tools SET name = $3, kind = $4, body = $5, updated_at = $6
WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL AND body = $7"""
_DELETE = "UPDATE tools SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"


class ToolStore(Owned):
    """One org's tools."""

    def __init__(self, db: Database, secrets: Secrets, org_id: str, clock: Callable[[], float]) -> None:
        super().__init__(db, org_id, clock)
        self._secrets = secrets

    async def create(
        self, name: str, kind: str, body: bytes, *, id: str | None = None, secrets: Mapping[str, str] | None = None
    ) -> ToolRow:
        """secrets: text by name, kept with it."""
        id, now = id or new_id("tool_"), self._clock()
        await self._write((_INSERT, (id, self._org, name, kind, body, now)), *self._putting(secrets))
        return await self.get(id)

    def adding(
        self, id: str, name: str, kind: str, body: bytes, secrets: Mapping[str, str] | None = None
    ) -> list[Statement]:
        """`create` within a transaction of the caller's, which raises errors.Conflict when the id is in use."""
        return [(_ADD, (id, self._org, name, kind, body, self._clock())), *self._putting(secrets)]

    async def get(self, id: str) -> ToolRow:
        return ToolRow(*await self._found("tool", _TOOL, id))

    async def page(self, *, after: str | None = None, limit: int = PAGE) -> list[ToolRow]:
        """Newest first."""
        place: tuple[float, str] = (float(LAST), "")
        if after is not None:
            last = await self.get(after)
            place = (last.created_at, last.id)
        return [ToolRow(*row) for row in await self._db.read(_TOOLS, self._org, *place, limit)]

    async def every(self) -> list[ToolRow]:
        """Newest first, read in pieces."""
        found = rows = await self.page(limit=MANY)
        while len(rows) == MANY:
            place = (rows[-1].created_at, rows[-1].id)
            rows = [ToolRow(*row) for row in await self._db.read(_TOOLS, self._org, *place, MANY)]
            found = found + rows
        return found

    async def some(self, ids: Iterable[str]) -> dict[str, ToolRow]:
        """Those of the tools that there are, by id, in one read."""
        rows = await self._db.read(among(_SOME, self._db.dialect), self._org, listed(ids))
        return {row[0]: ToolRow(*row) for row in rows}

    async def some_sealed(self, ids: Iterable[str]) -> tuple[dict[str, ToolRow], dict[str, Secret]]:
        """The same, and by name what each of them has sealed: both are of one moment."""
        rows = await self._db.read(among(_SOME_SEALED, self._db.dialect), self._org, listed(ids))
        found = {
            id: ToolRow(id, org, name, kind, body, made, changed)
            for id, org, kind, name, body, made, changed in rows
            if changed is not None
        }
        sealed = [row for row in rows if row[6] is None and row[3].partition(".")[0] in found]
        return found, self._secrets.opened(sealed)

    async def named(self, names: Iterable[str]) -> list[ToolRow]:
        """Those of the tools that have one of these names, oldest first."""
        rows = await self._db.read(among(_NAMED, self._db.dialect), self._org, listed(names))
        return [ToolRow(*row) for row in rows]

    async def is_taken(self, id: str) -> bool:
        """By any org's tool, a deleted one too."""
        return bool(await self._db.look_up(_TAKEN, id))

    async def change(
        self,
        row: ToolRow,
        name: str,
        kind: str,
        body: bytes,
        *,
        secrets: Mapping[str, str] | None = None,
        moved: bool = False,
    ) -> ToolRow:
        """row: as it was read. secrets: in place of those of the same name; moved: of all that it has.
        Raises errors.Conflict when it has changed since: then its secrets are what they were, too."""
        values = (row.id, self._org, name, kind, body, self._clock(), row.body)
        owner = Owner("tools", row.id, body)
        dropping = [self._secrets.dropping_of(owner)] if moved else []
        putting = [self._secrets.putting_of(owner, name, value) for name, value in (secrets or {}).items()]
        await self._write((_CHANGE, values), *dropping, *putting)
        now = await self.get(row.id)
        if now.body != body:
            raise Conflict(f"the tool {row.id} was changed by somebody else meanwhile", code="tool_changed")
        return now

    async def delete(self, id: str) -> None:
        """Its secrets are gone for good."""
        await self.get(id)
        await self._write((_DELETE, (id, self._org, self._clock())), self._secrets.dropping_all(id))

    def _putting(self, secrets: Mapping[str, str] | None) -> list[Statement]:
        return [self._secrets.putting(name, value) for name, value in (secrets or {}).items()]

    async def _write(self, *statements: Statement) -> None:
        await self._db.write([*statements, changes.raised(self._org)])
