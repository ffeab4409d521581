"""OpenAI's Responses, used for model calls only: we hold the state, so nothing is stored there."""

from __future__ import annotations

from ..wire import openai_chat, openai_responses
from ._chat import EMBEDDING
from ._service import Service

SERVICE = Service(
    dialect=openai_responses,
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    path=lambda model, stream: "/responses",
    embedding=EMBEDDING,
    models_path="/models",
    read_models=openai_chat.read_models,
    vendor="openai",
)
