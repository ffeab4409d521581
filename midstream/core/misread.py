"""What msgspec says of a value that does not fit its type, as our errors tell it: a path, and why."""

from __future__ import annotations

import re

import msgspec

_MEMBER = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


def place_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """(path, why), e.g. ("items[0].name", "Expected `str`, got `int`"). path: "" = the value itself."""
    why, _, path = str(error).partition(" - at `$")
    return path.rstrip("`").removeprefix(".").removesuffix("[...]"), why


def member_of(why: str) -> tuple[str, str, str] | None:
    """(name, why, code) of a member that is missing or not known; None for whatever else does not fit."""
    found = _MEMBER.fullmatch(why)
    if found is None:
        return None
    if found[1] == "missing required":
        return found[2], "required", "missing_required_parameter"
    return found[2], "not known here", "unknown_parameter"
