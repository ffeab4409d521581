"""How Anthropic's models differ in what they take, by the version in their name."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

_FAMILY = re.compile(r"claude-([a-z]+)-")
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")


class Quirks(Struct, frozen=True):
    """thinking: does the model take a token budget, effort with adaptive thinking, or either? efforts: the words it
    knows. off: how it is told not to think; None: it always does. forced: may it be made to call a tool? schemas: does
    it take a JSON schema for its answer? sampling: does it take temperature, top_p and top_k?"""

    thinking: Literal["budget", "either", "adaptive"] = "budget"
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    off: Literal["disabled", "between_tools"] | None = "disabled"
    forced: bool = True
    schemas: bool = True
    sampling: bool = True


_UNKNOWN = Quirks()


def quirks_of(model: str) -> Quirks:
    """The quirks of a Claude model; the plain ones for a name without a version."""
    named, found = _FAMILY.search(model), _VERSION.search(model)
    family = named[1] if named is not None else ""
    if found is None:
        return replace(_UNKNOWN, off=None) if family == "mythos" else _UNKNOWN
    version = (int(found[1]), int(found[2] or 0))
    newer = version >= (4, 7)
    greatest = family in ("fable", "mythos")
    always = greatest or (family == "opus" and version >= (5, 5))
    between = family == "sonnet" and version >= (5, 5)
    return Quirks(
        thinking="adaptive" if newer else "either" if version == (4, 6) else "budget",
        efforts=_UNKNOWN.efforts if newer else ("low", "medium", "high", "max"),
        off=None if always else "between_tools" if between else "disabled",
        forced=not (version >= (5, 1) if greatest else always or between),
        schemas=version >= (4, 1),
        sampling=not newer,
    )
