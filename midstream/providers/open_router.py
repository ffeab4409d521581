"""OpenRouter: many vendors' models behind one chat completions endpoint."""

from __future__ import annotations

from ..wire.openai_chat import Quirks
from ._chat import chat_service

SERVICE = chat_service(
    base_url="https://openrouter.ai/api/v1",
    key_env="OPENROUTER_API_KEY",
    vendor="openrouter",
    quirks=Quirks(
        max_tokens="max_tokens",
        top_k=True,
        media=frozenset({"image", "audio", "file", "video"}),
        file_urls="file_data",
        cache_control=True,
        reasoning="reasoning",
        reasoning_history="reasoning_details",
        custom_tools=False,
        allowed_tools=False,
    ),
)
