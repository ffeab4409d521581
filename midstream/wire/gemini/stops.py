"""finishReason and the neutral stop reasons, both ways (WIRE.md rule 13)."""

from __future__ import annotations

from ...core.outcome import StopReason

_REASONS: dict[str, StopReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "CONTINUATION": "pause",
    "OTHER": "error",
    "IMAGE_OTHER": "error",
    "NO_IMAGE": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
    "PUP_LIMITED_DISABLED": "error",
}
_WORDS: dict[StopReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "error": "OTHER",
    "pause": "CONTINUATION",
}


def read_stop(word: str, called: bool) -> StopReason:
    """Google says STOP for calls too, so `called` (were functions called?) tells them apart. A word that is not
    known is an error: a stop is never invented."""
    reason = _REASONS.get(word, "error")
    return "tool_calls" if reason == "stop" and called else reason


def write_stop(reason: StopReason, native: str, declined: bool = False) -> str:
    """The finishReason: the model's own word when it is one of Google's with this meaning. declined: the answer holds
    a refusal, which only its finishReason can say here."""
    if declined and reason == "stop":
        return _WORDS["content_filter"]
    if _REASONS.get(native) == ("stop" if reason == "tool_calls" else reason):
        return native
    return _WORDS[reason]
