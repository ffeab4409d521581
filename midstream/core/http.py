"""One HTTP exchange as rooms hand it to the egress: what goes out, what comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

#: Regular expressions of what can be sent as a header's name and as its value.
HEADER_NAME, HEADER_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", r"[\t\x20-\x7e\x80-\xff]*"
#: Headers that describe the connection: only the egress knows them, nobody else may give them.
OWN_HEADERS = frozenset(
    (
        *("host", "content-length", "connection", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer"),
        *("expect", "proxy-authorization", "proxy-connection"),
    )
)


class Timeouts(Struct, frozen=True):
    """Seconds by phase (RELIABILITY.md §5.8). first_byte: until the status line. first_token: until visible output.
    between: silence inside a body. total: the whole exchange."""

    connect: float = 5.0
    write: float = 30.0
    first_byte: float = 60.0
    first_token: float = 120.0
    between: float = 60.0
    total: float = 600.0


class Outgoing(Struct, frozen=True):
    """headers: names in lower case; host, content-length and connection are the egress's own.
    trusted: the operator wrote this address, so it may be private; others must resolve to public addresses only.
    redirects: how many to follow (each target is checked anew; credentials stay with their host)."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    trusted: bool = False
    timeouts: Timeouts = Timeouts()
    redirects: int = 0


#: Takes body bytes as they arrive, synchronously. False pauses reading until `Incoming.resume()`.
Sink = Callable[[bytes], bool | None]


class Incoming(Protocol):
    """An answer whose head has arrived. Exactly one of `pump` and `read` is used, then `close` (idempotent)."""

    status: int
    headers: dict[str, str]

    async def pump(self, sink: Sink) -> None:
        """Gives body bytes to sink as they arrive until the body is complete. Raises errors.Cut, TimedOut, Garbled."""

    async def read(self, limit: int = 64 * 1024 * 1024) -> bytes:
        """The whole (decompressed) body. Raises like pump, and Garbled when it is larger than limit."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Gives the connection back when the body was read to its end, else cuts it at once."""


class Send(Protocol):
    """The one door out. Raises errors.Unreachable (nothing was sent), TimedOut, Cut, Garbled; BadRequest for an
    address that may not be dialled."""

    async def __call__(self, outgoing: Outgoing) -> Incoming: ...
