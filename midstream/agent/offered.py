"""Which tools a turn has, what the model sees of them, and which of them it shall call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ..core import turn
from ..core.agents import AgentAsk, Loaded, Tool
from ..core.errors import BadRequest
from ..core.turn import MODES, ToolChoice


def tools_of(loaded: Loaded, ask: AgentAsk, built_in: Sequence[Tool] = ()) -> tuple[Tool, ...]:
    """The agent's own or those the request names, then the request's built-in and extra ones; each with all mapped
    arguments that the version and the request say. Of two with one name, the one closer to the request.

    built_in: what may be named in `built_in_tools`. Raises BadRequest, code tool_unknown."""
    chosen = loaded.tools if ask.tools is None else _named(ask.tools, loaded.tools, "tools", ask.tool_places)
    found = {tool.name: tool for tool in reversed(chosen)}  # the first of a name counts
    ordered = {tool.name: found[tool.name] for tool in chosen}
    for tool in (*_named(ask.built_in_tools, built_in, "built_in_tools"), *ask.extra_tools):
        ordered[tool.name] = tool
    return tuple(mapped(tool, loaded, ask) for tool in ordered.values())


def unplaced(loaded: Loaded, ask: AgentAsk, tools: Sequence[Tool]) -> tuple[str, ...]:
    """The request's mapped arguments of tools that this turn does not have, by path. tools: its own, see tools_of.
    Only those of an MCP server may be away for a while. Raises BadRequest, code tool_unknown."""
    known = {word for tool in (*tools, *(stored for _, stored in loaded.pre_tools)) for word in (tool.id, tool.name)}
    lost = [name for name in ask.variables_path if name not in known]
    paths = tuple(f"variables_path.{name}" for name in lost)
    if paths and not loaded.spec.mcp_servers:
        raise BadRequest(f"{paths[0]}: no such tool: {lost[0]}", code="tool_unknown", param=paths[0])
    return paths


def _named(names: Sequence[str], tools: Sequence[Tool], field: str, places: Sequence[int] = ()) -> tuple[Tool, ...]:
    known = {word: tool for tool in reversed(tools) for word in (tool.id, tool.name) if word}
    for place, name in zip(places or range(len(names)), names, strict=True):
        if name not in known:
            path = f"{field}.{place}"
            raise BadRequest(f"{path}: no such tool: {name}", code="tool_unknown", param=path)
    return tuple(known[name] for name in names)


def mapped(tool: Tool, loaded: Loaded, ask: AgentAsk) -> Tool:
    """With every mapped argument. The request wins over the version, and what is said of a tool by its id over what is
    said by its name."""
    paths = dict(tool.mapped)
    for layer in (loaded.spec.variables_path, ask.variables_path):
        paths |= layer.get(tool.name, {})
        paths |= layer.get(tool.id, {}) if tool.id else {}
    return tool if paths == tool.mapped else replace(tool, mapped=paths)


def shown(tool: Tool) -> turn.Tool:
    """As the model is told of it: without the mapped arguments."""
    return turn.Tool(tool.name, tool.description or None, visible_schema(tool.parameters, tool.mapped), tool.strict)


def visible_schema(schema: Mapping[str, Any], mapped: Mapping[str, str]) -> dict[str, Any]:
    """An object's schema without the mapped properties, required ones included."""
    out = {"type": "object", "properties": {}, **schema}
    if mapped:
        out["properties"] = {name: one for name, one in out["properties"].items() if name not in mapped}
        if "required" in out:
            out["required"] = [name for name in out["required"] if name not in mapped]
            if not out["required"]:
                del out["required"]
    return out


def choice_of(value: Any, tools: Sequence[Tool], path: str) -> ToolChoice | None:
    """value: a mode, a tool's name or id, or an object that names one as the services write it. None = the default.

    Raises BadRequest, code tool_choice_invalid."""
    name = chosen_name(value, path)
    if not name:
        return None
    if name in MODES:
        mode = MODES[name]
        return None if mode == "auto" else ToolChoice(mode)  # type: ignore[arg-type]
    for tool in tools:
        if name in (tool.name, tool.id):
            return ToolChoice("tool", (tool.name,))
    raise _invalid(path, f"no such tool: {name}")


def chosen_name(value: Any, path: str) -> str:
    """The mode or the tool that it names, "" = none. Raises BadRequest, code tool_choice_invalid."""
    if value is None or value == "":
        return ""
    name = _name_in(value)
    if name is None:
        raise _invalid(path, "must be auto, none, required, or a tool's name")
    return name


def _name_in(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return None
    function = value.get("function")
    inner = function.get("name") if isinstance(function, Mapping) else None
    for name in (inner, value.get("name"), value.get("type"), value.get("mode")):
        if isinstance(name, str) and name:
            return name
    return None


def _invalid(path: str, why: str) -> BadRequest:
    return BadRequest(f"{path}: {why}", code="tool_choice_invalid", param=path)
