"""What is written while a run goes on: the rows before each upstream call, the rows after it, and the end.

Every record may be committed twice and changes the store once: rows are inserted by their own id, and what ends an
attempt or a run only touches one that has not ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from ..core.usage import Usage
from .database import Database, Statement
from .folding import indexed

RunStatus: TypeAlias = Literal["running", "completed", "failed", "cancelled"]
AttemptStatus: TypeAlias = Literal["started", "ok", "failed", "partial", "unknown"]

# The order of a record's fields is the order of its statement's placeholders.


class RunStarted(Struct, frozen=True, gc=False):
    """kind: chat | embedding | count_tokens. model: as the caller named it. created_at: unix seconds. accounted: an
    agent's turn that the metrics count, also when nobody is left to end it."""

    id: str
    org_id: str
    key_id: str
    kind: str
    face: str
    model: str
    conversation_id: str | None
    request_id: str
    created_at: float
    agent_id: str | None = None
    version_id: str | None = None
    parent_run_id: str | None = None
    accounted: bool = False


class RunEnded(Struct, frozen=True, gc=False):
    id: str
    status: RunStatus
    ended_at: float
    error_code: str | None = None
    error_message: str | None = None


class RunReopened(Struct, frozen=True, gc=False):
    """A run that its worker's death or end had ended, or that the store was away from, goes on in this one. job: whose
    run it is ("" = nobody's): nothing happens where that is not this worker's any more."""

    id: str
    org_id: str
    job: str = ""


class AttemptStarted(Struct, frozen=True, gc=False):
    """estimate_in: tokens of the prompt, counted by us. number: from 1 within its run. accounted: it is published as a
    transaction, also when nobody is left to settle it."""

    id: str
    run_id: str
    org_id: str
    key_id: str
    number: int
    provider: str
    model: str
    estimate_in: int
    started_at: float
    accounted: bool = False


class AttemptSettled(Struct, frozen=True, gc=False):
    """cost: USD as decimal text, None when no price is known. price_snapshot: the prices it was made with, JSON."""

    id: str
    status: AttemptStatus
    usage: Usage
    ended_at: float
    cost: str | None = None
    price_snapshot: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class MessageAdded(Struct, frozen=True, gc=False):
    """content: a core Message as JSON (dialect ""), or the caller's own words in the wire format `dialect`.
    seq: place in its conversation, or in its run when there is none. parent_id: the message that it follows ("" = it
    begins the conversation, None = the one before it). detail: JSON text of a store.rows.MessageDetail."""

    id: str
    org_id: str
    run_id: str | None
    seq: int
    role: str
    content: bytes
    created_at: float
    conversation_id: str | None = None
    dialect: str = ""
    parent_id: str | None = None
    detail: bytes | None = None


class MessageWords(Struct, frozen=True, gc=False):
    """What a message says, to be found again by its words."""

    message_id: str
    org_id: str
    conversation_id: str
    text: str


class ConversationAdded(Struct, frozen=True, gc=False):
    """thread_id, sub_thread_id: what its agent's callers call it."""

    id: str
    org_id: str
    created_at: float
    title: str | None = None
    agent_id: str | None = None
    thread_id: str | None = None
    sub_thread_id: str | None = None


class ConversationMoved(Struct, frozen=True, gc=False):
    """current_id: the last message of the branch in use from now on; seq: its number. since: where the conversation
    began for the model when the turn did (-1 = it was never reset). After a reset meanwhile, the message belongs to
    what was said before. instead_of: the message that the turn has left as the last one ("" = none): where another one
    is by now, that stays; None: whichever is."""

    id: str
    org_id: str
    current_id: str
    updated_at: float
    seq: int = -1
    since: int = -1
    instead_of: str | None = None


class ConversationTouched(Struct, frozen=True, gc=False):
    """seq, since: of the turn's last message, as in ConversationMoved."""

    id: str
    org_id: str
    updated_at: float
    seq: int = -1
    since: int = -1


class OutboxAdded(Struct, frozen=True, gc=False):
    """available_at: not delivered before."""

    id: str
    org_id: str
    topic: str
    payload: bytes
    created_at: float
    available_at: float


class CallsLeft(Struct, frozen=True, gc=False):
    """A run has ended before tools that it called: how those calls end. status: in_doubt (the unsafe ones that were
    begun) | failed (all that are still open, so to be told last). result: JSON text of a core ToolAnswer."""

    run_id: str
    org_id: str
    ended_at: float
    status: str
    error: str
    result: bytes


class JobEnded(Struct, frozen=True, gc=False):
    """status: done | failed. result: the answer in the face's own words."""

    id: str
    status: str
    result: bytes
    ended_at: float


class DeliveryAdded(Struct, frozen=True, gc=False):
    """A message on its way. kind: webhook | live | queue. target: JSON text, see delivery."""

    id: str
    org_id: str
    kind: str
    target: bytes
    payload: bytes
    created_at: float
    available_at: float


