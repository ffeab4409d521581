"""The listening side of HTTP/1.1: uvicorn's protocol with the limits and timeouts that it lacks.

Seconds and sizes from RELIABILITY.md §5.8 and 5.9. A request that comes in one piece arms no timer at all."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import httptools
import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ..core.ids import new_id
from .direct import Direct, Wave, until_close

logger = logging.getLogger("midstream.protocol")
MAX_HEADERS, MAX_HEADER_BYTES, MAX_URL = 100, 32 * 1024, 16 * 1024
TOO_LARGE = (431, f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")
VERSIONS = ("1.1", "1.0")
HEAD_SECONDS, BODY_SECONDS, STALL_SECONDS = 10.0, 30.0, 30.0
#: Where a request may become a WebSocket.
LIVE = "/v1/live"
#: What is looked at of a head before it is complete.
_NOTED = frozenset({b"expect", b"host", b"transfer-encoding"})
#: A body must come at this many bytes a second at least, averaged over each BODY_SECONDS.
BODY_RATE = 1024


class _Refused(Exception):
    """Raised inside a parser callback to stop parsing."""


class _Event(asyncio.Event):
    """Without the queue, 600 bytes of it, for those who wait: of a thousand streams hardly one ever does."""

    def __init__(self, happened: bool = False) -> None:
        self._value = happened
        self._waiters: Any = ()

    async def wait(self) -> Literal[True]:
        if self._value:
            return True
        if not self._waiters:
            self._waiters = deque()
        return await super().wait()


class _Pipeline(list[Any]):
    """What the base uses of a deque, which takes 760 bytes while it is empty, as it nearly always is."""

    def appendleft(self, waiting: Any) -> None:
        self.insert(0, waiting)


def new_parser(protocol: HttpToolsProtocol) -> Any:
    """As the base makes its own: one that goes on behind a request that asks to close, which is answered first."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class EdgeProtocol(HttpToolsProtocol):
    """Adds to each scope `extensions["midstream.gone"]`: a function that registers a callback for the moment when
    the client goes away before its answer is complete, and `extensions["midstream.direct"]` (app.direct)."""

    # Apart from the base's own: with these in it, its dictionary would be of the kind that takes five times the memory.
    __slots__ = (
        "_answering", "_body_since_timer", "_gone", "_head_read", "_hosts", "_in_body", "_in_head", "_lost", "_refusal",
        "_stalled", "_timer", "_wave",
    )  # fmt: skip

    def __init__(self, *args: Any, wave: Wave | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wave = wave or Wave(self.loop)
        self.pipeline = _Pipeline()  # type: ignore[assignment]
        self._refusal = (400, "malformed HTTP request")
        self._in_head = False
        self._in_body = False
        self._head_read = self._hosts = 0
        self._body_since_timer = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._gone: list[Callable[[], None]] = []
        self._lost = False
        #: `cycle` is the newest, which may wait for this one's answer.
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow._is_writable_event = _Event(True)
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._stalled is not None:
            self._stalled.cancel()
        self._lost = True
        super().connection_lost(exc)
        if self._is_busy():
            for callback in self._gone:
                callback()
        self._gone.clear()
        if self._answering is not None and self._answering is not self.cycle:  # the base has told the newest alone
            self._answering.disconnected = not self._answering.response_complete
            self._answering.message_event.set()
        self.pipeline.clear()
        # They know it, and nobody asks it for them any more.
        self.cycle = self.scope = self._answering = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._timer is not None and not self._in_head and not self._in_body:
            self._disarm()  # the wait for the first byte of a new connection
        self._head_read = self._head_read + len(data) if self._in_head else len(data)
        self._parse(data)
        if self.transport.is_closing():
            return
        if self._in_head or self._in_body:
            if self._in_head and self._head_read > MAX_HEADER_BYTES and self._are_too_large():
                self._refusal = TOO_LARGE
                self.send_400_response("")
                return
            if self._timer is None:
                self._body_since_timer = 0
                self._timer = self.loop.call_later(HEAD_SECONDS if self._in_head else BODY_SECONDS, self._too_slow)
        elif self._timer is not None:
            self._disarm()

    def _parse(self, data: bytes) -> None:
        """What the base does, but for its line in the log, which knows neither the reason nor the request's id, and for
        upgrades that are not taken up: the parser holds what follows such a head for another protocol."""
        self._unset_keepalive_if_required()
        pieces: list[bytes | memoryview] = [data]
        try:
            while pieces:
                piece = pieces.pop()
                try:
                    self.parser.feed_data(piece)
                except httptools.HttpParserUpgrade as upgrade:
                    if self._should_upgrade():
                        self.handle_websocket_upgrade()
                        return
                    pieces += [memoryview(piece)[upgrade.args[0] :], self._head_without_upgrade()]
                    self.parser = new_parser(self)
        except httptools.HttpParserError:
            self.send_400_response("")

    def _head_without_upgrade(self) -> bytes:
        """The head that was read last, as it would be of a client that offers no other protocol: Java's and `curl
        --http2` offer one with any request (RFC 9110 §7.8: it may be ignored)."""
        lines = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return first + b"".join(lines) + b"\r\n"

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._hosts = 0
        self.scope["extensions"] = {"midstream.gone": self._on_gone}  # type: ignore[dict-item]

    def _on_gone(self, callback: Callable[[], None]) -> None:
        if self._lost:  # before anybody asked to be told
            callback()
        else:
            self._gone.append(callback)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._refuse(414, "the URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip(b" \t")  # the parser takes off what stands before it
        headers = self.headers
        if not self._in_head and headers is self.scope["headers"]:  # trailers: counted, but nothing of the head
            headers = self.headers = [*headers]
        headers.append((name, value))
        if name in _NOTED and self._in_head:
            if name == b"host":
                self._hosts += 1
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    self._refuse(400, "of the transfer codings only chunked is taken, and once")
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True
        if len(headers) > MAX_HEADERS or (not self._in_head and self._are_too_large()):  # the latter of trailers
            self._refuse(*TOO_LARGE)

    def _are_too_large(self) -> bool:
        return sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEADER_BYTES

    def on_headers_complete(self) -> None:
        if self._head_read > MAX_HEADER_BYTES and self._are_too_large():  # else no need to look at each
            self._refuse(*TOO_LARGE)
        version = self.parser.get_http_version()
        if self._hosts != 1 and (self._hosts or version != "1.0"):
            self._refuse(400, "exactly one Host header is required")
        if version not in VERSIONS:
            self._refuse(505, f"HTTP/{version} is not spoken here: ask by HTTP/1.1")
        self._in_head, self._in_body = False, not self.parser.should_upgrade()
        if self._timer is not None:
            self._disarm()
        if not self._in_body:  # what follows is no HTTP, or this head is read once more: no cycle begins
            if self.parser.get_method() == b"CONNECT":
                self._refuse(400, "there are no tunnels here")
            self.scope["method"] = self.parser.get_method().decode()
            return
        super().on_headers_complete()
        self.cycle.message_event = _Event()
        self.scope["extensions"]["midstream.direct"] = Direct(self.cycle, self._wave)  # type: ignore[assignment]

    def _should_upgrade(self) -> bool:
        """Elsewhere it is a request like any other, and so it is while an earlier one is being answered here."""
        at_live = self.url.partition(b"?")[0] == LIVE.encode()
        return at_live and not self._is_busy() and super()._should_upgrade()

    def _is_busy(self) -> bool:
        """A request is not answered to its end."""
        return self._answering is not None and not self._answering.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        if cycle.scope["http_version"] != "1.1":
            app = until_close(cycle, app)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._body_since_timer += len(body)
        held: bytes | bytearray = self.cycle.body
        # Most bodies come in one piece: what is added to no bytes is not copied.
        if not held:
            self.cycle.body = b""  # type: ignore[assignment]
        elif isinstance(held, bytes):
            self.cycle.body = bytearray(held)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_body:  # else it is a head that offers an upgrade
            self._in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._gone.clear()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        status, message = self._refusal
        request_id = new_id("req_")
        logger.warning("request %s is refused with %d: %s", request_id, status, message)
        if self._answering is not None and self._is_busy() and self._answering.response_started:
            self.transport.close()
            return
        kind = "invalid_request_error"
        body = msgspec.json.encode(
            {"error": {"message": message, "type": kind, "param": None, "code": "malformed_http"}}
        )
        head = b"x-request-id: %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % (request_id.encode(), len(body)) + body)
        self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, message)
        raise _Refused(message)

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_body and self._body_since_timer >= BODY_RATE * BODY_SECONDS:
            self._body_since_timer = 0
            self._timer = self.loop.call_later(BODY_SECONDS, self._too_slow)
            return
        if self._in_head or self._in_body:
            self._refusal = (408, "the request came too slowly")
            self.send_400_response("")
        else:
            self.transport.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
