"""How Anthropic's models differ in what they take, by the version in their name."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")


class Quirks(Struct, frozen=True):
    """thinking: does the model take a token budget, effort with adaptive thinking, or either? efforts: the words it
    knows. schemas: does it take a JSON schema for its answer? sampling: does it take temperature, top_p and top_k?"""

    thinking: Literal["budget", "either", "adaptive"] = "budget"
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    schemas: bool = True
    sampling: bool = True


_UNKNOWN = Quirks()


def quirks_of(model: str) -> Quirks:
    """The quirks of a Claude model; the plain ones for a name without a version."""
    found = _VERSION.search(model)
    if found is None:
        return _UNKNOWN
    version = (int(found[1]), int(found[2] or 0))
    newer = version >= (4, 7)
    return Quirks(
        thinking="adaptive" if newer else "either" if version == (4, 6) else "budget",
        efforts=_UNKNOWN.efforts if newer else ("low", "medium", "high", "max"),
        schemas=version >= (4, 1),
        sampling=not newer,
    )
