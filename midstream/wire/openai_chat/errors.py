"""Error bodies, both ways, and errors inside replies that began with 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import MidstreamError, Refused
from ..retry_after import retry_after
from .quirks import NAME

_TEXT_LIMIT = 2048
_NATIVE_LIMIT = 65536
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

#: Words in a code or type that tell the status which a stream can no longer send; the first that occurs counts.
_STATUS_WORDS = (
    ("context_length", 400),
    ("rate_limit", 429),
    ("ratelimit", 429),
    ("too_many_requests", 429),
    ("insufficient_quota", 429),
    ("resource_exhausted", 429),
    ("overloaded", 529),
    ("unavailable", 503),
    ("capacity", 503),
    ("timeout", 504),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("unauthorized", 401),
    ("insufficient_credits", 402),
    ("permission", 403),
    ("forbidden", 403),
    ("moderation", 403),
    ("not_found", 404),
    ("notfound", 404),
    ("invalid_request", 400),
    ("badrequest", 400),
    ("bad_request", 400),
    ("content_filter", 400),
    ("tool_use_failed", 400),
    ("server_error", 500),
    ("internal", 500),
)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """headers: names in lower case. Any body will do: JSON in the shapes that services use, HTML, text, nothing."""
    value = _parsed(body)
    error = _error_member(value)
    wait = retry_after(headers)
    if error is None:
        text = body[: 4 * _TEXT_LIMIT].decode("utf-8", "replace").strip()
        message = f"the provider answered with status {status}"
        if text and not text.startswith("<"):
            message = f"{message}: {text}"
        return Refused(message[:_TEXT_LIMIT], status=status, retry_after=wait)
    ours = isinstance(value, dict) and isinstance(value.get("error"), dict) and isinstance(error.get("message"), str)
    return _refused(error, status, wait, body if ours and len(body) <= _NATIVE_LIMIT else None)


def error_in_reply(error: Any, native: bytes) -> Refused:
    """An `error` member where an answer was expected: its status is the one it names."""
    value = error if isinstance(error, dict) else {"message": error if isinstance(error, str) else str(error)}
    whole = native if isinstance(error, dict) and len(native) <= _NATIVE_LIMIT else None
    return _refused(value, _told_status(value), None, whole)


def _refused(error: dict[str, Any], status: int, wait: float | None, native: bytes | None) -> Refused:
    code, kind, param = error.get("code"), error.get("type"), error.get("param")
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = f"the provider answered with status {status}"
    return Refused(
        message[:_TEXT_LIMIT],
        status=status,
        code=str(code) if isinstance(code, str | int) and code != "" else None,
        kind=kind if isinstance(kind, str) else None,
        param=param if isinstance(param, str) else None,
        retry_after=wait,
        dialect=NAME if native is not None else None,
        native=native,
    )


def _told_status(error: dict[str, Any]) -> int:
    for name in ("status_code", "code", "status"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    words = " ".join(str(error.get(name) or "") for name in ("code", "type")).lower()
    return next((status for word, status in _STATUS_WORDS if word in words), 502)


def _parsed(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _error_member(value: Any) -> dict[str, Any] | None:
    """The object that tells message, type and code: OpenAI's, Mistral's flat one, FastAPI's detail, Google's list."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error, "code": value.get("code"), "type": value.get("type")}
    if isinstance(value.get("message"), str):
        return value
    detail = value.get("detail", value.get("message"))
    if detail is not None:
        return {"message": detail if isinstance(detail, str) else _encode(detail).decode("utf-8", "replace")}
    return None


def write_error(error: MidstreamError, request_id: str) -> bytes:
    """OpenAI's error body. A provider's own error in this dialect goes back as it came."""
    if isinstance(error, Refused) and error.dialect == NAME and error.native is not None:
        return error.native
    return _encode({"error": error_object(error)})


def error_object(error: MidstreamError) -> dict[str, Any]:
    """{message, type, param, code}; the type follows from the status."""
    return {
        "message": error.message[:_TEXT_LIMIT],
        "type": _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error"),
        "param": error.param,
        "code": error.code,
    }


def error_frame(error: MidstreamError) -> bytes:
    """The error as the last frame of a stream, on one line."""
    body = write_error(error, "")
    if b"\n" in body or b"\r" in body:
        body = _encode(_parsed(body) or {"error": error_object(error)})
    return b"data: " + body + b"\n\n"
