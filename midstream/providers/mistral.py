"""Mistral's chat completions."""

from __future__ import annotations

from ._chat import chat_service

SERVICE = chat_service(
    base_url="https://api.mistral.ai/v1",
    key_env="MISTRAL_API_KEY",
    vendor="mistral",
)
