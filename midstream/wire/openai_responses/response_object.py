"""The response object as a server writes it: every member that strict clients require."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from ...core.turn import Fields
from ...core.usage import Usage

_decode = msgspec.json.Decoder().decode


def _no_reasoning() -> dict[str, Any]:
    return {"effort": None, "summary": None}


def _plain_text() -> dict[str, Any]:
    return {"format": {"type": "text"}, "verbosity": "medium"}


class Echo(Struct, frozen=True):
    """What of the request a response repeats. The defaults are what a request that says nothing means."""

    background: bool = False
    frequency_penalty: float = 0.0
    instructions: Any = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    parallel_tool_calls: bool = True
    presence_penalty: float = 0.0
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, Any] = field(default_factory=_no_reasoning)
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = False
    temperature: float = 1.0
    text: dict[str, Any] = field(default_factory=_plain_text)
    tool_choice: Any = "auto"
    tools: list[Any] = []
    top_logprobs: int = 0
    top_p: float = 1.0
    truncation: str = "disabled"
    user: str | None = None


def echo_of(fields: Fields) -> Echo:
    """The echo of a request. Members whose value has another type than a response may hold keep their default."""
    said: dict[str, Any] = {}
    for name in Echo.__struct_fields__:
        raw = fields.get(name)
        if raw is not None and bytes(raw) != b"null":
            said[name] = _decode(raw)
    kept = {name: value for name, value in said.items() if _fits(name, value)}
    if "tools" in kept:
        kept["tools"] = [_with_nulls(tool) for tool in kept["tools"] if isinstance(tool, dict)]
    for name in ("reasoning", "text"):
        if name in kept:
            kept[name] = {**getattr(_SILENT, name), **kept[name]}
    if kept.get("service_tier") == "auto":
        del kept["service_tier"]
    return Echo(**kept)


_SILENT = Echo()


def _fits(name: str, value: Any) -> bool:
    try:
        msgspec.convert({name: value}, Echo)
    except msgspec.ValidationError:
        return False
    return True


def _with_nulls(tool: dict[str, Any]) -> dict[str, Any]:
    """A function tool is echoed with all its members, given or not."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None} | tool


def usage_object(usage: Usage) -> dict[str, Any]:
    """Input includes what was read from and written to a cache; output includes reasoning."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.out_reasoning},
        "total_tokens": usage.total_tokens,
    }


def tool_usage(usage: Usage) -> dict[str, Any]:
    """What hosted tools did, as members of a response: how many searches of whichever service, and none at all where
    there were none."""
    if not usage.searches:
        return {}
    pictures = {"input_tokens": 0, "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}, "output_tokens": 0}
    drawn = {**pictures, "output_tokens_details": {"image_tokens": 0, "text_tokens": 0}, "total_tokens": 0}
    return {"tool_usage": {"image_gen": drawn, "web_search": {"num_requests": usage.searches}}}


def response_object(
    identity: tuple[str, str, int],
    echo: Echo,
    status: str,
    output: list[dict[str, Any]],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """identity: (id, model, creation time). more: usage, error, incomplete_details, as far as there are any."""
    answer_id, model, created = identity
    response: dict[str, Any] = {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": output,
        "usage": None,
    }
    response.update(msgspec.structs.asdict(echo))
    response.update(more)
    return response
