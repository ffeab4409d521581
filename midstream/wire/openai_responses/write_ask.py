"""A Plan as a request body of this dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.json_words import JSON_ONLY, speaks_of_json
from ...core.parts import Message, Text
from ...core.turn import Asked, Fields, Format, Plan, Prompt, Thinking, Tool, ToolChoice
from ...core.unread import check_left
from ..openai_models import effort_of, efforts_of, nearest_effort, reasons, samples_at_will
from ..stranded import stranded
from ..strict_json import write_object
from .grammar import ENCRYPTED, LOGPROBS, NAME, own
from .write_items import ItemWriter, is_marked, media

_encode = msgspec.json.Encoder().encode

#: Neutral parameters that this dialect has no word for.
_WORDLESS = (
    "top_k", "frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias", "audio",
)  # fmt: skip
_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
#: What other dialects call them, where it is another word.
_CALLERS_WORDS: dict[str, dict[str, str]] = {
    "anthropic_messages": {"stop": "stop_sequences"},
    "gemini": {
        "max_tokens": "maxOutputTokens", "top_k": "topK", "top_p": "topP", "stop": "stopSequences",
        "n": "candidateCount", "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
        "modalities": "responseModalities", "audio": "speechConfig",
    },
}  # fmt: skip
#: What their callers call the reasoning knob, and its word of effort; of Chat Completions and our own: one of
#: the names.
_THINKING_WORDS = {"anthropic_messages": ("thinking", "output_config.effort"), "gemini": ("thinkingConfig",) * 2}
_THINKING_NAMES = ("reasoning_effort", "reasoning", "thinking")
#: Other dialects' top-level fields that mean the same here.
_CARRIED = ("metadata", "safety_identifier", "prompt_cache_retention", "prompt_cache_options", "moderation")
#: Fields about how this server answers: nothing for a provider, nothing to report.
_ABOUT_US = ("model", "stream", "stream_options", "store", "conversation")


#: The caller's fields that this server acts on itself.
_OURS = frozenset({"conversation", "previous_response_id", "background"})
#: The lowest max_output_tokens that the service accepts; a lower one is raised and reported.
_FEWEST_TOKENS = 16


def write_ask(plan: Plan) -> Asked:
    """The request body, and what of the caller's words it cannot carry."""
    return _patched(plan) if plan.turn.dialect == NAME else _translated(plan)


def _patched(plan: Plan) -> Asked:
    """The caller's own bytes; only model, stream and what is ours differ, and history goes before the input."""
    left_out = _OURS if plan.stream else _OURS | {"stream_options"}
    fields = {name: raw for name, raw in plan.turn.fields.items() if name not in left_out}
    fields["model"] = Raw(_encode(plan.model))
    if plan.stream != (bytes(fields.get("stream", b"false")) == b"true"):
        fields["stream"] = Raw(b"true" if plan.stream else b"false")
    writer = ItemWriter()
    if plan.history:
        fields["input"] = Raw(_with_history(writer.write(plan.history), fields))
    return Asked(write_object(fields), tuple(writer.dropped))


def _with_history(items: list[Any], fields: Fields) -> bytes:
    """One array: history's items, then the caller's own, byte for byte."""
    before = _encode(items)[1:-1]
    own_input = bytes(fields.get("input", b"null")).strip()
    if own_input[:1] == b'"':
        after = b'{"role":"user","content":' + own_input + b"}"
    else:
        after = own_input[1:-1].strip() if own_input[:1] == b"[" else b""
    return b"[" + b",".join([piece for piece in (before, after) if piece]) + b"]"


def _one_answer(plan: Plan) -> None:
    """Raises BadRequest when several answers are asked for: there is no switch for it, and one is not what is meant."""
    if (plan.turn.prompt.params.n or 1) > 1:
        word = _CALLERS_WORDS.get(plan.turn.dialect, {}).get("n", "n")
        raise BadRequest(f"{word}: this provider gives one answer to a request", param=word, code="unsupported")


