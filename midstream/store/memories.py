"""What agents remember of their threads, apart from the messages: one text for each org, agent and thread."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from msgspec import Struct

from .database import Statement
from .ledger import storable
from .owned import Owned
from .reading import missing

#: Seconds that it is known when a thread was forgotten: longer than a turn from before takes to be remembered.
KEPT = 30 * 86_400.0


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
#: Since the moment $4.
_FORGOTTEN = """
SELECT 1 FROM memories_forgotten WHERE org_id = $1 AND agent_id = $2 AND thread_id IN ('', $3) AND at >= $4"""
#: What a turn has to do with a memory: its conversation is still there and has not been reset since, neither of its
#: messages was deleted, and nobody has told its agent to forget.
_OF_TURN = f"""
EXISTS (SELECT 1 FROM conversations JOIN messages ON messages.conversation_id = conversations.id
    WHERE conversations.id = $6 AND conversations.org_id = $1 AND conversations.deleted_at IS NULL
    AND messages.id = $7 AND messages.seq >= COALESCE(conversations.reset_seq, 0) AND messages.deleted_at IS NULL)
AND NOT EXISTS (SELECT 1 FROM messages WHERE id = $9 AND deleted_at IS NOT NULL)
AND NOT EXISTS ({_FORGOTTEN.replace("$4", "$8")})"""
_FIRST_OF_TURN = f"""
INSERT INTO memories (org_id, agent_id, thread_id, text, updated_at)
SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS DOUBLE PRECISION)
WHERE {_OF_TURN} ON CONFLICT (org_id, agent_id, thread_id) DO NOTHING"""
#: Only if the memory is still the one that the new one goes on from.
_NEXT_OF_TURN = f"""
UPDATE memories SET text = $4, updated_at = $5
WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3 AND text = $10 AND {_OF_TURN}"""
#: Where another one was put meanwhile: the turn is to be remembered again, from that one on.
_AGAIN = f"""
INSERT INTO outbox (id, org_id, topic, payload, created_at, available_at)
SELECT id || '+', org_id, topic, payload, created_at, CAST($5 AS DOUBLE PRECISION) FROM outbox
WHERE id = $10 AND {_OF_TURN} AND NOT EXISTS (
    SELECT 1 FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3 AND text = $4)
ON CONFLICT (id) DO NOTHING"""
#: Who deletes or resets the conversation comes before or after, and so does who tells the agent to forget.
_HOLD = "UPDATE conversations SET title = title WHERE id = $1 AND org_id = $2"
_HOLD_AGENT = """
INSERT INTO memories_forgotten (org_id, agent_id, thread_id, at) VALUES ($1, $2, '', 0)
ON CONFLICT (org_id, agent_id, thread_id) DO UPDATE SET at = memories_forgotten.at"""
_FORGET_UNTIL = """
INSERT INTO memories_forgotten (org_id, agent_id, thread_id, at) VALUES ($1, $2, $3, $4)
ON CONFLICT (org_id, agent_id, thread_id) DO UPDATE SET at = excluded.at WHERE memories_forgotten.at < excluded.at"""
_LONG_FORGOTTEN = "DELETE FROM memories_forgotten WHERE org_id = $1 AND thread_id <> '' AND at < $2"
_FORGET = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3"
_FORGET_ALL = "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2"
#: Agents that had a turn in the conversation $1: one may go on in another one's.
_HAD_A_TURN = """
SELECT runs.agent_id FROM messages JOIN runs ON runs.id = messages.run_id
WHERE messages.conversation_id = $1 AND messages.org_id = $2 AND runs.agent_id IS NOT NULL"""
#: Since that one was last reset.
_HAD_A_TURN_IN_OTHER = f"""{_HAD_A_TURN.replace("$1", "other.id")} AND messages.seq >= COALESCE(other.reset_seq, 0)"""
#: Sub-threads that live and share the thread $3, but for the conversation $1.
_OTHER = """
SELECT 1 FROM conversations AS other
WHERE other.org_id = $2 AND other.thread_id = $3 AND other.id <> $1 AND other.deleted_at IS NULL"""
#: Of all agents that had a turn in a conversation that is deleted or reset, and of all of the org where the thread is
#: no more than that conversation; not while another sub-thread lives that shares it, whoever has begun that one. By
#: agents, because there is no index of threads alone.
_FORGET_THREAD = f"""
DELETE FROM memories WHERE org_id = $2 AND thread_id = $3
    AND agent_id IN (SELECT CAST($4 AS TEXT) UNION SELECT id FROM agents WHERE org_id = $2 AND $3 = $1
        UNION {_HAD_A_TURN})
    AND NOT EXISTS ({_OTHER} AND other.agent_id = memories.agent_id)
    AND NOT EXISTS ({_OTHER} AND other.agent_id IN (
            SELECT '' UNION ALL SELECT CAST($4 AS TEXT) UNION ALL SELECT id FROM agents WHERE org_id = $2)
        AND memories.agent_id IN ({_HAD_A_TURN_IN_OTHER}))"""


class Remembered(Struct, frozen=True):
    """A new memory and the turn that it is of. before: the memory that it goes on from, "" = there was none. message:
    the user's; answer: to it. began: when the turn did. row: of the outbox, which this is done for. Times are unix
    seconds."""

    org: str
    agent: str
    thread: str
    conversation: str
    message: str
    answer: str
    before: str
    text: str
    at: float
    began: float
    row: str


def remembered(new: Remembered) -> list[Statement]:
    """For those who write it beside statements of their own. What was deleted, reset or forgotten since does not come
    back. What somebody else put in place of `before` stays, and the row is to be done again."""
    whose = (new.org, new.agent, new.thread)
    values = (*whose, storable(new.text), new.at, new.conversation, new.message, new.began, new.answer)
    put: Statement = (_NEXT_OF_TURN, (*values, new.before)) if new.before else (_FIRST_OF_TURN, values)
    held: list[Statement] = [(_HOLD, (new.conversation, new.org)), (_HOLD_AGENT, whose[:2])]
    return [*held, put, (_AGAIN, (*values, new.row))]


def forgotten(org: str, conversation: str, agent: str, thread: str) -> Statement:
    """The same, for a conversation that is deleted or reset."""
    return _FORGET_THREAD, (conversation, org, thread, agent)


class Memories(Owned):
    """One org's."""

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
        """Raises errors.NotFound where there is none; what is just being written is not kept then, either."""
        found = await self.get(agent, thread)
        held = (_HOLD_AGENT, (self._org, agent))
        await self._db.write([held, *self._until_now(agent, thread), (_FORGET, (self._org, agent, thread))])
        if found is None:
            raise missing("memory", thread)

    async def forget_all(self, agent: str) -> None:
        await self._db.write([*self._until_now(agent, ""), (_FORGET_ALL, (self._org, agent))])

    async def forgotten_since(self, agent: str, thread: str, at: float) -> bool:
        """Was the agent told to forget that thread, or all, since then (unix seconds)?"""
        return bool(await self._db.look_up(_FORGOTTEN, self._org, agent, thread, at))

    def _until_now(self, agent: str, thread: str) -> list[Statement]:
        now = self._clock()
        told = (self._org, agent, thread, now)
        return [(_FORGET_UNTIL, told), (_LONG_FORGOTTEN, (self._org, now - KEPT))]
