"""Why a model stopped: this dialect's words, those of services that speak it, and the neutral ones."""

from __future__ import annotations

from typing import Any

from ...core.outcome import StopReason

_NEUTRAL: dict[str, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "recitation": "content_filter",
}

#: What OpenAI's SDK accepts: it knows no word for an error or a pause.
_WORD = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "error": "content_filter",
    "pause": "length",
}


def word_of(reason: str | None, details: Any) -> str:
    """Why a choice ended, "" where it does not say. details: what the first models of OpenAI's that see pictures say in
    its place."""
    if not reason and isinstance(details, dict) and isinstance(details.get("type"), str):
        return str(details["type"])
    return reason or ""


def read_reason(word: str, has_calls: bool) -> StopReason:
    """A word that nobody knows is an error, never a stop. Calls tell more than the word: a forced call says "stop"."""
    reason = _NEUTRAL.get(word.lower(), "error")
    return "tool_calls" if has_calls and reason == "stop" else reason


def write_reason(reason: StopReason, function_call: bool = False) -> str:
    """function_call: for a caller who reads a call as such."""
    return "function_call" if function_call and reason == "tool_calls" else _WORD[reason]
