"""Letting go of what was said long ago. What it cost stays in the accounts."""

from __future__ import annotations

import msgspec

from .database import Database, Statement
from .rows import MessageDetail, kept_back

BATCH = 200

_OLD = """
SELECT seq, id FROM conversations WHERE seq > $1 AND (updated_at < $2 OR deleted_at < $2) ORDER BY seq LIMIT $3"""
_CONVERSATION = "DELETE FROM conversations WHERE id = $1 AND (updated_at < $2 OR deleted_at < $2)"
#: A turn may have begun since the conversation was looked at: then it is still there, and so are its messages.
_GONE = "NOT EXISTS (SELECT 1 FROM conversations WHERE id = $1)"
_WORDS = f"DELETE FROM message_texts WHERE conversation_id = $1 AND {_GONE}"  # noqa: S608
_MESSAGES = f"DELETE FROM messages WHERE conversation_id = $1 AND {_GONE}"  # noqa: S608
#: Conversations of which messages are there, each once, from the one after $1: read by leaps, from the index alone.
_SAID_IN = """
WITH RECURSIVE said (id) AS (
    SELECT min(conversation_id) FROM messages WHERE conversation_id > $1
    UNION ALL
    SELECT (SELECT min(one.conversation_id) FROM messages AS one WHERE one.conversation_id > said.id)
    FROM said WHERE said.id IS NOT NULL)
SELECT id, EXISTS (SELECT 1 FROM conversations WHERE conversations.id = said.id) FROM said WHERE id IS NOT NULL
LIMIT $2"""
#: Deleted ones of conversations that go on, as in the index messages_to_empty.
_TO_EMPTY = "SELECT id, detail FROM messages WHERE deleted_at < $1 AND length(content) > 0 LIMIT $2"
#: What follows it still does.
_EMPTY = "UPDATE messages SET content = $2, detail = $3 WHERE id = $1 AND deleted_at IS NOT NULL"
_ITS_WORDS = "DELETE FROM message_texts WHERE message_id = $1"
_ALONE = "SELECT id FROM messages WHERE conversation_id IS NULL AND created_at < $1 LIMIT $2"
_MESSAGE = "DELETE FROM messages WHERE id = $1 AND conversation_id IS NULL"
#: A thread is named by its conversation itself, or by its caller; whose conversation it is says nothing of who has had
#: turns in it. By agents, because there is no index of threads alone.
_OF_THREADS_GONE = """
SELECT org_id, agent_id, thread_id, updated_at FROM memories WHERE updated_at < $1
    AND NOT EXISTS (SELECT 1 FROM conversations AS own WHERE own.id = memories.thread_id
        AND own.org_id = memories.org_id AND own.deleted_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM conversations AS named WHERE named.org_id = memories.org_id
        AND named.agent_id IN (SELECT '' UNION ALL SELECT memories.agent_id
            UNION ALL SELECT id FROM agents WHERE agents.org_id = memories.org_id)
        AND named.thread_id = memories.thread_id AND named.deleted_at IS NULL)
LIMIT $2"""
#: What was said stands elsewhere, too. Which rows are old, and how one of them goes: it may be in use by then.
_ELSEWHERE = (
    (
        "SELECT run_id, number FROM rounds WHERE created_at < $1 LIMIT $2",
        "DELETE FROM rounds WHERE run_id = $1 AND number = $2",
    ),
    (
        "SELECT id FROM tool_calls WHERE created_at < $1 AND status NOT IN ('queued', 'running') LIMIT $2",
        "DELETE FROM tool_calls WHERE id = $1",
    ),
    (
        _OF_THREADS_GONE,
        "DELETE FROM memories WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3 AND updated_at = $4",
    ),
    (
        "SELECT id FROM jobs WHERE batch_id IS NULL AND ended_at < $1 LIMIT $2",
        "DELETE FROM jobs WHERE id = $1 AND batch_id IS NULL",
    ),
    (
        "SELECT id, ended_at FROM deliveries WHERE status IN ('delivered', 'dead') AND ended_at < $1 LIMIT $2",
        "DELETE FROM deliveries WHERE id = $1 AND ended_at = $2 AND status IN ('delivered', 'dead')",
    ),
    (
        "SELECT org_id, query, created_at FROM search_cache WHERE created_at < $1 LIMIT $2",
        "DELETE FROM search_cache WHERE org_id = $1 AND query = $2 AND created_at = $3",
    ),
    (  # of a queue that nobody empties: those to webhooks come to an end by themselves
        "SELECT id FROM deliveries WHERE kind = 'queue' AND status = 'waiting' AND created_at < $1 LIMIT $2",
        "DELETE FROM deliveries WHERE id = $1 AND kind = 'queue' AND status = 'waiting'",
    ),
)
_BATCHES = "SELECT id, org_id FROM batches WHERE ended_at < $1 LIMIT $2"
_BATCH = ("DELETE FROM jobs WHERE batch_id = $1 AND org_id = $2", "DELETE FROM batches WHERE id = $1 AND org_id = $2")


async def forget(db: Database, before: float, *, batch: int = BATCH) -> int:
    """Deletes the conversations, of all orgs, in which nothing has happened since `before` (unix seconds) or that were
    deleted before it, with their messages, and older messages that stand in no conversation: how many went. With them
    go messages whose conversation is gone, what deleted messages said, what tools were asked and answered and searches
    found, memories of threads that are gone, later turns and batches that ended before it, messages to elsewhere that
    arrived or were given up, and those that wait in queues since before it.
    Small transactions, so that turns go on meanwhile; may be stopped and begun again at any time."""
    gone, place = 0, 0
    while rows := await db.read(_OLD, place, before, batch):
        place = rows[-1][0]
        ids = [id for _, id in rows]
        statements: list[Statement] = [(_CONVERSATION, (id, before)) for id in ids]
        statements += [(sql, (id,)) for sql in (_WORDS, _MESSAGES) for id in ids]
        await db.write(statements)
        gone += len(ids)
    await _forget_left_behind(db, batch)
    await _forget_deleted(db, before, batch)
    while rows := await db.read(_ALONE, before, batch * 10):
        await db.write([(_MESSAGE, (id,)) for (id,) in rows])
        gone += len(rows)
    for old, delete in _ELSEWHERE:
        while found := await db.read(old, before, batch):
            await db.write([(delete, tuple(row)) for row in found])
    while found := await db.read(_BATCHES, before, batch):
        await db.write([(sql, tuple(row)) for row in found for sql in _BATCH])
    return gone


async def _forget_left_behind(db: Database, batch: int) -> None:
    """Messages whose conversation is gone: it went while a turn was about to begin in it."""
    id = ""
    while rows := await db.read(_SAID_IN, id, batch * 10):
        id = rows[-1][0]
        if gone := [one for one, there in rows if not there]:
            await db.write([(sql, (one,)) for sql in (_WORDS, _MESSAGES) for one in gone])


async def _forget_deleted(db: Database, before: float, batch: int) -> None:
    """What messages said that were deleted before then. The row stays in its chain, and what a guardrail has kept back
    beside it stays back."""
    while rows := await db.read(_TO_EMPTY, before, batch):
        statements: list[Statement] = []
        for id, detail in rows:
            left = None if detail is None else msgspec.json.encode(MessageDetail(unchecked=kept_back(bytes(detail))))
            statements += [(_EMPTY, (id, b"", left)), (_ITS_WORDS, (id,))]
        await db.write(statements)
