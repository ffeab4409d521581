"""What is read back from the store."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.json_words import too_deep
from ..core.outcome import Step
from ..core.parts import Message, Native
from ..core.usage import Usage
from .database import Row

_message = msgspec.json.Decoder(Message)
#: A detail that has neither word in it says nothing of a question that was kept back.
BLOCKED, UNCHECKED = b'"blocked"', b'"unchecked"'
#: The end of a message that has none.
_NO_PARTS = b'"parts":[]}'

USAGE_COLUMNS = (
    "uncached_in, cache_read, cache_write_5m, cache_write_1h, audio_in, image_in, out_text, out_reasoning, "
    "audio_out, image_out, searches, cache_audio_read, video_in"
)


class OrgRow(Struct, frozen=True):
    """created_at: unix seconds, as all times here."""

    id: str
    name: str
    created_at: float


class MessageRow(Struct, frozen=True):
    """content: as stored; once [retention] has let go of what a deleted one said, empty. dialect: "" for a core
    message, else the wire format of the caller's own words."""

    id: str
    org_id: str
    conversation_id: str | None
    run_id: str | None
    seq: int
    role: str
    dialect: str
    content: bytes
    created_at: float

    COLUMNS = "id, org_id, conversation_id, run_id, seq, role, dialect, content, created_at"

    def spoken(self) -> Message | Native:
        """The message in the core language, or the caller's words for its dialect to read."""
        return Native(self.dialect, self.content) if self.dialect else _message.decode(self.content)


class ThreadRow(Struct, frozen=True):
    """A conversation as agents' callers see it. current_id: the last message of the branch in use, None = the newest.
    reset_seq: messages before this number are no longer part of what the model is shown."""

    id: str
    title: str | None
    agent_id: str | None
    thread_id: str | None
    sub_thread_id: str | None
    current_id: str | None
    reset_seq: int | None
    created_at: float
    updated_at: float

    COLUMNS = "id, title, agent_id, thread_id, sub_thread_id, current_id, reset_seq, created_at, updated_at"


class ThreadMessage(MessageRow, frozen=True):
    """parent_id: the message that it follows, "" = none, None = the one before it. reaction: like | dislike | None.
    detail: JSON text of a MessageDetail; of an answer, None where it was not asked for."""

    parent_id: str | None
    reaction: str | None
    deleted_at: float | None
    detail: bytes | None = None

    COLUMNS = f"{MessageRow.COLUMNS}, parent_id, reaction, deleted_at"

    def says_nothing(self) -> bool:
        """As the answer of a turn that failed before anything came of it."""
        return self.content.endswith(_NO_PARTS) and not self.dialect


class MessageDetail(Struct, frozen=True, omit_defaults=True):
    """What is kept of a turn beside its words. usage: counts by name; cost: decimal USD. tools_data: its tool calls
    (core.outcome.Step). configuration: what the model was asked with. error: {code, message} of a turn that failed.
    attachments: of the user's message, {kind, name, mime, url}; document_ids, variables: what it was asked with.
    blocked: why a guardrail refused it: the question when no model was asked (iterations 0), else the answer.
    unchecked: the turn ended before its question had passed. agent_id: whose turn it was, which may be another one than
    the conversation's ("" also where that was not written down)."""

    agent_id: str = ""
    model: str = ""
    service: str = ""
    version_id: str = ""
    finish_reason: str = ""
    native_finish_reason: str = ""
    iterations: int = 0
    usage: dict[str, int] = {}
    cost: str | None = None
    tools_data: tuple[Step, ...] = ()
    configuration: dict[str, Any] = {}
    error: dict[str, str] = {}
    attachments: tuple[dict[str, str], ...] = ()
    document_ids: tuple[str, ...] = ()
    variables: dict[str, Any] = {}
    missing: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    fallback: bool = False
    first_error: str = ""
    blocked: str = ""
    unchecked: bool = False
    user: str = ""


_detail = msgspec.json.Decoder(MessageDetail)


def detail_in(data: bytes | None) -> MessageDetail:
    """What a row's text of one says. Of arguments that were kept before they had a bound, as much as can be shown."""
    if not data:
        return MessageDetail()
    try:
        detail = _detail.decode(data)
    except RecursionError:
        return MessageDetail()
    if not any(too_deep(step.arguments) for step in detail.tools_data):
        return detail
    steps = tuple(replace(one, arguments={}) if too_deep(one.arguments) else one for one in detail.tools_data)
    return replace(detail, tools_data=steps)


def kept_back(detail: bytes | None) -> bool:
    """Is this of the answer to a question that no guardrail has let pass? Then a model is shown neither."""
    if detail is None or not (BLOCKED in detail or UNCHECKED in detail):
        return False
    found = detail_in(detail)
    return found.unchecked or bool(found.blocked and not found.iterations)


class FoundMessage(Struct, frozen=True):
    """A message that a search has found."""

    message_id: str
    conversation_id: str
    title: str | None
    role: str
    text: str
    created_at: float


class RunRow(Struct, frozen=True):
    id: str
    org_id: str
    key_id: str
    kind: str
    face: str
    model: str
    conversation_id: str | None
    request_id: str
    status: str
    error_code: str | None
    error_message: str | None
    created_at: float
    ended_at: float | None
    worker: str

    COLUMNS = (
        "id, org_id, key_id, kind, face, model, conversation_id, request_id, status, error_code, error_message, "
        "created_at, ended_at, worker"
    )


class AttemptRow(Struct, frozen=True):
    """cost: decimal text, USD; None while unsettled or without a known price."""

    id: str
    run_id: str
    org_id: str
    key_id: str
    number: int
    provider: str
    model: str
    status: str
    cost: str | None
    price_snapshot: str | None
    error_code: str | None
    error_message: str | None
    estimate_in: int
    started_at: float
    ended_at: float | None
    usage: Usage

    COLUMNS = (
        "id, run_id, org_id, key_id, number, provider, model, status, cost, price_snapshot, error_code, "
        f"error_message, estimate_in, started_at, ended_at, estimated, {USAGE_COLUMNS}"
    )

    @classmethod
    def of(cls, row: Row) -> AttemptRow:
        usage = Usage(*(*row[16:], bool(row[15])))
        return cls(*(*row[:15], usage))


class UsageRow(Struct, frozen=True):
    """Sums over a group's attempts. group: None where the rows have no such thing. cost: decimal text, USD.
    unpriced: settled attempts whose cost is not known. usage.estimated: some of it is."""

    group: str | None
    attempts: int
    unpriced: int
    usage: Usage
    cost: str
