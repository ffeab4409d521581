"""What an MCP tool answers, as a core ToolAnswer, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.media_types import OCTETS, plainly
from ..core.parts import Media
from ..core.toolbox import ToolAnswer
from ..wire.jsonrpc import Fault, Result
from ._answers import failed, told

#: The address of a resource whose server gave none.
NOWHERE = "about:blank"


def read_answer(answer: Result | Fault) -> ToolAnswer:
    if isinstance(answer, Fault):
        return failed(f"the MCP server refused ({answer.code}): {answer.message[:2000]}", "mcp_refused")
    value = answer.value
    if not isinstance(value, Mapping):
        return failed("the MCP server's answer is none", "mcp_garbled")
    if value.get("resultType") == "input_required":
        return failed("the tool asks for input that cannot be given here", "mcp_input_required")
    texts: list[str] = []
    media: list[Media] = []
    content = value.get("content")
    for block in content if isinstance(content, list) else []:
        if isinstance(block, Mapping):
            _read_block(block, texts, media)
    structured = value.get("structuredContent")
    if not texts and structured is not None:
        texts.append(told(structured))
    text = "\n".join(texts) or ("" if media else "done, without content")
    if value.get("isError") is True:
        return failed(text or "the tool failed", "mcp_tool_failed")
    return ToolAnswer("ok", text, value=structured, media=tuple(media))


def content_of(answer: ToolAnswer) -> list[dict[str, Any]]:
    """An answer's content as MCP writes it: one text, then an image, audio or resource (a blob, as it came with an
    address) for each media."""
    said = [{"type": "text", "text": answer.text}] if answer.text or not answer.media else []
    return [*said, *map(_block, answer.media)]


def _block(media: Media) -> dict[str, Any]:
    mime = media.mime or OCTETS
    if media.kind in ("image", "audio") and media.name is None:
        return {"type": media.kind, "data": media.data or "", "mimeType": mime}
    return {"type": "resource", "resource": {"uri": media.name or NOWHERE, "mimeType": mime, "blob": media.data or ""}}


def _read_block(block: Mapping[str, Any], texts: list[str], media: list[Media]) -> None:
    kind, mime = block.get("type"), str(block.get("mimeType") or "")
    if kind == "text" and isinstance(block.get("text"), str):
        texts.append(block["text"])
    elif kind in ("image", "audio") and isinstance(block.get("data"), str):
        media.append(plainly(Media("image" if kind == "image" else "audio", mime, data=block["data"])))
    elif kind == "resource_link":
        texts.append(f"[{block.get('name') or 'resource'}: {block.get('uri')}]")
    elif kind == "resource" and isinstance(block.get("resource"), Mapping):
        resource = block["resource"]
        if isinstance(resource.get("text"), str):
            texts.append(resource["text"])
        elif isinstance(resource.get("blob"), str):
            mime = str(resource.get("mimeType") or OCTETS)
            media.append(plainly(Media("file", mime, data=resource["blob"], name=str(resource.get("uri") or ""))))
    else:
        texts.append(f"[a part of type {str(kind)[:40]}, which is not known here]")
