"""Everything that belongs to an org is reached through an object that cannot be made without one."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import BadRequest
from ..core.ids import new_id
from .agents import AgentStore
from .database import Database
from .nouns import NounStore
from .reading import Accounts, missing
from .rows import MessageRow, OrgRow
from .secrets import SealingKey, Secrets
from .threads import ThreadStore
from .tools import ToolStore

DEFAULT_ORG = "org_default"

Clock = Callable[[], float]


_CREATE = """
INSERT INTO conversations (id, org_id, title, created_at, updated_at)
VALUES ($1, $2, $3, $4, $4) ON CONFLICT (id) DO NOTHING"""
_MESSAGES_IN_CONVERSATION = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE run_id = $1 AND org_id = $2 AND conversation_id = $3
ORDER BY seq, id"""
_MESSAGES_ALONE = f"""
SELECT {MessageRow.COLUMNS} FROM messages WHERE run_id = $1 AND org_id = $2 AND conversation_id IS NULL
ORDER BY seq, id"""


class OrgStore(Accounts):
    """One org's rows. An id of another org raises the same errors.NotFound as one that does not exist.
    Lists take `limit` and go on after the id `after`."""

    def __init__(self, db: Database, org_id: str, clock: Clock, sealing: SealingKey) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        super().__init__(db, org_id)
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

    # conversations and messages

    async def create_conversation(self, *, title: str | None = None) -> str:
        """Its id."""
        id = new_id("conv_")
        await self._db.write([(_CREATE, (id, self.org_id, title, self._clock()))])
        return id

    async def run_messages(self, run_id: str) -> list[MessageRow]:
        """What a run was asked and answered, in order; [] when its content was not kept."""
        run = await self.run(run_id)
        if run.conversation_id is None:
            rows = await self._db.read(_MESSAGES_ALONE, run_id, self.org_id)
        else:
            rows = await self._db.read(_MESSAGES_IN_CONVERSATION, run_id, self.org_id, run.conversation_id)
        return [MessageRow(*row) for row in rows]


class AllOrgs(Accounts):
    """The operator's view over every org. Never handed to a caller's request."""

    def __init__(self, db: Database, clock: Clock) -> None:
        super().__init__(db, None)
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
