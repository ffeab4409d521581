"""An org's agents and their versions: a draft is changed, published, archived by the next one, or discarded."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from ..core.errors import Conflict, NotFound
from ..core.ids import new_id
from . import changes
from .database import DialectName, Statement
from .owned import Owned
from .reading import LAST

PAGE = 100
#: How often a version's number is asked for anew when another server took it.
TRIES = 5


class AgentRow(Struct, frozen=True):
    """status: active | paused. published_id: of the version that answers, None before the first publish.
    Times are unix seconds."""

    id: str
    org_id: str
    slug: str
    name: str
    status: str
    published_id: str | None
    created_at: float
    updated_at: float

    COLUMNS = "a.id, a.org_id, a.slug, a.name, a.status, a.published_id, a.created_at, a.updated_at"


class VersionRow(Struct, frozen=True):
    """status: draft | published | archived. number: from 1 within its agent. body: JSON text of core.agents.Spec."""

    id: str
    org_id: str
    agent_id: str
    number: int
    status: str
    body: bytes
    created_at: float
    updated_at: float
    published_at: float | None

    COLUMNS = "v.id, v.org_id, v.agent_id, v.number, v.status, v.body, v.created_at, v.updated_at, v.published_at"


_AGENT_FIELDS = len(AgentRow.__struct_fields__)
# An id that somebody has is a conflict: the first version would be made a draft of the other's agent.
_INSERT = """
INSERT INTO agents (id, org_id, slug, name, status, created_at, updated_at)
VALUES ($1, $2, $3, $4, 'active', $5, $5)"""
_INSERT_VERSION = """
INSERT INTO agent_versions (id, org_id, agent_id, number, status, body, created_at, updated_at)
VALUES ($1, $2, $3, (SELECT COALESCE(MAX(number), 0) + 1 FROM agent_versions WHERE agent_id = $3), 'draft', $4, $5, $5)
ON CONFLICT (id) DO NOTHING"""
_AGENT = f"SELECT {AgentRow.COLUMNS} FROM agents a WHERE a.id = $1 AND a.org_id = $2 AND a.deleted_at IS NULL"
_BY_NAME = f"""
SELECT {AgentRow.COLUMNS} FROM agents a
WHERE a.org_id = $1 AND a.deleted_at IS NULL AND (a.id = $2 OR a.slug = $3)"""
_AGENTS = f"""
SELECT {AgentRow.COLUMNS} FROM agents a
WHERE a.org_id = $1 AND a.deleted_at IS NULL AND (a.created_at, a.id) < ($2, $3)
ORDER BY a.created_at DESC, a.id DESC LIMIT $4"""
_TAKEN = "SELECT 1 FROM agents WHERE id = $1"
# What is not given stays as it is by then: a pause and a new name may come at once.
_CHANGE = """
UPDATE agents SET name = COALESCE($3, name), slug = COALESCE($4, slug), status = COALESCE($5, status), updated_at = $6
WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
_DELETE = "UPDATE agents SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_VERSION = f"""
SELECT {VersionRow.COLUMNS} FROM agent_versions v
WHERE v.id = $1 AND v.org_id = $2 AND v.agent_id = $3 AND v.deleted_at IS NULL"""
_VERSIONS = f"""
SELECT {VersionRow.COLUMNS} FROM agent_versions v
WHERE v.agent_id = $1 AND v.org_id = $2 AND v.deleted_at IS NULL AND v.number < $3 ORDER BY v.number DESC LIMIT $4"""
_CHANGE_VERSION = """
UPDATE agent_versions SET body = $4, updated_at = $5
WHERE id = $1 AND agent_id = $2 AND org_id = $3 AND status = 'draft' AND deleted_at IS NULL AND body = $6"""
_DISCARD = """
UPDATE agent_versions SET deleted_at = $4
WHERE id = $1 AND agent_id = $2 AND org_id = $3 AND status <> 'published' AND deleted_at IS NULL"""
# The agent's row is taken first: of two that publish at once the second sees what the first did.
_TOUCH = "UPDATE agents SET updated_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_PUBLISH = """
UPDATE agent_versions SET status = 'published', published_at = $4
WHERE id = $1 AND agent_id = $2 AND org_id = $3 AND body = $5 AND deleted_at IS NULL AND status <> 'published'"""
_ARCHIVE = """
UPDATE agent_versions SET status = 'archived'
WHERE agent_id = $2 AND org_id = $3 AND id <> $1 AND status = 'published'
AND EXISTS (SELECT 1 FROM agent_versions n WHERE n.id = $1 AND n.agent_id = $2 AND n.status = 'published')"""
_ANSWERS = """
UPDATE agents SET published_id = $1 WHERE id = $2 AND org_id = $3
AND EXISTS (SELECT 1 FROM agent_versions n WHERE n.id = $1 AND n.agent_id = $2 AND n.status = 'published')"""
_FOUND = f"""
SELECT {AgentRow.COLUMNS}, {VersionRow.COLUMNS} FROM agents a
LEFT JOIN agent_versions v ON v.agent_id = a.id AND v.org_id = a.org_id AND v.deleted_at IS NULL
AND v.id = COALESCE(CAST($4 AS TEXT), a.published_id)
WHERE a.org_id = $1 AND a.deleted_at IS NULL AND (a.id = $2 OR a.slug = $3)"""
_LISTED: dict[DialectName, str] = {
    "sqlite": "(SELECT value FROM json_each($2))",
    "postgres": "(SELECT jsonb_array_elements_text(CAST($2 AS JSONB)))",
}
_PUBLISHED = f"""
SELECT {AgentRow.COLUMNS}, {VersionRow.COLUMNS} FROM agents a
LEFT JOIN agent_versions v ON v.id = a.published_id AND v.org_id = a.org_id
WHERE a.org_id = $1 AND a.deleted_at IS NULL AND (a.id IN @listed OR a.slug IN @listed)"""
_DOCUMENTS = "SELECT id, name FROM documents WHERE org_id = $1 AND deleted_at IS NULL AND id IN @listed"


def among(sql: str, dialect: DialectName) -> str:
    """`@listed` stands for the texts of the JSON array $2."""
    return sql.replace("@listed", _LISTED[dialect])


def listed(ids: Iterable[str]) -> str:
    return msgspec.json.encode(list(ids)).decode()


class AgentStore(Owned):
    """One org's agents."""

    async def _write(self, *statements: Statement) -> None:
        await self._db.write([*statements, changes.raised(self._org)])

    # agents

    async def create(
        self, name: str, slug: str, body: bytes, *, id: str | None = None, also: Sequence[Statement] = ()
    ) -> tuple[AgentRow, VersionRow]:
        """An agent and its first draft, in one commit with `also`. Raises errors.Conflict, and makes nothing, when the
        slug, the id or one of `also` is in use."""
        agent_id, version_id, now = id or new_id("agt_"), new_id("ver_"), self._clock()
        try:
            await self._write(
                (_INSERT, (agent_id, self._org, slug, name, now)),
                (_INSERT_VERSION, (version_id, self._org, agent_id, body, now)),
                *also,
            )
        except Conflict:  # or the commit was made again after it had been lost with its connection, and met itself
            if not await self._db.look_up(_VERSION, version_id, self._org, agent_id):
                raise _slug_taken(slug) from None
        return await self.get(agent_id), await self.version(agent_id, version_id)

    async def get(self, id: str) -> AgentRow:
        return AgentRow(*await self._found("agent", _AGENT, id))

    async def named(self, id: str, slug: str) -> AgentRow | None:
        """By id, else by slug."""
        found = [AgentRow(*row) for row in await self._db.look_up(_BY_NAME, self._org, id, slug)]
        return next((row for row in found if row.id == id), found[0] if found else None)

    async def page(self, *, after: str | None = None, limit: int = PAGE) -> list[AgentRow]:
        """Newest first."""
        place: tuple[float, str] = (float(LAST), "")
        if after is not None:
            last = await self.get(after)
            place = (last.created_at, last.id)
        return [AgentRow(*row) for row in await self._db.read(_AGENTS, self._org, *place, limit)]

    async def is_taken(self, id: str) -> bool:
        """By any org's agent, a deleted one too: such an id is not given again."""
        return bool(await self._db.look_up(_TAKEN, id))

    async def change(
        self, id: str, *, name: str | None = None, slug: str | None = None, status: str | None = None
    ) -> AgentRow:
        """Sets what is not None. Raises errors.Conflict when the slug is in use."""
        await self.get(id)
        try:
            await self._write((_CHANGE, (id, self._org, name, slug, status, self._clock())))
        except Conflict:
            raise _slug_taken(slug or "") from None
        return await self.get(id)

    async def delete(self, id: str) -> None:
        """It is no longer found, by its versions neither; the rows stay."""
        await self.get(id)
        await self._write((_DELETE, (id, self._org, self._clock())))

    # versions

    async def draft(self, agent_id: str, body: bytes) -> VersionRow:
        """A new draft."""
        await self.get(agent_id)
        id, now = new_id("ver_"), self._clock()
        for number in range(TRIES):
            try:
                await self._write((_INSERT_VERSION, (id, self._org, agent_id, body, now)))
                break
            except Conflict:  # another server gave the number to another draft
                if number == TRIES - 1:
                    raise
        return await self.version(agent_id, id)

    async def version(self, agent_id: str, id: str) -> VersionRow:
        await self.get(agent_id)
        return VersionRow(*await self._found("version", _VERSION, id, agent_id))

    async def versions(self, agent_id: str, *, before: int = 2**62, limit: int = PAGE) -> list[VersionRow]:
        """Newest first, from the one before number `before`."""
        await self.get(agent_id)
        rows = await self._db.read(_VERSIONS, agent_id, self._org, before, limit)
        return [VersionRow(*row) for row in rows]

    async def change_draft(self, row: VersionRow, body: bytes) -> VersionRow:
        """row: as it was read. Raises errors.Conflict when it has changed since, or is no draft."""
        if row.status != "draft":
            raise Conflict(
                f"the version {row.id} is {row.status}: make a new one with POST .../versions", code="not_a_draft"
            )
        names = (row.id, row.agent_id, self._org)
        await self._write((_CHANGE_VERSION, (*names, body, self._clock(), row.body)))
        now = await self.version(row.agent_id, row.id)
        if now.status != "draft" or now.body != body:
            raise Conflict(f"the version {row.id} was changed by somebody else meanwhile", code="version_changed")
        return now

    async def discard(self, agent_id: str, id: str) -> None:
        """A draft or an archived version is no longer found. Raises errors.Conflict for the published one."""
        await self.version(agent_id, id)
        await self._write((_DISCARD, (id, agent_id, self._org, self._clock())))
        try:
            await self.version(agent_id, id)
        except NotFound:
            return
        raise Conflict(f"the version {id} is published: publish another one first", code="version_published")

    async def publish(self, row: VersionRow) -> AgentRow:
        """row: as it was checked; it answers from now on, the one before is archived. Also an archived version can be
        published again. Raises errors.Conflict when it has changed since."""
        now = self._clock()
        names = (row.id, row.agent_id, self._org)
        await self._write(
            (_TOUCH, (row.agent_id, self._org, now)),
            (_PUBLISH, (*names, now, row.body)),
            (_ARCHIVE, names),
            (_ANSWERS, names),
        )
        if (await self.version(row.agent_id, row.id)).body != row.body:
            raise Conflict(f"the version {row.id} was changed by somebody else meanwhile", code="version_changed")
        return await self.get(row.agent_id)

    # for loading and checking, each in one read

    async def found(self, id: str, slug: str, version: str | None) -> tuple[AgentRow, VersionRow | None] | None:
        """The agent of this id, else of this slug, with the named version (None = the published one)."""
        rows = [_pair(row) for row in await self._db.look_up(_FOUND, self._org, id, slug, version)]
        return next((pair for pair in rows if pair[0].id == id), rows[0] if rows else None)

    async def published(self, names: Iterable[str]) -> dict[str, tuple[AgentRow, VersionRow | None]]:
        """Those of the agents that there are, by id and by slug, each with its published version. names: of both."""
        sql = among(_PUBLISHED, self._db.dialect)
        pairs = [_pair(row) for row in await self._db.read(sql, self._org, listed(names))]
        return {pair[0].slug: pair for pair in pairs} | {pair[0].id: pair for pair in pairs}

    async def documents(self, ids: Iterable[str]) -> dict[str, str]:
        """The names of those of the documents that there are, by id."""
        rows = await self._db.read(among(_DOCUMENTS, self._db.dialect), self._org, listed(ids))
        return dict(rows)


def _pair(row: tuple[object, ...]) -> tuple[AgentRow, VersionRow | None]:
    agent, version = row[:_AGENT_FIELDS], row[_AGENT_FIELDS:]
    return AgentRow(*agent), VersionRow(*version) if version[0] is not None else None  # type: ignore[arg-type]


def _slug_taken(slug: str) -> Conflict:
    return Conflict(f"another agent has the slug {slug!r}", code="slug_taken", param="slug")
