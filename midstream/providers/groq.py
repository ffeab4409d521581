"""Groq's chat completions."""

from __future__ import annotations

from ._chat import chat_service

SERVICE = chat_service(
    base_url="https://api.groq.com/openai/v1",
    key_env="GROQ_API_KEY",
    vendor="groq",
    embeds=False,
)
