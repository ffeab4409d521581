"""OpenRouter: many vendors' models behind one chat completions endpoint."""

from __future__ import annotations

from ._chat import chat_service

SERVICE = chat_service(
    base_url="https://openrouter.ai/api/v1",
    key_env="OPENROUTER_API_KEY",
    vendor="openrouter",
)
