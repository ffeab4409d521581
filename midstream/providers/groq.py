"""Groq's chat completions."""

from __future__ import annotations

from ..core.agents import Range
from ..wire.openai_chat import Quirks
from ._chat import chat_service
from ._parameters import taken

_TAKES = taken(answers=Range(1, 1, 1))

SERVICE = chat_service(
    base_url="https://api.groq.com/openai/v1",
    key_env="GROQ_API_KEY",
    vendor="groq",
    quirks=Quirks(
        lacks=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
        efforts=("none", "low", "medium", "high"),
        media=frozenset({"image"}),
        custom_tools=False,
        allowed_tools=False,
        refuses=frozenset({"refusal", "annotations", "audio", "images", "reasoning_content", "reasoning_details"}),
    ),
    embeds=False,
    parameters=lambda model: _TAKES,
)
