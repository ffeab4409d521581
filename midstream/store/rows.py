"""What is read back from the store."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ..core.parts import Message, Native
from ..core.usage import Usage
from .database import Row

_message = msgspec.json.Decoder(Message)

USAGE_COLUMNS = (
    "uncached_in, cache_read, cache_write_5m, cache_write_1h, audio_in, image_in, out_text, out_reasoning, "
    "audio_out, image_out, searches"
)


class OrgRow(Struct, frozen=True):
    """created_at: unix seconds, as all times here."""

    id: str
    name: str
    created_at: float


class ConversationRow(Struct, frozen=True):
    """metadata: JSON text of an object, or None."""

    id: str
    org_id: str
    title: str | None
    metadata: bytes | None
    created_at: float
    updated_at: float

    COLUMNS = "id, org_id, title, metadata, created_at, updated_at"


class MessageRow(Struct, frozen=True):
    """content: as stored. dialect: "" for a core message, else the wire format of the caller's own words."""

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


class EventRow(Struct, frozen=True):
    run_id: str
    seq: int
    type: str
    data: bytes

    COLUMNS = "run_id, seq, type, data"


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
