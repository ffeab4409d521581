"""Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..core.agents import Range
from ..wire import anthropic_messages
from ._inline import fetches_papers
from ._parameters import taken
from ._service import Counting, Headers, Service


def _auth(key: str) -> Headers:
    return (("x-api-key", key),)


_TAKES = taken(temperature=1.0, top_k=Range(0), penalties=None, answers=None)
#: Newer models sample as they see fit.
_NEWER_TAKES = _TAKES | dict.fromkeys(("creativity_level", "probability_cutoff", "token_selection_limit"))


def _parameters(model: str) -> Mapping[str, Range | None]:
    return _TAKES if anthropic_messages.quirks_of(model).sampling else _NEWER_TAKES


SERVICE = Service(
    dialect=anthropic_messages,
    base_url="https://api.anthropic.com",
    key_env="ANTHROPIC_API_KEY",
    url_env="ANTHROPIC_BASE_URL",
    auth=_auth,
    path=lambda model, stream: "/v1/messages",
    headers=(("anthropic-version", "2023-06-01"),),
    forwards=("anthropic-beta",),
    counting=Counting(
        lambda model: "/v1/messages/count_tokens", anthropic_messages.write_count_ask, anthropic_messages.read_count
    ),
    models_path="/v1/models?limit=1000",  # else it tells twenty
    read_models=anthropic_messages.read_models,
    fetches=fetches_papers,
    vendor="anthropic",
    parameters=_parameters,
    claims=re.compile(r"claude-"),
)
