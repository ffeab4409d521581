"""Tokens of one model call, in classes that never overlap (WIRE.md rule 11)."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace


class Inner(Struct, frozen=True, gc=False):
    """A model call that a service made within another one, and bills by itself. model: "" = the same one."""

    model: str
    usage: Usage


class Usage(Struct, frozen=True, gc=False, omit_defaults=True):
    """Token counts; every token is in exactly one class, so any dialect's figures are sums of these.

    uncached_in: text (and unclassified) input that was neither read from nor written to a cache.
    out_text: visible output, tool calls included. out_reasoning: hidden or shown thinking.
    audio_*, image_*, video_in: tokens of that modality, not cached; a document counts as a picture.
    cache_audio_read: sound that was read from a cache.
    searches: hosted web searches (a count, not tokens).
    estimated: counted by us because the provider did not say. As a service's own count: some of it could not be read.

    No call that is answered has no tokens at all: a service that counts none has not said."""

    uncached_in: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    image_in: int = 0
    out_text: int = 0
    out_reasoning: int = 0
    audio_out: int = 0
    image_out: int = 0
    searches: int = 0
    cache_audio_read: int = 0
    video_in: int = 0
    estimated: bool = False

    @property
    def input_tokens(self) -> int:
        """All input, cached included."""
        return (
            self.uncached_in
            + self.cache_read
            + self.cache_write_5m
            + self.cache_write_1h
            + self.audio_in
            + self.image_in
            + self.cache_audio_read
            + self.video_in
        )

    @property
    def cached_tokens(self) -> int:
        """All input that was read from a cache."""
        return self.cache_read + self.cache_audio_read

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included."""
        return self.out_text + self.out_reasoning + self.audio_out + self.image_out

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h

    def __sub__(self, other: Usage) -> Usage:
        """What is left of it. other: a part of it."""
        counts = self.__struct_fields__[:-1]
        return replace(self, **{name: getattr(self, name) - getattr(other, name) for name in counts})

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.uncached_in + other.uncached_in,
            self.cache_read + other.cache_read,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.audio_in + other.audio_in,
            self.image_in + other.image_in,
            self.out_text + other.out_text,
            self.out_reasoning + other.out_reasoning,
            self.audio_out + other.audio_out,
            self.image_out + other.image_out,
            self.searches + other.searches,
            self.cache_audio_read + other.cache_audio_read,
            self.video_in + other.video_in,
            self.estimated or other.estimated,
        )
