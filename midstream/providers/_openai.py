"""What is so of OpenAI's models over either of its formats."""

from __future__ import annotations

import re

#: What only OpenAI's own models are called; those that it tuned for somebody are `ft:...`.
CLAIMS = re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o\d|text-embedding-|dall-e-|whisper-|tts-|davinci|babbage)")
_SPARES = {"o3": "gpt-4o-2024-08-06", "gpt-4o": "o3"}


def spare(model: str) -> str:
    """What usually answers in the model's place."""
    return _SPARES.get(model, "gpt-4o")
