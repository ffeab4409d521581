"""Server-sent events over bytes: any split, any mix of CR, LF and CRLF, BOM, comments, events up to 32 MiB.

Frames keep their exact bytes, so that a relay can pass on what it did not need to understand. What services send is
nearly always whole frames of one data line, some with an event line before it: those are cut without a general parse.
"""

from __future__ import annotations

import re

from msgspec import Struct

from ..core.errors import Garbled

MAX_EVENT = 32 * 1024 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic groups: "\r\n" is one line end, never a "\r" and then a "\n". After "\n" a "\r" at the very end is left alone:
# its "\n" is on the way and belongs to this frame's bytes. After "\r" it is not: such lines all end in "\r".
_FRAME_END = re.compile(rb"(?>\r\n|\n)(?>\r\n|\n|\r(?!\Z))|\r\r\n?")
_CR = 13  # as a number it is found several times faster than as bytes
_BOM = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True, gc=False):
    """event: the value of its `event:` line, or b"". data: its data lines joined by LF; None when it has none
    (a comment, a bare event name). raw: every byte of it, the closing blank line included."""

    event: bytes
    data: bytes | None
    raw: bytes


class SSEReader:
    """feed(bytes) -> the frames that are now complete. `rest` is what came after the last one. between: nothing is held
    back, and a byte order mark can no longer come."""

    __slots__ = ("_at_start", "_buffer", "_has_cr", "_limit", "_scanned", "_skip_lf", "between")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._limit = limit
        self._at_start = True
        self._skip_lf = False
        self._has_cr = False  # perhaps in what is held back
        self.between = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one event is larger than the limit."""
        if self._at_start and not self._buffer and data and data[0] != _BOM[0]:
            self._at_start, self.between = False, True
        if self.between:
            frames = _plain_frames(data)
            if frames is not None:
                return frames
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        if self._at_start:
            data = self._without_bom(data)
        frames = self._whole(data)
        self._scanned = len(self._buffer)
        self.between = not (self._scanned or self._at_start or self._skip_lf)
        if self._scanned > self._limit:
            raise Garbled(f"an event is larger than {self._limit} bytes")
        return frames

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < 3 and _BOM.startswith(data):
            self._buffer += data
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _whole(self, data: bytes) -> list[Frame]:
        """The frames that data completes. Everything up to the last blank line is tried as plain frames first."""
        buffer = self._buffer
        # Remembered, as looking for it in all that is held back would cost its square.
        self._has_cr = _CR in data or (self._has_cr and bool(buffer))
        buffer += data
        # Three bytes back: a line end and the first half of another may have been there before.
        fresh = max(0, self._scanned - 3)
        mark = b"\r\n\r\n" if _CR in data else b"\n\n"
        found = buffer.rfind(mark, fresh)
        if found < 0:
            return self._split(fresh) if self._has_cr else []
        whole = bytes(buffer[: found + len(mark)])
        frames = _plain_frames(whole)
        if frames is None:
            return self._split(fresh)
        del buffer[: len(whole)]
        return frames + self._split(0) if buffer and _CR in data else frames

    def _split(self, scan: int) -> list[Frame]:
        frames: list[Frame] = []
        start = 0
        buffer = self._buffer
        match = _FRAME_END.search(buffer, scan)
        while match:
            end = match.end()
            frames.append(_read_frame(bytes(buffer[start:end])))
            start = end
            match = _FRAME_END.search(buffer, start)
        if start and start == len(buffer) and buffer[-1:] == b"\r":
            self._skip_lf = True  # its LF may be on the way
        del buffer[:start]
        return frames


def _plain_frames(data: bytes) -> list[Frame] | None:
    """The frames of data when it is whole frames of one kind: `data: ` lines, ended by LFs or by CRLFs, or pairs of an
    `event: ` and a `data: ` line, ended by LFs. None when it is anything else."""
    line, _, more = data.partition(b"\n")
    if line[:6] == b"data: ":
        if more == b"\n" and _CR not in line:
            return [Frame(b"", line[6:], data)]
        if more == b"\r\n" and line.find(_CR) == len(line) - 1:
            return [Frame(b"", line[6:-1], data)]
    elif more[:6] == b"data: " and line[:7] == b"event: ":
        told, _, more = more.partition(b"\n")
        if more == b"\n" and _CR not in data:
            return [Frame(line[7:], told[6:], data)]
    if _CR in data:
        return _crlf_frames(data)
    if data[-2:] != b"\n\n":
        return None
    lines = data.split(b"\n")
    if len(lines) % 2 and not any(lines[1::2]):  # a line, a blank line, a line, a blank line
        return [
            Frame(b"", line[6:], line + b"\n\n") if line[:6] == b"data: " else _read_frame(line + b"\n\n")
            for line in lines[:-1:2]
        ]
    return _paired_frames(lines)


def _crlf_frames(data: bytes) -> list[Frame] | None:
    lines = data.split(b"\n")
    # No CR but those of the line ends: as many as lines, two of them beside the two LFs of each blank line.
    if data[-4:] != b"\r\n\r\n" or lines[1::2].count(b"\r") * 2 != data.count(b"\r"):
        return None
    frames = []
    for line in lines[:-1:2]:
        if line[:6] != b"data: " or line[-1:] != b"\r":
            return None
        frames.append(Frame(b"", line[6:-1], line + b"\n\r\n"))
    return frames


def _paired_frames(lines: list[bytes]) -> list[Frame] | None:
    """The frames of an event line, a data line and a blank line each; the last of lines is what follows the last LF."""
    if len(lines) % 3 != 1 or any(lines[2::3]):
        return None
    frames = []
    known = name = b""
    for head, told in zip(lines[:-1:3], lines[1::3], strict=True):
        if told[:6] != b"data: ":
            return None
        if head != known:  # the same as before, nearly always
            if head[:7] != b"event: ":
                return None
            known, name = head, head[7:]
        frames.append(Frame(name, told[6:], b"%b\n%b\n\n" % (head, told)))
    return frames


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
