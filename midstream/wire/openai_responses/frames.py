"""Whole event streams frames, cut without a general parse: what providers send is nearly always `event: x` and
`data: y`, and a chunk from the socket is nearly always whole frames."""

from __future__ import annotations

from ..sse import Frame, SSEReader


class Frames:
    """feed(bytes) -> frames, exactly those that SSEReader gives."""

    def __init__(self) -> None:
        self._sse = SSEReader()

    def unfinished(self) -> bool:
        return bool(self._sse.rest.strip())

    def feed(self, data: bytes) -> list[Frame]:
        """Raises Garbled when one event is larger than SSEReader's limit."""
        if data[:7] != b"event: " or data[-2:] != b"\n\n" or b"\r" in data or self._sse.rest:
            return self._sse.feed(data)
        frames: list[Frame] = []
        for piece in data[:-2].split(b"\n\n"):
            head, found, payload = piece.partition(b"\ndata: ")
            if found and head[:7] == b"event: " and b"\n" not in head and b"\n" not in payload:
                frames.append(Frame(head[7:], payload, piece + b"\n\n"))
            else:
                frames.extend(self._sse.feed(piece + b"\n\n"))
        return frames
