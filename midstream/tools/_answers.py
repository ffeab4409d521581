"""What a tool gives back: failures as values, and everything within bounds."""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.json_words import too_deep
from ..core.parts import Media
from ..core.toolbox import ToolAnswer, ToolStatus

#: Bytes of text (UTF-8), of the value as JSON, of the media's data all together; how many media.
MAX_TEXT, MAX_VALUE, MAX_MEDIA, MAX_MEDIA_COUNT = 256 * 1024, 256 * 1024, 8 * 1024 * 1024, 16


def failed(text: str, error: str = "tool_failed", status: ToolStatus = "failed") -> ToolAnswer:
    """text: told to the model. error: a stable word, for people and programs."""
    return ToolAnswer(status, text, error=error)


def told(value: Any) -> str:
    """A JSON value as the model reads it: text as it is, everything else as JSON."""
    try:
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except RecursionError:
        return "[a value that is nested too deeply to be told]"


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` bytes of UTF-8, and a note of how much is missing. Halves of surrogate pairs become `?`."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    note = f"\n[cut here: {len(data)} bytes in all, {limit} are shown]"
    return data[: limit - len(note)].decode("utf-8", "ignore") + note


def bounded(answer: ToolAnswer, *, all_media: bool = False) -> ToolAnswer:
    """The answer as it may be kept and shown. What is left out is told at the end of its text."""
    text, left_out = answer.text, []
    value = answer.value
    if value is not None and not _storable(value):
        value = None
    kept: list[Media] = []
    size = 0
    for media in answer.media if all_media else answer.media[:MAX_MEDIA_COUNT]:
        size += len(media.data or "")
        if size > MAX_MEDIA and not all_media:
            break
        kept.append(media)
    if len(kept) < len(answer.media):
        left_out.append(f"\n[{len(answer.media) - len(kept)} media of {len(answer.media)} left out: too large]")
    text = cut(text, MAX_TEXT - sum(map(len, left_out))) + "".join(left_out)
    return msgspec.structs.replace(answer, text=text, value=value, media=tuple(kept), error=cut(answer.error, 2048))


def _storable(value: Any) -> bool:
    try:
        return len(msgspec.json.encode(value)) <= MAX_VALUE and not too_deep(value)
    except (TypeError, ValueError, RecursionError):
        return False
