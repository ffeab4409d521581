"""Newline-delimited JSON over bytes: any split, CRLF or LF, lines up to 32 MiB."""

from __future__ import annotations

from ..core.errors import Garbled
from .sse import MAX_EVENT


class NDJSONReader:
    """feed(bytes) -> the non-blank lines that are now complete; finish() -> the last one, if it has no line end."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """Raises Garbled when one line is larger than the limit."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
            self._held = 0
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        if self._held > self._limit:
            raise Garbled(f"a line is larger than {self._limit} bytes")
        return [line for line in (line.strip(b"\r\n \t") for line in lines) if line]

    def finish(self) -> list[bytes]:
        return self.feed(b"\n")


def write_line(data: bytes) -> bytes:
    """One line; data must be JSON text without line ends."""
    return data + b"\n"
