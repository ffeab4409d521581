"""Whole event stream frames, cut without a general parse: what providers send is nearly always `event: x` and
`data: y`, and a chunk from the socket is nearly always whole frames."""

from __future__ import annotations

from ..sse import Frame, SSEReader


class Frames:
    """feed(bytes) -> frames, exactly those that SSEReader gives."""

    def __init__(self) -> None:
        self._sse = SSEReader()
        self._has_cr = False
        self._between = False  # frames; never before the first bytes, which may be a byte order mark

    def unfinished(self) -> bool:
        """Is there a frame that has not ended?"""
        return bool(self._sse.rest.strip())

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one event is larger than SSEReader's limit."""
        if not self._between or data[:7] != b"event: " or data[-2:] != b"\n\n" or b"\r" in data:
            return self._any(data)
        frames: list[Frame] = []
        for piece in data[:-2].split(b"\n\n"):
            head, found, payload = piece.partition(b"\ndata: ")
            if found and head[:7] == b"event: " and b"\n" not in head and b"\n" not in payload:
                frames.append(Frame(head[7:], payload, piece + b"\n\n"))
            else:
                frames.extend(self._any(piece + b"\n\n"))
        return frames

    def _any(self, data: bytes) -> list[Frame]:
        frames = self._sse.feed(data)
        self._has_cr = self._has_cr or b"\r" in data
        self._between = bool(data) and not self._has_cr and not self._sse.rest
        return frames
