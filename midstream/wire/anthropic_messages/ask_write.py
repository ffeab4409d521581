"""A plan to a request of the Messages API: the caller's own bytes when they are of this format, else written anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.parts import Message, ToolCall
from ...core.turn import Asked, Plan, Tool, ToolChoice
from ...core.unread import check_left
from ..stranded import stranded
from ..strict_json import write_object
from .arrange import Turned, arrange, split_system, system_blocks, system_value, user_first
from .block_write import Block, BlockWriter
from .marks import MAX_MARKS, marks, raw_marks, raw_messages_marks, take_marks
from .names import NAME, own_state, write_cache
from .params import Written, one_answer, write_params
from .quirks import quirks_of
from .unsigned import goes_on_unsigned, signed_messages

_encode = msgspec.json.Encoder().encode
#: Members that a token count does not take.
_NOT_COUNTED = frozenset(
    (
        *("max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"),
        *("container", "diagnostics", "inference_geo"),
    )
)


def write_ask(plan: Plan) -> Asked:
    """The body for POST /v1/messages. Raises BadRequest for what can neither be carried nor left out."""
    if plan.turn.dialect == NAME:
        fields, dropped = _relayed(plan)
        if plan.stream or bytes(fields.get("stream", b"null")) != b"null":
            fields["stream"] = Raw(b"true" if plan.stream else b"false")
        fields.setdefault("max_tokens", Raw(_encode(plan.max_tokens_default)))
        return Asked(write_object(fields), dropped)
    one_answer(plan)
    body, dropped, params = _translated(plan)
    return Asked(_encode(body), dropped, params.form["name"] if params.form is not None else "", params.by_word)


def write_count_ask(plan: Plan) -> bytes:
    """The body for POST /v1/messages/count_tokens: the same prompt without what only concerns the answer."""
    if plan.turn.dialect == NAME:
        fields, _ = _relayed(plan)
        return write_object({name: raw for name, raw in fields.items() if name not in _NOT_COUNTED})
    body, _, _ = _translated(plan)
    return _encode({name: value for name, value in body.items() if name not in _NOT_COUNTED})


def _relayed(plan: Plan) -> tuple[dict[str, Raw], tuple[str, ...]]:
    fields = dict(plan.turn.fields)
    dropped: tuple[str, ...] = ()
    fields["model"] = Raw(_encode(plan.model))
    if "messages" in fields:
        fields["messages"] = Raw(signed_messages(bytes(fields["messages"])))
        if b'"enabled"' in bytes(fields.get("thinking", b"")) and goes_on_unsigned(bytes(fields["messages"])):
            del fields["thinking"]
            dropped = ("thinking",)
    return fields, (*dropped, *_put_history(plan, fields)) if plan.history else dropped


def _put_history(plan: Plan, fields: dict[str, Raw]) -> tuple[str, ...]:
    """Stored messages before the caller's, which are not parsed for that. What the stored ones lose."""
    writer = BlockWriter()
    system, rest = split_system(plan.history)
    turns = arrange(rest, writer)
    own = bytes(fields.get("messages", b"[]")).strip()
    if own[:1] != b"[":
        raise BadRequest("messages: must be a list", param="messages")
    own = own[1:-1].strip()
    if turns:
        if turns[0].role != "user":
            turns = user_first(turns)
        # Marks of earlier turns come back with the history, and the service refuses a fifth.
        take_marks(turns, marks(turns) + _given_marks(fields) - MAX_MARKS)
        before = b",".join(_encode(turn.value()) for turn in turns)
        fields["messages"] = Raw(b"[" + before + (b"," + own if own else b"") + b"]")
    blocks = system_blocks(system, writer)
    if blocks:
        fields["system"] = Raw(_encode([*blocks, *_given_system(fields)]))
    return tuple(writer.dropped)


def _given_marks(fields: dict[str, Raw]) -> int:
    given = {name: bytes(fields.get(name, b"[]")) for name in ("system", "tools", "messages")}
    return raw_marks(given["system"]) + raw_marks(given["tools"]) + raw_messages_marks(given["messages"])


