"""Everything that belongs to an org is reached through an object that cannot be made without one."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import BadRequest
from ..core.ids import new_id
from . import reading
from .agents import AgentStore
from .database import Database
from .ledger import AttemptStatus, RunStatus
from .nouns import NounStore
from .reading import LAST, UsageGroup, missing
from .retention import forget
from .rows import AttemptRow, ConversationRow, EventRow, MessageRow, OrgRow, RunRow, UsageRow
from .secrets import SealingKey, Secrets
from .threads import ThreadStore
from .tools import ToolStore

DEFAULT_ORG = "org_default"
PAGE = 100

Clock = Callable[[], float]


_COLUMNS = ConversationRow.COLUMNS
_CREATE = """
INSERT INTO conversations (id, org_id, title, metadata, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"""
_CONVERSATION = f"SELECT {_COLUMNS} FROM conversations WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_PLACE = "SELECT seq FROM conversations WHERE id = $1 AND org_id = $2"
_CONVERSATIONS = f"""
SELECT {_COLUMNS} FROM conversations WHERE org_id = $1 AND deleted_at IS NULL AND seq < $2
ORDER BY seq DESC LIMIT $3"""
_CHANGE = """
UPDATE conversations SET title = COALESCE($3, title), metadata = COALESCE($4, metadata), updated_at = $5
WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
_DELETE = "UPDATE conversations SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_MESSAGES = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE conversation_id = $1 AND org_id = $2 AND seq > $3
ORDER BY seq, id LIMIT $4"""
_LAST_MESSAGES = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE conversation_id = $1 AND org_id = $2
ORDER BY seq DESC, id DESC LIMIT $3"""
_MESSAGES_IN_CONVERSATION = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE run_id = $1 AND org_id = $2 AND conversation_id = $3
ORDER BY seq, id"""
_MESSAGES_ALONE = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE run_id = $1 AND org_id = $2 AND conversation_id IS NULL
ORDER BY seq, id"""
_LAST_SEQ = "SELECT max(seq) FROM messages WHERE conversation_id = $1 AND org_id = $2"


class OrgStore:
    """One org's rows. An id of another org raises the same errors.NotFound as one that does not exist.
    Lists take `limit` and go on after the id `after`."""

    def __init__(self, db: Database, org_id: str, clock: Clock, sealing: SealingKey) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._clock = clock
        self._sealing = sealing
        self.org_id = org_id

    # what stands in files of its own

    @property
    def agents(self) -> AgentStore:
        return AgentStore(self._db, self.org_id, self._clock)

    @property
    def tools(self) -> ToolStore:
        return ToolStore(self._db, self.secrets, self.org_id, self._clock)

    @property
    def nouns(self) -> NounStore:
        return NounStore(self._db, self.secrets, self.org_id, self._clock)

    @property
    def secrets(self) -> Secrets:
        return Secrets(self._db, self.org_id, self._sealing, self._clock)

    @property
    def threads(self) -> ThreadStore:
        """Its conversations as agents' turns use them."""
        return ThreadStore(self._db, self.org_id, self._clock)

    # conversations

    async def create_conversation(self, *, title: str | None = None, metadata: bytes | None = None) -> ConversationRow:
        """metadata: JSON text of an object."""
        now = self._clock()
        row = ConversationRow(new_id("conv_"), self.org_id, title, metadata, now, now)
        await self._db.write([(_CREATE, (row.id, row.org_id, title, metadata, now, now))])
        return row

    async def conversation(self, id: str) -> ConversationRow:
        rows = await self._db.look_up(_CONVERSATION, id, self.org_id)
        if not rows:
            raise missing("conversation", id)
        return ConversationRow(*rows[0])

    async def conversations(self, *, after: str | None = None, limit: int = PAGE) -> list[ConversationRow]:
        """Newest first."""
        place = LAST
        if after is not None:
            rows = await self._db.look_up(_PLACE, after, self.org_id)
            if not rows:
                raise missing("conversation", after)
            place = rows[0][0]
        return [ConversationRow(*row) for row in await self._db.read(_CONVERSATIONS, self.org_id, place, limit)]

    async def change_conversation(
        self, id: str, *, title: str | None = None, metadata: bytes | None = None
    ) -> ConversationRow:
        """Sets what is not None."""
        await self.conversation(id)
        await self._db.write([(_CHANGE, (id, self.org_id, title, metadata, self._clock()))])
        return await self.conversation(id)

    async def delete_conversation(self, id: str) -> None:
        """It and its messages are no longer found; the rows stay until they are cleared away."""
        await self.conversation(id)
        await self._db.write([(_DELETE, (id, self.org_id, self._clock()))])

    # messages

    async def messages(self, conversation_id: str, *, after: int = -1, limit: int = LAST) -> list[MessageRow]:
        """In order, from the one after seq `after`."""
        await self.conversation(conversation_id)
        rows = await self._db.read(_MESSAGES, conversation_id, self.org_id, after, limit)
        return [MessageRow(*row) for row in rows]

    async def last_messages(self, conversation_id: str, limit: int) -> list[MessageRow]:
        """The newest `limit`, oldest of them first."""
        await self.conversation(conversation_id)
        rows = await self._db.read(_LAST_MESSAGES, conversation_id, self.org_id, limit)
        return [MessageRow(*row) for row in reversed(rows)]

    async def run_messages(self, run_id: str) -> list[MessageRow]:
        """What a run was asked and answered, in order; [] when its content was not kept."""
        run = await self.run(run_id)
        if run.conversation_id is None:
            rows = await self._db.read(_MESSAGES_ALONE, run_id, self.org_id)
        else:
            rows = await self._db.read(_MESSAGES_IN_CONVERSATION, run_id, self.org_id, run.conversation_id)
        return [MessageRow(*row) for row in rows]

    async def next_seq(self, conversation_id: str) -> int:
        """The place of the next message of a conversation."""
        await self.conversation(conversation_id)
        [(last,)] = await self._db.look_up(_LAST_SEQ, conversation_id, self.org_id)
        return 0 if last is None else int(last) + 1

    # runs, attempts, usage

    async def run(self, id: str) -> RunRow:
        return await reading.run_of(self._db, self.org_id, id)

    async def runs(
        self, *, after: str | None = None, limit: int = PAGE, status: RunStatus | None = None
    ) -> list[RunRow]:
        """Newest first."""
        return await reading.runs_page(self._db, self.org_id, after, limit, status)

    async def events(self, run_id: str, *, after: int = -1, limit: int = 1000) -> list[EventRow]:
        """In order, from the one after seq `after`."""
        return await reading.run_events(self._db, self.org_id, run_id, after, limit)

    async def attempts(
        self,
        *,
        after: str | None = None,
        limit: int = PAGE,
        run_id: str | None = None,
        status: AttemptStatus | None = None,
    ) -> list[AttemptRow]:
        """Oldest first."""
        return await reading.attempts_page(self._db, self.org_id, after, limit, run_id, status)

    async def attempts_below(self, run_id: str) -> list[AttemptRow]:
        """Of the runs that this one has called, at any depth. Raises errors.NotFound."""
        return await reading.attempts_below(self._db, self.org_id, run_id)

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

    async def forget(self, before: float) -> int:
        """See store.retention."""
        return await forget(self._db, before)

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
        return await reading.run_of(self._db, None, id)

    async def runs(
        self, *, after: str | None = None, limit: int = PAGE, status: RunStatus | None = None
    ) -> list[RunRow]:
        """Newest first."""
        return await reading.runs_page(self._db, None, after, limit, status)

    async def events(self, run_id: str, *, after: int = -1, limit: int = 1000) -> list[EventRow]:
        """In order, from the one after seq `after`."""
        return await reading.run_events(self._db, None, run_id, after, limit)

    async def attempts(
        self,
        *,
        after: str | None = None,
        limit: int = PAGE,
        run_id: str | None = None,
        status: AttemptStatus | None = None,
    ) -> list[AttemptRow]:
        """Oldest first."""
        return await reading.attempts_page(self._db, None, after, limit, run_id, status)

    async def usage(
        self, *, since: float | None = None, until: float | None = None, group_by: UsageGroup = "model"
    ) -> list[UsageRow]:
        """Attempts begun in [since, until), unix seconds, in the order of their groups."""
        return await reading.usage_sums(self._db, None, since, until, group_by)
