"""Parts to content blocks: what only their issuer understands goes back to it verbatim, and only to it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.json_words import arguments_in
from ...core.media_types import is_text
from ...core.parts import (
    Foreign,
    Media,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from ...core.unread import refused, unread, words_for
from .call_ids import CallIds
from .names import NAME, own_state, wire_id, write_cache

#: A block, or its bytes as they were once written.
Block: TypeAlias = dict[str, Any] | Raw

#: First base64 digits of the image types that the service accepts.
_IMAGE_SIGNS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


class BlockWriter:
    """Writes blocks and notes in `dropped` what they could not carry. Ids that were never given are numbered in the
    order of the calls and in the order of the results, so that they meet."""

    def __init__(self) -> None:
        self.dropped: dict[str, None] = {}
        self.ids = CallIds()
        self._calls = 0
        self._results = 0

    def drop(self, name: str) -> None:
        self.dropped[name] = None

    def blocks(self, parts: Sequence[Part], role: str) -> list[Block]:
        """The blocks of a message's parts. role: "user" or "assistant"."""
        written = [block for part in parts if (block := self._block(part, role)) is not None]
        if written and role == "user":
            self.ids.end()
        return written

    def _block(self, part: Part, role: str) -> Block | None:
        match part:
            case Text():
                return self.text(part)
            case Reasoning():
                return write_reasoning(part)
            case ToolCall():
                self._calls += not part.id
                return write_call(part, self.ids.call(part.id or f"call_{self._calls}"))
            case ToolResult():
                return self._result(part, role)
            case Media() if role == "assistant":
                self.drop("messages.content.media")  # an assistant's turn holds none in this format
                return None
            case Media():
                return self._media(part)
            case Refusal():
                return {"type": "text", "text": part.text} if part.text.strip() else None
            case Foreign():
                return self._foreign(part)

    def text(self, part: Text) -> Block | None:
        """None for a text that is empty or only white space: the service refuses the whole request for one."""
        state = own_state(part.state)
        if not part.text.strip() and "search_result" not in state:
            return None
        block: dict[str, Any] = {"type": "text", "text": part.text, **state}
        if "search_result" in state:  # which has become text for other services
            block = {**state["search_result"]}
            block.pop("cache_control", None)
        citations = [own for citation in part.citations if (own := own_state(citation.state))]
        if citations:
            block["citations"] = citations
        if part.cache:
            block["cache_control"] = write_cache(part.cache)
        return block

    def _foreign(self, part: Foreign) -> Block | None:
        if part.state.issuer == NAME:
            return part.state.payload  # type: ignore[no-any-return]
        self.drop(f"messages.content.{part.kind}")
        return None

    def _result(self, part: ToolResult, role: str) -> Block:
        self._results += not part.id
        content = self.blocks(part.parts, role)
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": self.ids.result(part.id or f"call_{self._results}"),
            "content": content[0]["text"] if _only_text(content) else content,  # type: ignore[call-overload]
            **own_state(part.state),
        }
        if part.is_error:
            block["is_error"] = True
        if part.cache:
            block["cache_control"] = write_cache(part.cache)
        return block

    def _media(self, part: Media) -> Block | None:
        state = dict(own_state(part.state))
        try:
            source = state.pop("source", None) or self.source(part)
        except BadRequest as error:
            if not part.optional:
                raise refused(part, error.message, error.code) from None
            source = None
        if source is None and part.optional:
            self.drop(unread(part))
            return self.text(words_for(part))
        if source is None:
            return None
        if part.detail is not None:
            self.drop("messages.content.detail")
        block: dict[str, Any] = {"type": "image" if part.kind == "image" else "document", "source": source, **state}
        if part.name is not None and part.kind == "file":
            block["title"] = part.name
        if part.cache:
            block["cache_control"] = write_cache(part.cache)
        return block

    def source(self, part: Media) -> dict[str, Any] | None:
        """Where its bytes are; None (reported) for what is another issuer's. Raises BadRequest."""
        if part.kind not in ("image", "file"):
            raise BadRequest(f"this format takes no {part.kind}", code="unsupported_media", param="messages.content")
        if part.file_id is not None:
            if part.state is not None and part.state.issuer == NAME:
                return {"type": "file", "file_id": part.file_id}
            self.drop("messages.content.file_id")  # an id means something to its issuer only
            return None
        if part.data is None and part.url is not None and not part.url.startswith("data:"):
            return {"type": "url", "url": part.url}
        mime, data = (part.mime, part.data) if part.data is not None else split_data_url(part.url or "")
        if part.kind == "image":
            return {"type": "base64", "media_type": mime or image_type(data), "data": data}
        if not mime or mime == "application/pdf":
            return {"type": "base64", "media_type": "application/pdf", "data": data}
        if is_text(mime):
            return {"type": "text", "media_type": "text/plain", "data": _decoded(data)}
        raise BadRequest(
            f"files of type {mime} cannot be sent in this format", code="unsupported_media", param="messages.content"
        )


def _only_text(content: list[Block]) -> bool:
    return len(content) == 1 and isinstance(content[0], dict) and set(content[0]) == {"type", "text"}


def write_reasoning(part: Reasoning) -> Block | None:
    """Only what this format signed: the service refuses thinking without its signature."""
    state = own_state(part.state)
    if state.get("type") == "redacted_thinking":
        return state
    return {"type": "thinking", "thinking": part.text, **state} if state.get("signature") else None


def write_call(part: ToolCall, id: str) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": "tool_use",
        "id": wire_id(id),
        "name": part.name,
        "input": write_input(part),
        **own_state(part.state),
    }
    if part.cache:
        block["cache_control"] = write_cache(part.cache)
    return block


def write_input(part: ToolCall) -> Any:
    """A call's arguments as the object that this format demands, byte for byte when they are one. Free text and
    arguments that a model wrote wrongly stand under "input"."""
    if part.kind == "function":
        try:
            value = arguments_in(part.arguments)
        except msgspec.DecodeError:
            value = None
        if isinstance(value, dict):
            return Raw(part.arguments.encode()) if part.arguments.lstrip().startswith("{") else value
    return {"input": part.arguments}


def split_data_url(url: str) -> tuple[str, str]:
    """(mime, base64 text) of a data: URL. Raises BadRequest when it is none or not in base64."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise BadRequest("media needs data, a url or a file id", code="invalid_media", param="messages.content")
    return head[5:].split(";")[0], data


def image_type(data: str) -> str:
    """The mime type that an image's first bytes tell; PNG when they tell nothing."""
    return next((mime for sign, mime in _IMAGE_SIGNS.items() if data.startswith(sign)), "image/png")


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        what = "a text file must be base64 of UTF-8"
        raise BadRequest(what, code="invalid_media", param="messages.content") from None
