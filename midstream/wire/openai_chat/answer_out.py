"""Whole replies: Answer -> a chat.completion body."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.dialect import Say
from ...core.events import Answer, Choice
from .parts_out import write_message
from .quirks import NAME
from .reasons import write_reason
from .usage import usage_object

_encode = msgspec.json.Encoder().encode


def write_answer(answer: Answer, say: Say) -> bytes:
    """The provider's own body when it is in this dialect."""
    if answer.native is not None and answer.native.dialect == NAME:
        return answer.native.raw
    return _encode(
        {
            "id": answer.id or say.id,
            "object": "chat.completion",
            "created": answer.created or say.created,
            "model": answer.model or say.model,
            "choices": [_choice(number, choice, say) for number, choice in enumerate(answer.choices)],
            "usage": usage_object(answer.usage),
        }
    )


def _choice(number: int, choice: Choice, say: Say) -> dict[str, Any]:
    written: dict[str, Any] = {
        "index": number,
        "message": write_message(choice.parts, say.function_call),
        "logprobs": {"content": list(choice.logprobs), "refusal": None} if choice.logprobs else None,
        "finish_reason": write_reason(choice.stop, say.function_call),
    }
    return written | stop_members(written["finish_reason"], choice.native_stop, choice.sequence)


def stop_members(word: str, native_reason: str, sequence: str | None) -> dict[str, str]:
    """What this dialect's word does not say: the service's own (OpenRouter's field), the sequence (vLLM's field)."""
    members = {}
    if native_reason and native_reason != word:
        members["native_finish_reason"] = native_reason
    if sequence is not None:
        members["stop_reason"] = sequence
    return members
