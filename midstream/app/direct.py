"""Writing an answer straight to its connection: one write for a whole reply, none of the per-message bookkeeping that
ASGI asks for. Only where the server is ours (app.protocol); elsewhere answers go through `send`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

#: What could end a header line or the head. Values come from us, but some repeat what a caller or provider said.
#: To leave them out and see whether anything is missing takes a tenth of a search for one of them.
_UNSAFE = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
#: So many bytes may be held for a client; its transport, which says when it is full, takes as many more.
_BEHIND = 64 * 1024
#: The line before a chunk of a stream, by the chunk's size, for those of a usual size.
_USUAL = 1024
_SIZES = tuple(b"%x\r\n" % size for size in range(_USUAL))


class Wave:
    """What the streams of one event loop say in one turn of it leaves at the turn's end, one write after the other. A
    write that wakes a sleeping reader costs more than all else of a chunk; in a row they find the reader awake."""

    __slots__ = ("_loop", "_streams")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._streams: list[Direct] = []

    def join(self, stream: Direct) -> None:
        if not self._streams:
            self._loop.call_soon(self._leave)
        self._streams.append(stream)

    def _leave(self) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.leave()


class Direct:
    """The connection's side of one request. What a stream says is held until the wave takes it."""

    __slots__ = ("_cycle", "_flow", "_held", "_transport", "_wave")

    def __init__(self, cycle: RequestResponseCycle, wave: Wave) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._flow = cycle.flow
        self._wave = wave
        self._held: bytes = b""

    def reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer; headers hold its content-length. Raises ValueError for a header that cannot be sent."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        head = self._head(status, headers)
        cycle.transport.write(head if cycle.scope["method"] == "HEAD" else head + body)
        self._over()

    @property
    def streams(self) -> bool:
        """Its client knows chunks."""
        return self._cycle.scope["http_version"] == "1.1"

    def start(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """The head of a stream. Raises ValueError for a header that cannot be sent."""
        self._held = self._head(200, [*headers, (b"transfer-encoding", b"chunked")])
        self._wave.join(self)

    async def room(self) -> None:
        """Returns when the client is no longer behind."""
        await self._cycle.flow.drain()

    def end(self, data: bytes) -> None:
        """The last piece of a stream."""
        if not self._cycle.disconnected:
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
            self._transport.write(self._held + last)
            self._held = b""
            self._over()

    def _head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        cycle = self._cycle
        lines = b"\r\n".join(map(b": ".join, headers)) + b"\r\n"
        if len(lines) - len(lines.translate(None, _UNSAFE)) != 2 * len(headers):  # those that end the lines
            raise ValueError("a header holds a control character")
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        return STATUS_LINE[status] + lines + (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")

    def _over(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    @property
    def is_behind(self) -> bool:
        """The client reads more slowly than it is written to."""
        return self._flow.write_paused or len(self._held) > _BEHIND

    def chunk(self, data: bytes) -> None:
        """A piece of a streamed body, for a client that is not behind."""
        size = len(data)
        data = (_SIZES[size] if size < _USUAL else b"%x\r\n" % size) + data + b"\r\n"
        if self._held:
            self._held += data
        else:
            self._held = data
            self._wave.join(self)

    def leave(self) -> None:
        """Writes what is held, if the client is still there."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)


def until_close(cycle: RequestResponseCycle, application: ASGI3Application) -> ASGI3Application:
    """HTTP/1.0 knows no chunks: there a body that says no length ends with its connection."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        endless = False

        async def unframed(message: Any) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name.lower() != b"content-length" for name, _ in message["headers"])
                if endless:
                    cycle.chunked_encoding = False
            elif endless:
                cycle.expected_content_length = len(message["body"])
            await send(message)

        await application(scope, receive, unframed)

    return answered
