"""An agent with five tools in three rounds: what its provider says, and what is asked for so that it exists.

    first call: `look` (pure) and `keep` (idempotent); second call: `pay` (unsafe); third call: `note` (idempotent) and
    `ship` (unsafe); fourth call: "re: " and the name

A turn is known by its name, the user's last message: it stands in the arguments of its tools too. One whose name begins
with `plain` is answered at once."""

from __future__ import annotations

from typing import Any

import msgspec

from .upstream import Asked, Said, stream, whole

ROUNDS = (("look", "keep"), ("pay",), ("note", "ship"))
EFFECTS = {"look": "pure", "keep": "idempotent", "pay": "unsafe", "note": "idempotent", "ship": "unsafe"}
UNSAFE = tuple(tool for tool, effect in EFFECTS.items() if effect == "unsafe")
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
#: Tokens of one model call, in and out.
SPENT = (9, 3)
_COMMON = {"id": "c1", "created": 1, "model": "m"}


def name_of(asked: Asked) -> str:
    return next(one["content"] for one in reversed(asked.json["messages"]) if one["role"] == "user")


def round_of(asked: Asked) -> int:
    """How many rounds of tools this turn has behind it."""
    rounds = 0
    for message in reversed(asked.json["messages"]):
        if message["role"] == "user":
            break
        rounds += message["role"] == "assistant"
    return rounds


def answer(asked: Asked) -> Said:
    if asked.method == "GET":
        return whole({"data": []})
    name, done = name_of(asked), round_of(asked)
    if name.startswith("plain") or done >= len(ROUNDS) or not asked.json.get("tools"):
        return _spoken(asked, name)
    arguments = msgspec.json.encode({"name": name}).decode()
    calls = [
        {"id": f"call_{done}_{place}", "type": "function", "function": {"name": tool, "arguments": arguments}}
        for place, tool in enumerate(ROUNDS[done])
    ]
    if not asked.json.get("stream"):
        return _whole({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")
    pieces = [{"tool_calls": [{"index": place, **call}]} for place, call in enumerate(calls)]
    return _streamed(pieces, "tool_calls")


def _spoken(asked: Asked, name: str) -> Said:
    if not asked.json.get("stream"):
        return _whole({"role": "assistant", "content": f"re: {name}"}, "stop")
    return _streamed([{"content": "re: "}, {"content": name}], "stop")


def _whole(message: Any, stop: str) -> Said:
    choice = {"index": 0, "message": message, "finish_reason": stop}
    return whole({**_COMMON, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def _streamed(deltas: list[Any], stop: str) -> Said:
    ends = [*({"delta": delta, "finish_reason": None} for delta in deltas), {"delta": {}, "finish_reason": stop}]
    events: list[Any] = [{"choices": [{"index": 0, **one}]} for one in ends]
    events.append({"choices": [], "usage": USAGE})
    pieces: list[bytes | float] = []
    for event in events:
        chunk = {**_COMMON, "object": "chat.completion.chunk", **event}
        pieces += [b"data: " + msgspec.json.encode(chunk) + b"\n\n", 0.002]  # each arrives alone
    return stream(*pieces, b"data: [DONE]\n\n")


def tool(name: str, url: str) -> dict[str, Any]:
    """What the admin API is given for one of the tools."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    http = {"method": "POST", "url": f"{url}/{name}"}
    effect = EFFECTS[name]
    return {"name": name, "description": name, "kind": "http", "parameters": schema, "http": http, "effect": effect}


def agent(tool_ids: list[str]) -> dict[str, Any]:
    configuration = {"model": "x", "prompt": "You sell."}
    return {
        "name": "seller", "slug": "seller", "service": "up", "configuration": configuration, "tool_ids": tool_ids,
    }  # fmt: skip
