"""Usage in Anthropic's words: input_tokens leaves out what was read from or written to the cache."""

from __future__ import annotations

from typing import Any

from ...core.usage import Inner, Usage
from ..counts import counted


def _count(members: Any, name: str) -> int:
    return (counted(members.get(name)) or 0) if isinstance(members, dict) else 0


def _is_odd(members: Any, name: str) -> bool:
    value = members.get(name) if isinstance(members, dict) else None
    return value is not None and counted(value) is None


def merge_usage(before: dict[str, Any], now: Any) -> dict[str, Any]:
    """A later usage object holds totals: its members replace, those that it leaves out stay."""
    if not isinstance(now, dict):
        return before
    return before | {name: value for name, value in now.items() if value is not None}


def read_usage(members: Any) -> Usage:
    """Usage of a message's usage object (or of several, merged), with what its sums leave out. Anything that is not a
    count is 0."""
    return sum([one.usage for one in read_inner(members)], _counted(members))


def read_inner(members: Any) -> tuple[Inner, ...]:
    """The calls that the sums leave out: what shortened the conversation, and what another model advised."""
    entries = members.get("iterations") if isinstance(members, dict) else None
    return tuple([
        Inner(_model(one), _counted(one))
        for one in (entries if isinstance(entries, list) else ())
        if isinstance(one, dict) and one.get("type") in ("compaction", "advisor_message")
    ])  # fmt: skip


def _model(entry: dict[str, Any]) -> str:
    model = entry.get("model")
    return model if isinstance(model, str) else ""


def _counted(members: Any) -> Usage:
    split = members.get("cache_creation") if isinstance(members, dict) else None
    hour, short = _count(split, "ephemeral_1h_input_tokens"), _count(split, "ephemeral_5m_input_tokens")
    if isinstance(members, dict) and (total := counted(members.get("cache_creation_input_tokens"))) is not None:
        # The total is the later figure: a stream gives the split only at its start.
        hour = min(hour, total)
        short = total - hour
    output = _count(members, "output_tokens")
    details = members.get("output_tokens_details") if isinstance(members, dict) else None
    thinking = min(_count(details, "thinking_tokens"), output)
    hosted = members.get("server_tool_use") if isinstance(members, dict) else None
    return Usage(
        uncached_in=_count(members, "input_tokens"),
        cache_read=_count(members, "cache_read_input_tokens"),
        cache_write_5m=short,
        cache_write_1h=hour,
        out_text=output - thinking,
        out_reasoning=thinking,
        searches=_count(hosted, "web_search_requests"),
        estimated=_is_odd(members, "input_tokens") or _is_odd(members, "output_tokens"),
    )


def read_tier(members: Any) -> str:
    """By which the service bills: "fast" at that speed, else the tier that it names."""
    if not isinstance(members, dict):
        return ""
    tier = "fast" if members.get("speed") == "fast" else members.get("service_tier")
    return tier if isinstance(tier, str) else ""


def write_usage(usage: Usage) -> dict[str, Any]:
    members: dict[str, Any] = {
        "input_tokens": usage.uncached_in + usage.audio_in + usage.image_in + usage.video_in,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output_tokens,
    }
    if usage.out_reasoning:
        members["output_tokens_details"] = {"thinking_tokens": usage.out_reasoning}
    if usage.searches:
        members["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return members
