"""What a conversation is made of: messages of typed parts, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from msgspec import Struct

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
MediaKind: TypeAlias = Literal["image", "audio", "video", "file"]


class State(Struct, frozen=True):
    """A provider's own data that must go back to it unchanged (signatures, encrypted reasoning, its own items).

    issuer: the dialect that issued it ("anthropic_messages", ...); others never see it.
    payload: JSON-ready value in the issuer's own field names."""

    issuer: str
    payload: Any


class Native(Struct, frozen=True):
    """One JSON value exactly as it was written in `dialect`."""

    dialect: str
    raw: bytes


class Cache(Struct, frozen=True):
    """The caller's mark "everything up to here may be cached". ttl: "5m" or "1h"."""

    ttl: Literal["5m", "1h"] = "5m"


class Citation(Struct, frozen=True, omit_defaults=True):
    """Where a span of text comes from. start, end: character offsets in the text, when known."""

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    state: State | None = None


class Text(Struct, frozen=True, tag=True, omit_defaults=True):
    text: str
    citations: tuple[Citation, ...] = ()
    cache: Cache | None = None
    state: State | None = None


class Reasoning(Struct, frozen=True, tag=True, omit_defaults=True):
    """Thinking shown to the caller; `text` may be empty when only signed or encrypted state exists.
    summary: the provider calls the text a summary of its reasoning. state: what its issuer needs back, verbatim."""

    text: str = ""
    summary: bool = False
    state: State | None = None


class ToolCall(Struct, frozen=True, tag=True, omit_defaults=True):
    """arguments: JSON text of an object for kind "function", free text for kind "custom"."""

    id: str
    name: str
    arguments: str = ""
    kind: Literal["function", "custom"] = "function"
    cache: Cache | None = None
    state: State | None = None


class Media(Struct, frozen=True, tag=True, omit_defaults=True):
    """Exactly one of data (base64 text), url, file_id (of the issuing provider) is set.
    mime is "" when a url does not say. detail: OpenAI's image hint. name: file name. place: where it stands in the
    request that is being answered, where that is known. optional: words may stand for it where it cannot be had or
    sent, as it was said before, or a tool gave it."""

    kind: MediaKind
    mime: str = ""
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    cache: Cache | None = None
    state: State | None = None
    place: str = ""
    optional: bool = False


def address(media: Media) -> str | None:
    """Where a picture can be seen: its own address, or its data as a `data:` URL. None when only its issuer has it."""
    if media.data is None:
        return media.url
    return f"data:{media.mime or 'application/octet-stream'};base64,{media.data}"


class Refusal(Struct, frozen=True, tag=True, omit_defaults=True):
    """The model's own words declining to answer."""

    text: str


class Foreign(Struct, frozen=True, tag=True, omit_defaults=True):
    """A part that only its issuer understands (hosted tool calls and results, compaction, ...).
    kind: the issuer's name of it. Other dialects leave it out and report it as dropped."""

    kind: str
    state: State


class ToolResult(Struct, frozen=True, tag=True, omit_defaults=True):
    """Answer to the tool call `id`. name: the function's, looked up from the call when the dialect omits it.
    by_name: who gives it has named the function and no call, as OpenAI's `functions` do: `id` is that of the call that
    it was found to answer, or made up."""

    id: str
    parts: tuple[Text | Media | Foreign, ...]
    name: str = ""
    is_error: bool = False
    cache: Cache | None = None
    state: State | None = None
    by_name: bool = False


Part: TypeAlias = Text | Reasoning | ToolCall | Media | Refusal | Foreign | ToolResult


class Message(Struct, frozen=True, omit_defaults=True):
    """One message. ToolResult parts stand in messages of role "tool".
    native: the message as its caller wrote it, relayed untouched to a provider of the same dialect.
    name: the caller's name for the author."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    native: Native | None = None
    state: State | None = None


def text_of(parts: tuple[Part, ...]) -> str:
    """The visible text of the parts, joined."""
    return "".join(part.text for part in parts if type(part) is Text)


def spoken(parts: Iterable[Part]) -> str:
    """All that is said in the parts, joined: a refusal is what the model said, too."""
    return "".join(part.text for part in parts if type(part) is Text or type(part) is Refusal)


def declines(parts: tuple[Part, ...]) -> bool:
    """Is there a refusal among them?"""
    return any(type(part) is Refusal for part in parts)


def media_in(parts: tuple[Part, ...]) -> list[Media]:
    """Also those that tools have answered with."""
    found: list[Media] = []
    for part in parts:
        if isinstance(part, Media):
            found.append(part)
        elif isinstance(part, ToolResult):
            found += media_in(part.parts)
    return found


def has_media(messages: Iterable[Message]) -> bool:
    """Most conversations have none, so that there is nothing to do about them: asked before each is looked at."""
    for message in messages:
        for part in message.parts:
            kind = type(part)
            if kind is Media or (kind is ToolResult and media_in(part.parts)):  # type: ignore[union-attr]
                return True
    return False
