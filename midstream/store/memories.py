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
_FORGET = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3"
_FORGET_ALL = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2"


def remembered(org: str, agent: str, thread: str, text: str, at: float) -> Statement:
    """For those who write it beside statements of their own."""
    return _PUT, (org, agent, thread, storable(text), at)


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
        await self._db.write([remembered(self._org, agent, thread, text, now)])
        return Memory(thread, text, now)

    async def forget(self, agent: str, thread: str) -> None:
        """Raises errors.NotFound."""
        if await self.get(agent, thread) is None:
            raise missing("memory", thread)
        await self._db.write([(_FORGET, (self._org, agent, thread))])

    async def forget_all(self, agent: str) -> None:
        await self._db.write([(_FORGET_ALL, (self._org, agent))])
