"""Are two values the same JSON? Python's own answer takes true for 1 and false for 0."""

from __future__ import annotations

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Of numbers the values count, not how they are written: 1 is 1.0, as JSON has one kind of them. The order of
    members does not count, that of items does."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
