"""Content blocks to parts. A block's members without a neutral word become its state, so that none is lost."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from ...core.errors import BadRequest
from ...core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    MediaKind,
    Part,
    Reasoning,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from .names import NAME, state_of

Block: TypeAlias = dict[str, Any]
T = TypeVar("T")


class _Input(Struct):
    """Only what a tool_use block's arguments are, byte for byte."""

    input: Raw = Raw(b"{}")


_inputs = msgspec.json.Decoder(list[_Input]).decode


def wrong(path: str, what: str) -> BadRequest:
    return BadRequest(f"{path}: {what}", param=path)


def member(block: Block, name: str, kind: type[T], path: str) -> T:
    """A member that must be there. Raises BadRequest naming it."""
    if name not in block:
        raise wrong(f"{path}.{name}", "is required")
    value = block[name]
    if not isinstance(value, kind):
        raise wrong(f"{path}.{name}", f"must be of type {kind.__name__}")
    return value


def optional(block: Block, name: str, kind: type[T], path: str) -> T | None:
    """A member that may be missing or null."""
    return None if block.get(name) is None else member(block, name, kind, path)


def without(block: Block, *names: str) -> State | None:
    """The state that keeps the members with no neutral word."""
    return state_of({name: value for name, value in block.items() if name not in names and value is not None})


def read_cache(block: Block, path: str) -> Cache | None:
    mark = optional(block, "cache_control", dict, path)
    if mark is None:
        return None
    ttl: Literal["5m", "1h"] = "5m"
    given = mark.get("ttl", "5m")
    if given == "1h":
        ttl = "1h"
    elif given not in ("5m", None):
        raise wrong(f"{path}.cache_control.ttl", 'must be "5m" or "1h"')
    return Cache(ttl)


def read_citation(citation: Any) -> Citation:
    """Any kind of citation: what is neutral in neutral words, and all of it as state."""
    if not isinstance(citation, dict):
        return Citation(state=State(NAME, citation))

    def word(*names: str) -> str | None:
        found = (citation.get(name) for name in names)
        return next((value for value in found if isinstance(value, str)), None)

    url = word("url")
    if url is None and citation.get("type") == "search_result_location":
        url = word("source")
    return Citation(
        url=url,
        title=word("title", "document_title"),
        quote=word("cited_text"),
        state=State(NAME, citation),
    )


def _text(block: Block, path: str) -> Part:
    citations = block.get("citations")
    if citations is not None and not isinstance(citations, list):
        raise wrong(f"{path}.citations", "must be a list")
    return Text(
        member(block, "text", str, path),
        tuple(read_citation(citation) for citation in citations or ()),
        read_cache(block, path),
        without(block, "type", "text", "citations", "cache_control"),
    )


def _media(kind: MediaKind, block: Block, path: str) -> Part:
    source = member(block, "source", dict, path)
    cache, name = read_cache(block, path), optional(block, "title", str, path)
    state = without(block, "type", "source", "cache_control", "title")
    path = f"{path}.source"
    form = member(source, "type", str, path)
    if form == "base64":
        mime, data = member(source, "media_type", str, path), member(source, "data", str, path)
        return Media(kind, mime, data=data, name=name, cache=cache, state=state)
    if form == "url":
        mime = "application/pdf" if kind == "file" else ""  # all that the service reads of documents by address
        return Media(kind, mime, url=member(source, "url", str, path), name=name, cache=cache, state=state)
    if form == "file":
        # Only its issuer knows the file: the state marks whose id it is.
        keep = State(NAME, state.payload if state else {})
        return Media(kind, file_id=member(source, "file_id", str, path), name=name, cache=cache, state=keep)
    if form == "text":
        data = _base64(member(source, "data", str, path))
        return Media(kind, "text/plain", data=data, name=name, cache=cache, state=state)
    if form == "content" and (text := _plain(source.get("content"))) is not None:
        # Its text for other services; the source itself, whose blocks citations count, for its issuer.
        keep = State(NAME, {**(state.payload if state else {}), "source": source})
        return Media(kind, "text/plain", data=_base64(text), name=name, cache=cache, state=keep)
    return Foreign(block["type"], State(NAME, block))


