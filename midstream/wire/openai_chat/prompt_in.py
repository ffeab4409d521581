"""A request's fields -> Prompt."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from ...core.errors import BadRequest
from ...core.turn import Fields, Format, Params, Prompt, Thinking, Tool, ToolChoice
from ..strict_json import read_field
from .content_in import read_cache, rest_of, text_at
from .messages_in import MessagesReader

_decode = msgspec.json.Decoder().decode
_Count = Annotated[int, Meta(ge=1)]

#: Fields with a neutral meaning, and those that are the face's own business.
_READ = frozenset(
    {
        "model", "messages", "stream", "stream_options", "conversation", "store",
        "tools", "functions", "tool_choice", "function_call",
        "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "frequency_penalty",
        "presence_penalty", "seed", "stop", "n", "logprobs", "top_logprobs", "logit_bias", "response_format",
        "reasoning_effort", "reasoning", "thinking", "parallel_tool_calls", "user", "service_tier",
        "prompt_cache_key", "verbosity", "modalities", "audio",
    }
)  # fmt: skip


def read_ask(fields: Fields) -> Prompt:
    """Raises BadRequest with the path of the first field that does not make sense."""
    raws = read_field(fields, "messages", list[Raw], [])
    if not raws:
        code = "invalid_request" if "messages" in fields else "missing_required_parameter"
        raise BadRequest("messages must be an array of at least one message", param="messages", code=code)
    return Prompt(
        messages=MessagesReader().read(raws),
        tools=_tools(fields),
        tool_choice=_tool_choice(fields),
        params=_params(fields),
        extras={
            name: value for name, raw in fields.items() if name not in _READ and (value := _decode(raw)) is not None
        },
    )


def offers_functions(fields: Fields) -> bool:
    """Does it offer `functions` and no `tools`? Who does reads one call of an answer, as its `function_call`."""
    return _lists_any(fields, "functions") and not _lists_any(fields, "tools")


def _lists_any(fields: Fields, name: str) -> bool:
    listed = bytes(fields.get(name, b"[]"))
    return listed[:1] == b"[" and listed[1:].lstrip()[:1] != b"]"


def _params(fields: Fields) -> Params:
    limit: int | None = read_field(fields, "max_completion_tokens", _Count | None, None)  # type: ignore[arg-type]
    if limit is None:
        limit = read_field(fields, "max_tokens", _Count | None, None)  # type: ignore[arg-type]
    return Params(
        max_tokens=limit,
        temperature=_number(fields, "temperature"),
        top_p=_number(fields, "top_p"),
        top_k=_count(fields, "top_k"),
        frequency_penalty=_number(fields, "frequency_penalty"),
        presence_penalty=_number(fields, "presence_penalty"),
        seed=_count(fields, "seed"),
        stop=_stop(fields),
        n=read_field(fields, "n", _Count | None, None),  # type: ignore[arg-type]
        logprobs=_flag(fields, "logprobs"),
        top_logprobs=_count(fields, "top_logprobs"),
        logit_bias=read_field(fields, "logit_bias", dict[str, float] | None, None),  # type: ignore[arg-type]
        format=_format(fields),
        thinking=_thinking(fields),
        parallel_tools=False if offers_functions(fields) else _flag(fields, "parallel_tool_calls"),
        user=_word(fields, "user"),
        service_tier=_word(fields, "service_tier"),
        cache_key=_word(fields, "prompt_cache_key"),
        verbosity=_word(fields, "verbosity"),
        modalities=tuple(read_field(fields, "modalities", list[str], [])),
        audio=_object(fields, "audio"),
    )


def _number(fields: Fields, name: str) -> float | None:
    return read_field(fields, name, float | None, None)  # type: ignore[arg-type]


def _count(fields: Fields, name: str) -> int | None:
    return read_field(fields, name, int | None, None)  # type: ignore[arg-type]


def _flag(fields: Fields, name: str) -> bool | None:
    return read_field(fields, name, bool | None, None)  # type: ignore[arg-type]


def _word(fields: Fields, name: str) -> str | None:
    return read_field(fields, name, str | None, None)  # type: ignore[arg-type]


def _object(fields: Fields, name: str) -> dict[str, Any] | None:
    return read_field(fields, name, dict[str, Any] | None, None)  # type: ignore[arg-type]


def _stop(fields: Fields) -> tuple[str, ...]:
    told: Any = read_field(fields, "stop", str | list[str], [])  # type: ignore[arg-type]
    return (told,) if isinstance(told, str) else tuple(told)


def _format(fields: Fields) -> Format | None:
    told = _object(fields, "response_format")
    if told is None:
        return None
    kind = told.get("type")
    if kind == "text":
        return Format("text")
    if kind == "json_object":
        return Format("json")
    if kind != "json_schema":
        raise BadRequest("response_format.type must be text, json_object or json_schema", param="response_format.type")
    inner = told.get("json_schema")
    if not isinstance(inner, dict) or not isinstance(inner.get("schema", {}), dict):
        raise BadRequest("response_format.json_schema must hold a schema", param="response_format.json_schema")
    strict, described = inner.get("strict"), inner.get("description")
    return Format(
        "json_schema",
        schema=inner.get("schema"),
        # Many services do without: where one is needed, it is made up for.
        name=None if inner.get("name") is None else text_at(inner, "name", "response_format.json_schema"),
        description=described if isinstance(described, str) else None,
        strict=strict if isinstance(strict, bool) else None,
    )


def _thinking(fields: Fields) -> Thinking | None:
    """reasoning_effort; OpenRouter's reasoning object; the {type, budget_tokens} object of other services."""
    effort = _word(fields, "reasoning_effort")
    wide = _object(fields, "reasoning")
    switch = _object(fields, "thinking")
    if wide is not None:
        return Thinking(
            effort=_effort(wide, effort),
            budget=_typed(wide, "max_tokens", int, "reasoning"),
            show=False if _typed(wide, "exclude", bool, "reasoning") else None,
            summary=_typed(wide, "summary", str, "reasoning"),
        )
    if switch is not None:
        if switch.get("type") == "disabled":
            return Thinking(effort=effort or "none")
        budget = _typed(switch, "budget_tokens", int, "thinking")
        return Thinking(effort=effort, budget=budget if budget is not None or effort else -1)
    return Thinking(effort=effort) if effort is not None else None


