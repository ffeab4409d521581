"""A request of the Messages API to the neutral prompt."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ...core.errors import BadRequest
from ...core.parts import Message, Native, Part, State, Text, ToolCall, ToolResult
from ...core.turn import Fields, Format, Params, Prompt, Thinking, Tool, ToolChoice
from ..strict_json import read_field
from .block_read import RESULT, member, optional, read_blocks, read_cache, read_content, without, wrong
from .names import NAME

#: Members of a request that the rest of the server deals with, or that are read here by name.
_READ = frozenset(
    (
        *("model", "messages", "stream", "system", "tools", "tool_choice", "thinking"),
        *("max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"),
        *("output_config", "output_format"),
    )
)
_MODES: dict[str, Literal["auto", "none", "required", "tool"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "tool": "tool",
}


class _Message(Struct):
    role: Literal["user", "assistant", "system"]
    content: Raw


_message = msgspec.json.Decoder(_Message).decode


def read_ask(fields: Fields) -> Prompt:
    """Source: POST /v1/messages and /v1/messages/count_tokens. Raises BadRequest with the field's path.

    `max_tokens` may be missing here (a token count has none); who demands it refuses before."""
    extras = {name: msgspec.json.decode(raw) for name, raw in fields.items() if name not in _READ}
    tool_choice, parallel = _tool_choice(fields)
    return Prompt(
        messages=(*_system(fields), *_messages(fields)),
        tools=_tools(fields),
        tool_choice=tool_choice,
        params=_params(fields, parallel, extras),
        extras=extras,
    )


def _system(fields: Fields) -> tuple[Message, ...]:
    if "system" not in fields:
        return ()
    system = msgspec.json.decode(fields["system"])
    if system is None:
        return ()
    parts: tuple[Part, ...] = (Text(system),) if isinstance(system, str) else read_blocks(system, "system", RESULT)
    # No `native`: the field is not a message, and its bytes could not stand among messages.
    return (Message("system", parts),) if parts else ()


def _messages(fields: Fields) -> list[Message]:
    if "messages" not in fields:
        raise wrong("messages", "is required")
    raws = read_field(fields, "messages", list[Raw], [])
    if not raws:
        raise wrong("messages", "must hold at least one message")
    names: dict[str, str] = {}
    messages: list[Message] = []
    for number, raw in enumerate(raws):
        messages += _read_message(raw, f"messages.{number}", names)
    return messages


def _read_message(raw: Raw, path: str, names: dict[str, str]) -> list[Message]:
    """One message; two when results of tools stand beside something else: the results, then the rest. The bytes of
    both stay with the first; the second's native is b"", which says so and keeps them from being sent twice."""
    try:
        message = _message(raw)
    except msgspec.ValidationError as error:
        raise wrong(path, str(error)) from None
    native = Native(NAME, bytes(raw))
    parts = read_content(message.content, f"{path}.content")
    names.update((part.id, part.name) for part in parts if type(part) is ToolCall)
    results = tuple(replace(part, name=names.get(part.id, "")) for part in parts if type(part) is ToolResult)
    if not results:
        return [Message(message.role, parts, native=native)]
    if message.role != "user":
        raise wrong(f"{path}.content", "tool_result blocks stand in messages of role user")
    rest = tuple(part for part in parts if type(part) is not ToolResult)
    first = Message("tool", results, native=native)
    return [first, Message("user", rest, native=Native(NAME, b""))] if rest else [first]


def _tools(fields: Fields) -> tuple[Tool, ...]:
    tools = read_field(fields, "tools", list[Any], [])
    return tuple(_tool(tool, f"tools.{number}") for number, tool in enumerate(tools))


def _tool(tool: Any, path: str) -> Tool:
    if not isinstance(tool, dict):
        raise wrong(path, "must be an object")
    kind = optional(tool, "type", str, path)
    if kind not in (None, "custom"):
        name = tool.get("name") or tool.get("mcp_server_name") or kind
        return Tool(str(name), kind="hosted", cache=read_cache(tool, path), state=State(NAME, tool))
    return Tool(
        member(tool, "name", str, path),
        optional(tool, "description", str, path),
        member(tool, "input_schema", dict, path),
        optional(tool, "strict", bool, path),
        cache=read_cache(tool, path),
        state=without(tool, "type", "name", "description", "input_schema", "strict", "cache_control"),
    )


def _tool_choice(fields: Fields) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several tools may be called at once."""
    choice = read_field(fields, "tool_choice", dict[str, Any], {})
    if not choice:
        return None, None
    mode = _MODES.get(member(choice, "type", str, "tool_choice"))
    if mode is None:
        raise wrong("tool_choice.type", f"must be one of {', '.join(_MODES)}")
    single = optional(choice, "disable_parallel_tool_use", bool, "tool_choice")
    names = (member(choice, "name", str, "tool_choice"),) if mode == "tool" else ()
    return ToolChoice(mode, names), None if single is None else not single


def _params(fields: Fields, parallel: bool | None, extras: dict[str, Any]) -> Params:
    """Members of metadata and output_config that have no neutral word go to extras under the field's name."""
    metadata = read_field(fields, "metadata", dict[str, Any], {})
    user = optional(metadata, "user_id", str, "metadata")
    _keep(extras, "metadata", metadata, "user_id")
    config = read_field(fields, "output_config", dict[str, Any], {})
    _keep(extras, "output_config", config, "effort", "format")
    effort = optional(config, "effort", str, "output_config")
    return Params(
        max_tokens=read_field(fields, "max_tokens", int, None),
        temperature=read_field(fields, "temperature", float, None),
        top_p=read_field(fields, "top_p", float, None),
        top_k=read_field(fields, "top_k", int, None),
        stop=tuple(read_field(fields, "stop_sequences", list[str], [])),
        format=_format(fields, config),
        thinking=_thinking(read_field(fields, "thinking", dict[str, Any], {}), effort),
        parallel_tools=parallel,
        user=user,
        service_tier=read_field(fields, "service_tier", str, None),
    )


def _keep(extras: dict[str, Any], name: str, members: dict[str, Any], *known: str) -> None:
    rest = {key: value for key, value in members.items() if key not in known and value is not None}
    if rest:
        extras[name] = rest


def _format(fields: Fields, config: dict[str, Any]) -> Format | None:
    path = "output_config.format"
    form = optional(config, "format", dict, "output_config")
    if form is None:
        path, form = "output_format", read_field(fields, "output_format", dict[str, Any], {})
    if not form:
        return None
    if member(form, "type", str, path) != "json_schema":
        raise wrong(f"{path}.type", 'must be "json_schema"')
    return Format("json_schema", member(form, "schema", dict, path))


def _thinking(members: dict[str, Any], effort: str | None) -> Thinking | None:
    if not members:
        return Thinking(effort) if effort else None
    kind = member(members, "type", str, "thinking")
    display = optional(members, "display", str, "thinking")
    show = None if display is None else display != "omitted"
    if kind == "enabled":
        # The models that take a budget show their thoughts unless they are told not to; those that adapt differ in it.
        return Thinking(effort, member(members, "budget_tokens", int, "thinking"), show, shown=True)
    if kind == "disabled":
        return Thinking(effort, 0)
    if kind in ("adaptive", "between_tools"):
        return Thinking(effort, -1, show)
    raise BadRequest("thinking.type: must be enabled, disabled or adaptive", param="thinking.type")
