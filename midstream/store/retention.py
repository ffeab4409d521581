"""Letting go of what was said long ago. What it cost stays in the accounts."""

from __future__ import annotations

from .database import Database, Statement

BATCH = 200

_OLD = """
SELECT seq, id FROM conversations WHERE seq > $1 AND (updated_at < $2 OR deleted_at < $2) ORDER BY seq LIMIT $3"""
_CONVERSATION = "DELETE FROM conversations WHERE id = $1 AND (updated_at < $2 OR deleted_at < $2)"
#: A turn may have begun since the conversation was looked at: then it is still there, and so are its messages.
_GONE = "NOT EXISTS (SELECT 1 FROM conversations WHERE id = $1)"
_WORDS = f"DELETE FROM message_texts WHERE conversation_id = $1 AND {_GONE}"  # noqa: S608
_MESSAGES = f"DELETE FROM messages WHERE conversation_id = $1 AND {_GONE}"  # noqa: S608
_ALONE = "SELECT id FROM messages WHERE conversation_id IS NULL AND created_at < $1 LIMIT $2"
_MESSAGE = "DELETE FROM messages WHERE id = $1 AND conversation_id IS NULL"


async def forget(db: Database, before: float, *, batch: int = BATCH) -> int:
    """Deletes the conversations, of all orgs, in which nothing has happened since `before` (unix seconds) or that were
    deleted before it, with their messages, and older messages that stand in no conversation. How many went.
    Small transactions, so that turns go on meanwhile; may be stopped and begun again at any time."""
    gone, place = 0, 0
    while rows := await db.read(_OLD, place, before, batch):
        place = rows[-1][0]
        ids = [id for _, id in rows]
        statements: list[Statement] = [(_CONVERSATION, (id, before)) for id in ids]
        statements += [(sql, (id,)) for sql in (_WORDS, _MESSAGES) for id in ids]
        await db.write(statements)
        gone += len(ids)
    while rows := await db.read(_ALONE, before, batch * 10):
        await db.write([(_MESSAGE, (id,)) for (id,) in rows])
        gone += len(rows)
    return gone
