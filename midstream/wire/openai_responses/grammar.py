"""The words of OpenAI Responses: names, sets and forgiving readers of single values."""

from __future__ import annotations

from typing import Any

from ...core.parts import State
from ..counts import counted

NAME = "openai_responses"

#: What `response.error.code` may say; anything else is rejected by strict clients.
ERROR_CODES = frozenset(
    {
        "server_error", "rate_limit_exceeded", "invalid_prompt", "data_residency_mismatch", "bio_policy",
        "misalignment_policy_violation", "vector_store_timeout", "invalid_image", "invalid_image_format",
        "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small", "image_parse_error",
        "image_content_policy_violation", "invalid_image_mode", "image_file_too_large",
        "unsupported_image_media_type", "empty_image_file", "failed_to_download_image", "image_file_not_found",
    }
)  # fmt: skip

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

#: Between two summary (or content) parts of one reasoning item, when they are read as one text.
PARAGRAPH = "\n\n"

#: Members of an item that neutral parts hold themselves; the others are its state.
_SAID = {
    "message": frozenset({"type", "role", "content", "status"}),
    "function_call": frozenset({"type", "call_id", "name", "arguments", "status"}),
    "custom_tool_call": frozenset({"type", "call_id", "name", "input", "status"}),
}


def text(value: Any) -> str:
    """value when it is a string, else ""."""
    return value if type(value) is str else ""


def count(value: Any) -> int:
    """value when it is a number of things, else 0."""
    return counted(value) or 0


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in the list value; [] when it is none."""
    return [member for member in value if type(member) is dict] if type(value) is list else []


def member(value: Any, name: str) -> dict[str, Any]:
    """The object `value[name]`, else {}."""
    found = value.get(name) if type(value) is dict else None
    return found if type(found) is dict else {}


def state_of(item: dict[str, Any]) -> State | None:
    """What a message or tool call item holds besides its neutral meaning: its id, namespace, phase, ..."""
    said = _SAID[item["type"]]
    rest = {name: value for name, value in item.items() if name not in said and value is not None}
    return State(NAME, rest) if rest else None


def own(state: State | None) -> dict[str, Any]:
    """The members that this dialect issued, else {}."""
    if state is not None and state.issuer == NAME and type(state.payload) is dict:
        return state.payload
    return {}
