"""vLLM's OpenAI-compatible server."""

from __future__ import annotations

from ._chat import LOCAL, chat_service

SERVICE = chat_service(url_env="VLLM_BASE_URL", key_env="VLLM_API_KEY", quirks=LOCAL, keyless=True)
