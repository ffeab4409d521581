"""usageMetadata and the disjoint classes of core.usage, both ways (WIRE.md rule 11)."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from ...core.usage import Usage
from .enums import MODALITY, word_of


class _Count(Struct, gc=False):
    modality: str | int | None = None
    tokenCount: int | None = None


class _Plain(Struct, gc=False):
    """The counts that nearly every chunk of a stream carries, and nothing else, for speed."""

    promptTokenCount: int = 0
    cachedContentTokenCount: int = 0
    candidatesTokenCount: int = 0
    thoughtsTokenCount: int = 0
    toolUsePromptTokenCount: int = 0


class _Counts(Struct, gc=False):
    promptTokenCount: int | None = None
    cachedContentTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    thoughtsTokenCount: int | None = None
    toolUsePromptTokenCount: int | None = None
    promptTokensDetails: list[_Count] | None = None
    cacheTokensDetails: list[_Count] | None = None
    candidatesTokensDetails: list[_Count] | None = None
    toolUsePromptTokensDetails: list[_Count] | None = None


_plain = msgspec.json.Decoder(_Plain).decode
_NUMBERED = re.compile(rb'"modality"\s*:\s*\d').search
_decode = msgspec.json.Decoder(_Counts, strict=False).decode


def read_usage(raw: bytes, searches: int = 0) -> Usage | None:
    """Usage from the bytes of a usageMetadata object; None when they are not one.

    The prompt's count includes cached tokens and excludes those of tool use; the candidates' excludes thoughts.
    Details split counts by modality; they never make a class negative."""
    if b"AUDIO" not in raw and b"IMAGE" not in raw and b"-" not in raw and not _NUMBERED(raw):
        try:
            found = _plain(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # numbers written as text, nulls: read below
        else:
            fresh, cached = found.promptTokenCount, found.cachedContentTokenCount
            cached = min(cached, fresh)
            fresh += found.toolUsePromptTokenCount - cached
            output, thoughts = found.candidatesTokenCount, found.thoughtsTokenCount
            return Usage(fresh, cached, 0, 0, 0, 0, output, thoughts, 0, 0, searches)
    return _read_split(raw, searches)


class _Tier(Struct, gc=False):
    serviceTier: str = ""
    trafficType: str = ""


_tier = msgspec.json.Decoder(_Tier).decode


def read_tier(raw: bytes) -> str:
    """By which Google bills: the tier itself, or (Vertex AI) a kind of traffic that ends in it."""
    if b"serviceTier" not in raw and b"trafficType" not in raw:
        return ""
    try:
        found = _tier(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return (found.serviceTier or found.trafficType.removeprefix("ON_DEMAND").lstrip("_")).lower()


def _read_split(raw: bytes, searches: int) -> Usage | None:
    try:
        counts = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    prompt, cached = counts.promptTokenCount or 0, counts.cachedContentTokenCount or 0
    tool_use, output = counts.toolUsePromptTokenCount or 0, counts.candidatesTokenCount or 0
    odd = prompt < 0 or output < 0
    cached = max(0, min(cached, prompt))
    fresh = max(0, prompt - cached) + max(0, tool_use)
    heard = min(_of(counts.cacheTokensDetails, "AUDIO"), cached)
    audio_in = image_in = audio_out = image_out = 0
    if counts.promptTokensDetails or counts.toolUsePromptTokensDetails:
        audio_in, fresh = _share(counts, "AUDIO", fresh)
        image_in, fresh = _share(counts, "IMAGE", fresh)
    output = max(0, output)
    if counts.candidatesTokensDetails:
        audio_out = min(_of(counts.candidatesTokensDetails, "AUDIO"), output)
        output -= audio_out
        image_out = min(_of(counts.candidatesTokensDetails, "IMAGE"), output)
        output -= image_out
    return Usage(
        uncached_in=fresh,
        cache_read=cached - heard,
        cache_audio_read=heard,
        audio_in=audio_in,
        image_in=image_in,
        out_text=output,
        out_reasoning=max(0, counts.thoughtsTokenCount or 0),
        audio_out=audio_out,
        image_out=image_out,
        searches=searches,
        estimated=odd,
    )


def _share(counts: _Counts, modality: str, fresh: int) -> tuple[int, int]:
    """(uncached input tokens of the modality, what of `fresh` is left)."""
    uncached = max(0, _of(counts.promptTokensDetails, modality) - _of(counts.cacheTokensDetails, modality))
    share = min(uncached + _of(counts.toolUsePromptTokensDetails, modality), fresh)
    return share, fresh - share


def _of(details: list[_Count] | None, modality: str) -> int:
    return sum(max(0, item.tokenCount or 0) for item in details or () if word_of(item.modality, MODALITY) == modality)


def write_usage(usage: Usage) -> dict[str, Any]:
    """usageMetadata; what was written to a cache counts as plain input, which is how Google's format sees it."""
    output = usage.output_tokens - usage.out_reasoning
    out: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": output,
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cached_tokens:
        out["cachedContentTokenCount"] = usage.cached_tokens
    if usage.cache_audio_read:
        out["cacheTokensDetails"] = _details(usage.cached_tokens, usage.cache_audio_read, 0)
    if usage.out_reasoning:
        out["thoughtsTokenCount"] = usage.out_reasoning
    audio = usage.audio_in + usage.cache_audio_read
    if audio or usage.image_in:
        out["promptTokensDetails"] = _details(usage.input_tokens, audio, usage.image_in)
    if usage.audio_out or usage.image_out:
        out["candidatesTokensDetails"] = _details(output, usage.audio_out, usage.image_out)
    return out


def _details(total: int, audio: int, image: int) -> list[dict[str, Any]]:
    counts = {"TEXT": total - audio - image, "AUDIO": audio, "IMAGE": image}
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]
