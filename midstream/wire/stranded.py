"""What only its own format can say of a request: another one's writer names it as left out.

Readers keep the members that have no neutral meaning as State of their format, with the part or tool that they belong
to, and no other format looks at them. What was put back into a message that its caller had sent without it is not
named: nobody misses it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..core.parts import Citation, Foreign, Media, Message, Part, Reasoning, Refusal, State, Text, ToolResult
from ..core.turn import Prompt, Tool

#: Where a format keeps parts, and what it calls thoughts, a file's name and what a text is taken from.
_PLACES = {"gemini": "contents.parts", "openai_responses": "input.content"}
_NAMES = {"gemini": ("displayName",), "anthropic_messages": ("title",), "openai_chat": ("document_name", "filename")}
#: Formats in which a file that is sent as its data has a name.
_NAMING = frozenset({"openai_chat", "openai_responses", "anthropic_messages"})
_THOUGHTS = ("thinking", "redacted_thinking", "thought", "reasoning_content", "reasoning", "reasoning_details")
_CITATIONS = {"openai_chat": "annotations", "openai_responses": "annotations"}
#: Marks of who has written a part: nothing that anybody else could be told.
_MARKS = frozenset({"thoughtSignature", "signature", "id", "status"})
_UPPER = re.compile(r"([A-Z])")


def stranded(prompt: Prompt, dialect: str, target: str) -> dict[str, None]:
    """The names of what a request of `dialect` says that `target` has no place for, each once, in order. What writers
    name themselves (parts that are left out whole, cache marks, parameters) is not among them."""
    place = _PLACES.get(dialect, "messages.content")
    names: dict[str, None] = {}
    for message in prompt.messages:
        if _plain(message):
            continue
        names.update((f"messages.{name}", None) for name in _members(message.state, target))
        names.update((name, None) for name in _thoughts(message, target))
        lost = dict.fromkeys(name for part in message.parts for name in _of_part(part, dialect, target))
        told = _said_of(message, lost) if lost else ()
        names.update((f"{place}.{name}", None) for name in told)
    for tool in prompt.tools:
        names.update((name, None) for name in _of_tool(tool, target))
    return names


def _plain(message: Message) -> bool:
    """Has it nothing but one text, as most of a long history?"""
    if message.state is not None or len(message.parts) != 1:
        return False
    [part] = message.parts
    return type(part) is Text and part.state is None and not part.citations


def _members(state: State | None, target: str) -> dict[str, Any]:
    if state is None or state.issuer == target or not isinstance(state.payload, dict):
        return {}
    return state.payload


def _thoughts(message: Message, target: str) -> Iterator[str]:
    """Thoughts go back to who has thought them, and to nobody else, by the word that the message has for them. OpenAI
    Chat's writer says itself what it carries."""
    thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
    if target != "openai_chat" and any(one.state is None or one.state.issuer != target for one in thoughts):
        word = thoughts_word(message)
        if word is not None:
            yield word if word != "reasoning_details" else "reasoning"


def thoughts_word(message: Message) -> str | None:
    """What the message calls its thoughts; None when its caller had sent it without any."""
    if message.native is None or not message.native.raw:
        return "reasoning"
    raw = message.native.raw
    return next((word for word in _THOUGHTS if b'"%s"' % word.encode() in raw), None)


def _said_of(message: Message, names: Iterable[str]) -> Iterator[str]:
    """Those of the names whose first word stands in the message as its caller wrote it. Google's members have two
    spellings. A message may be long and have many parts: it is taken apart once."""
    if message.native is None or not message.native.raw:
        yield from (name for name in names if name != "document_name")  # the other word is the usual one
        return
    quoted = frozenset(message.native.raw.split(b'"'))
    for name in names:
        first = name.partition(".")[0]
        snake = _UPPER.sub(lambda found: "_" + found[1].lower(), first)
        if first.encode() in quoted or snake.encode() in quoted:
            yield name


def _of_part(part: Part, dialect: str, target: str) -> Iterator[str]:
    if isinstance(part, Foreign | Reasoning | Refusal):
        return
    for name, value in _members(part.state, target).items():
        if name in ("functionCall", "functionResponse"):
            yield from (f"{name}.{inner}" for inner in value if inner != "response")
        elif name == "search_result":  # its title and plain texts are told
            told = ("type", "title", "content") if _only_text(value) else ("type", "title")
            yield from (inner for inner in value if inner not in told)
        elif name == "source":
            yield from () if _only_text(value) else (name,)
        elif name not in _MARKS:
            yield name
    if isinstance(part, Text) and not all(_cited(citation, target) for citation in part.citations):
        yield _CITATIONS.get(dialect, "citations")
    if isinstance(part, Media) and part.name is not None and not _named(part, target):
        yield from _NAMES.get(dialect, ("filename",))
    if isinstance(part, ToolResult):
        for inner in part.parts:
            yield from _of_part(inner, dialect, target)


def _cited(citation: Citation, target: str) -> bool:
    """Whole in the other format: its own, or a plain address where answers of before may hold one."""
    if citation.state is not None:
        return citation.state.issuer == target
    return target == "openai_responses" and citation.url is not None and citation.quote is None


def _named(media: Media, target: str) -> bool:
    return media.kind == "file" and target in _NAMING and not (target == "openai_responses" and media.data is None)


def _only_text(source: Any) -> bool:
    blocks = source.get("content") if isinstance(source, dict) else None
    return isinstance(blocks, str) or (
        isinstance(blocks, list) and all(block.keys() <= {"type", "text"} for block in blocks)
    )


def _of_tool(tool: Tool, target: str) -> Iterator[str]:
    if tool.kind == "hosted":
        return
    place = f"tools.{tool.name}" if tool.kind == "custom" else "tools"
    for name in _members(tool.state, target):
        yield f"{place}.{name}"
