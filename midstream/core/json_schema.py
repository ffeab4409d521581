"""Whether a value fits a JSON Schema that somebody else wrote."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

#: What a check may cost (see schema_checker), and one that others on the event loop do not feel.
MAX_WORK, SHORT_WORK = 40_000, 1_000


class Unusable(Exception):
    """The schema itself is at fault: nothing can be said about values."""


class Unfinished(Unusable):
    """The check would be more work than it may be."""


def misfit(schema: dict[str, Any], value: Any, work: int = MAX_WORK) -> str | None:
    """Why a JSON value does not fit, beginning with the path of the field ("items.0.name: ..."); None when it does.
    Nothing fits a schema that cannot be used. Work is bounded and nothing is fetched (see schema_checker). Raises
    Unfinished where less work is allowed than ever, and that does not do."""
    if isinstance(value, dict) and (not schema or schema == {"type": "object"}):
        return None  # by far the most frequent one needs no library
    from .schema_checker import first_error

    try:
        return first_error(schema, value, work)
    except Unusable as reason:
        if work < MAX_WORK and isinstance(reason, Unfinished):
            raise
        return f"the schema {reason}"


def broken(schema: Any) -> str | None:
    """Why this cannot be the schema of a tool or an answer; None when it can."""
    from .schema_checker import examine

    try:
        return examine(schema)
    except Unusable as reason:
        return f"the schema {reason}"


@lru_cache(maxsize=1024)
def broken_text(schema: bytes) -> str | None:
    """The same of its JSON text, once: a version's schema comes with each of its turns, an application's tools with
    each of its requests."""
    return broken(msgspec.json.decode(schema))
