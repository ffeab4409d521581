"""The two ways in which Google sends a stream: server-sent events (alt=sse) and one JSON array, told apart by their
first byte. Any split of the bytes gives the same frames."""

from __future__ import annotations

import re

from ...core.errors import Garbled
from ..sse import MAX_EVENT, Frame, SSEReader

_OUTSIDE = re.compile(rb'["{}]')
_INSIDE = re.compile(rb'["\\]')
_BLANK = b" \t\r\n"
#: Before the first byte of a stream; every piece of it is looked at again with the next.
_MAX_BLANK = 64 * 1024


class ArrayReader:
    """feed(bytes) -> the objects of a JSON array (or bare objects one after another) that are now complete; a
    frame's data and raw are both the object's bytes, without brackets and commas."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._start = -1
        self._depth = 0
        self._in_string = False
        self._limit = limit

    @property
    def rest(self) -> bytes:
        """The beginning of an object that is not complete."""
        return bytes(self._buffer) if self._start >= 0 else b""

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one object is larger than the limit."""
        self._buffer += data
        frames: list[Frame] = []
        while (match := (_INSIDE if self._in_string else _OUTSIDE).search(self._buffer, self._at)) is not None:
            self._at = match.end()
            self._step(match[0], frames)
            if self._at > len(self._buffer):
                break  # the character after a backslash has not come yet
        else:
            self._at = max(self._at, len(self._buffer))
        if self._start < 0:
            self._at -= len(self._buffer[: self._at])
            self._buffer.clear()
        if len(self._buffer) > self._limit:
            raise Garbled(f"an object is larger than {self._limit} bytes")
        return frames

    def _step(self, mark: bytes, frames: list[Frame]) -> None:
        if mark == b'"':
            self._in_string = not self._in_string
        elif mark == b"\\":
            self._at += 1
        elif mark == b"{":
            if self._depth == 0:
                self._start = self._at - 1
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            if self._depth == 0:
                found = bytes(self._buffer[self._start : self._at])
                frames.append(Frame(b"", found, found))
                del self._buffer[: self._at]
                self._at, self._start = 0, -1


class Frames:
    """feed(bytes) -> frames of either kind; finish() -> (a last frame that lacked only its blank line, is the stream
    whole?)."""

    def __init__(self) -> None:
        self._lead = b""
        self._reader: SSEReader | ArrayReader | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one frame is larger than 32 MiB."""
        reader = self._reader
        if reader is None:
            data = self._lead + data
            first = data.lstrip(_BLANK)[:1]
            if not first:
                if len(data) > _MAX_BLANK:
                    raise Garbled("the stream begins with nothing but white space")
                self._lead = data
                return []
            reader = self._reader = ArrayReader() if first in b"[{" else SSEReader()
        return reader.feed(data)

    def finish(self) -> tuple[list[Frame], bool]:
        reader = self._reader
        if reader is None or not reader.rest.strip(_BLANK):
            return [], True
        if isinstance(reader, ArrayReader):
            return [], False
        return reader.feed(b"\n\n"), True
