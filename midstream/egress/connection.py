"""One upstream connection: hands bytes to the exchange that uses it, keeps its one timer, tells the pool when it ends.

No tasks, no queues: what arrives is parsed and delivered inside `data_received`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from ..core.errors import MidstreamError


class Exchange(Protocol):
    """What a connection needs to know of the answer it carries."""

    def on_bytes(self, data: bytes) -> None: ...

    def on_lost(self, error: Exception | None, clean: bool) -> None: ...

    def on_written(self) -> None: ...

    def on_flushed(self) -> None: ...

    def due(self) -> float: ...

    def overdue(self) -> MidstreamError: ...

    def fail(self, error: BaseException) -> None: ...


class Shelf(Protocol):
    """Who counts connections, and where one goes when its exchange is over: kept for the next, or forgotten."""

    def opened(self, connection: Connection) -> None: ...

    def keep(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """dialled: ready for its first exchange. closed: no byte may be written any more. unflushed: part of the request
    is still in our buffer. paused: we have stopped reading. idle_since: loop time at which the last exchange ended."""

    __slots__ = (
        "_armed",
        "_shelf",
        "_timer",
        "closed",
        "dialled",
        "exchange",
        "idle_since",
        "key",
        "loop",
        "paused",
        "transport",
        "unflushed",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, shelf: Shelf, key: object) -> None:
        self.loop = loop
        self.key = key
        self._shelf = shelf
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.closed = False
        self.dialled = False
        self.unflushed = False
        self.idle_since = 0.0
        self.paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.closed:
            self.transport.abort()  # given up while it was being made
            return
        # "Flushed" must mean: handed to the kernel. It ends the write phase and decides whether a retry is safe.
        self.transport.set_write_buffer_limits(high=1, low=0)
        self._shelf.opened(self)

    def begin(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        self.exchange = exchange
        transport = self.transport
        assert transport is not None
        if len(body) <= 65536:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        if transport.is_closing():
            self.unflushed = True  # the write failed at once
        exchange.on_written()

    def arm(self, when: float) -> None:
        """Makes sure that the timer looks at the exchange at `when` or earlier. A timer that is already due sooner is
        left alone and looks again when it fires: so a busy kept connection sets no timer at all."""
        if self._timer is not None:
            if self._armed <= when:
                return
            self._timer.cancel()
        self._armed = when
        self._timer = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        exchange = self.exchange
        if exchange is None:
            return
        due = exchange.due()
        if due - self.loop.time() > 0.002:  # loop clocks count in milliseconds
            self.arm(due)
            return
        exchange.fail(exchange.overdue())
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.abort()  # nobody asked: the next answer could not be told from this
        else:
            self.exchange.on_bytes(data)

    def finish(self, reusable: bool) -> None:
        """The exchange has its whole answer."""
        self.exchange = None
        if not reusable or self.closed or self.unflushed:
            self.abort()
            return
        self.resume_reading()
        self.idle_since = self.loop.time()
        self._shelf.keep(self)

    def pause_reading(self) -> None:
        if not self.paused and not self.closed:
            self.paused = True
            cast(asyncio.Transport, self.transport).pause_reading()

    def resume_reading(self) -> None:
        if self.paused and not self.closed:
            self.paused = False
            cast(asyncio.Transport, self.transport).resume_reading()

    def pause_writing(self) -> None:
        self.unflushed = True

    def resume_writing(self) -> None:
        self.unflushed = False
        if self.exchange is not None:
            self.exchange.on_flushed()

    def eof_received(self) -> bool:
        # Not left to the transport: it would first wait for a buffer that the other side no longer reads.
        self._end(None, clean=True)
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc, clean=exc is None)

    def abort(self) -> None:
        """Closes the socket at once."""
        self._end(None, clean=False)
        if self.transport is not None:
            self.transport.abort()

    def _end(self, error: Exception | None, clean: bool) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        exchange, self.exchange = self.exchange, None
        self._shelf.forget(self)
        if exchange is not None:
            exchange.on_lost(error, clean)
