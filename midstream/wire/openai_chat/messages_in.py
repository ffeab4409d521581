"""messages -> Messages, each with its own bytes. Errors name the place: messages[2].content[0].image_url."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.parts import Foreign, Message, Native, Part, Reasoning, Refusal, Role, State, Text, ToolCall, ToolResult
from .content_in import carries, read_cache, read_content, rest_of, text_at
from .parts_in import as_text, details_state, details_text, read_citations
from .quirks import NAME

_decode = msgspec.json.Decoder().decode

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KNOWN = frozenset(
    {
        "role", "content", "name", "refusal", "tool_calls", "tool_call_id", "function_call", "annotations", "audio",
        "reasoning", "reasoning_content", "reasoning_details", "cache_control",
    }
)  # fmt: skip


class MessagesReader:
    """Remembers the names of tool calls, which their results do not repeat."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        #: The last call of each function, of the old kind without ids; and how many of these there were.
        self._legacy: dict[str, str] = {}
        self._legacy_calls = 0

    def read(self, raws: list[Raw]) -> tuple[Message, ...]:
        return tuple(self._message(raw, f"messages[{at}]") for at, raw in enumerate(raws))

    def _message(self, raw: Raw, path: str) -> Message:
        told = _decode(raw)
        if not isinstance(told, dict):
            raise BadRequest(f"{path} must be an object", param=path)
        role = _ROLES.get(text_at(told, "role", path))
        if role is None:
            raise BadRequest(f"{path}.role must be one of {', '.join(_ROLES)}", param=f"{path}.role")
        name = told.get("name")
        if name is not None and not isinstance(name, str):
            raise BadRequest(f"{path}.name must be a string", param=f"{path}.name")
        if role == "tool":
            parts: tuple[Part, ...] = (self._result(told, path),)
        elif role == "assistant":
            parts = self._assistant(told, path)
        else:
            parts = read_content(told.get("content"), f"{path}.content")
            if told.get("content") is None:
                raise BadRequest(f"{path}.content is missing", param=f"{path}.content")
        return Message(
            role,
            _marked(parts, told, path),
            name=name if role != "tool" else None,
            native=Native(NAME, bytes(raw)),
            state=rest_of(told, _KNOWN),
        )

    def _result(self, told: dict[str, Any], path: str) -> ToolResult:
        if told["role"] == "function":
            name = text_at(told, "name", path)
            own = self._legacy.get(name, f"call_{name}")
        else:
            own = text_at(told, "tool_call_id", path)
            name = self._names.get(own) or told.get("name") or ""
        parts = read_content(told.get("content"), f"{path}.content")
        carried = tuple(part for part in parts if carries(part))
        return ToolResult(own, carried, name=name, by_name=told["role"] == "function")

    def _assistant(self, told: dict[str, Any], path: str) -> tuple[Part, ...]:
        parts: list[Part] = _reasoning(told, path)
        content = read_content(told.get("content"), f"{path}.content")
        parts += _cited(content, told.get("annotations"))
        refusal = told.get("refusal")
        if refusal:
            parts.append(Refusal(text_at(told, "refusal", path)))
        sound = told.get("audio")
        if isinstance(sound, dict) and not _empty(sound):
            parts.append(Foreign("audio", State(NAME, sound)))
        calls = told.get("tool_calls")
        calls = [] if calls is None else calls
        if not isinstance(calls, list):
            raise BadRequest(f"{path}.tool_calls must be an array", param=f"{path}.tool_calls")
        parts += [self._call(call, f"{path}.tool_calls[{at}]") for at, call in enumerate(calls)]
        legacy = told.get("function_call")
        if legacy is not None and not _empty(legacy):
            parts.append(self._legacy_call(legacy, f"{path}.function_call"))
        return tuple(parts)

    def _call(self, call: Any, path: str) -> ToolCall:
        if not isinstance(call, dict):
            raise BadRequest(f"{path} must be an object", param=path)
        own = text_at(call, "id", path)
        kind = "custom" if call.get("type") == "custom" or ("function" not in call and "custom" in call) else "function"
        named = call.get(kind)
        if not isinstance(named, dict):
            raise BadRequest(f"{path}.{kind} must be an object", param=f"{path}.{kind}")
        name = text_at(named, "name", f"{path}.{kind}")
        self._names[own] = name
        state = rest_of(call, frozenset({"id", "type", "index", "function", "custom", "cache_control"}))
        cache = read_cache(call, path)
        if kind == "custom":
            free = text_at(named, "input", f"{path}.custom")
            return ToolCall(own, name, free, kind="custom", cache=cache, state=state)
        return ToolCall(own, name, _arguments(named, f"{path}.function"), cache=cache, state=state)

    def _legacy_call(self, call: Any, path: str) -> ToolCall:
        if not isinstance(call, dict):
            raise BadRequest(f"{path} must be an object", param=path)
        name = text_at(call, "name", path)
        own = f"call_{name}_{self._legacy_calls}"
        self._legacy[name] = own
        self._legacy_calls += 1
        return ToolCall(own, name, _arguments(call, path))


def _empty(member: Any) -> bool:
    """Does it only name what it could hold? Some servers answer so, and their callers send it back."""
    return isinstance(member, dict) and bool(member) and not any(member.values())


def _arguments(named: dict[str, Any], path: str) -> str:
    told = named.get("arguments")
    if told is not None and not isinstance(told, str | dict):
        raise BadRequest(f"{path}.arguments must be a string", param=f"{path}.arguments")
    return as_text(told)


def _reasoning(told: dict[str, Any], path: str) -> list[Part]:
    details = told.get("reasoning_details")
    if details is not None and not isinstance(details, list):
        raise BadRequest(f"{path}.reasoning_details must be an array", param=f"{path}.reasoning_details")
    field = "reasoning_content" if told.get("reasoning_content") is not None else "reasoning"
    text = told.get(field)
    if text is not None and not isinstance(text, str):
        raise BadRequest(f"{path}.{field} must be a string", param=f"{path}.{field}")
    if not text and not details:
        return []
    return [
        Reasoning(
            text if text is not None else details_text(details or []),
            state=details_state(details) if details else None,
        )
    ]


def _cited(parts: tuple[Part, ...], annotations: Any) -> list[Part]:
    listed = list(parts)
    if isinstance(annotations, list) and annotations and listed and isinstance(listed[-1], Text):
        listed[-1] = msgspec.structs.replace(listed[-1], citations=read_citations(annotations))
    return listed


def _marked(parts: tuple[Part, ...], told: dict[str, Any], path: str) -> tuple[Part, ...]:
    """A cache mark on the message itself holds for its last part."""
    cache = read_cache(told, path)
    if cache is None or not parts or isinstance(parts[-1], Reasoning | Refusal) or not hasattr(parts[-1], "cache"):
        return parts
    return (*parts[:-1], msgspec.structs.replace(parts[-1], cache=cache))