def _search_result(block: Block, path: str) -> Part:
    """Its title and text for other services; the block itself, whose texts citations count, for its issuer."""
    text, title = _plain(block.get("content")), block.get("title")
    if text is None:
        return Foreign("search_result", State(NAME, block))
    told = f"{title}:\n{text}" if title and isinstance(title, str) else text
    # Texts of one result may be put together without anything between them.
    return Text(f"{told}\n", cache=read_cache(block, path), state=State(NAME, {"search_result": block}))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _plain(content: Any) -> str | None:
    """The text of a document's or search result's own content, or None when it is not only text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [block.get("text") if isinstance(block, dict) else None for block in content]
    words = [text for text in texts if isinstance(text, str)]
    return "\n".join(words) if len(words) == len(texts) else None


def _tool_use(block: Block, path: str) -> Part:
    name, id = member(block, "name", str, path), member(block, "id", str, path)
    arguments = msgspec.json.encode(member(block, "input", dict, path)).decode()
    state = without(block, "type", "id", "name", "input", "cache_control")
    return ToolCall(id, name, arguments, cache=read_cache(block, path), state=state)


def _tool_result(block: Block, path: str) -> Part:
    content = block.get("content")
    if content is None:
        parts: tuple[Part, ...] = ()
    elif isinstance(content, str):
        parts = (Text(content),)
    else:
        parts = read_blocks(content, f"{path}.content", RESULT)
    return ToolResult(
        member(block, "tool_use_id", str, path),
        parts,  # type: ignore[arg-type]
        is_error=optional(block, "is_error", bool, path) or False,
        cache=read_cache(block, path),
        state=without(block, "type", "tool_use_id", "content", "is_error", "cache_control"),
    )


def _thinking(block: Block, path: str) -> Part:
    return Reasoning(member(block, "thinking", str, path), state=without(block, "type", "thinking"))


def _redacted(block: Block, path: str) -> Part:
    member(block, "data", str, path)
    return Reasoning(state=State(NAME, block))


Readers: TypeAlias = dict[str, Callable[[Block, str], Part]]
#: What may stand in a tool's result, and what in a message. Every other type is kept as Foreign.
RESULT: Readers = {
    "text": _text,
    "image": partial(_media, "image"),
    "document": partial(_media, "file"),
    "search_result": _search_result,
}
MESSAGE: Readers = {
    **RESULT,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
}


def read_block(block: Any, path: str, readers: Readers = MESSAGE) -> Part:
    """The part that a decoded block is. Raises BadRequest with the path of what is wrong."""
    if not isinstance(block, dict):
        raise wrong(path, "must be an object")
    kind = member(block, "type", str, path)
    reader = readers.get(kind)
    return reader(block, path) if reader else Foreign(kind, State(NAME, block))


def read_blocks(blocks: Any, path: str, readers: Readers = MESSAGE) -> tuple[Part, ...]:
    if not isinstance(blocks, list):
        raise wrong(path, "must be a string or a list of blocks")
    return tuple(read_block(block, f"{path}.{number}", readers) for number, block in enumerate(blocks))


def read_content(raw: Raw, path: str) -> tuple[Part, ...]:
    """The parts of a message's content (string or blocks), given as it was written."""
    content = msgspec.json.decode(raw)
    if isinstance(content, str):
        return (Text(content),)
    parts = read_blocks(content, path)
    if not any(type(part) is ToolCall for part in parts):
        return parts
    # A second look keeps the arguments as they were written (number forms, spacing).
    inputs = _inputs(raw)
    return tuple(
        msgspec.structs.replace(part, arguments=bytes(inputs[number].input).decode())
        if type(part) is ToolCall
        else part
        for number, part in enumerate(parts)
    )