def _translated(plan: Plan) -> Asked:
    _one_answer(plan)
    prompt = plan.turn.prompt
    leading, rest = _leading_system(prompt.messages)
    writer = ItemWriter()
    body: dict[str, Any] = {"model": plan.model}
    if leading:
        body["instructions"] = "\n\n".join(leading)
    said = (*plan.history, *rest)
    body["input"] = [*_json_word(prompt.params.format, said), *writer.write(said)]
    check_left(prompt.messages, lambda one: media(one) is not None)
    dropped: list[str] = []
    if plan.stream:
        body["stream"] = True
    body["store"] = False
    _write_tools(prompt, body, dropped)
    _write_params(prompt, body, dropped)
    _write_reasoning(plan, body, dropped)
    include = [ENCRYPTED] if reasons(plan.model) else []
    if prompt.params.logprobs:
        include.append(LOGPROBS)
    if include:
        body["include"] = include
    dropped.extend(stranded(prompt, plan.turn.dialect, NAME))
    if _is_marked(prompt):
        dropped.append("cache_control")
    _write_extras(prompt.extras, body, dropped)
    if not samples_at_will(plan.model):
        for name in ("temperature", "top_p"):
            if body.pop(name, None) is not None:
                dropped.append(name)
    return Asked(_encode(body), _in_callers_words(writer.dropped, dropped, plan))


def _in_callers_words(parts: list[str], dropped: list[str], plan: Plan) -> tuple[str, ...]:
    """Each once, parameters by the name that the caller gave them."""
    words = dict(_CALLERS_WORDS.get(plan.turn.dialect, {}))
    if "max_completion_tokens" in plan.turn.fields:
        words["max_tokens"] = "max_completion_tokens"
    return tuple(dict.fromkeys([*parts, *[words.get(name, name) for name in dropped]]))


def _is_marked(prompt: Prompt) -> bool:
    marked = any(is_marked(part) for message in prompt.messages for part in message.parts)
    return marked or any(tool.cache is not None for tool in prompt.tools)


def _leading_system(messages: tuple[Message, ...]) -> tuple[list[str], tuple[Message, ...]]:
    """The texts of the system messages that open the conversation, which become `instructions`: so history follows
    them. A system message with anything but text, or later in the conversation, keeps its place as an item."""
    texts: list[str] = []
    for number, message in enumerate(messages):
        if message.role not in ("system", "developer") or not all(type(part) is Text for part in message.parts):
            return texts, messages[number:]
        texts.append("\n\n".join([part.text for part in message.parts if type(part) is Text]))
    return texts, ()


def _json_word(form: Format | None, said: tuple[Message, ...]) -> list[dict[str, str]]:
    """JSON without a schema is refused when no message of the input speaks of it. Neither `instructions` nor a system
    message count as one."""
    if form is None or form.kind != "json" or speaks_of_json(one for one in said if one.role != "system"):
        return []
    return [{"role": "developer", "content": JSON_ONLY}]


def _write_tools(prompt: Prompt, body: dict[str, Any], dropped: list[str]) -> None:
    tools = [written for tool in prompt.tools if (written := tool_object(tool)) is not None]
    dropped.extend(f"tools.{tool.name}" for tool in prompt.tools if tool_object(tool) is None)
    if tools:
        body["tools"] = tools
    if prompt.tool_choice is not None and (tools or prompt.tool_choice.mode == "none"):
        body["tool_choice"] = choice_value(prompt.tool_choice, prompt.tools)


def tool_object(tool: Tool) -> dict[str, Any] | None:
    """None for another dialect's hosted tool. A function is strict here unless it says otherwise, elsewhere not."""
    rest = own(tool.state)
    if tool.kind == "hosted":
        return rest or None
    if tool.kind == "custom":
        custom = {"type": "custom", "name": tool.name, "description": tool.description}
        return {name: value for name, value in custom.items() if value is not None} | rest
    function: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    function["strict"] = bool(tool.strict)
    return function | rest


def choice_value(choice: ToolChoice, tools: tuple[Tool, ...]) -> Any:
    """tool_choice: a word, one tool, or allowed_tools."""
    others = {tool.name: tool for tool in reversed(tools) if tool.kind != "function"}
    objects = [_named(name, others.get(name)) for name in choice.names]
    if choice.mode == "tool" and objects:
        return objects[0]
    if choice.mode in ("auto", "required") and objects:
        return {"type": "allowed_tools", "mode": choice.mode, "tools": objects}
    return "required" if choice.mode == "tool" else choice.mode