def _given_system(fields: dict[str, Raw]) -> list[Any]:
    system = msgspec.json.decode(fields["system"]) if "system" in fields else None
    if isinstance(system, str):
        return [{"type": "text", "text": system}] if system else []
    return system if isinstance(system, list) else []


def _translated(plan: Plan) -> tuple[dict[str, Any], tuple[str, ...], Written]:
    """(the body, what it lacks, how its parameters were written)"""
    prompt, writer = plan.turn.prompt, BlockWriter()
    body: dict[str, Any] = {"model": plan.model}
    # The turn's own system messages stand in front although stored messages come before the turn.
    early, history = split_system(plan.history)
    own, rest = split_system(prompt.messages)
    stored, system = system_blocks(early, writer), system_blocks(own, writer)
    turns = user_first(arrange([*history, *rest], writer))
    check_left(rest, lambda media: "source" in own_state(media.state) or BlockWriter().source(media) is not None)
    tools = _tools(prompt.tools, prompt.tool_choice, writer)
    params = write_params(plan, quirks_of(plan.model), turns, tools)
    system += params.instructions
    tools += [params.form] if params.form is not None else []
    instructions = system_value([*stored, *system])
    if _loses_marks(tools, stored, system, turns, rest):
        writer.drop("cache_control")
    body["max_tokens"] = params.max_tokens
    if instructions:  # blocks stay blocks without their marks: what is cached of them is found by how it was written
        body["system"] = instructions if isinstance(instructions, str) else [*stored, *system]
    body["messages"] = [turn.value() for turn in turns]
    if tools:
        body["tools"] = tools
    elif named := _called((*history, *rest)):
        # Calls and results in messages are refused where no tools are given: these are named, and may not be called.
        body["tools"] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in named]
        body["tool_choice"] = {"type": "none"}
    body |= params.members
    if plan.stream:
        body["stream"] = True
    lost = stranded(prompt, plan.turn.dialect, NAME)
    dropped = tuple(dict.fromkeys((*writer.dropped, *params.dropped, *lost, *prompt.extras)))
    return body, dropped, params


def _loses_marks(
    tools: list[Block], stored: list[Block], system: list[Block], turns: list[Turned], rest: Iterable[Message]
) -> bool:
    """Takes the oldest marks off, so that no more are left than the service takes. Those of stored messages go first
    and unsaid: they have done their service. Does the caller miss some of his own?"""
    count = marks((tools, stored, system, *turns))
    if count <= MAX_MARKS:
        return False
    own = marks((tools, system, *arrange(rest, BlockWriter())))
    take_marks((stored, *turns), count - max(own, MAX_MARKS))
    take_marks((tools, system, *turns), own - MAX_MARKS)
    return own > MAX_MARKS


def _called(messages: Iterable[Message]) -> dict[str, None]:
    """The names of the tools that were called, in order."""
    calls = (part for message in messages for part in message.parts if isinstance(part, ToolCall))
    return dict.fromkeys(call.name for call in calls)


def _tools(tools: tuple[Tool, ...], choice: ToolChoice | None, writer: BlockWriter) -> list[Block]:
    """The tools that may be called. A choice among some of them leaves the others out: this format has no other way
    to say it."""
    only = frozenset(choice.names if choice is not None and choice.mode in ("auto", "required") else ())
    written = (_tool(tool, writer) for tool in tools if not only or tool.name in only)
    return [tool for tool in written if tool is not None]


def _tool(tool: Tool, writer: BlockWriter) -> Block | None:
    if tool.kind == "hosted":
        if own := own_state(tool.state):
            return own
        writer.drop(f"tools.{tool.name}")
        return None
    members: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        members["description"] = tool.description
    if tool.kind == "custom":
        words = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
        members["input_schema"] = words
    else:
        schema = tool.parameters or {}
        members["input_schema"] = schema if schema.get("type") else {"type": "object", "properties": {}} | schema
    if tool.strict:
        members["strict"] = True
    if tool.cache:
        members["cache_control"] = write_cache(tool.cache)
    return members | own_state(tool.state)
