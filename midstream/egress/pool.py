"""Kept connections, newest first: the newest is the least likely to have been closed by the other side."""

from __future__ import annotations

import asyncio
import select

from .connection import Connection

_IDLE_SECONDS = 50.0  # under the 60 s after which common servers and load balancers close
_MAX_IDLE = 2048  # per key: as many as may have been streaming at once
_SWEEP_SECONDS = 10.0


class Pool:
    """Implements connection.Shelf. live: every open connection. dialled, reused: counts since the start.
    Key: whatever must agree for a connection to be used again."""

    def __init__(self) -> None:
        self.live: set[Connection] = set()
        self.dialled = 0
        self.reused = 0
        self._idle: dict[object, dict[Connection, None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, key: object, now: float) -> Connection | None:
        """A kept connection that is open as far as can be known before writing to it."""
        stack = self._idle.get(key)
        while stack:
            connection, _ = stack.popitem()
            if connection.transport is None or connection.transport.is_closing():
                continue
            age = now - connection.idle_since
            # However young: a busy loop has not heard yet of what came in the meantime. A request on a connection that
            # the other side has closed would be handed over whole, and might have been executed for all we know.
            if age > _IDLE_SECONDS or _has_news(connection):
                connection.abort()
                continue
            self.reused += 1
            return connection
        return None

    def opened(self, connection: Connection) -> None:
        self.dialled += 1
        self.live.add(connection)

    def keep(self, connection: Connection) -> None:
        stack = self._idle.get(connection.key)
        if stack is None:
            stack = self._idle[connection.key] = {}
        if self._closed or len(stack) >= _MAX_IDLE:
            connection.abort()
            return
        stack[connection] = None
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(_SWEEP_SECONDS, self._sweep, connection.loop)

    def forget(self, connection: Connection) -> None:
        self.live.discard(connection)
        stack = self._idle.get(connection.key)
        if stack is not None:
            stack.pop(connection, None)

    def close_idle(self, before: float = float("inf")) -> None:
        """Closes what has been idle since before that loop time."""
        for key, stack in list(self._idle.items()):
            for connection in list(stack):
                if connection.idle_since < before:
                    connection.abort()
            if not stack:
                del self._idle[key]

    def close(self) -> None:
        """Closes everything, exchanges in flight included: they end as cut."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self.live):
            connection.abort()
        self._idle.clear()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = None
        self.close_idle(loop.time() - _IDLE_SECONDS)
        if self._idle:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)


def _has_news(connection: Connection) -> bool:
    """Whether the socket holds something the loop has not read: on an idle connection that is its end."""
    assert connection.transport is not None
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
