"""Errors of this dialect: HTTP bodies, failed responses and error events, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import MidstreamError, Refused
from ..retry_after import retry_after
from .grammar import ERROR_CODES, NAME, member, text

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_LONGEST = 2000  # of a message made from a body that is no JSON (a proxy's HTML page)

_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429, "insufficient_quota": 429, "billing_hard_limit_reached": 429,
    "server_error": 500, "internal_error": 500, "vector_store_timeout": 504,
    "server_is_overloaded": 503, "slow_down": 503, "overloaded": 503, "service_unavailable": 503,
    "invalid_api_key": 401, "model_not_found": 404, "previous_response_not_found": 404,
    "context_length_exceeded": 400, "invalid_request_error": 400,
}  # fmt: skip
_STATUS_OF_KIND = {
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403, "not_found_error": 404,
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "tokens": 429, "requests": 429,
    "overloaded_error": 503, "server_error": 500, "api_error": 500,
}  # fmt: skip
_KIND_OF_STATUS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """An answer with an error status: {"error": {message, type, param, code}}, or whatever a proxy wrote instead."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    error = value.get("error", value) if type(value) is dict else value
    if type(error) is not dict:
        said = error if type(error) is str else body[:_LONGEST].decode("utf-8", "replace").strip()
        error = {"message": said}
    return Refused(
        text(error.get("message")) or text(error.get("detail")) or f"the provider answered with status {status}",
        status=status,
        code=_word(error.get("code")),
        kind=text(error.get("type")) or None,
        param=text(error.get("param")) or None,
        retry_after=retry_after(headers),
        dialect=NAME,
        native=body,
    )


def _word(value: Any) -> str | None:
    if type(value) is int:
        return str(value)
    return text(value) or None


def failure_of(event: dict[str, Any]) -> Refused:
    """The refusal in a failed response, in `error` events of both shapes, or in a bare {"error": {...}}."""
    error = member(event, "error") or member(event.get("response"), "error") or event
    code = _word(error.get("code"))
    kind = text(error.get("type")) or None
    return Refused(
        text(error.get("message")) or "the provider reported a failure without a message",
        status=status_of(code, kind),
        code=code or "server_error",
        kind=None if kind == "error" else kind,
        param=text(error.get("param")) or None,
        dialect=NAME,
    )


def status_of(code: str | None, kind: str | None) -> int:
    """The HTTP status that a code inside a 200 answer stands for."""
    if code is not None and code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[code]
    if code is not None and code.isdigit() and 400 <= int(code) < 600:
        return int(code)
    if code in ERROR_CODES:  # what is left of them speaks of the request
        return 400
    return _STATUS_OF_KIND.get(kind or "", 500)


def error_object(error: MidstreamError) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = error.kind if isinstance(error, Refused) else None
    if kind is None:
        server = "server_error" if error.status >= 500 else "invalid_request_error"
        kind = _KIND_OF_STATUS.get(error.status, server)
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}


def write_error(error: MidstreamError, request_id: str) -> bytes:
    """The body of an error reply: the provider's own when it spoke this dialect. request_id travels in a header."""
    if isinstance(error, Refused) and error.dialect == NAME and error.native is not None and _is_error(error.native):
        return error.native
    return _encode({"error": error_object(error)})


def _is_error(body: bytes) -> bool:
    """Only an error object is relayed: a proxy's HTML page would break the clients that read it."""
    try:
        return bool(member(_decode(body), "error"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def response_error(error: MidstreamError) -> dict[str, str]:
    """`response.error`: its code is one of a closed set, so another one becomes the nearest of them."""
    code = error.code
    if code not in ERROR_CODES:
        if error.status == 429:
            code = "rate_limit_exceeded"
        elif error.status in (400, 413, 422):
            code = "invalid_prompt"
        else:
            code = "server_error"
    return {"code": code, "message": error.message}
