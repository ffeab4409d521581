"""What replies of this dialect look like, typed as loosely as services write them: every member may be absent."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct


class Named(Struct, gc=False):
    """What a call names. arguments: of a function: JSON text, or an object. input: of a custom tool."""

    name: str | None = None
    arguments: Any = None
    input: str | None = None


class Call(Struct, gc=False):
    index: int | None = None
    id: str | int | None = None
    type: str | None = None
    function: Named | None = None
    custom: Named | None = None
    extra_content: Any = None


class Sound(Struct, gc=False):
    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class Said(Struct, gc=False):
    """A message, or a stream's delta of one. content: an object where a service gives JSON as such."""

    content: str | list[Any] | dict[str, Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Named | None = None
    audio: Sound | None = None
    images: list[Any] | None = None
    annotations: list[Any] | None = None
    executed_tools: list[Any] | None = None


class InDetails(Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class OutDetails(Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class Tokens(Struct, gc=False):
    """usage, with the places where services put cached tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InDetails | None = None
    completion_tokens_details: OutDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    num_cached_tokens: int | None = None
    cached_tokens: int | None = None
    server_tool_use_details: dict[str, Any] | None = None
    service_tier: Any = None
    cost: Any = None


class Groq(Struct, gc=False):
    usage: Tokens | None = None


class ChunkChoice(Struct, gc=False):
    delta: Said | None = None
    index: int | None = None
    finish_reason: str | None = None
    finish_details: Any = None
    logprobs: dict[str, Any] | None = None
    native_finish_reason: str | None = None
    stop_reason: Any = None


class Chunk(Struct, gc=False):
    choices: list[ChunkChoice] | None = None
    usage: Tokens | None = None
    error: Any = None
    x_groq: Groq | None = None
    service_tier: Any = None
    search_results: Any = None
    citations: Any = None


class FirstChunk(Chunk, gc=False):
    """Chunks until the first with a choice also tell id, model and creation time."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None


class PlainDelta(Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: str | None = None
    refusal: None = None


class PlainChoice(Struct, gc=False, forbid_unknown_fields=True):
    delta: PlainDelta
    index: int = 0
    logprobs: None = None
    finish_reason: None = None
    native_finish_reason: None = None
    content_filter_results: Raw = Raw()


class PlainChunk(Struct, gc=False):
    """A chunk that can only be more text or reasoning of one choice: any other does not fit and is read as a Chunk."""

    choices: tuple[PlainChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


class BodyChoice(Struct, gc=False):
    message: Said | None = None
    index: int | None = None
    finish_reason: str | None = None
    finish_details: Any = None
    logprobs: dict[str, Any] | None = None
    native_finish_reason: str | None = None
    stop_reason: Any = None


class Body(Struct, gc=False):
    choices: list[BodyChoice] | None = None
    usage: Tokens | None = None
    error: Any = None
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    service_tier: Any = None
    search_results: Any = None
    citations: Any = None
