"""A plan as the body of a generateContent request. The model's name stands in the URL."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ...core.parts import Message
from ...core.turn import Asked, Fields, Plan, Prompt, Tool, ToolChoice
from ...core.unread import check_left, reports_in
from ..stranded import stranded
from ..strict_json import write_object
from .ask_in import raw_list
from .config_out import write_config
from .contents_out import called_names, sign_first_call, system_parts, write_contents, write_message
from .part_out import write_media
from .shape import NAME, camel

_encode = msgspec.json.Encoder().encode


def write_ask(plan: Plan) -> Asked:
    """The request's body. A caller of this dialect: their own members byte for byte, with the plan's history before
    their contents. Raises BadRequest when the caller's fields do not make sense."""
    if plan.turn.dialect == NAME:
        lost: dict[str, None] = {}
        return Asked(write_object(own_fields(plan, plan.turn.fields, lost)), reports_in(lost))
    return _translated(plan)


def own_fields(plan: Plan, fields: Fields, lost: dict[str, None]) -> dict[str, Raw]:
    """The caller's members but for a name that is not the model's own; the plan's history in front of their contents.
    lost: is told what of the history could not be said."""
    model = plan.model.removeprefix("models/")
    names = (_encode(model), _encode(f"models/{model}"))
    kept = {name: raw for name, raw in fields.items() if name != "model" or bytes(raw) in names}
    if not plan.history:
        return kept
    system = [message for message in plan.history if message.role in {"system", "developer"}]
    if system:
        _add_system(kept, system)
    turns = tuple(message for message in plan.history if message.role not in {"system", "developer"})
    own = raw_list(kept["contents"], "contents") if "contents" in kept else []
    kept["contents"] = Raw(_encode([*_past(plan, turns, lost), *own]))
    return kept


def _past(plan: Plan, turns: tuple[Message, ...], lost: dict[str, None]) -> list[Any]:
    """Stored messages as contents: their own bytes where they have them."""
    ends_turn = any(message.role == "user" for message in plan.turn.prompt.messages)
    users = [number for number, message in enumerate(turns) if message.role == "user"]
    last_user = len(turns) if ends_turn else (users[-1] if users else -1)
    names: dict[str, str] = {}
    written: list[Any] = []
    for number, message in enumerate(turns):
        names |= called_names(message)
        if message.native is not None and message.native.dialect == NAME:
            written.append(Raw(message.native.raw))
            continue
        content = write_message(message, names, lost)
        if number > last_user:
            sign_first_call(content)
        if content["parts"]:
            written.append(content)
    return written


def _add_system(kept: dict[str, Raw], system: list[Message]) -> None:
    """Stored system messages go in front of the caller's own systemInstruction."""
    name = next((name for name in kept if camel(name) == "systemInstruction"), "systemInstruction")
    parts = [part for message in system for part in system_parts(message, {})]
    own = msgspec.json.decode(kept[name]) if name in kept else {}
    mine = own.get("parts") if isinstance(own, dict) else None
    kept[name] = Raw(_encode({"parts": [*parts, *(mine if isinstance(mine, list) else [mine] if mine else [])]}))


def _translated(plan: Plan) -> Asked:
    prompt = plan.turn.prompt
    dropped: dict[str, None] = {}
    system, contents = write_contents((*plan.history, *prompt.messages), dropped)
    check_left(prompt.messages, lambda media: write_media(media, {}) is not None)
    body: dict[str, Any] = {}
    if system:
        body["systemInstruction"] = {"parts": system}
    body["contents"] = contents
    tools = _tools(prompt, dropped)
    if tools:
        body["tools"] = tools
    if prompt.tool_choice is not None and any("functionDeclarations" in tool for tool in tools):
        body["toolConfig"] = {"functionCallingConfig": _calling(prompt.tool_choice)}
    config = write_config(plan, dropped)
    if config:
        body["generationConfig"] = config
    dropped.update(stranded(prompt, plan.turn.dialect, NAME))
    dropped.update(dict.fromkeys(prompt.extras))
    return Asked(_encode(body), tuple(dropped))


def _tools(prompt: Prompt, dropped: dict[str, None]) -> list[dict[str, Any]]:
    """Functions keep their JSON Schema untouched (the API takes it as parametersJsonSchema, $defs included)."""
    offered = prompt.tools
    choice = prompt.tool_choice
    if choice is not None and choice.mode == "auto" and choice.names:
        # AUTO takes no list of allowed names, so only the allowed ones are offered.
        offered = tuple(tool for tool in offered if tool.kind != "function" or tool.name in choice.names)
    written: list[dict[str, Any]] = []
    functions: list[dict[str, Any]] = []
    for tool in offered:
        if tool.kind == "function":
            if not functions:
                written.append({"functionDeclarations": functions})
            functions.append(_declaration(tool, dropped))
        elif tool.kind == "hosted" and tool.state is not None and tool.state.issuer == NAME:
            written.append(dict(tool.state.payload))
        else:
            dropped[f"tools.{tool.name}"] = None
    return written


def _declaration(tool: Tool, dropped: dict[str, None]) -> dict[str, Any]:
    if tool.cache is not None:
        dropped["cache_control"] = None
    if tool.strict:
        dropped["strict"] = None
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.parameters is not None:
        written["parametersJsonSchema"] = tool.parameters
    if tool.state is not None and tool.state.issuer == NAME:
        written.update(tool.state.payload)
    return written


def _calling(choice: ToolChoice) -> dict[str, Any]:
    if choice.mode in {"required", "tool"}:
        names = {"allowedFunctionNames": list(choice.names)} if choice.names else {}
        return {"mode": "ANY", **names}
    return {"mode": "NONE" if choice.mode == "none" else "AUTO"}
