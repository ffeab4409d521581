"""Ollama, through its OpenAI-compatible routes."""

from __future__ import annotations

from msgspec.structs import replace

from ._chat import LOCAL, chat_service

SERVICE = chat_service(
    base_url="http://127.0.0.1:11434/v1",
    url_env="OLLAMA_HOST",
    quirks=replace(LOCAL, one_answer=True),
    keyless=True,
)
