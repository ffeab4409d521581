"""Server-sent events over bytes: any split, any mix of CR, LF and CRLF, BOM, comments, events up to 32 MiB.

Frames keep their exact bytes, so that a relay can pass on what it did not need to understand."""

from __future__ import annotations

import re

from msgspec import Struct

from ..core.errors import Garbled

MAX_EVENT = 32 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic groups: "\r\n" is one line end, never a "\r" and then a "\n".
_FRAME_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BOM = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True, gc=False):
    """event: the value of its `event:` line, or b"". data: its data lines joined by LF; None when it has none
    (a comment, a bare event name). raw: every byte of it, the closing blank line included."""

    event: bytes
    data: bytes | None
    raw: bytes


class SSEReader:
    """feed(bytes) -> the frames that are now complete. `rest` is what came after the last one."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._limit = limit
        self._at_start = True
        self._skip_lf = False
        self._has_cr = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one event is larger than the limit."""
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if self._at_start:
            data = self._without_bom(data)
        if self._has_cr or b"\r" in data:
            self._has_cr = True
            self._buffer += data
            return self._split()
        return self._split_lf(data)

    def _split_lf(self, data: bytes) -> list[Frame]:
        """Without any CR a blank line is two LFs, which is found at the speed of memory."""
        buffer = self._buffer
        if buffer:
            buffer += data
            end = buffer.rfind(b"\n\n", max(0, self._scanned - 1)) + 2
            whole = bytes(buffer[:end]) if end > 1 else b""
            del buffer[: len(whole)]
        else:
            end = data.rfind(b"\n\n") + 2
            whole = data[:end] if end > 1 else b""
            if len(whole) < len(data):
                buffer += data[len(whole) :]
        frames: list[Frame] = []
        if whole:
            frames, rest = _frames_of(whole)
            if rest:
                buffer[:0] = rest
        self._scanned = len(buffer)
        self._check_limit()
        return frames

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < 3 and _BOM.startswith(data):
            self._buffer += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _split(self) -> list[Frame]:
        frames: list[Frame] = []
        start = 0
        buffer = self._buffer
        # Three bytes back: a line end and the first half of another may have been there before.
        match = _FRAME_END.search(buffer, max(0, self._scanned - 3))
        while match:
            end = match.end()
            frames.append(_read_frame(bytes(buffer[start:end])))
            start = end
            match = _FRAME_END.search(buffer, start)
        if start and start == len(buffer) and buffer[-1:] == b"\r":
            self._skip_lf = True  # its LF may be on the way
        del buffer[:start]
        self._scanned = len(buffer)
        self._check_limit()
        return frames

    def _check_limit(self) -> None:
        if len(self._buffer) > self._limit:
            raise Garbled(f"an event is larger than {self._limit} bytes")


def _frames_of(whole: bytes) -> tuple[list[Frame], bytes]:
    """The frames of bytes that hold no CR and end with a blank line, and what is left: at most one LF."""
    lines = whole.split(b"\n")
    if len(lines) % 2 and not any(lines[1::2]):  # a line, a blank line, a line, a blank line: the usual case
        return [
            Frame(b"", line[6:], line + b"\n\n") if line[:6] == b"data: " else _read_frame(line + b"\n\n")
            for line in lines[:-1:2]
        ], b""
    frames: list[Frame] = []
    start = 0
    while (end := whole.find(b"\n\n", start) + 2) > 1:
        frames.append(_read_frame(whole[start:end]))
        start = end
    return frames, whole[start:]


def _read_frame(raw: bytes) -> Frame:
    event = b""
    data: list[bytes] = []
    for line in _LINE_END.split(raw):
        name, colon, value = line.partition(b":")
        if not name:
            continue  # blank, or a comment
        value = value.removeprefix(b" ") if colon else b""
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return Frame(event, b"\n".join(data) if data else None, raw)


def write_frame(data: bytes, event: bytes = b"") -> bytes:
    """One event; data must hold no line end (JSON text never does)."""
    if event:
        return b"event: " + event + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"
