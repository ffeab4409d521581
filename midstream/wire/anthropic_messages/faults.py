"""Errors in Anthropic's shape: {"type": "error", "error": {"type", "message"}, "request_id"}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import MidstreamError, Refused
from ..retry_after import retry_after
from .names import NAME, code_of, kind_of, status_of

_encode = msgspec.json.Encoder().encode


def refused(
    error: Any, body: bytes, status: int | None = None, retry_after: float | None = None, fallback: str = ""
) -> Refused:
    """The refusal that an `error` member describes. status: of the HTTP answer; None when it came inside a good one,
    where only the error's type tells."""
    members = error if isinstance(error, dict) else {}
    kind = members.get("type") if isinstance(members.get("type"), str) else ""
    message = members.get("message")
    if not isinstance(message, str) or not message:
        message = error if isinstance(error, str) and error else fallback or "the provider reported an error"
    return Refused(
        message,
        status=status_of(kind or "") if status is None else status,
        code=code_of(kind or "", message),
        kind=kind or None,
        retry_after=retry_after,
        dialect=NAME,
        native=body,
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """An answer whose status is an error. headers: names in lower case. Never raises: a body that is not of this
    format (a proxy's page) becomes a plain message and is not kept as native."""
    wait = retry_after(headers)
    try:
        members = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        members = None
    known = status if status >= 400 else None
    error = members.get("error") if isinstance(members, dict) else None
    if error is not None:
        found = refused(error, body, known, wait)
        whole = isinstance(error, dict) and isinstance(error.get("type"), str) and isinstance(error.get("message"), str)
        if not whole or members.get("type") != "error":
            found.native = found.dialect = None
        return found
    said = members.get("message") if isinstance(members, dict) else None
    words = body[:200].decode("utf-8", "replace").strip()
    plain = f"the provider answered {status}" + (f": {words}" if words else "")
    found = refused(said if isinstance(said, str) else None, body, known, wait, plain)
    found.native = found.dialect = None
    return found


def write_error(error: MidstreamError, request_id: str) -> bytes:
    """The error's body: the provider's own when it spoke this format."""
    if isinstance(error, Refused) and error.dialect == NAME and error.native is not None:
        return error.native
    message = error.message
    if error.param and error.param not in message:
        message = f"{error.param}: {message}"
    kind = kind_of(error.status)
    return _encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id or None})
