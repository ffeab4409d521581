"""A request of this dialect as a neutral Prompt."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import BadRequest
from ...core.parts import Message, State, Text
from ...core.turn import Fields, Format, Params, Prompt, Thinking, Tool, ToolChoice
from ..strict_json import read_field
from .grammar import ENCRYPTED, LOGPROBS, NAME
from .read_items import read_input, required

_decode = msgspec.json.Decoder().decode

_READ = frozenset(
    {
        "model", "stream", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include",
        "max_output_tokens", "temperature", "top_p", "top_logprobs", "parallel_tool_calls", "user",
        "prompt_cache_key", "service_tier",
    }
)  # fmt: skip
#: Any of them stands for an input that is not in the request.
_INSTEAD_OF_INPUT = ("prompt", "previous_response_id", "conversation")
_FUNCTION = frozenset({"type", "name", "description", "parameters", "strict"})
_CUSTOM = frozenset({"type", "name", "description"})


def read_ask(fields: Fields) -> Prompt:
    """`instructions` become a system message in front, the only one without native. Fields about state (store,
    previous_response_id, conversation, background, ...), unknown ones and unknown members of text and reasoning
    ("reasoning.context") are in extras. Raises BadRequest with the field's path."""
    messages = _messages(fields)
    extras = {name: _decode(raw) for name, raw in fields.items() if name not in _READ and bytes(raw) != b"null"}
    params = _params(fields, extras)
    tools = _tools(read_field(fields, "tools", list, []))
    choice = _choice(_value(fields, "tool_choice"), extras)
    return Prompt(messages, tools, choice, params, extras)


def _value(fields: Fields, name: str) -> Any:
    raw = fields.get(name)
    return None if raw is None else _decode(raw)


def _messages(fields: Fields) -> tuple[Message, ...]:
    instructions = read_field(fields, "instructions", str, "")
    system = (Message("system", (Text(instructions),)),) if instructions else ()
    raw = bytes(fields.get("input", b"null"))
    if raw == b"null":
        if not any(bytes(fields.get(name, b"null")) != b"null" for name in _INSTEAD_OF_INPUT):
            raise BadRequest("input is required", param="input")
        return system
    return system + read_input(raw)


def _params(fields: Fields, extras: dict[str, Any]) -> Params:
    form, verbosity = _text(read_field(fields, "text", dict, {}), extras)
    user = read_field(fields, "user", str, "") or None
    if user is None:
        user = extras.pop("safety_identifier", None)
        if user is not None and not isinstance(user, str):
            raise BadRequest("safety_identifier must be a string", param="safety_identifier")
    top_logprobs = _number(fields, "top_logprobs", int)
    wanted = _include(read_field(fields, "include", list, []), extras)
    return Params(
        max_tokens=_number(fields, "max_output_tokens", int),
        temperature=_number(fields, "temperature", float),
        top_p=_number(fields, "top_p", float),
        logprobs=True if wanted or top_logprobs else None,
        top_logprobs=top_logprobs,
        format=form,
        thinking=_thinking(read_field(fields, "reasoning", dict, {}), extras),
        parallel_tools=_number(fields, "parallel_tool_calls", bool),
        user=user,
        service_tier=read_field(fields, "service_tier", str, "") or None,
        cache_key=read_field(fields, "prompt_cache_key", str, "") or None,
        verbosity=verbosity,
    )


def _number(fields: Fields, name: str, kind: Any) -> Any:
    return read_field(fields, name, kind | None, None)


def _include(include: list[Any], extras: dict[str, Any]) -> bool:
    """Are logprobs wanted? What else is asked for (but for encrypted reasoning, which is always kept) is an extra."""
    if not all(isinstance(wish, str) for wish in include):
        raise BadRequest("include must be a list of strings", param="include")
    rest = [wish for wish in include if wish not in (ENCRYPTED, LOGPROBS)]
    if rest:
        extras["include"] = rest
    return LOGPROBS in include


def _thinking(reasoning: dict[str, Any], extras: dict[str, Any]) -> Thinking | None:
    effort = _word(reasoning, "effort", "reasoning")
    summary = _word(reasoning, "summary", "reasoning") or _word(reasoning, "generate_summary", "reasoning")
    _leave(reasoning, ("effort", "summary", "generate_summary"), "reasoning", extras)
    if effort is None and summary is None:
        return None
    return Thinking(effort=effort, show=True if summary else None, summary=summary)


