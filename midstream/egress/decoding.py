"""gzip and deflate bodies, decoded piece by piece so that neither memory nor a bomb gets ahead of the reader."""

from __future__ import annotations

import zlib

from ..core.errors import Cut, Garbled

_PIECE = 64 * 1024
#: A stream may go past this only while it is not suspiciously well packed.
_FREE_OUTPUT = 64 * 1024 * 1024
_MAX_RATIO = 100
#: Members of one packet that make less than this each: a hundred bytes say thousands, and every one takes its time.
_SMALL, _MAX_SMALL = 1024, 1000
_GZIP = 16 + zlib.MAX_WBITS
_BARE = -zlib.MAX_WBITS

#: Content codings that Decoder reads.
CODINGS = frozenset(("gzip", "x-gzip", "deflate"))


class Decoder:
    """feed(bytes), then next() until it gives b"" (never more than 64 KiB at once), then finish() at the end.
    Raises Garbled for bytes that are not of the coding and for a bomb, Cut when the end is missing."""

    def __init__(self, coding: str) -> None:
        self._members = coding != "deflate"
        self._inflate = zlib.decompressobj(_GZIP) if self._members else None
        self._input = b""
        self._read = self._made = 0
        self._began = self._small = self._empty = 0  # of members: what was made before it; how many are small, empty

    def feed(self, data: bytes) -> None:
        self._input = self._input + data if self._input else data
        self._read += len(data)
        self._small = 0

    def next(self) -> bytes:
        if self._inflate is None:
            if len(self._input) < 2:
                return b""
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if _is_wrapped(self._input) else _BARE)
        while True:
            if self._inflate.eof and not self._next_member():
                return b""
            try:
                piece = self._inflate.decompress(self._input, _PIECE)
            except zlib.error:
                raise Garbled("the compressed answer cannot be unpacked") from None
            self._input = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if piece:
                return self._measured(piece)
            if not self._inflate.eof:
                return b""

    def finish(self) -> None:
        if self._read and (self._inflate is None or not self._inflate.eof):
            raise Cut("the compressed answer ends before its end")

    def _measured(self, piece: bytes) -> bytes:
        self._made += len(piece)
        if self._made > _FREE_OUTPUT and self._made > self._read * _MAX_RATIO:
            raise Garbled("the compressed answer unpacks to far more than it holds")
        return piece

    def _next_member(self) -> bool:
        """gzip allows several members in a row; anything else after the end is padding."""
        if not self._members or not self._input.startswith(b"\x1f"):
            self._input = b""
            return False
        self._small += self._made - self._began < _SMALL
        self._empty += self._made == self._began
        if max(self._small, self._empty) > _MAX_SMALL:
            raise Garbled("the compressed answer is in pieces that hold next to nothing")
        self._began = self._made
        self._inflate = zlib.decompressobj(_GZIP)
        return True


def _is_wrapped(start: bytes) -> bool:
    """ "deflate" should be zlib-wrapped, but servers send it bare as well: RFC 1950 §2.2 tells them apart."""
    return start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
