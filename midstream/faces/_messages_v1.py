"""Messages as our own format, version 1, writes them; OpenAI's spelling of tools and calls is taken as well."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ..core.errors import BadRequest
from ..core.parts import Media, Message, Part, Role, Text, ToolCall, ToolResult
from ..core.turn import Tool, ToolChoice
from ._media import media_of
from ._own import decode, encode

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


#: Fields of a piece, beside its type, by what it holds.
_FIELDS = {
    "text": ("text",), "image_url": ("image_url",),
    **dict.fromkeys(("image", "audio", "video", "file"), ("url", "data", "mimeType", "name")),
}  # fmt: skip


class _Address(Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class _Piece(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """type: text | image | audio | video | file | image_url."""

    type: str
    text: str | None = None
    url: str | None = None
    data: str | None = None
    mime_type: str = ""
    name: str | None = None
    image_url: str | _Address | None = msgspec.field(name="image_url", default=None)


class _Called(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    type: Literal["function"] = "function"
    function: _Called | None = None


class _Said(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    role: str
    content: str | list[Raw] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    openai_calls: list[_Call] | None = msgspec.field(name="tool_calls", default=None)
    openai_call_id: str | None = msgspec.field(name="tool_call_id", default=None)


class Function(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Offered(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool, plain or as OpenAI writes it (type, function)."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    type: Literal["function"] = "function"
    function: Function | None = None


class _Named(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class _Chosen(Struct, frozen=True, forbid_unknown_fields=True):
    name: str | None = None
    type: Literal["function", "tool"] = "function"
    function: _Named | None = None


_said = msgspec.json.Decoder(_Said)
_piece = msgspec.json.Decoder(_Piece)
_tool = msgspec.json.Decoder(Offered)
_chosen = msgspec.json.Decoder(_Chosen)


def read_messages(raws: list[Raw], path: str = "messages") -> tuple[Message, ...]:
    """Raises BadRequest with the field's path."""
    names: dict[str, str] = {}
    return tuple(_message(bytes(raw), f"{path}[{place}]", names) for place, raw in enumerate(raws))


def _message(raw: bytes, path: str, names: dict[str, str]) -> Message:
    said = decode(_said, raw, path)
    role = _ROLES.get(said.role)
    if role is None:
        raise BadRequest(f"{path}.role: must be one of {', '.join(_ROLES)}", param=f"{path}.role")
    _check_role(said, role, path)
    parts = _content(said.content, path)
    if role == "tool":
        return Message(role, (_result(said, parts, path, names),))
    spelled = "toolCalls" if said.openai_calls is None else "tool_calls"
    calls = said.tool_calls or said.openai_calls or []
    made = tuple(_call(call, f"{path}.{spelled}[{place}]", names) for place, call in enumerate(calls))
    if not parts and not made and role != "assistant":
        raise BadRequest(f"{path}.content: nothing is said", param=f"{path}.content")
    return Message(role, (*parts, *made), name=said.name)


def _check_role(said: _Said, role: Role, path: str) -> None:
    """What could not be carried: one of two spellings, and what another role says."""
    for name, own, openais in (
        ("toolCalls", said.tool_calls, said.openai_calls), ("toolCallId", said.tool_call_id, said.openai_call_id),
    ):  # fmt: skip
        if own is not None and openais is not None:
            raise BadRequest(f"{path}.{name}: given in both spellings", param=f"{path}.{name}", code="contradictory")
    answers = "only a tool's message answers a call"
    for name, value, whose, why in (
        ("toolCalls", said.tool_calls, "assistant", "only an assistant calls tools"),
        ("tool_calls", said.openai_calls, "assistant", "only an assistant calls tools"),
        ("toolCallId", said.tool_call_id, "tool", answers),
        ("tool_call_id", said.openai_call_id, "tool", answers),
        ("isError", said.is_error, "tool", answers),
    ):
        if value and role != whose:
            raise BadRequest(f"{path}.{name}: {why}", param=f"{path}.{name}")


def _content(content: str | list[Raw] | None, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(_part(bytes(raw), f"{path}.content[{place}]") for place, raw in enumerate(content or []))


def _part(raw: bytes, path: str) -> Text | Media:
    piece = decode(_piece, raw, path)
    fields = _FIELDS.get(piece.type)
    if fields is None:
        raise BadRequest(f"{path}.type: must be text, image, audio, video or file", param=f"{path}.type")
    for name, value in (
        ("text", piece.text), ("url", piece.url), ("data", piece.data), ("mimeType", piece.mime_type),
        ("name", piece.name), ("image_url", piece.image_url),
    ):  # fmt: skip
        if value and name not in fields:
            raise BadRequest(f"{path}.{name}: not of the type {piece.type}", param=f"{path}.{name}")
    if piece.type == "text":
        if piece.text is None:
            raise _missing(f"{path}.text")
        return Text(piece.text)
    if piece.type == "image_url":
        where, told = f"{path}.image_url", piece.image_url
        if told is None:
            raise _missing(where)
        seen = _Address(told) if isinstance(told, str) else told
        return replace(media_of("image", seen.url, None, "", None, where), detail=seen.detail)
    return media_of(piece.type, piece.url, piece.data, piece.mime_type, piece.name, path)


def _missing(path: str, why: str = "required") -> BadRequest:
    return BadRequest(f"{path}: {why}", param=path, code="missing_required_parameter")


def _result(said: _Said, parts: tuple[Part, ...], path: str, names: dict[str, str]) -> ToolResult:
    id = said.tool_call_id or said.openai_call_id
    if not id:
        raise _missing(f"{path}.toolCallId", "says which call this answers")
    held = tuple(part for part in parts if isinstance(part, Text | Media))
    return ToolResult(id, held, name=said.name or names.get(id, ""), is_error=said.is_error is True)


def _call(call: _Call, path: str, names: dict[str, str]) -> ToolCall:
    _check_beside(call.function, path, name=call.name, arguments=call.arguments)
    name = call.function.name if call.function is not None else call.name
    given = call.function.arguments if call.function is not None else call.arguments
    if not name:
        raise _missing(f"{path}.name")
    names[call.id] = name
    return ToolCall(call.id, name, given if isinstance(given, str) else encode(given or {}).decode())


def _check_beside(function: Struct | None, path: str, **beside: Any) -> None:
    """What stands in the function and beside it: one of them would go unheard."""
    for name, value in beside.items():
        if function is not None and value is not None:
            where = f"{path}.{name}"
            raise BadRequest(f"{where}: stands in function", param=where, code="contradictory")


def read_tools(raws: list[Raw], path: str = "tools") -> tuple[Tool, ...]:
    """Raises BadRequest with the field's path."""
    tools: dict[str, Tool] = {}
    for place, raw in enumerate(raws):
        where = f"{path}[{place}]"
        told = decode(_tool, bytes(raw), where)
        _check_beside(told.function, where, name=told.name, description=told.description, parameters=told.parameters)
        about = told.function or told
        if not about.name:
            raise _missing(f"{where}.name")
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
        told = decode(_chosen, encode(value), "toolChoice")
        _check_beside(told.function, "toolChoice", name=told.name)
        name = told.function.name if told.function is not None else told.name
    if not isinstance(name, str) or not name:
        raise BadRequest("toolChoice: must be auto, none, required, or name a tool", param="toolChoice")
    if all(tool.name != name for tool in tools):
        raise BadRequest(f"toolChoice: no such tool: {name}", param="toolChoice")
    return ToolChoice("tool", (name,))
