"""What the names of OpenAI's models say about them, where a request must differ."""

from __future__ import annotations

import re

_REASONING = re.compile(r"(?:^|[/:])(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat)|codex-|computer-use-)")
_FIXED_SAMPLING = re.compile(r"(?:^|[/:])(?:o\d|gpt-5(?![.\d])(?!.*-chat))")


def reasons(model: str) -> bool:
    """Others refuse a request for encrypted reasoning."""
    return _REASONING.search(model) is not None


def samples_at_will(model: str) -> bool:
    """The first reasoning models refuse temperature and top_p."""
    return _FIXED_SAMPLING.search(model) is None
