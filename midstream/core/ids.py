"""Identifiers: a prefix that says the kind, then 24 hex digits that no two processes share.

Random per process, rising within it: cheap to make (no system call per id) and kind to database indexes."""

from __future__ import annotations

import itertools
import os

_PROCESS = os.urandom(6).hex()
_next = itertools.count(int.from_bytes(os.urandom(3))).__next__


def new_id(prefix: str) -> str:
    """E.g. new_id("att_") -> "att_5f0c2d9e81aa000000a1b2c3"."""
    return f"{prefix}{_PROCESS}{_next():012x}"


def secret(prefix: str) -> str:
    """An unguessable token of 256 random bits."""
    return f"{prefix}{os.urandom(32).hex()}"
