"""Neutral messages as systemInstruction and contents."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.parts import Message, Part, ToolCall, ToolResult
from .part_out import write_part
from .shape import NAME, camel

#: Google documents this value for calls that no Gemini model signed: it turns the check of that signature off.
PLACEHOLDER = "skip_thought_signature_validator"

_decode = msgspec.json.Decoder().decode


def write_contents(
    messages: tuple[Message, ...], dropped: dict[str, None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(parts of systemInstruction, contents). Neighbours of one role are merged, since Google wants all responses
    to one step's calls in one content. System messages inside the conversation become user turns that say so."""
    lead = _leading_system(messages)
    system = [part for message in messages[:lead] for part in system_parts(message, dropped)]
    names: dict[str, str] = {}
    last_user = _last_user(messages)
    contents: list[dict[str, Any]] = []
    finished = 0
    for number, message in enumerate(messages):
        if number < lead:
            continue
        if number == last_user + 1:
            finished = len(contents)
        if message.role in {"system", "developer"}:
            dropped[f"messages[{number}].role"] = None
        names |= called_names(message)
        content = write_message(message, names, dropped)
        if not content["parts"]:
            continue
        if contents and contents[-1]["role"] == content["role"]:
            contents[-1]["parts"] += content["parts"]
        else:
            contents.append(content)
    if last_user + 1 < len(messages):
        for content in contents[finished:]:
            sign_first_call(content)
    if not contents:  # nothing but empty texts was said, and Google refuses an empty list
        contents.append({"role": "user", "parts": [{"text": ""}]})
    _forget_unknown_ids(contents)
    return system, contents


def _leading_system(messages: tuple[Message, ...]) -> int:
    """How many messages go to systemInstruction: those in front, but never all (contents must not be empty)."""
    count = 0
    while count < len(messages) - 1 and messages[count].role in {"system", "developer"}:
        count += 1
    return count


def system_parts(message: Message, dropped: dict[str, None]) -> list[dict[str, Any]]:
    """The parts that a system message gives to systemInstruction."""
    written = [write_part(part, dropped) for part in message.parts]
    return [part for part in written if part is not None]


def called_names(message: Message) -> dict[str, str]:
    """The functions' names by the ids of its calls, which may come again in a later message."""
    return {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}


def _last_user(messages: tuple[Message, ...]) -> int:
    """The place of the user's last own words: what follows is the current turn, whose calls Google checks."""
    places = [number for number, message in enumerate(messages) if message.role == "user" and message.parts]
    return places[-1] if places else -1


def write_message(message: Message, names: dict[str, str], dropped: dict[str, None]) -> dict[str, Any]:
    """{"role", "parts"}; a message that was written in this dialect keeps its own parts. names: of the calls so far."""
    role = "model" if message.role == "assistant" else "user"
    if message.name:
        dropped["messages.name"] = None
    own = _own_parts(message)
    if own is not None:
        return {"role": role, "parts": own}
    pieces = [write_part(_named(part, names), dropped) for part in message.parts]
    written = [part for part in pieces if part is not None]
    if written and message.role in {"system", "developer"}:
        written = [{"text": "<system>"}, *written, {"text": "</system>"}]
    return {"role": role, "parts": written}


def _own_parts(message: Message) -> list[Any] | None:
    if message.native is None or message.native.dialect != NAME or message.role in {"system", "developer"}:
        return None
    value = _decode(message.native.raw)
    parts = value.get("parts") if isinstance(value, dict) else None
    if isinstance(parts, dict):
        return [parts]
    return parts if isinstance(parts, list) else None


def _named(part: Part, names: dict[str, str]) -> Part:
    """A tool result with the name of the function that was called, which Google demands."""
    if isinstance(part, ToolResult) and not part.name:
        return msgspec.structs.replace(part, name=names.get(part.id) or part.id or "unknown")
    return part


def sign_first_call(content: dict[str, Any]) -> None:
    """Gives a step's first call the placeholder when it carries no signature (only the first one has to)."""
    for part in content["parts"]:
        named = {camel(name) for name in part} if isinstance(part, dict) else set()
        if "functionCall" in named:
            if "thoughtSignature" not in named:
                part["thoughtSignature"] = PLACEHOLDER
            return


def _forget_unknown_ids(contents: list[dict[str, Any]]) -> None:
    """A response must not name an id that its call, written by a Gemini client without one, does not carry."""
    calls = [_member(part, "functionCall") for content in contents for part in content["parts"]]
    known = {call["id"] for call in calls if isinstance(call, dict) and isinstance(call.get("id"), str)}
    for content in contents:
        for part in content["parts"]:
            response = _member(part, "functionResponse")
            if isinstance(response, dict) and response.get("id") not in known:
                response.pop("id", None)


def _member(part: Any, name: str) -> Any:
    if not isinstance(part, dict):
        return None
    return next((value for key, value in part.items() if camel(key) == name), None)
