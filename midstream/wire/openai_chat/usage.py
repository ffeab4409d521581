"""Token counts: prompt_tokens includes cached ones, completion_tokens includes reasoning (WIRE.md rule 11)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ...core.usage import Usage
from .shapes import InDetails, OutDetails, Tokens

T = TypeVar("T")
#: USD. No call costs more: a service that says so means something else.
MAX_COST = 100_000


def readable(reply: Any, kind: type[T], tokens: type[Struct] = Tokens) -> T:
    """A reply that does not fit as it is: numbers may be written as texts, and whole ones as fractions. A count of
    tokens that cannot be read all the same is -1, which is none: it makes no good answer a bad one, to be paid for
    twice. Raises msgspec.ValidationError."""
    if isinstance(reply, dict):
        reply = _with_counts(reply, tokens)
        if isinstance(reply.get("x_groq"), dict):
            reply["x_groq"] = _with_counts(reply["x_groq"], tokens)
    return msgspec.convert(reply, kind, strict=False)


def _with_counts(reply: dict[str, Any], tokens: type[Struct]) -> dict[str, Any]:
    said = reply.get("usage")
    if said is None:
        return dict(reply)
    found = said.items() if isinstance(said, dict) else ()
    read = {name: _legible(name, value, tokens) for name, value in found}
    return reply | {"usage": {name: value for name, value in read.items() if _fits({name: value}, tokens)}}


def _legible(name: str, value: Any, tokens: type[Struct]) -> Any:
    """Of details, the members that can be read."""
    if _fits({name: value}, tokens):
        return value
    if not isinstance(value, dict):
        return -1
    return {part: one for part, one in value.items() if _fits({name: {part: one}}, tokens)}


def _fits(value: Any, kind: type[Struct]) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True


def read_billed(tokens: Tokens | None) -> str:
    """What the service says that the call costs, decimal USD, as OpenRouter and Perplexity do; "" when it does not."""
    cost = tokens.cost if tokens is not None else None
    cost = cost.get("total_cost") if isinstance(cost, dict) else cost
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < MAX_COST:
        return ""
    return f"{Decimal(str(cost)):f}"


def read_usage(tokens: Tokens) -> Usage:
    """Never negative; classes that together exceed the total are cut so that the total holds."""
    if not _is_plain(tokens):
        return _classed(tokens)
    prompt, output = tokens.prompt_tokens or 0, tokens.completion_tokens or 0
    return Usage(uncached_in=max(prompt, 0), out_text=max(output, 0), estimated=prompt < 0 or output < 0)


def read_tier(told: Any, tokens: Tokens | None) -> str:
    """By which the service says it bills. told: the reply's own member; some services say it beside the tokens."""
    tier = told or (tokens.service_tier if tokens is not None else None)
    return tier if isinstance(tier, str) else ""


def _is_plain(tokens: Tokens) -> bool:
    """Is there nothing but two totals? (most replies of small services)"""
    if tokens.prompt_cache_hit_tokens or tokens.num_cached_tokens or tokens.cached_tokens:
        return False
    inside, outside = tokens.prompt_tokens_details, tokens.completion_tokens_details
    if inside is not None and (
        inside.cached_tokens
        or inside.cache_write_tokens
        or inside.audio_tokens
        or inside.image_tokens
        or inside.video_tokens
    ):
        return False
    if outside is not None and (outside.reasoning_tokens or outside.audio_tokens or outside.image_tokens):
        return False
    return not tokens.server_tool_use_details and not _beside(tokens)


def _beside(tokens: Tokens) -> int:
    """What the total counts that is neither in the prompt nor in the completion."""
    prompt, completion, total = tokens.prompt_tokens, tokens.completion_tokens, tokens.total_tokens
    if prompt is None or completion is None or total is None or prompt < 0 or completion < 0:
        return 0
    return max(total - prompt - completion, 0)


def _classed(tokens: Tokens) -> Usage:
    prompt, visible = tokens.prompt_tokens or 0, tokens.completion_tokens or 0
    odd = prompt < 0 or visible < 0
    prompt, visible = max(prompt, 0), max(visible, 0)
    inside = tokens.prompt_tokens_details or InDetails()
    beside = _beside(tokens)
    cached = inside.cached_tokens or tokens.prompt_cache_hit_tokens or tokens.num_cached_tokens or tokens.cached_tokens
    written = inside.cache_write_tokens
    # Mistral counts sound beside the prompt, and Anthropic's way is to count so what the cache has to do with.
    if beside and beside in (inside.audio_tokens, (cached or 0) + (written or 0)):
        prompt, beside = prompt + beside, 0
    rest, cache_read = _take(prompt, cached)
    rest, cache_write = _take(rest, written)
    rest, audio_in = _take(rest, inside.audio_tokens)
    rest, image_in = _take(rest, inside.image_tokens)
    rest, video_in = _take(rest, inside.video_tokens)
    outside = tokens.completion_tokens_details or OutDetails()
    reasoning = max(outside.reasoning_tokens or 0, 0)
    if beside and reasoning in (0, beside):  # xAI counts thoughts beside the completion, Google in the total alone
        out_reasoning = beside
    else:
        visible, out_reasoning = _take(visible, reasoning)
    visible, audio_out = _take(visible, outside.audio_tokens)
    visible, image_out = _take(visible, outside.image_tokens)
    hosted = (tokens.server_tool_use_details or {}).get("web_search_requests")
    return Usage(
        uncached_in=rest,
        cache_read=cache_read,
        cache_write_5m=cache_write,
        audio_in=audio_in,
        image_in=image_in,
        video_in=video_in,
        out_text=visible,
        out_reasoning=out_reasoning,
        audio_out=audio_out,
        image_out=image_out,
        searches=hosted if isinstance(hosted, int) and hosted > 0 else 0,
        estimated=odd,
    )


def _take(whole: int, part: int | None) -> tuple[int, int]:
    """(what is left, the part), the part being between 0 and the whole."""
    part = min(max(part or 0, 0), whole)
    return whole - part, part


def usage_object(usage: Usage) -> dict[str, Any]:
    """The `usage` member, in the form that OpenAI's SDK checks."""
    inside = {
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write,
        "audio_tokens": usage.audio_in,
    }
    if usage.image_in:
        inside["image_tokens"] = usage.image_in
    if usage.video_in:
        inside["video_tokens"] = usage.video_in
    outside = {
        "reasoning_tokens": usage.out_reasoning,
        "audio_tokens": usage.audio_out,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    if usage.image_out:
        outside["image_tokens"] = usage.image_out
    written: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": inside,
        "completion_tokens_details": outside,
    }
    if usage.searches:
        written["server_tool_use_details"] = {"web_search_requests": usage.searches}
    return written
