"""The words of Anthropic's Messages API beside ours: stop reasons, error types, ids."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ...core.outcome import StopReason
from ...core.parts import Cache, State

NAME = "anthropic_messages"

_STOPS: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}
#: A reason of "error" (a malformed call, a blocked answer) is never shown as a natural end.
_WORDS: dict[StopReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "error": "refusal",
    "pause": "pause_turn",
}

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPE_OF_STATUS = {status: word for word, status in _STATUS_OF_TYPE.items()} | {
    408: "timeout_error",
    503: "overloaded_error",
}
_CODES = {"rate_limit_error": "rate_limit_exceeded", "overloaded_error": "overloaded", "timeout_error": "timeout"}

_VALID_ID = re.compile(r"[a-zA-Z0-9_-]+")
_INVALID = re.compile(r"[^a-zA-Z0-9_-]")


def read_stop(word: str) -> StopReason:
    """Our word for a stop_reason. One that nobody knows yet is an error, never a stop; its own word is kept beside."""
    return _STOPS.get(word, "error")


def write_stop(reason: StopReason, native: str = "", sequence: str | None = None, declined: bool = False) -> str:
    """The stop_reason for our word; the service's own word when it is one of this format and means the same. declined:
    the answer holds a refusal, which only its stop_reason can say here."""
    if declined and reason == "stop":
        return "refusal"
    if _STOPS.get(native) == reason:
        return native
    return "stop_sequence" if reason == "stop" and sequence is not None else _WORDS[reason]


def status_of(kind: str) -> int:
    """HTTP status of an error type; 500 for an unknown one."""
    return _STATUS_OF_TYPE.get(kind, 500)


def kind_of(status: int) -> str:
    """Error type of an HTTP status."""
    return _TYPE_OF_STATUS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def code_of(kind: str, message: str) -> str | None:
    """The stable code of an error, or None when its type says no more than its status does."""
    if kind == "invalid_request_error" and ("prompt is too long" in message or "context window" in message):
        return "context_length_exceeded"
    return _CODES.get(kind) or kind or None


def wire_id(id: str) -> str:
    """A tool call's id as this format allows it. Pure, so a call and its result always get the same one; the digest
    keeps ids apart that differ only in characters which are not allowed."""
    if _VALID_ID.fullmatch(id):
        return id
    return _INVALID.sub("_", id) + "_" + hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:8]


def own_state(state: State | None) -> dict[str, Any]:
    """The payload when this format issued it, else {}. It holds the block's members that have no neutral word."""
    if state is not None and state.issuer == NAME and isinstance(state.payload, dict):
        return state.payload
    return {}


def state_of(members: dict[str, Any]) -> State | None:
    return State(NAME, members) if members else None


def write_cache(cache: Cache) -> dict[str, str]:
    return {"type": "ephemeral", "ttl": "1h"} if cache.ttl == "1h" else {"type": "ephemeral"}