def _word(value: dict[str, Any], name: str, path: str) -> str | None:
    word = value.get(name)
    if word is not None and not isinstance(word, str):
        raise BadRequest(f"{path}.{name} must be a string", param=f"{path}.{name}")
    return word


def _leave(value: dict[str, Any], known: tuple[str, ...], path: str, extras: dict[str, Any]) -> None:
    extras.update({f"{path}.{name}": more for name, more in value.items() if name not in known and more is not None})


def _text(text: dict[str, Any], extras: dict[str, Any]) -> tuple[Format | None, str | None]:
    _leave(text, ("format", "verbosity"), "text", extras)
    verbosity = _word(text, "verbosity", "text")
    form = text.get("format")
    if form is None:
        return None, verbosity
    if not isinstance(form, dict):
        raise BadRequest("text.format must be an object", param="text.format")
    kind = form.get("type")
    if kind == "text":
        return Format("text"), verbosity
    if kind == "json_object":
        return Format("json"), verbosity
    if kind != "json_schema":
        raise BadRequest("text.format.type must be text, json_object or json_schema", param="text.format.type")
    schema, strict = form.get("schema"), form.get("strict")
    if not isinstance(schema, dict):
        raise BadRequest("text.format.schema must be an object", param="text.format.schema")
    if strict is not None and not isinstance(strict, bool):
        raise BadRequest("text.format.strict must be true or false", param="text.format.strict")
    name = required(form, "name", "text.format")
    return Format("json_schema", schema, name, _word(form, "description", "text.format"), strict), verbosity


def _tools(tools: list[Any]) -> tuple[Tool, ...]:
    return tuple([_tool(tool, f"tools[{number}]") for number, tool in enumerate(tools)])


def _tool(tool: Any, path: str) -> Tool:
    if not isinstance(tool, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    kind = required(tool, "type", path)
    if kind == "custom":
        name, description = required(tool, "name", path), _word(tool, "description", path)
        return Tool(name, description, kind="custom", state=_rest(tool, _CUSTOM))
    if kind != "function":
        return Tool(hosted_name(tool), kind="hosted", state=State(NAME, tool))
    parameters, strict = tool.get("parameters"), tool.get("strict")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadRequest(f"{path}.parameters must be an object", param=f"{path}.parameters")
    if strict is not None and not isinstance(strict, bool):
        raise BadRequest(f"{path}.strict must be true or false", param=f"{path}.strict")
    name, description = required(tool, "name", path), _word(tool, "description", path)
    return Tool(name, description, parameters, strict, state=_rest(tool, _FUNCTION))


def _rest(tool: dict[str, Any], known: frozenset[str]) -> State | None:
    rest = {name: value for name, value in tool.items() if name not in known and value is not None}
    return State(NAME, rest) if rest else None


def hosted_name(tool: dict[str, Any]) -> str:
    """What tells one hosted tool from another: its name (namespace), label (mcp), or type."""
    for name in ("name", "server_label"):
        if isinstance(tool.get(name), str) and tool[name]:
            return str(tool[name])
    return str(tool["type"])


def _choice(choice: Any, extras: dict[str, Any]) -> ToolChoice | None:
    """A forced hosted tool has no neutral meaning: it is an extra."""
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if not isinstance(choice, dict):
        raise BadRequest("tool_choice must be auto, none, required or an object", param="tool_choice")
    kind = choice.get("type")
    if kind in ("function", "custom"):
        return ToolChoice("tool", (required(choice, "name", "tool_choice"),))
    if kind == "allowed_tools":
        return _allowed(choice)
    extras["tool_choice"] = choice
    return None


def _allowed(choice: dict[str, Any]) -> ToolChoice:
    mode, tools = choice.get("mode", "auto"), choice.get("tools")
    if mode not in ("auto", "required"):
        raise BadRequest("tool_choice.mode must be auto or required", param="tool_choice.mode")
    if not isinstance(tools, list):
        raise BadRequest("tool_choice.tools must be a list", param="tool_choice.tools")
    names = []
    for number, tool in enumerate(tools):
        path = f"tool_choice.tools[{number}]"
        if not isinstance(tool, dict):
            raise BadRequest(f"{path} must be an object", param=path)
        required(tool, "type", path)
        names.append(hosted_name(tool))
    return ToolChoice(mode, tuple(names))
