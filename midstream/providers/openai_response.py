"""OpenAI's Responses, used for model calls only: we hold the state, so nothing is stored there."""

from __future__ import annotations

import re

from ..core.agents import Range
from ..wire import openai_chat, openai_responses
from ._chat import EDITING, EMBEDDING
from ._inline import fetches_papers
from ._openai import CLAIMS, spare
from ._parameters import taken
from ._service import Service

#: These only sample when they do not reason.
_REASONS = re.compile(r"^(o\d|gpt-5(?!.*chat))")
_TAKES: dict[str, Range | None] = {
    **taken(penalties=None, answers=None),
    "additional_stop_sequences": None,
}
_REASONING_TAKES: dict[str, Range | None] = {**dict.fromkeys(_TAKES), "max_tokens": _TAKES["max_tokens"]}

SERVICE = Service(
    dialect=openai_responses,
    base_url="https://api.openai.com/v1",
    key_env="OPENAI_API_KEY",
    path=lambda model, stream: "/responses",
    fetches=lambda media: media.kind != "audio" and fetches_papers(media),
    embedding=EMBEDDING,
    drawing=EDITING,
    models_path="/models",
    read_models=openai_chat.read_models,
    vendor="openai",
    parameters=lambda model: _REASONING_TAKES if _REASONS.match(model) else _TAKES,
    claims=CLAIMS,
    spare=spare,
)