Record: TypeAlias = (
    RunStarted
    | RunReopened
    | RunEnded
    | AttemptStarted
    | AttemptSettled
    | MessageAdded
    | MessageWords
    | ConversationAdded
    | ConversationMoved
    | ConversationTouched
    | OutboxAdded
    | CallsLeft
    | JobEnded
    | DeliveryAdded
)

_RUN_STARTED = """
INSERT INTO runs (id, org_id, key_id, kind, face, model, conversation_id, request_id, created_at, agent_id, version_id,
    parent_run_id, accounted, status, worker)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'running', $14) ON CONFLICT (id) DO NOTHING"""
#: Most runs are no agent's and in no conversation. Every NULL that is not given as a value is one less to be handed
#: over, which costs SQLite as much as three values that are something.
_PLAIN_RUN_STARTED = """
INSERT INTO runs (id, org_id, key_id, kind, face, model, request_id, created_at, status, worker)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $9) ON CONFLICT (id) DO NOTHING"""
_RUN_REOPENED = """
UPDATE runs SET status = 'running', ended_at = NULL, error_code = NULL, error_message = NULL, worker = $4
WHERE id = $1 AND org_id = $2
    AND (status = 'running' OR error_code IN ('interrupted', 'server_busy', 'store_unavailable'))
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = $3 AND (jobs.status <> 'running' OR jobs.worker <> $4))"""
_RUN_ENDED = """
UPDATE runs SET status = $2, ended_at = $3, error_code = $4, error_message = $5
WHERE id = $1 AND status = 'running'"""
_RUN_ENDED_WELL = _RUN_ENDED.replace("$4", "NULL").replace("$5", "NULL")
_ATTEMPT_STARTED = """
INSERT INTO attempts (id, run_id, org_id, key_id, number, provider, model, estimate_in, started_at, status, worker)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'started', $10) ON CONFLICT (id) DO NOTHING"""
_ACCOUNTED_STARTED = _ATTEMPT_STARTED.replace(", worker)", ", worker, accounted)").replace("$10)", "$10, TRUE)")
_ATTEMPT_SETTLED = """
UPDATE attempts SET uncached_in = $1, cache_read = $2, cache_write_5m = $3, cache_write_1h = $4, audio_in = $5,
    image_in = $6, out_text = $7, out_reasoning = $8, audio_out = $9, image_out = $10, searches = $11,
    cache_audio_read = $12, video_in = $13, estimated = $14, status = $15, ended_at = $16, cost = $17,
    price_snapshot = $18, error_code = $19, error_message = $20
WHERE id = $21 AND status = 'started'"""
_ATTEMPT_SETTLED_WELL = _ATTEMPT_SETTLED.replace("$19", "NULL").replace("$20", "NULL").replace("$21", "$19")
_MESSAGE_ADDED = """
INSERT INTO messages (id, org_id, run_id, seq, role, content, created_at, conversation_id, dialect, parent_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING"""
_PLAIN_MESSAGE_ADDED = """
INSERT INTO messages (id, org_id, run_id, seq, role, content, created_at, dialect)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING"""
_MESSAGE_WORDS = """
INSERT INTO message_texts (message_id, org_id, conversation_id, text, folded)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (message_id) DO NOTHING"""
_CONVERSATION_ADDED = """
INSERT INTO conversations (id, org_id, created_at, updated_at, title, agent_id, thread_id, sub_thread_id)
VALUES ($1, $2, $3, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"""
_CONVERSATION_MOVED = """
UPDATE conversations SET updated_at = $4,
    current_id = CASE WHEN COALESCE(reset_seq, -1) = $6
        AND COALESCE(CAST($7 AS TEXT), current_id, '') = COALESCE(current_id, '') THEN $3 ELSE current_id END,
    reset_seq = CASE WHEN COALESCE(reset_seq, -1) = $6 OR $5 < reset_seq THEN reset_seq ELSE $5 + 1 END
WHERE id = $1 AND org_id = $2"""
_CONVERSATION_TOUCHED = """
UPDATE conversations SET updated_at = CASE WHEN updated_at < $3 THEN $3 ELSE updated_at END,
    reset_seq = CASE WHEN COALESCE(reset_seq, -1) = $5 OR $4 < reset_seq THEN reset_seq ELSE $4 + 1 END
WHERE id = $1 AND org_id = $2"""
_OUTBOX_ADDED = """
INSERT INTO outbox (id, org_id, topic, payload, created_at, available_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"""

#: Of all calls or, while the status is in_doubt, of those that may have done what cannot be undone.
CALLS_LEFT = """
UPDATE tool_calls SET status = $2, error = $3, result = $4, ended_at = $1
WHERE run_id <> '' AND status IN ('queued', 'running')
    AND ($2 <> 'in_doubt' OR (status = 'running' AND effect = 'unsafe'))"""
