"""Parts of an answer as members of this dialect's messages and deltas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...core.parts import Citation, Foreign, Media, Part, Reasoning, Refusal, State, Text, ToolCall
from .quirks import NAME


def own(state: State | None) -> Any:
    """The state's payload when it is this dialect's, else None."""
    return state.payload if state is not None and state.issuer == NAME else None


def own_members(state: State | None) -> dict[str, Any]:
    """The same, for payloads that are members of a JSON object."""
    payload = own(state)
    return payload if isinstance(payload, dict) else {}


def write_annotations(citations: Iterable[Citation], start: int = 0, end: int | None = None) -> list[dict[str, Any]]:
    """url_citation annotations (OpenAI's SDK wants all four members); citations without an address are left out.
    start, end: of their text in the message's content; a citation without a span speaks of all of that text."""
    written = []
    for citation in citations:
        kept = own(citation.state)
        if kept is not None:
            written.append(kept)
        elif citation.url is not None:
            cited: dict[str, Any] = {
                "url": citation.url,
                "title": citation.title or "",
                "start_index": start + (citation.start or 0),
                "end_index": start + citation.end if citation.end is not None else end or start,
            }
            if citation.quote is not None:
                cited["content"] = citation.quote
            written.append({"type": "url_citation", "url_citation": cited})
    return written


def write_call(call: ToolCall) -> dict[str, Any]:
    """A complete tool call; empty arguments become an empty object."""
    extra = own_members(call.state)
    if call.kind == "custom":
        return {
            "id": call.id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.arguments},
            **extra,
        }
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **extra}


def media_url(media: Media) -> str | None:
    """The address, or a data: URL of the data."""
    if media.data is not None:
        return f"data:{media.mime};base64,{media.data}"
    return media.url


def write_sound(media: Media) -> dict[str, Any]:
    """The `audio` member of a reply; OpenAI's SDK wants all four."""
    kept = own_members(media.state)
    return {
        "id": kept.get("id", ""),
        "data": media.data or "",
        "expires_at": kept.get("expires_at", 0),
        "transcript": kept.get("transcript", ""),
    }


def write_message(parts: tuple[Part, ...], function_call: bool = False) -> dict[str, Any]:
    """An assistant's message as it stands in a reply. function_call: its first call stands as such, the others do
    not."""
    texts = [part for part in parts if isinstance(part, Text)]
    calls = [write_call(part) for part in parts if isinstance(part, ToolCall)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    images = [part for part in parts if isinstance(part, Media) and part.kind == "image" and media_url(part)]
    sounds = [part for part in parts if isinstance(part, Media) and part.kind == "audio" and part.data is not None]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(text.text for text in texts) if texts or not (calls or refusals or sounds) else None,
        "refusal": "".join(refusals) if refusals else None,
        "annotations": _annotations(texts),
    }
    message.update(_reasoning([part for part in parts if isinstance(part, Reasoning)]))
    if sounds:
        message["audio"] = write_sound(sounds[0])
    if images:
        message["images"] = [write_image(image) for image in images]
    executed = [own(part.state) for part in parts if isinstance(part, Foreign) and part.kind == "executed_tools"]
    if any(executed):
        message["executed_tools"] = [item for item in executed if item is not None]
    if calls and function_call:
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    return message


def _annotations(texts: list[Text]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    start = 0
    for text in texts:
        end = start + len(text.text)
        written += write_annotations(text.citations, start, end)
        start = end
    return written


def _reasoning(thoughts: list[Reasoning]) -> dict[str, Any]:
    if not thoughts:
        return {}
    members: dict[str, Any] = {"reasoning_content": "".join(thought.text for thought in thoughts)}
    details = [item for thought in thoughts for item in own_members(thought.state).get("reasoning_details", ())]
    if details:
        members["reasoning_details"] = details
    return members


def write_image(image: Media) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": media_url(image)}}