def _effort(wide: dict[str, Any], effort: str | None) -> str | None:
    told: str | None = _typed(wide, "effort", str, "reasoning")
    if told is None and wide.get("max_tokens") is None and wide.get("enabled") is not None:
        told = "medium" if wide["enabled"] else "none"
    return told if told is not None else effort


def _typed(told: dict[str, Any], name: str, kind: type, path: str) -> Any:
    value = told.get(name)
    if value is not None and type(value) is not kind:
        raise BadRequest(f"{path}.{name} must be of type {kind.__name__}", param=f"{path}.{name}")
    return value


def _tools(fields: Fields) -> tuple[Tool, ...]:
    tools: list[Any] = read_field(fields, "tools", list[Any], [])
    legacy: list[Any] = read_field(fields, "functions", list[Any], [])
    read = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    return (*read, *(_function(told, f"functions[{at}]") for at, told in enumerate(legacy)))


def _tool(tool: Any, path: str) -> Tool:
    if not isinstance(tool, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    kind = tool.get("type", "function")
    if not isinstance(kind, str):
        raise BadRequest(f"{path}.type must be a string", param=f"{path}.type")
    cache = read_cache(tool, path)
    if kind == "function":
        state = rest_of(tool, frozenset({"type", "function", "cache_control"}))
        return msgspec.structs.replace(_function(tool.get("function"), f"{path}.function"), cache=cache, state=state)
    inner = tool.get("custom")
    if kind != "custom" or not isinstance(inner, dict):
        return Tool(kind, kind="hosted", cache=cache, state=rest_of(tool, frozenset()))
    return Tool(
        text_at(inner, "name", f"{path}.custom"),
        description=_typed(inner, "description", str, f"{path}.custom"),
        kind="custom",
        cache=cache,
        state=rest_of(inner, frozenset({"name", "description"})),
    )


def _function(told: Any, path: str) -> Tool:
    if not isinstance(told, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    return Tool(
        text_at(told, "name", path),
        description=_typed(told, "description", str, path),
        parameters=_typed(told, "parameters", dict, path),
        strict=_typed(told, "strict", bool, path),
    )


def _tool_choice(fields: Fields) -> ToolChoice | None:
    name = "tool_choice" if "tool_choice" in fields else "function_call"
    told: Any = read_field(fields, name, object, None)
    if told is None:
        return None
    if told in ("auto", "none", "required"):
        return ToolChoice(told)
    if told == "any":  # Mistral's word
        return ToolChoice("required")
    if isinstance(told, dict):
        return _chosen(told, name)
    raise BadRequest(f"{name} must be auto, none, required or an object", param=name)


def _chosen(told: dict[str, Any], path: str) -> ToolChoice:
    allowed = told.get("allowed_tools")
    if isinstance(allowed, dict):
        mode = allowed.get("mode", "auto")
        if mode not in ("auto", "required"):
            raise BadRequest(f"{path}.allowed_tools.mode must be auto or required", param=f"{path}.allowed_tools.mode")
        tools = allowed.get("tools")
        if not isinstance(tools, list):
            raise BadRequest(f"{path}.allowed_tools.tools must be an array", param=f"{path}.allowed_tools.tools")
        return ToolChoice(
            mode, tuple(_name(tool, f"{path}.allowed_tools.tools[{at}]") for at, tool in enumerate(tools))
        )
    return ToolChoice("tool", (_name(told, path),))


def _name(told: Any, path: str) -> str:
    """The name in {type: function, function: {name}}, in its custom twin, or in the old {name}."""
    if not isinstance(told, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    for kind in ("function", "custom"):
        if isinstance(told.get(kind), dict):
            return text_at(told[kind], "name", f"{path}.{kind}")
    return text_at(told, "name", path)
