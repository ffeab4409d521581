"""JSON in a model's words, and the words that ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .parts import Message, Text

JSON_ONLY = "Answer with one JSON object and nothing else."
_FENCE = "```"


def unfenced(text: str) -> str:
    """Without white space and the fence that models like to put around code."""
    inner = text.strip().removeprefix("\ufeff").strip()
    if inner.startswith(_FENCE) and inner.endswith(_FENCE) and len(inner) >= 2 * len(_FENCE):
        first, _, rest = inner[len(_FENCE) : -len(_FENCE)].partition("\n")
        word = first.strip()
        inner = (rest if not word or word.isalnum() else first + "\n" + rest).strip()
    return inner


def value_of(text: str) -> tuple[Any, str | None]:
    """The value of a JSON text, and what is wrong with it."""
    if not text:
        return None, "it is empty"
    try:
        return msgspec.json.decode(text), None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return None, f"it is no JSON ({error})"


def object_of(text: str) -> tuple[Any, str | None]:
    """Likewise of one that shall be an object."""
    value, why = value_of(text)
    return value, why or (None if isinstance(value, dict) else "it is no JSON object")


def speaks_of_json(messages: Iterable[Message]) -> bool:
    """Does a text of theirs hold the word? OpenAI and Groq give JSON without a schema only to who says it."""
    return any("json" in part.text.lower() for message in messages for part in message.parts if type(part) is Text)
