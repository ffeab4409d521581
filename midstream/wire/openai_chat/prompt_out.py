"""Plan -> a request body: the caller's own bytes where the dialect is ours, else written from the prompt."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.parts import ToolCall
from ...core.turn import Asked, Plan
from ...core.unread import check_left, reports_in
from ..stranded import stranded
from .dropped import Dropped
from .fitted import fitted
from .messages_out import MessagesWriter
from .params_out import instruction_for, write_params, write_tool_choice, write_tools
from .quirks import NAME, OPENAI, Quirks

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, Raw]).decode

#: OpenAI's own request fields, which nearly all of a request's are: their keys are written once.
_FIELDS = (
    "model", "messages", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options", "conversation",
)  # fmt: skip
_KEYS = {name: b',"' + name.encode() + b'":' for name in _FIELDS}
_PATCHED = frozenset({"model", "messages", "stream", "stream_options", "conversation", "store"})
_ASKS_USAGE = b'{"include_usage":true}'


def write_ask(plan: Plan, quirks: Quirks = OPENAI) -> Asked:
    """Raises BadRequest when the fields of another dialect do not make sense, and for several answers at once from
    a service that gives one."""
    own = plan.turn.dialect == NAME
    if quirks.one_answer and (not own or bytes(plan.turn.fields.get("n", b"1")) not in (b"1", b"null")):
        _one_answer(plan)
    return _patched(plan, quirks) if own else _translated(plan, quirks)


def _one_answer(plan: Plan) -> None:
    if (plan.turn.prompt.params.n or 1) > 1:
        word = Dropped(plan.turn.dialect).word("n")
        raise BadRequest(f"{word}: this provider gives one answer to a request", param=word, code="unsupported")


def _patched(plan: Plan, quirks: Quirks) -> Asked:
    """The caller's fields byte for byte, but for the few that one attempt decides."""
    out: list[Any] = []
    dropped: list[str] = []
    keys, lacks = _KEYS, quirks.lacks
    for name, raw in plan.turn.fields.items():
        if name in _PATCHED:
            _patch(name, raw, plan, quirks, out, dropped)
        elif name in lacks:
            if not _renamed(name, raw, plan, quirks, out):
                dropped.append(name)
        else:
            out.append(keys.get(name) or b"," + _encode(name) + b":")
            out.append(raw)
    if plan.stream:
        if "stream" not in plan.turn.fields:
            out.append(b',"stream":true')
        if quirks.stream_options and "stream_options" not in plan.turn.fields:
            out.append(b',"stream_options":' + _ASKS_USAGE)
    if "model" not in plan.turn.fields:
        out.append(_KEYS["model"] + _encode(plan.model))
    out[0] = b"{" + out[0][1:]  # no comma before the first key
    out.append(b"}")
    return Asked(b"".join(out), tuple(dropped))


def _patch(name: str, raw: Raw, plan: Plan, quirks: Quirks, out: list[Any], dropped: list[str]) -> None:
    value: Any = None
    if name == "messages":
        value = _messages(raw, plan, quirks, dropped)
    elif name == "model":
        value = _encode(plan.model)
    elif name == "stream":
        value = b"true" if plan.stream else raw if bytes(raw) == b"null" else b"false"
    elif name == "stream_options":
        if quirks.stream_options and plan.stream:
            value = _with_usage(raw)
        elif quirks.stream_options:
            value = raw if bytes(plan.turn.fields.get("stream", b"null")) != b"true" else None
        elif set(_options(raw)) - {"include_usage"}:
            dropped.append(name)
    elif name == "store" and quirks.forwards_store and name not in quirks.lacks:
        value = raw
    if value is not None:
        out.append(_KEYS[name])
        out.append(value)


def _options(raw: Raw) -> dict[str, Raw]:
    if bytes(raw) == b"null":
        return {}
    try:
        return _members(raw)
    except msgspec.ValidationError:
        raise BadRequest("stream_options must be an object", param="stream_options") from None


def _with_usage(raw: Raw) -> Raw | bytes:
    options = _options(raw)
    if bytes(options.get("include_usage", b"")) == b"true":
        return raw
    return _encode({**options, "include_usage": True})


def _renamed(name: str, raw: Raw, plan: Plan, quirks: Quirks, out: list[Any]) -> bool:
    """A limit or seed under the name that the service does take, unless the caller gave that too."""
    other = {"max_tokens": quirks.max_tokens, "max_completion_tokens": quirks.max_tokens, "seed": quirks.seed}.get(name)
    if other is None or other == name or other in plan.turn.fields:
        return False
    out.append(b"," + _encode(other) + b":")
    out.append(raw)
    return True


def _messages(raw: Raw, plan: Plan, quirks: Quirks, dropped: list[str]) -> Raw | bytes:
    whole = raw if plan.turn.only_texts else fitted(raw, quirks, dropped)
    if not plan.history:
        return whole
    own = bytes(whole).strip()
    if own[:1] != b"[":
        raise BadRequest("messages must be an array", param="messages")
    earlier = b",".join(_earlier(plan, quirks, dropped))
    rest = own[1:].lstrip()
    return b"[" + earlier + (rest if rest[:1] == b"]" else b"," + rest)


def _earlier(plan: Plan, quirks: Quirks, dropped: list[str]) -> list[bytes]:
    """What is left out of earlier turns was reported then, but for what words stand for."""
    lost = Dropped(NAME)
    open_call = any(isinstance(part, ToolCall) for part in plan.history[-1].parts)
    answers = plan.turn.prompt.messages if open_call else ()
    written = MessagesWriter(quirks, lost).write(plan.history, answers)
    dropped += reports_in(lost.names())
    return [bytes(message) if isinstance(message, Raw) else _encode(message) for message in written]


def _translated(plan: Plan, quirks: Quirks) -> Asked:
    prompt = plan.turn.prompt
    lost, dropped = Dropped(plan.turn.dialect), Dropped(plan.turn.dialect)
    messages = MessagesWriter(quirks, lost).write(plan.history)
    writer = MessagesWriter(quirks, dropped)
    messages += writer.write(prompt.messages)
    check_left(prompt.messages, lambda media: writer.media(media) is not None)
    instruction = instruction_for(prompt.params.format, (*plan.history, *prompt.messages))
    if instruction:
        messages.insert(0, {"role": "system", "content": instruction})
    last = messages[-1] if messages else None
    if quirks.prefix and isinstance(last, dict) and last["role"] == "assistant":
        last["prefix"] = True
    body: dict[str, Any] = {"model": plan.model, "messages": messages}
    tools = write_tools(prompt, quirks, dropped)
    if tools:
        body["tools"] = tools
        choice = write_tool_choice(prompt, quirks)
        if choice is not None:
            body["tool_choice"] = choice
    write_params(prompt.params, bool(tools), body, quirks, dropped)
    for name in (*reports_in(lost.names()), *stranded(prompt, plan.turn.dialect, NAME), *prompt.extras):
        dropped.add(name)
    if plan.stream:
        body["stream"] = True
        if quirks.stream_options:
            body["stream_options"] = {"include_usage": True}
    return Asked(_encode(body), dropped.names())
