"""What is known of an agent's turn that ended with its server."""

from __future__ import annotations

from msgspec import Struct

from .database import Database
from .reading import missing

#: Topic of the outbox: such a turn is to be accounted. A row's id is PREFIX and its run's.
INTERRUPTED, PREFIX = "interrupted", "interrupted:"
#: Its payload, when whoever listens to its thread hears of it from the job that it was the turn of; else nothing.
TOLD = "told"


class InterruptedTurn(Struct, frozen=True):
    """message: its question's id, "" when nothing is kept. detail: the question's, JSON text of a
    store.rows.MessageDetail. called_at: the last that is known of its tools' calls, else when it began: how they ended
    is told by those who found them left behind, at a time that is not theirs. Times are unix seconds."""

    agent_id: str
    version_id: str
    key_id: str
    face: str
    request_id: str
    created_at: float
    called_at: float
    failure: str
    failure_message: str
    conversation_id: str
    thread_id: str
    sub_thread_id: str
    message: str
    detail: bytes | None


_TURN = """
SELECT runs.agent_id, COALESCE(runs.version_id, ''), runs.key_id, runs.face, runs.request_id,
    runs.created_at, COALESCE((
        SELECT MAX(CASE WHEN c.status = 'ok' THEN c.ended_at ELSE COALESCE(c.started_at, c.created_at) END)
        FROM tool_calls AS c WHERE c.run_id <> '' AND c.run_id = runs.id), runs.created_at),
    runs.error_code, runs.error_message, COALESCE(conversations.id, ''),
    COALESCE(conversations.thread_id, conversations.id, ''),
    COALESCE(conversations.sub_thread_id, conversations.thread_id, conversations.id, ''), COALESCE(messages.id, ''),
    messages.detail
FROM runs LEFT JOIN conversations ON conversations.id = runs.conversation_id AND conversations.org_id = runs.org_id
    LEFT JOIN messages ON messages.conversation_id = conversations.id AND messages.run_id = runs.id
        AND messages.role = 'user'
WHERE runs.id = $1 AND runs.org_id = $2 AND runs.status = 'failed' LIMIT 1"""


def run_in(row: str) -> str:
    """By a row's id."""
    return row.removeprefix(PREFIX)


async def interrupted_turn(db: Database, org: str, run: str) -> InterruptedTurn:
    """Raises errors.NotFound, also for a run that goes on or has come to another end."""
    rows = await db.look_up(_TURN, run, org)
    if not rows:
        raise missing("run", run)
    return InterruptedTurn(*rows[0])
