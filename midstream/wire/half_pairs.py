r"""JSON that holds half of a surrogate pair: a service that cuts its text by UTF-16 units writes an emoji in two,
`"\ud83d"` and `"\ude42"`. Python's and JavaScript's JSON read that, msgspec refuses the whole of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")
#: Every escape, so that a backslash which is one itself begins none. Group 1: a half that has not its other half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)


def mended(data: bytes) -> bytes | None:
    """The same JSON with U+FFFD for each lone half, else byte for byte; None when it holds none."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return None
    better = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)
    return None if better == data else better


def forgiving(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """decode, which is tried again with what is mended when it refuses."""

    def read(data: bytes) -> T:
        try:
            return decode(data)
        except msgspec.DecodeError:
            better = mended(bytes(data))
            if better is None:
                raise
            return decode(better)

    return read
