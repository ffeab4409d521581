"""Identifiers: a prefix that says the kind, then 24 hex digits that no two processes share.

Random per process, rising within it: cheap to make (no system call per id) and kind to database indexes."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable


def _counting() -> Callable[[], str]:
    """Twelve digits of the process, then twelve that count: one number, written down without a step of Python."""
    first = int.from_bytes(os.urandom(6)) << 48 | int.from_bytes(os.urandom(3))
    return map(bytes.hex, map(int.to_bytes, itertools.count(first), itertools.repeat(12))).__next__


_digits = _counting()

_DIGITS = re.compile(r"[0-9a-f]{24}")
#: A UUID of version 8 (our own layout) whose last six digits are padding.
_OURS = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?8([0-9a-f]{3})-?8([0-9a-f]{3})-?([0-9a-f]{6})000000")


def new_id(prefix: str) -> str:
    """E.g. new_id("att_") -> "att_5f0c2d9e81aa000000a1b2c3"."""
    return prefix + _digits()


def as_uuid(id: str) -> str:
    """How an id of ours is written where ids are UUIDs: "conv_5f0c2d9e81aa000000a1b2c3" ->
    "5f0c2d9e-81aa-8000-8000-a1b2c3000000". Raises ValueError for what is no such id."""
    digits = id.rpartition("_")[2]
    if not _DIGITS.fullmatch(digits):
        raise ValueError(f"not an id of ours: {id!r}")
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:18]}-{digits[18:]}000000"


def from_uuid(prefix: str, uuid: str) -> str:
    """The other way, upper-case digits too. Raises ValueError for a UUID that as_uuid does not write."""
    match = _OURS.fullmatch(uuid.lower())
    if match is None:
        raise ValueError(f"not a UUID of ours: {uuid!r}")
    return prefix + "".join(match.groups())


def secret(prefix: str) -> str:
    """An unguessable token of 256 random bits."""
    return f"{prefix}{os.urandom(32).hex()}"


def spelled(prefix: str, text: str) -> str:
    """The id that is meant by any spelling of it: itself, its UUID, its 24 digits alone. Other text stays as it is."""
    digits = text.lower()
    if _DIGITS.fullmatch(digits):
        return prefix + digits
    if _OURS.fullmatch(digits):
        return from_uuid(prefix, digits)
    return prefix + digits[len(prefix) :] if _DIGITS.fullmatch(digits.removeprefix(prefix)) else text
