"""Groq's chat completions."""

from __future__ import annotations

import re

from ..core.agents import Range
from ..wire.openai_chat import Quirks
from ._chat import Efforts, chat_service
from ._parameters import taken

_TAKES = taken(answers=Range(1, 1, 1))
_EFFORTS: Efforts = (
    (re.compile(r"(openai/)?gpt-oss"), ("low", "medium", "high")),
    (re.compile(r"(qwen/)?qwen-?3"), ("none", "default")),
    (re.compile(r"(meta-llama/)?llama|gemma|mixtral|allam|(moonshotai/)?kimi-k2-instruct|(groq/)?compound"), ()),
)

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
    efforts=_EFFORTS,
    embeds=False,
    parameters=lambda model: _TAKES,
)
