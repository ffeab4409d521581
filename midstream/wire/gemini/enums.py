"""Google's enums by number: services that print protocol buffers without names send these in the words' place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FINISH = {
    1: "STOP",
    2: "MAX_TOKENS",
    3: "SAFETY",
    4: "RECITATION",
    5: "OTHER",
    6: "LANGUAGE",
    7: "BLOCKLIST",
    8: "PROHIBITED_CONTENT",
    9: "SPII",
    10: "MALFORMED_FUNCTION_CALL",
    11: "IMAGE_SAFETY",
    12: "UNEXPECTED_TOOL_CALL",
    13: "TOO_MANY_TOOL_CALLS",
    14: "IMAGE_PROHIBITED_CONTENT",
    15: "IMAGE_OTHER",
    16: "NO_IMAGE",
    17: "IMAGE_RECITATION",
}
BLOCK = {1: "SAFETY", 2: "OTHER", 3: "BLOCKLIST", 4: "PROHIBITED_CONTENT", 5: "IMAGE_SAFETY"}
MODALITY = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}


def word_of(said: Any, numbers: Mapping[int, str]) -> str:
    """The word of an enum, "" while nothing is said (which Google calls UNSPECIFIED, or 0). A number that nobody
    knows is its own word."""
    if isinstance(said, int) and not isinstance(said, bool):
        return numbers.get(said, str(said)) if said else ""
    return said if isinstance(said, str) and not said.endswith("_UNSPECIFIED") else ""
