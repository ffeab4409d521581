"""Numbers of things, as services write them."""

from __future__ import annotations

from typing import Any

from ..core.errors import Garbled
from ..core.usage import Usage


def counted(value: Any) -> int | None:
    """value when it is a number of things, also one that is written as a fraction (12.0); None for anything else."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def unpaired(texts: int, used: Usage) -> Garbled:
    """Of vectors that are not one for each text: some text would be given another one's. used: as it says itself."""
    error = Garbled(f"the answer does not hold one vector for each of the texts ({texts})")
    error.used = used if used.total_tokens else None
    return error
