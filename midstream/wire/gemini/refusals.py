"""Errors: Google's {"error": {code, status, message, details}} and the error tree, both ways (WIRE.md rule 16)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import MidstreamError, Refused
from ..retry_after import retry_after
from .shape import NAME

_NAMES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    405: "UNIMPLEMENTED", 408: "DEADLINE_EXCEEDED", 409: "ABORTED", 412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED",
    500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}  # fmt: skip
_STATUSES = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "INTERNAL": 500, "UNKNOWN": 500, "DATA_LOSS": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_CODES = {401: "invalid_api_key", 403: "permission_denied", 404: "not_found", 429: "rate_limit_exceeded"}
_REASONS = {"API_KEY_INVALID": "invalid_api_key", "API_KEY_EXPIRED": "invalid_api_key"}
_TOO_LONG = re.compile(r"token count.{0,60}exceeds the maximum", re.IGNORECASE | re.DOTALL)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """An error answer of the service, whatever its body is. headers: names in lower case."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    error = _error_in(value)
    refused = refusal(error, body, status)
    if not (isinstance(error.get("message"), str) and _is_google(value)):
        refused.dialect = refused.native = None  # a proxy's page is not what a client of Google can read
    if refused.retry_after is None:
        refused.retry_after = retry_after(headers)
    return refused


def _error_in(value: Any) -> dict[str, Any]:
    """A stream that is refused before it began may hold the error in an array."""
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _is_google(value: Any) -> bool:
    """{"error": {...}}, or that in an array; an `error` of text is another service's."""
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and isinstance(value.get("error"), dict)


def refusal(error: dict[str, Any], native: bytes, status: int | None = None) -> Refused:
    """Refused from an error object. status: of the answer that carried it, when it was not a 200."""
    kind = error.get("status")
    kind = kind if isinstance(kind, str) else None
    code = error.get("code")
    if status is None:
        status = code if isinstance(code, int) and 400 <= code <= 599 else _STATUSES.get(kind or "", 500)
    message = error.get("message")
    message = message if isinstance(message, str) and message else f"the provider answered {status}"
    details = error.get("details")
    found = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    delay = next((seconds for item in found if (seconds := _delay(item.get("retryDelay"))) is not None), None)
    return Refused(
        message,
        status=status,
        code=_code(status, message, found),
        kind=kind,
        param=_violated(found),
        retry_after=delay,
        dialect=NAME,
        native=native,
    )


def _code(status: int, message: str, details: list[dict[str, Any]]) -> str | None:
    for item in details:
        reason = item.get("reason")
        if isinstance(reason, str) and reason in _REASONS:
            return _REASONS[reason]
    if status == 400 and _TOO_LONG.search(message):
        return "context_length_exceeded"
    return _CODES.get(status)


def _violated(details: list[dict[str, Any]]) -> str | None:
    for item in details:
        violations = item.get("fieldViolations")
        for violation in violations if isinstance(violations, list) else ():
            field = violation.get("field") if isinstance(violation, dict) else None
            if isinstance(field, str) and field:
                return field
    return None


def _delay(value: Any) -> float | None:
    match = _DELAY.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def write_error(error: MidstreamError, request_id: str) -> bytes:
    """Google's error body; a refusal that came in this dialect is given back as it came."""
    if isinstance(error, Refused) and error.dialect == NAME and error.native:
        return error.native
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code.upper(), "domain": "midstream"}
    ]
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    if error.retry_after is not None:
        delay = f"{error.retry_after:.3f}".rstrip("0").rstrip(".") + "s"
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    if request_id:
        details.append({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id})
    status = status_name(error.status)
    return _encode({"error": {"code": error.status, "message": error.message, "status": status, "details": details}})


def status_name(status: int) -> str:
    """Google's canonical name of an HTTP status."""
    return _NAMES.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
