"""JSON in a model's words, and the words that ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .parts import Message, Text

JSON_ONLY = "Answer with one JSON object and nothing else."
#: How deep a value may be nested that is handed on as one. Python's limit depends on who reads and writes it: what is
#: kept near that one cannot be read back somewhere else.
MAX_DEPTH = 64
_FENCE = "```"
_NESTS = frozenset({dict, list})


def too_deep(value: Any) -> bool:
    """Is it nested deeper than MAX_DEPTH?"""
    level = [value] if type(value) in _NESTS else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) in _NESTS
        ]
        if not level:
            return False
    return True


def decoded(text: str | bytes) -> Any:
    """Raises msgspec.DecodeError, also of what is nested deeper than MAX_DEPTH."""
    try:
        data = text.encode() if isinstance(text, str) else text
        value = msgspec.json.decode(data)
        if data.count(b"{") + data.count(b"[") <= MAX_DEPTH or not too_deep(value):
            return value
    except UnicodeError as error:
        raise msgspec.DecodeError(str(error)) from None
    except RecursionError:
        pass
    raise msgspec.DecodeError(f"it is nested deeper than {MAX_DEPTH}")


def arguments_in(text: str) -> Any:
    """The value that the text of a call's arguments is. No text, and the `null` that some models write, are none.
    Raises msgspec.DecodeError."""
    value = decoded(text) if text.strip() else None
    return {} if value is None else value


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
        return decoded(text), None
    except msgspec.DecodeError as error:
        return None, f"it is no JSON ({error})"


def object_of(text: str) -> tuple[Any, str | None]:
    """Likewise of one that shall be an object."""
    value, why = value_of(text)
    return value, why or (None if isinstance(value, dict) else "it is no JSON object")


def speaks_of_json(messages: Iterable[Message]) -> bool:
    """Does a text of theirs hold the word? OpenAI and Groq give JSON without a schema only to who says it."""
    return any("json" in part.text.lower() for message in messages for part in message.parts if type(part) is Text)
