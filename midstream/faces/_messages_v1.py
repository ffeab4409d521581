"""Messages as our own format, version 1, writes them; OpenAI's spelling of tools and calls is taken as well."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..core.errors import BadRequest
from ..core.parts import Media, Message, Part, Role, Text, ToolCall, ToolResult
from ..core.turn import Tool, ToolChoice
from ._media import media_of
from ._own import decode, encode

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


class _Address(Struct, frozen=True):
    url: str


class _Piece(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """type: text | image | audio | video | file | image_url."""

    type: str
    text: str | None = None
    url: str | None = None
    data: str | None = None
    mime_type: str = ""
    name: str | None = None
    image_url: str | _Address | None = msgspec.field(name="image_url", default=None)


class _Function(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str | dict[str, Any] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Call(Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    type: str = "function"
    function: _Function | None = None


class _Said(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    role: str
    content: str | list[Raw] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    openai_calls: list[_Call] | None = msgspec.field(name="tool_calls", default=None)
    openai_call_id: str | None = msgspec.field(name="tool_call_id", default=None)


class _Offered(Struct, frozen=True, forbid_unknown_fields=True):
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    type: str = "function"
    function: _Function | None = None


_said = msgspec.json.Decoder(_Said)
_piece = msgspec.json.Decoder(_Piece)
_tool = msgspec.json.Decoder(_Offered)


def read_messages(raws: list[Raw], path: str = "messages") -> tuple[Message, ...]:
    """Raises BadRequest with the field's path."""
    names: dict[str, str] = {}
    return tuple(_message(bytes(raw), f"{path}[{place}]", names) for place, raw in enumerate(raws))


def _message(raw: bytes, path: str, names: dict[str, str]) -> Message:
    said = decode(_said, raw, path)
    role = _ROLES.get(said.role)
    if role is None:
        raise BadRequest(f"{path}.role: must be one of {', '.join(_ROLES)}", param=f"{path}.role")
    parts = _content(said.content, path)
    calls = said.tool_calls or said.openai_calls or []
    if role == "tool":
        return Message(role, (_result(said, parts, path, names),))
    if calls and role != "assistant":
        raise BadRequest(f"{path}.toolCalls: only an assistant calls tools", param=f"{path}.toolCalls")
    made = tuple(_call(call, f"{path}.toolCalls[{place}]", names) for place, call in enumerate(calls))
    if not parts and not made and role != "assistant":
        raise BadRequest(f"{path}.content: nothing is said", param=f"{path}.content")
    return Message(role, (*parts, *made), name=said.name)


def _content(content: str | list[Raw] | None, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(_part(bytes(raw), f"{path}.content[{place}]") for place, raw in enumerate(content or []))


def _part(raw: bytes, path: str) -> Text | Media:
    piece = decode(_piece, raw, path)
    if piece.type == "text":
        if piece.text is None:
            raise BadRequest(f"{path}.text: required", param=f"{path}.text", code="missing_required_parameter")
        return Text(piece.text)
    if piece.type == "image_url":
        url = piece.image_url if isinstance(piece.image_url, str | None) else piece.image_url.url
        return media_of("image", url, None, "", None, path)
    if piece.type not in ("image", "audio", "video", "file"):
        raise BadRequest(f"{path}.type: must be text, image, audio, video or file", param=f"{path}.type")
    return media_of(piece.type, piece.url, piece.data, piece.mime_type, piece.name, path)


def _result(said: _Said, parts: tuple[Part, ...], path: str, names: dict[str, str]) -> ToolResult:
    id = said.tool_call_id or said.openai_call_id
    if not id:
        where = f"{path}.toolCallId"
        raise BadRequest(f"{where}: says which call this answers", param=where, code="missing_required_parameter")
    held = tuple(part for part in parts if isinstance(part, Text | Media))
    return ToolResult(id, held, name=said.name or names.get(id, ""), is_error=said.is_error is True)


def _call(call: _Call, path: str, names: dict[str, str]) -> ToolCall:
    name = call.function.name if call.function is not None else call.name
    given = call.function.arguments if call.function is not None else call.arguments
    if not name:
        raise BadRequest(f"{path}.name: required", param=f"{path}.name", code="missing_required_parameter")
    names[call.id] = name
    return ToolCall(call.id, name, given if isinstance(given, str) else encode(given or {}).decode())


def read_tools(raws: list[Raw], path: str = "tools") -> tuple[Tool, ...]:
    """Raises BadRequest with the field's path."""
    tools: dict[str, Tool] = {}
    for place, raw in enumerate(raws):
        where = f"{path}[{place}]"
        told = decode(_tool, bytes(raw), where)
        about = told.function or told
        if not about.name:
            raise BadRequest(f"{where}.name: required", param=f"{where}.name", code="missing_required_parameter")
        if about.name in tools:
            raise BadRequest(f"{where}.name: two tools are named {about.name}", param=f"{where}.name")
        strict = told.function.strict if told.function is not None else None
        tools[about.name] = Tool(about.name, about.description, about.parameters or {"type": "object"}, strict)
    return tuple(tools.values())


def read_choice(value: Any, tools: tuple[Tool, ...]) -> ToolChoice | None:
    """auto, none, required, a tool's name, or an object that names one. Raises BadRequest."""
    if value is None:
        return None
    if value == "required" and not tools:
        raise BadRequest("toolChoice: there are no tools of which one could be called", param="toolChoice")
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    name = value
    if isinstance(value, dict):
        inner = value.get("function")
        name = inner.get("name") if isinstance(inner, dict) else value.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest("toolChoice: must be auto, none, required, or name a tool", param="toolChoice")
    if all(tool.name != name for tool in tools):
        raise BadRequest(f"toolChoice: no such tool: {name}", param="toolChoice")
    return ToolChoice("tool", (name,))
