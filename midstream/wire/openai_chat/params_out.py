"""Tools, tool choice and parameters as this dialect's fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...core.json_words import JSON_ONLY, speaks_of_json
from ...core.parts import Message
from ...core.turn import Format, Params, Prompt, Thinking, Tool
from ..openai_models import effort_of, nearest_effort
from .dropped import Dropped
from .parts_out import own, own_members
from .quirks import Quirks

_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
#: How many stop sequences are taken.
_MAX_STOPS = 4


def write_tools(prompt: Prompt, quirks: Quirks, dropped: Dropped) -> list[dict[str, Any]]:
    choice = prompt.tool_choice
    only = set(choice.names) if choice and choice.mode in ("auto", "required") and not quirks.allowed_tools else None
    written = []
    for tool in prompt.tools:
        if only and tool.name not in only:
            continue
        one = _tool(tool, quirks, dropped)
        if one is None:
            dropped.add(f"tools.{tool.name}")
            continue
        if tool.cache is not None:
            if quirks.cache_control:
                one["cache_control"] = cache_mark(tool.cache.ttl)
            else:
                dropped.add("cache_control")
        written.append(one)
    return written


def cache_mark(ttl: str) -> dict[str, str]:
    """Five minutes is what a mark means when it says nothing."""
    return {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}


def _tool(tool: Tool, quirks: Quirks, dropped: Dropped) -> dict[str, Any] | None:
    if tool.kind == "hosted":
        payload = own(tool.state)
        return dict(payload) if isinstance(payload, dict) else None
    if tool.kind == "custom" and tool.state is not None and not (own_members(tool.state) and quirks.custom_tools):
        dropped.add(f"tools.{tool.name}.format")
    if tool.kind == "custom" and quirks.custom_tools:
        custom: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            custom["description"] = tool.description
        return {"type": "custom", "custom": custom | own_members(tool.state)}
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.kind == "custom":
        function["parameters"] = {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
        }
        return {"type": "function", "function": function}
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function, **own_members(tool.state)}


def write_tool_choice(prompt: Prompt, quirks: Quirks) -> Any:
    choice = prompt.tool_choice
    if choice is None:
        return None
    custom = {tool.name for tool in prompt.tools if tool.kind == "custom"} if quirks.custom_tools else set()
    if choice.mode == "tool" and choice.names:
        return _chosen(choice.names[0], custom)
    mode = "required" if choice.mode == "tool" else choice.mode
    if choice.names and quirks.allowed_tools:
        tools = [_chosen(name, custom) for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    return quirks.required_word if mode == "required" else mode


def _chosen(name: str, custom: set[str]) -> dict[str, Any]:
    kind = "custom" if name in custom else "function"
    return {"type": kind, kind: {"name": name}}


def write_params(params: Params, has_tools: bool, body: dict[str, Any], quirks: Quirks, dropped: Dropped) -> None:
    """Adds the fields of params to body."""
    told: dict[str, tuple[str, Any]] = {
        "max_tokens": (quirks.max_tokens, params.max_tokens),
        "temperature": ("temperature", params.temperature),
        "top_p": ("top_p", params.top_p),
        "frequency_penalty": ("frequency_penalty", params.frequency_penalty),
        "presence_penalty": ("presence_penalty", params.presence_penalty),
        "seed": (quirks.seed, params.seed),
        "stop": ("stop", list(params.stop[:_MAX_STOPS]) or None),
        "n": ("n", params.n),
        "logprobs": ("logprobs", params.logprobs),
        "top_logprobs": ("top_logprobs", params.top_logprobs),
        "logit_bias": ("logit_bias", params.logit_bias),
        "format": ("response_format", _format(params.format)),
        "parallel_tools": ("parallel_tool_calls", params.parallel_tools if has_tools else None),
        "user": ("user", params.user),
        "cache_key": ("prompt_cache_key", params.cache_key),
        "verbosity": ("verbosity", params.verbosity),
        "modalities": ("modalities", list(params.modalities) or None),
        "audio": ("audio", params.audio),
    }
    for neutral, (name, value) in told.items():
        if value is None:
            continue
        if name in quirks.lacks:
            dropped.add(neutral)
        else:
            body[name] = value
    _write_bounded(params, body, quirks, dropped)
    if params.thinking is not None:
        _write_thinking(params.thinking, body, quirks, dropped)


def _write_bounded(params: Params, body: dict[str, Any], quirks: Quirks, dropped: Dropped) -> None:
    """Parameters that a service takes in part."""
    if params.top_k is not None:
        if quirks.top_k:
            body["top_k"] = params.top_k
        else:
            dropped.add("top_k")
    if body.get("temperature", 0.0) > quirks.max_temperature:
        body["temperature"] = quirks.max_temperature
        dropped.add("temperature")
    if len(params.stop) > _MAX_STOPS:
        dropped.add("stop")
    tier = "default" if params.service_tier == "standard_only" else params.service_tier
    if tier is not None:
        if tier in _TIERS and "service_tier" not in quirks.lacks:
            body["service_tier"] = tier
        else:
            dropped.add("service_tier")


def _format(form: Format | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form.kind == "text":
        return {"type": "text"}
    if form.kind == "json":
        return {"type": "json_object"}
    inner: dict[str, Any] = {"name": form.name or "answer", "schema": form.schema or {}}
    if form.description is not None:
        inner["description"] = form.description
    if form.strict is not None:
        inner["strict"] = form.strict
    return {"type": "json_schema", "json_schema": inner}


def instruction_for(form: Format | None, messages: Iterable[Message]) -> str | None:
    """What is told besides, as JSON without a schema is given only when the messages speak of it."""
    return JSON_ONLY if form is not None and form.kind == "json" and not speaks_of_json(messages) else None


def _write_thinking(thinking: Thinking, body: dict[str, Any], quirks: Quirks, dropped: Dropped) -> None:
    if thinking.off and thinking.effort not in (None, "none"):
        dropped.add("effort")
    if quirks.reasoning is None:
        if not thinking.off:  # which is what such a model does anyway
            _drop_thinking(thinking, dropped)
        return
    if quirks.reasoning == "reasoning":
        body["reasoning"] = _wide(thinking)
        return
    effort = "none" if thinking.off else thinking.effort or effort_of(thinking.budget)
    if effort is not None:
        word = body["reasoning_effort"] = nearest_effort(effort, quirks.efforts)
        if thinking.off and word != "none":
            _drop_thinking(thinking, dropped)
    if thinking.summary is not None:
        dropped.add("reasoning.summary")
    if thinking.show is not None:
        dropped.add("show")


def _drop_thinking(thinking: Thinking, dropped: Dropped) -> None:
    if thinking.budget is not None or thinking.effort is None:
        dropped.add("thinking")
    if thinking.effort is not None:
        dropped.add("effort")


def _wide(thinking: Thinking) -> dict[str, Any]:
    """OpenRouter's object, which takes either a word or a number of tokens."""
    wide: dict[str, Any] = {}
    if thinking.budget is not None and thinking.budget > 0:
        wide["max_tokens"] = thinking.budget
    elif thinking.off:
        wide["effort"] = "none"
    elif thinking.effort is not None:
        wide["effort"] = thinking.effort
    else:
        wide["enabled"] = True
    if thinking.show is False:
        wide["exclude"] = True
    if thinking.summary is not None:
        wide["summary"] = thinking.summary
    return wide
