"""Everything that belongs to an org is reached through an object that cannot be made without one."""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import BadRequest
from ..core.ids import new_id
from . import reading
from .database import Database, Value
from .reading import UsageGroup, missing
from .rows import AttemptRow, ConversationRow, EventRow, MessageRow, OrgRow, RunRow, UsageRow

DEFAULT_ORG = "org_default"
PAGE = 100

Clock = Callable[[], float]


class OrgStore:
    """One org's rows. An id of another org raises the same errors.NotFound as one that does not exist.
    Lists take `limit` and go on after the id `after`."""

    def __init__(self, db: Database, org_id: str, clock: Clock) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._clock = clock
        self.org_id = org_id

    # conversations

    async def create_conversation(self, *, title: str | None = None, metadata: bytes | None = None) -> ConversationRow:
        """metadata: JSON text of an object."""
        now = self._clock()
        row = ConversationRow(new_id("conv_"), self.org_id, title, metadata, now, now)
        sql = """
INSERT INTO conversations (id, org_id, title, metadata, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"""
        await self._db.write([(sql, (row.id, row.org_id, title, metadata, now, now))])
        return row

    async def conversation(self, id: str) -> ConversationRow:
        sql = (
            f"SELECT {ConversationRow.COLUMNS} FROM conversations WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"  # noqa: S608
        )
        rows = await self._db.look_up(sql, id, self.org_id)
        if not rows:
            raise missing("conversation", id)
        return ConversationRow(*rows[0])

    async def conversations(self, *, after: str | None = None, limit: int = PAGE) -> list[ConversationRow]:
        """Newest first."""
        where = reading.Conditions(self.org_id)
        where.add("deleted_at IS NULL")
        if after is not None:
            place = await reading.place_of(self._db, "conversations", "conversation", after, self.org_id)
            where.add("seq < ?", place)
        sql = (
            f"SELECT {ConversationRow.COLUMNS} FROM conversations {where} "  # noqa: S608
            f"ORDER BY seq DESC LIMIT ${len(where.values) + 1}"
        )
        return [ConversationRow(*row) for row in await self._db.read(sql, *where.values, limit)]

    async def change_conversation(
        self, id: str, *, title: str | None = None, metadata: bytes | None = None
    ) -> ConversationRow:
        """Sets what is not None."""
        await self.conversation(id)
        sql = """
UPDATE conversations SET title = COALESCE($3, title), metadata = COALESCE($4, metadata), updated_at = $5
WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
        await self._db.write([(sql, (id, self.org_id, title, metadata, self._clock()))])
        return await self.conversation(id)

    async def delete_conversation(self, id: str) -> None:
        """It and its messages are no longer found; the rows stay until they are cleared away."""
        await self.conversation(id)
        sql = "UPDATE conversations SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
        await self._db.write([(sql, (id, self.org_id, self._clock()))])

    # messages

    async def messages(
        self, conversation_id: str, *, after: int | None = None, limit: int | None = None
    ) -> list[MessageRow]:
        """In order, from the one after seq `after`."""
        await self.conversation(conversation_id)
        where = reading.Conditions(self.org_id)
        where.add("conversation_id = ?", conversation_id)
        if after is not None:
            where.add("seq > ?", after)
        return await self._messages(where, "ORDER BY seq, id", limit)

    async def last_messages(self, conversation_id: str, limit: int) -> list[MessageRow]:
        """The newest `limit`, oldest of them first."""
        await self.conversation(conversation_id)
        where = reading.Conditions(self.org_id)
        where.add("conversation_id = ?", conversation_id)
        newest = await self._messages(where, "ORDER BY seq DESC, id DESC", limit)
        return newest[::-1]

    async def run_messages(self, run_id: str) -> list[MessageRow]:
        """What a run was asked and answered, in order; [] when its content was not kept."""
        run = await self.run(run_id)
        where = reading.Conditions(self.org_id)
        where.add("run_id = ?", run_id)
        if run.conversation_id is None:
            where.add("conversation_id IS NULL")
        else:
            where.add("conversation_id = ?", run.conversation_id)
        return await self._messages(where, "ORDER BY seq, id", None)

    async def next_seq(self, conversation_id: str) -> int:
        """The place of the next message of a conversation."""
        await self.conversation(conversation_id)
        sql = "SELECT max(seq) FROM messages WHERE conversation_id = $1 AND org_id = $2"
        [(last,)] = await self._db.look_up(sql, conversation_id, self.org_id)
        return 0 if last is None else int(last) + 1

    async def _messages(self, where: reading.Conditions, order: str, limit: int | None) -> list[MessageRow]:
        values: list[Value] = list(where.values)
        if limit is not None:
            values.append(limit)
            order += f" LIMIT ${len(values)}"
        sql = f"SELECT {MessageRow.COLUMNS} FROM messages {where} {order}"  # noqa: S608
        return [MessageRow(*row) for row in await self._db.read(sql, *values)]

    # runs, attempts, usage

    async def run(self, id: str) -> RunRow:
        return await reading.run_of(self._db, id, self.org_id)

    async def runs(self, *, after: str | None = None, limit: int = PAGE) -> list[RunRow]:
        """Newest first."""
        return await reading.runs_page(self._db, self.org_id, after, limit)

    async def events(self, run_id: str, *, after: int = -1, limit: int = 1000) -> list[EventRow]:
        """In order, from the one after seq `after`."""
        return await reading.run_events(self._db, run_id, self.org_id, after, limit)

    async def attempts(
        self, *, after: str | None = None, limit: int = PAGE, run_id: str | None = None
    ) -> list[AttemptRow]:
        """Oldest first."""
        return await reading.attempts_page(self._db, self.org_id, after, limit, run_id)

    async def usage(
        self, *, since: float | None = None, until: float | None = None, group_by: UsageGroup = "model"
    ) -> list[UsageRow]:
        """Attempts begun in [since, until), unix seconds, in the order of their groups."""
        return await reading.usage_sums(self._db, self.org_id, since, until, group_by)


class AllOrgs:
    """The operator's view over every org. Never handed to a caller's request."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def create_org(self, name: str) -> OrgRow:
        if not name:
            raise BadRequest("an org needs a name", param="name")
        row = OrgRow(new_id("org_"), name, self._clock())
        sql = "INSERT INTO orgs (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING"
        await self._db.write([(sql, (row.id, row.name, row.created_at))])
        return row

    async def orgs(self) -> list[OrgRow]:
        rows = await self._db.read("SELECT id, name, created_at FROM orgs ORDER BY created_at, id")
        return [OrgRow(*row) for row in rows]

    async def org(self, id: str) -> OrgRow:
        rows = await self._db.look_up("SELECT id, name, created_at FROM orgs WHERE id = $1", id)
        if not rows:
            raise missing("org", id)
        return OrgRow(*rows[0])

    async def run(self, id: str) -> RunRow:
        return await reading.run_of(self._db, id, None)

    async def runs(self, *, after: str | None = None, limit: int = PAGE) -> list[RunRow]:
        """Newest first."""
        return await reading.runs_page(self._db, None, after, limit)

    async def events(self, run_id: str, *, after: int = -1, limit: int = 1000) -> list[EventRow]:
        """In order, from the one after seq `after`."""
        return await reading.run_events(self._db, run_id, None, after, limit)

    async def attempts(
        self, *, after: str | None = None, limit: int = PAGE, run_id: str | None = None
    ) -> list[AttemptRow]:
        """Oldest first."""
        return await reading.attempts_page(self._db, None, after, limit, run_id)

    async def usage(
        self, *, since: float | None = None, until: float | None = None, group_by: UsageGroup = "model"
    ) -> list[UsageRow]:
        """Attempts begun in [since, until), unix seconds, in the order of their groups."""
        return await reading.usage_sums(self._db, None, since, until, group_by)
