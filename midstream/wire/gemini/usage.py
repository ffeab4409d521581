"""usageMetadata and the disjoint classes of core.usage, both ways (WIRE.md rule 11)."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from ...core.usage import Usage
from ..counts import counted
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
_members = msgspec.json.Decoder(dict[str, Any]).decode
_TOTALS = tuple(name for name in _Counts.__struct_fields__ if name.endswith("Count"))
_DETAILS = tuple(name for name in _Counts.__struct_fields__ if name.endswith("Details"))
#: By the classes they are charged in: a document is charged as the pictures of its pages.
_AUDIO, _SEEN, _VIDEO = ("AUDIO",), ("IMAGE", "DOCUMENT"), ("VIDEO",)


def read_usage(raw: bytes, searches: int = 0) -> Usage | None:
    """Usage from the bytes of a usageMetadata object; None when they are not one.

    The prompt's count includes cached tokens and excludes those of tool use; the candidates' excludes thoughts.
    Details split counts by modality; they never make a class negative."""
    if not _is_split(raw):
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


def _is_split(raw: bytes) -> bool:
    """Does only the whole object tell? It has a modality with a price of its own, or a number below zero."""
    words = b"AUDIO" in raw or b"IMAGE" in raw or b"VIDEO" in raw or b"DOCUMENT" in raw or b"-" in raw
    return words or _NUMBERED(raw) is not None


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
        legible = _legible(raw)
        if legible is None:
            return None
        counts = legible
    prompt, cached = counts.promptTokenCount or 0, counts.cachedContentTokenCount or 0
    tool_use, output = counts.toolUsePromptTokenCount or 0, counts.candidatesTokenCount or 0
    thoughts = counts.thoughtsTokenCount or 0
    odd = prompt < 0 or output < 0 or thoughts < 0
    cached = max(0, min(cached, prompt))
    fresh = max(0, prompt - cached) + max(0, tool_use)
    heard = min(_of(counts.cacheTokensDetails, _AUDIO), cached)
    audio_in = image_in = video_in = audio_out = image_out = 0
    if counts.promptTokensDetails or counts.toolUsePromptTokensDetails:
        audio_in, fresh = _share(counts, _AUDIO, fresh)
        image_in, fresh = _share(counts, _SEEN, fresh)
        video_in, fresh = _share(counts, _VIDEO, fresh)
    output = max(0, output)
    if counts.candidatesTokensDetails:
        audio_out = min(_of(counts.candidatesTokensDetails, _AUDIO), output)
        output -= audio_out
        image_out = min(_of(counts.candidatesTokensDetails, _SEEN), output)
        output -= image_out
    return Usage(
        uncached_in=fresh,
        cache_read=cached - heard,
        cache_audio_read=heard,
        audio_in=audio_in,
        image_in=image_in,
        video_in=video_in,
        out_text=output,
        out_reasoning=max(0, thoughts),
        audio_out=audio_out,
        image_out=image_out,
        searches=searches,
        estimated=odd,
    )


def _legible(raw: bytes) -> _Counts | None:
    """Member by member: one that cannot be read takes none of the others with it. A total that is none is -1, details
    that are none were not said. None where no total can be read."""
    try:
        said = _members(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    totals = {name: _number(said[name]) for name in _TOTALS if said.get(name) is not None}
    if totals and all(value is None for value in totals.values()):
        return None
    read: dict[str, Any] = {name: _parts(said.get(name)) for name in _DETAILS}
    read |= {name: -1 if value is None else value for name, value in totals.items()}
    return _Counts(**read)


def _parts(details: Any) -> list[_Count]:
    items = [item for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    return [_Count(word_of(item.get("modality"), MODALITY), _number(item.get("tokenCount"))) for item in items]


def _number(value: Any) -> int | None:
    """As counts.counted has it, also of one that is written as a text."""
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    return counted(value)


def _share(counts: _Counts, modalities: tuple[str, ...], fresh: int) -> tuple[int, int]:
    """(uncached input tokens of the modalities, what of `fresh` is left)."""
    uncached = max(0, _of(counts.promptTokensDetails, modalities) - _of(counts.cacheTokensDetails, modalities))
    share = min(uncached + _of(counts.toolUsePromptTokensDetails, modalities), fresh)
    return share, fresh - share


def _of(details: list[_Count] | None, modalities: tuple[str, ...]) -> int:
    return sum(max(0, item.tokenCount or 0) for item in details or () if word_of(item.modality, MODALITY) in modalities)


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
        out["cacheTokensDetails"] = _details(usage.cached_tokens, usage.cache_audio_read)
    if usage.out_reasoning:
        out["thoughtsTokenCount"] = usage.out_reasoning
    audio = usage.audio_in + usage.cache_audio_read
    if audio or usage.image_in or usage.video_in:
        out["promptTokensDetails"] = _details(usage.input_tokens, audio, usage.image_in, usage.video_in)
    if usage.audio_out or usage.image_out:
        out["candidatesTokensDetails"] = _details(output, usage.audio_out, usage.image_out)
    return out


def _details(total: int, audio: int, image: int = 0, video: int = 0) -> list[dict[str, Any]]:
    counts = {"TEXT": total - audio - image - video, "AUDIO": audio, "IMAGE": image, "VIDEO": video}
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]