def _named(name: str, other: Tool | None) -> dict[str, Any]:
    """other: the tool of that name which is no function."""
    if other is None:
        return {"type": "function", "name": name}
    if other.kind == "custom":
        return {"type": "custom", "name": name}
    given = own(other.state)
    label = {"server_label": given["server_label"]} if "server_label" in given else {}
    return {"type": given.get("type", name), **label}


def _write_params(prompt: Prompt, body: dict[str, Any], dropped: list[str]) -> None:
    params = prompt.params
    if params.max_tokens is not None:
        body["max_output_tokens"] = max(params.max_tokens, _FEWEST_TOKENS)
        if params.max_tokens < _FEWEST_TOKENS:
            dropped.append("max_tokens")
    tier = "default" if params.service_tier == "standard_only" else params.service_tier
    for name, value in (
        ("temperature", params.temperature),
        ("top_p", params.top_p),
        ("top_logprobs", params.top_logprobs),
        ("parallel_tool_calls", params.parallel_tools),
        ("user", params.user),
        ("service_tier", tier if tier in _TIERS else None),
        ("prompt_cache_key", params.cache_key),
        ("text", _text(params.format, params.verbosity)),
    ):
        if value is not None:
            body[name] = value
    if tier is not None and tier not in _TIERS:
        dropped.append("service_tier")
    for name in _WORDLESS:
        value = getattr(params, name)
        if value is not None and value != ():
            dropped.append(name)
    if any(modality != "text" for modality in params.modalities):
        dropped.append("modalities")


def _text(form: Format | None, verbosity: str | None) -> dict[str, Any] | None:
    said: dict[str, Any] = {}
    if form is not None:
        said["format"] = _format(form)
    if verbosity is not None:
        said["verbosity"] = verbosity
    return said or None


def _format(form: Format) -> dict[str, Any]:
    if form.kind != "json_schema":
        return {"type": "json_object" if form.kind == "json" else "text"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", form.name or "")[:64] or "answer"
    written: dict[str, Any] = {"type": "json_schema", "name": name, "schema": form.schema or {"type": "object"}}
    if form.description is not None:
        written["description"] = form.description
    if form.strict is not None:
        written["strict"] = form.strict
    return written


def _write_reasoning(plan: Plan, body: dict[str, Any], dropped: list[str]) -> None:
    """No model is asked for what it refuses: one that does not reason for nothing of it, one that always does for as
    little as it can."""
    thinking = plan.turn.prompt.params.thinking
    if thinking is None:
        return
    known = efforts_of(plan.model)
    said = _reasoning(thinking, known)
    if said and known:
        body["reasoning"] = said
    whole, effort = _thinking_words(plan)
    if said and (thinking.off and said["effort"] != "none" if known else not thinking.off):
        dropped += [whole] if thinking.budget is not None or thinking.effort is None else []
        dropped += [effort] if thinking.effort is not None else []
    elif thinking.off and thinking.effort not in (None, "none"):
        dropped.append(effort)


def _thinking_words(plan: Plan) -> tuple[str, str]:
    """What the caller calls his reasoning knob, and its word of effort."""
    word = next((name for name in _THINKING_NAMES if name in plan.turn.fields), _THINKING_NAMES[0])
    return _THINKING_WORDS.get(plan.turn.dialect, (word, word))


def _reasoning(thinking: Thinking, known: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    effort = "none" if thinking.off else thinking.effort or effort_of(thinking.budget)
    summary = thinking.summary or ("auto" if thinking.show else None)
    if effort is not None:
        said["effort"] = nearest_effort(effort, known)
    if summary is not None:
        said["summary"] = summary
    return said


def _write_extras(extras: Mapping[str, Any], body: dict[str, Any], dropped: list[str]) -> None:
    for name, value in extras.items():
        if name in _CARRIED and (name != "metadata" or _is_metadata(value)):
            body[name] = value
        elif name not in _ABOUT_US:
            dropped.append(name)


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(word, str) for word in value.values())