_CALLS_LEFT = CALLS_LEFT + " AND run_id = $5 AND org_id = $6"
_JOB_ENDED = """
UPDATE jobs SET status = $2, result = $3, ended_at = $4 WHERE id = $1 AND status IN ('queued', 'running')"""
_DELIVERY_ADDED = """
INSERT INTO deliveries (id, org_id, kind, target, payload, created_at, available_at, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting') ON CONFLICT (id) DO NOTHING"""


def storable(value: str | None) -> str | None:
    """A provider's words as both databases take them: no NUL, no half of a surrogate pair."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _run_started(r: RunStarted, worker: str) -> Statement:
    if r.conversation_id is None and r.agent_id is None and r.version_id is None and r.parent_run_id is None:
        values = (r.id, r.org_id, r.key_id, r.kind, r.face, r.model, r.request_id, r.created_at, worker)
        return _PLAIN_RUN_STARTED, values
    return _RUN_STARTED, (*astuple(r), worker)


def _message_added(r: MessageAdded, worker: str) -> Statement:
    if r.conversation_id is None and r.parent_id is None and r.detail is None:
        return _PLAIN_MESSAGE_ADDED, (r.id, r.org_id, r.run_id, r.seq, r.role, r.content, r.created_at, r.dialect)
    return _MESSAGE_ADDED, astuple(r)


def _run_ended(r: RunEnded, worker: str) -> Statement:
    if r.error_code is None and r.error_message is None:
        return _RUN_ENDED_WELL, (r.id, r.status, r.ended_at)
    return _RUN_ENDED, (r.id, r.status, r.ended_at, storable(r.error_code), storable(r.error_message))


def _attempt_started(r: AttemptStarted, worker: str) -> Statement:
    return _ACCOUNTED_STARTED if r.accounted else _ATTEMPT_STARTED, (*astuple(r)[:-1], worker)


def _calls_left(r: CallsLeft, worker: str) -> Statement:
    return _CALLS_LEFT, (r.ended_at, r.status, r.error, r.result, r.run_id, r.org_id)


def _attempt_settled(r: AttemptSettled, worker: str) -> Statement:
    if r.error_code is None and r.error_message is None:
        return _ATTEMPT_SETTLED_WELL, (*astuple(r.usage), r.status, r.ended_at, r.cost, r.price_snapshot, r.id)
    return _ATTEMPT_SETTLED, (
        *astuple(r.usage),
        r.status,
        r.ended_at,
        r.cost,
        r.price_snapshot,
        storable(r.error_code),
        storable(r.error_message),
        r.id,
    )


def _message_words(r: MessageWords, worker: str) -> Statement:
    text = storable(r.text) or ""
    return _MESSAGE_WORDS, (r.message_id, r.org_id, r.conversation_id, text, indexed(text))


def _owned(sql: str) -> Callable[[Struct, str], Statement]:
    return lambda r, worker: (sql, (*astuple(r), worker))


def _plain(sql: str) -> Callable[[Struct, str], Statement]:
    return lambda r, worker: (sql, astuple(r))


_STATEMENTS: dict[type, Callable[..., Statement]] = {
    RunStarted: _run_started,
    RunReopened: _owned(_RUN_REOPENED),
    RunEnded: _run_ended,
    AttemptStarted: _attempt_started,
    AttemptSettled: _attempt_settled,
    MessageAdded: _message_added,
    MessageWords: _message_words,
    ConversationAdded: _plain(_CONVERSATION_ADDED),
    ConversationMoved: _plain(_CONVERSATION_MOVED),
    ConversationTouched: _plain(_CONVERSATION_TOUCHED),
    OutboxAdded: _plain(_OUTBOX_ADDED),
    CallsLeft: _calls_left,
    JobEnded: _plain(_JOB_ENDED),
    DeliveryAdded: _plain(_DELIVERY_ADDED),
    tuple: lambda statement, worker: statement,
}


def statement(record: Record | Statement) -> Statement:
    """For those who write a record beside statements of their own. Not for what a worker owns."""
    return _STATEMENTS[type(record)](record, "")


class Ledger:
    """worker: this process, in every run and attempt that it begins; when it dies, they are found by it.
    noticed: told the topic of each outbox row that has been committed here."""

    def __init__(self, db: Database, worker: str) -> None:
        self._write = db.write
        self.worker = worker
        self.noticed: Callable[[str], None] | None = None

    def commit(self, *records: Record | Statement) -> Coroutine[Any, Any, None]:
        """One transaction, in this order, other rooms' statements among them; durable once awaited. After
        errors.StoreDown it may or may not have happened: committing the same records again is right in both cases."""
        worker = self.worker
        written = self._write([_STATEMENTS[type(record)](record, worker) for record in records])
        if self.noticed is None or OutboxAdded not in map(type, records):
            return written
        return self._noticed(written, [record.topic for record in records if type(record) is OutboxAdded])

    async def _noticed(self, written: Awaitable[None], topics: list[str]) -> None:
        await written
        if self.noticed is not None:
            for topic in topics:
                self.noticed(topic)
