"""Content parts, annotations and output items, from this dialect to the neutral parts."""

from __future__ import annotations

from typing import Any

from ...core.parts import Citation, Foreign, Media, Part, Reasoning, Refusal, State, Text, ToolCall
from .grammar import NAME, PARAGRAPH, objects, state_of, text

_URL_CITATION = {"type", "url", "title", "start_index", "end_index"}


#: Types of tools that the caller runs.
_CALLERS = frozenset({"function", "custom", "namespace"})


def citation_of(annotation: dict[str, Any]) -> Citation:
    """Any annotation. Only a plain url_citation needs no state to be written again as it was."""
    plain = annotation.get("type") == "url_citation" and annotation.keys() == _URL_CITATION
    return Citation(
        url=text(annotation.get("url")) or None,
        title=text(annotation.get("title")) or text(annotation.get("filename")) or None,
        start=_offset(annotation.get("start_index")),
        end=_offset(annotation.get("end_index")),
        state=None if plain else State(NAME, annotation),
    )


def _offset(value: Any) -> int | None:
    return value if type(value) is int else None


def citations_of(part: dict[str, Any]) -> tuple[Citation, ...]:
    return tuple([citation_of(annotation) for annotation in objects(part.get("annotations"))])


def said_part(part: dict[str, Any], state: State | None) -> Part:
    """A content part of an assistant's message."""
    kind = text(part.get("type"))
    if kind == "refusal":
        return Refusal(text(part.get("refusal")))
    if kind in ("output_text", "input_text", "text"):
        return Text(text(part.get("text")), citations=citations_of(part), state=state)
    return Foreign(kind or "unknown", State(NAME, part))


def reasoning_of(item: dict[str, Any]) -> Reasoning:
    """The whole item is its state. The text is its summary when it has one, else its content."""
    summary = _texts(item.get("summary"))
    content = _texts(item.get("content"))
    chosen = summary if any(summary) or not any(content) else content
    return Reasoning(PARAGRAPH.join(chosen), summary=chosen is summary, state=State(NAME, item))


def _texts(value: Any) -> list[str]:
    return [text(part.get("text")) for part in objects(value)]


def call_of(item: dict[str, Any]) -> ToolCall:
    """A function_call or custom_tool_call item."""
    custom = item["type"] == "custom_tool_call"
    return ToolCall(
        id=text(item.get("call_id")) or text(item.get("id")),
        name=text(item.get("name")),
        arguments=text(item.get("input" if custom else "arguments")),
        kind="custom" if custom else "function",
        state=state_of(item),
    )


def offered_in(response: dict[str, Any]) -> frozenset[str] | None:
    """The names of what its caller offered, where the response says that the service has tools of its own besides; None
    where it does not."""
    tools = objects(response.get("tools"))
    if all(text(tool.get("type")) in _CALLERS for tool in tools):
        return None
    within = [one for tool in tools for one in objects(tool.get("tools"))]
    return frozenset([text(tool.get("name")) for tool in (*tools, *within)])


def is_own(item: dict[str, Any], offered: frozenset[str] | None) -> bool:
    """Does the item tell what the service itself has done? xAI tells its searches of X as custom calls, of names that
    nobody offered: there is nothing to answer. offered: as offered_in has it."""
    if item.get("type") != "custom_tool_call" or offered is None:
        return False
    return text(item.get("name")) not in {"", *offered}


def image_of(item: dict[str, Any]) -> Media | None:
    """The image that an image_generation_call made, when it is there. Its data stands in the part alone."""
    if not text(item.get("result")):
        return None
    rest = {name: value for name, value in item.items() if name != "result"}
    form = text(item.get("output_format")) or "png"
    return Media("image", mime=f"image/{form}", data=item["result"], state=State(NAME, rest))


def parts_of(item: dict[str, Any], offered: frozenset[str] | None = None) -> list[Part]:
    """The parts of one complete output item, in order. offered: as offered_in has it."""
    kind = item.get("type")
    if kind == "message":
        state = state_of(item)
        return [said_part(part, state) for part in objects(item.get("content"))]
    if kind in ("function_call", "custom_tool_call") and not is_own(item, offered):
        return [call_of(item)]
    if kind == "reasoning":
        return [reasoning_of(item)]
    image = image_of(item) if kind == "image_generation_call" else None
    return [image or Foreign(text(kind) or "unknown", State(NAME, item))]


def logprobs_of(item: dict[str, Any]) -> list[Any]:
    """The token objects of a message item's parts."""
    if item.get("type") != "message":
        return []
    return [token for part in objects(item.get("content")) for token in objects(part.get("logprobs"))]
