"""What usually answers in the place of OpenAI's models, over either of its formats."""

from __future__ import annotations

_SPARES = {"o3": "gpt-4o-2024-08-06", "gpt-4o": "o3"}


def spare(model: str) -> str:
    return _SPARES.get(model, "gpt-4o")
