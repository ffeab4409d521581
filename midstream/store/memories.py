"""What agents remember of their threads, apart from the messages: one text for each org, agent and thread."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from .database import Database, Statement
from .ledger import storable
from .reading import missing


class Memory(Struct, frozen=True):
    """updated_at: unix seconds."""

    thread_id: str
    text: str
    updated_at: float


_ONE = "SELECT thread_id, text, updated_at FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3"
_PAGE = """
SELECT thread_id, text, updated_at FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id > $3
ORDER BY thread_id LIMIT $4"""
_PUT = """
INSERT INTO memories (org_id, agent_id, thread_id, text, updated_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (org_id, agent_id, thread_id) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at"""
#: Only if the turn's conversation is still there and has not been reset since, and if the memory that the new one goes
#: on from has not been forgotten meanwhile.
_PUT_OF_TURN = """
INSERT INTO memories (org_id, agent_id, thread_id, text, updated_at)
SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS DOUBLE PRECISION)
WHERE EXISTS (SELECT 1 FROM conversations JOIN messages ON messages.conversation_id = conversations.id
        WHERE conversations.id = $6 AND conversations.org_id = $1 AND conversations.deleted_at IS NULL
        AND messages.id = $7 AND messages.seq >= COALESCE(conversations.reset_seq, 0))
    AND (CAST($8 AS TEXT) = '' OR EXISTS (
        SELECT 1 FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3))
ON CONFLICT (org_id, agent_id, thread_id) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at"""
#: Who deletes or resets it comes before or after.
_HOLD = "UPDATE conversations SET title = title WHERE id = $1 AND org_id = $2"
_FORGET = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3"
_FORGET_ALL = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2"
#: Of the agent of a conversation that is deleted or reset, and of all where the thread is no more than that
#: conversation; not while another sub-thread lives that shares it.
_FORGET_THREAD = """
DELETE FROM memories WHERE org_id = $2 AND thread_id = $3
    AND agent_id IN (SELECT CAST($4 AS TEXT) UNION SELECT id FROM agents WHERE org_id = $2 AND $3 = $1)
    AND NOT EXISTS (SELECT 1 FROM conversations AS other WHERE other.org_id = $2 AND other.thread_id = $3
        AND other.agent_id = memories.agent_id AND other.id <> $1 AND other.deleted_at IS NULL)"""


class Remembered(Struct, frozen=True):
    """A new memory and the turn that it is of. before: the memory that it goes on from. message: the user's."""

    org: str
    agent: str
    thread: str
    conversation: str
    message: str
    before: str
    text: str
    at: float


def remembered(new: Remembered) -> list[Statement]:
    """For those who write it beside statements of their own. What was deleted or reset since does not come back."""
    values = (new.org, new.agent, new.thread, storable(new.text), new.at, new.conversation, new.message, new.before)
    return [(_HOLD, (new.conversation, new.org)), (_PUT_OF_TURN, values)]


def forgotten(org: str, conversation: str, agent: str, thread: str) -> Statement:
    """The same, for a conversation that is deleted or reset."""
    return _FORGET_THREAD, (conversation, org, thread, agent)


class Memories:
    """One org's."""

    def __init__(self, db: Database, org_id: str, clock: Callable[[], float]) -> None:
        if not org_id:
            raise ValueError("an org is needed")
        self._db = db
        self._org = org_id
        self._clock = clock

    async def get(self, agent: str, thread: str) -> Memory | None:
        rows = await self._db.look_up(_ONE, self._org, agent, thread)
        return Memory(*rows[0]) if rows else None

    async def page(self, agent: str, *, after: str = "", limit: int = 100) -> list[Memory]:
        """In the order of their threads' ids, from the one after `after`."""
        return [Memory(*row) for row in await self._db.read(_PAGE, self._org, agent, after, limit)]

    async def put(self, agent: str, thread: str, text: str) -> Memory:
        now = self._clock()
        await self._db.write([(_PUT, (self._org, agent, thread, storable(text), now))])
        return Memory(thread, text, now)

    async def forget(self, agent: str, thread: str) -> None:
        """Raises errors.NotFound."""
        if await self.get(agent, thread) is None:
            raise missing("memory", thread)
        await self._db.write([(_FORGET, (self._org, agent, thread))])

    async def forget_all(self, agent: str) -> None:
        await self._db.write([(_FORGET_ALL, (self._org, agent))])
