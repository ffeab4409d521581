"""A complete response object, from this dialect to the neutral Answer."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import Garbled, MidstreamError, UpstreamError
from ...core.events import Answer, Choice, Stopped
from ...core.outcome import StopReason
from ...core.parts import Native, Part, ToolCall
from ...core.usage import Usage
from ..counts import counted
from ..half_pairs import forgiving
from .contents import logprobs_of, offered_in, parts_of
from .failures import failure_of
from .grammar import NAME, count, member, objects, text

_decode = forgiving(msgspec.json.Decoder().decode)

_INCOMPLETE: dict[str, StopReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
#: Some services say it in another form, or not at all.
_COMPLETE = ("completed", "complete", "")
#: Not finished: ask again (a response that runs in the background).
_PAUSED = ("queued", "in_progress")


def read_answer(body: bytes) -> Answer:
    """Raises Garbled when body is no response object, Refused when the response failed."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the response is not JSON: {error}") from None
    if type(value) is dict and member(value, "error") and value.get("status") in ("failed", None):
        raise _failed(value)
    if type(value) is not dict or type(value.get("output")) is not list:
        raise Garbled("the response has no list `output`")
    if value.get("status") == "failed":
        raise _failed(value)
    items, offered = objects(value["output"]), offered_in(value)
    parts: list[Part] = [part for item in items for part in parts_of(item, offered)]
    stop = stop_of(value, any(type(part) is ToolCall for part in parts))
    logprobs = tuple([token for item in items for token in logprobs_of(item)])
    choice = Choice(tuple(parts), stop.reason, stop.native_reason, None, logprobs)
    answer_id, model, created = identity_of(value)
    return Answer(answer_id, model, created, (choice,), usage_of(value) or Usage(), Native(NAME, body), tier_of(value))


def _failed(value: dict[str, Any]) -> MidstreamError:
    error = failure_of({"response": value})
    if isinstance(error, UpstreamError):
        error.used, error.tier = usage_of(value), tier_of(value)
    return error


def identity_of(response: dict[str, Any]) -> tuple[str, str, int]:
    """(id, model, creation time in unix seconds)"""
    created = response.get("created_at")
    seconds = int(created) if isinstance(created, int | float) and 0 <= created < 1e12 else 0
    return text(response.get("id")), text(response.get("model")), seconds


def stop_of(response: dict[str, Any], calls: bool) -> Stopped:
    """Why the response ended. calls: it holds tool calls that the caller must answer."""
    status = text(response.get("status"))
    reason: StopReason = "tool_calls" if calls else "stop"
    if status == "incomplete":
        status = text(member(response, "incomplete_details").get("reason")) or status
        reason = _INCOMPLETE.get(status, "length")
    elif status in _PAUSED:
        reason = "pause"
    elif status not in _COMPLETE:
        reason = "error"
    return Stopped(reason, status)


def tier_of(response: dict[str, Any]) -> str:
    """By which the service bills; "" while it has not decided."""
    tier = text(response.get("service_tier"))
    return "" if tier == "auto" else tier


def usage_of(response: dict[str, Any]) -> Usage | None:
    """Input includes cached and cache-written tokens, output includes reasoning; None when nothing is said."""
    usage = response.get("usage")
    if type(usage) is not dict:
        return None
    details = member(usage, "input_tokens_details")
    totals = usage.get("input_tokens"), usage.get("output_tokens")
    total_in, total_out = map(count, totals)
    read = min(count(details.get("cached_tokens")), total_in)
    written = min(count(details.get("cache_write_tokens")), total_in - read)
    reasoning = min(count(member(usage, "output_tokens_details").get("reasoning_tokens")), total_out)
    return Usage(
        uncached_in=total_in - read - written,
        cache_read=read,
        cache_write_5m=written,
        out_text=total_out - reasoning,
        out_reasoning=reasoning,
        searches=_searches(response),
        estimated=any(value is not None and counted(value) is None for value in totals),
    )


def _searches(response: dict[str, Any]) -> int:
    """Hosted web searches; opening a page that was found is not one."""
    said = member(member(response, "tool_usage"), "web_search").get("num_requests")
    seen = [item for item in objects(response.get("output")) if item.get("type") == "web_search_call"]
    searched = sum(1 for item in seen if member(item, "action").get("type", "search") == "search")
    return max(count(said), searched)
