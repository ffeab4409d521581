"""OpenAI's Chat Completions."""

from __future__ import annotations

from ..wire.openai_chat import Quirks
from ._chat import chat_service

SERVICE = chat_service(
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    url_env="OPENAI_BASE_URL",
    vendor="openai",
    quirks=Quirks(forwards_store=True),
)
