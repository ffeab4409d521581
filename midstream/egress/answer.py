"""One exchange on one connection, from the request's last byte to the answer's: the parser's callbacks and `Incoming`.

Body bytes go to the sink from inside `data_received`: all of one read of the socket in one call, however many HTTP
chunks it holds. Only what arrives before there is a sink, or after it said stop, is held; past 64 KiB of it reading
pauses, so that what is held is bounded by that and one read of the socket.
"""

from __future__ import annotations

import asyncio
import sys

import httptools

from ..core.errors import Cut, Garbled, MidstreamError, TimedOut, forget_frames
from ..core.http import Outgoing, Sink
from .connection import Connection
from .decoding import CODINGS, Decoder

_MAX_HEAD = 32 * 1024
_MAX_HEADERS = 100
_MAX_HELD = 64 * 1024


class Answer:
    """Implements core.http.Incoming. url: what was asked last, after redirects.
    received: whether any byte came. flushed: whether the whole request was handed to the kernel."""

    # One block of memory an answer: of a thousand streams none is in the processor's cache when its next chunk comes.
    __slots__ = (
        "_asked", "_connection", "_deadline", "_decoder", "_error", "_fresh", "_gone", "_head_lines", "_head_size",
        "_held", "_held_size", "_informational", "_keep", "_last", "_loop", "_method", "_parser", "_phase", "_silence",
        "_sink", "_stopped", "_timeouts", "_trailing", "_until_close", "_waiter", "complete", "flushed", "headers",
        "received", "status", "url",
    )  # fmt: skip

    def __init__(self, connection: Connection, outgoing: Outgoing, now: float, deadline: float) -> None:
        """now, deadline: loop time."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = self.received = False
        self.flushed = True
        self._phase = "first_byte"
        self._head_lines = self._head_size = self._held_size = 0
        self._decoder: Decoder | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._informational = self._trailing = self._until_close = self._keep = self._stopped = self._gone = False
        self._connection = connection
        # Not the request itself: its body need not live as long as the answer.
        self.url = outgoing.url
        self._method = outgoing.method
        self._asked = outgoing.headers
        self._timeouts = outgoing.timeouts
        self._loop = connection.loop
        self._deadline = deadline
        self._last = now
        self._silence = outgoing.timeouts.first_byte
        self._parser: httptools.HttpResponseParser | _Over = httptools.HttpResponseParser(self)
        self._sink: Sink = self._hold
        self._held: list[bytes] = []
        self._fresh: list[bytes] | None = None  # of the read that is being parsed

    # Incoming

    async def head(self) -> None:
        """Returns when status and headers are there. Cancelled, it cuts the connection."""
        if not self.status and self._error is None:
            await self._wait()
        # What goes wrong in the body, even in the same packet, is for whoever reads the body.
        if not self.status and self._error is not None:
            raise self._error

    async def pump(self, sink: Sink) -> None:
        if self._decoder is not None:
            sink = _Decoding(self._decoder, sink)
        done = False
        try:
            while not self._pumped(sink):
                await self._wait()
            done = True
        finally:
            if not done:
                self.close()

    def _pumped(self, sink: Sink) -> bool:
        """Hands over what is held and lets the rest come straight to sink. True: that was all."""
        if self._gone:
            raise self._error or Cut(self._cut_text(None))
        if isinstance(self._error, TimedOut):
            raise self._error
        if self._stopped:
            return False
        more = not isinstance(sink, _Decoding) or sink.go_on()
        if more and self._held:
            held = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            more = sink(held) is not False
        if not more:
            self._stopped = True
            return False
        if self._error is not None:
            raise self._error
        if self.complete:
            if self._decoder is not None:
                self._decoder.finish()
            return True
        self._sink = sink
        if self._connection.paused:
            self._last = self._loop.time()
            self._connection.resume_reading()
            self._connection.arm(self.due())
        return False

    async def read(self, limit: int = 64 * 1024 * 1024) -> bytes:
        if self.complete and self._decoder is None and self._held_size <= limit and self._error is None:
            body = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            return body
        whole = bytearray()  # one block goes back to the system at once, thousands of pieces stay in the heap

        def collect(piece: bytes) -> None:
            if len(whole) + len(piece) > limit:
                raise Garbled(f"the answer is larger than {limit} bytes")
            whole.extend(piece)

        await self.pump(collect)
        return bytes(whole)

    def resume(self) -> None:
        if self._stopped:
            self._stopped = False
            self._wake()

    def close(self) -> None:
        if not self._gone and (self._held or not self.complete):
            self._gone = True
            self._held.clear()
            if not self.complete:
                self._connection.abort()
            self._wake()
        # Both hold this answer, which holds them: without them it is freed at once instead of by the collector.
        self._sink = _discard
        self._parser = _OVER

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        woken = False
        try:
            await waiter
            woken = True
        finally:
            self._waiter = None
            if not woken:
                self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Connection

    def on_bytes(self, data: bytes) -> None:
        self._last = self._loop.time()
        in_head = not self.status
        if in_head:
            self.received = True
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self.fail(error.__context__ or error)
        except httptools.HttpParserUpgrade:
            self._garbled("it changes the protocol unasked")
        except httptools.HttpParserError as error:
            self._garbled(str(error))
        if self._fresh is not None:  # what came before an error or the end goes first
            self._hand_over(self._fresh)
        if self.complete:
            self._connection.finish(self._keep and not self._trailing)
            self._wake()
        elif self._error is not None:
            self._connection.abort()
        elif in_head:
            self._on_more_head()

    def _hand_over(self, fresh: list[bytes]) -> None:
        self._fresh = None
        try:
            more = self._sink(fresh[0] if len(fresh) == 1 else b"".join(fresh))
        except MidstreamError as error:
            forget_frames(error)  # they hold what the reader has read, and this answer, which holds the error
            self._reader_failed(error)
        except BaseException as error:  # a bug: for whoever reads the body, and for the log
            self._reader_failed(error)
            self._connection.abort()
            raise
        else:
            if more is False:
                self._stopped = True
                self._sink = self._hold
                self._connection.pause_reading()

    def _reader_failed(self, error: BaseException) -> None:
        """Unlike any other failure it counts also in an answer that is complete: its last piece is read after its end
        was seen."""
        if self._error is None:
            self._error = error
            self._wake()

    def _on_more_head(self) -> None:
        if self.status:
            self._enter("between", self._timeouts.between)
        elif self._head_size > _MAX_HEAD:
            self.fail(_too_large())
            self._connection.abort()

    def _enter(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._silence = seconds
        self._connection.arm(self.due())

    def on_lost(self, error: Exception | None, clean: bool) -> None:
        if self.complete or self._error is not None:
            return
        if self._until_close and clean:
            self.complete = True
            self._wake()
            return
        self.flushed = not self._connection.unflushed
        self.fail(Cut(self._cut_text(error)))

    def on_written(self) -> None:
        if self._connection.unflushed:
            self._enter("write", self._timeouts.write)
        else:
            self._connection.arm(self.due())

    def on_flushed(self) -> None:
        if self._phase == "write":
            self._last = self._loop.time()
            self._enter("first_byte", self._timeouts.first_byte)

    def due(self) -> float:
        if self._connection.paused:
            return self._deadline  # our side makes it wait
        due = self._last + self._silence
        return due if due < self._deadline else self._deadline

    def overdue(self) -> MidstreamError:
        phase = "total" if self._loop.time() >= self._deadline - 0.002 else self._phase
        return TimedOut(f"the upstream took too long ({_PHASES[phase]})", phase=phase)

    def fail(self, error: BaseException) -> None:
        """The first error stands. It reaches whoever waits or asks next."""
        if self._error is None and not self.complete:
            self._error = error
            self._wake()

    # HttpResponseParser

    def on_message_begin(self) -> None:
        if self.complete:
            self._trailing = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # a trailer
        self._head_lines += 1
        if self._head_lines > _MAX_HEADERS:
            raise _too_large()  # before a flood of equal names is joined
        key, text = sys.intern(name.decode("latin-1").lower()), value.decode("latin-1").strip()
        headers = self.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        if self.complete:
            return  # of something that nobody asked for: this answer keeps its own status and headers
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._informational = True
            self.headers.clear()
            return
        if status < 200 or self._parser.get_http_version() not in ("1.0", "1.1"):
            raise Garbled("the upstream's answer is not HTTP/1.x, or changes the protocol unasked")
        headers = self.headers
        if self._head_size > _MAX_HEAD and _size(headers) > _MAX_HEAD:
            raise _too_large()
        if self._method == "HEAD" or status in (204, 304):
            self.complete = True
            self._keep = self._parser.should_keep_alive()
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].strip().lower() != "chunked":
                raise Garbled("the upstream's answer uses a transfer coding other than chunked")
        elif "content-length" not in headers:
            self._until_close = True
        if "content-encoding" in headers and not self.complete:
            self._choose_decoder(headers)
        self.status = status
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self._trailing = True
        elif self._fresh is None:
            self._fresh = [body]
        else:
            self._fresh.append(body)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
        elif not self.complete:
            self.complete = True
            self._keep = self._parser.should_keep_alive()  # the parser forgets it after this callback

    def _hold(self, body: bytes) -> None:
        self._held.append(body)
        self._held_size += len(body)
        if self._held_size > _MAX_HELD:
            self._connection.pause_reading()

    def _choose_decoder(self, headers: dict[str, str]) -> None:
        coding = headers["content-encoding"].strip().lower()
        if coding in CODINGS:
            self._decoder = Decoder(coding)
            del headers["content-encoding"]
            headers.pop("content-length", None)
        elif coding not in ("", "identity") and not any(name == "accept-encoding" for name, _ in self._asked):
            raise Garbled("the upstream's answer is packed in a way that was not asked for")

    def _garbled(self, why: str) -> None:
        """After the last byte of the answer it is only a reason not to use the connection again."""
        self._trailing = True
        self.fail(Garbled(f"the upstream's answer is not HTTP: {why}"))

    def may_repeat(self) -> bool:
        """Whether the same request may go out once more unasked, after a kept connection turned out to be dead.

        Not one byte of an answer came, and either part of the request never left our buffer (then nobody can have
        acted on it), or the method is safe by definition (RFC 9110 §9.2.1). A POST that was handed over whole may have
        been executed even so (a model's answer costs money): that is errors.Cut, and repeating it is an attempt with
        an account of its own."""
        return not self.received and (not self.flushed or self._method in _SAFE)

    def _cut_text(self, error: Exception | None) -> str:
        how = "reset" if isinstance(error, OSError) else "closed"
        if self._gone:
            return "the exchange was closed before its end"
        if not self.received:
            return f"the upstream {how} the connection without an answer"
        return f"the upstream {how} the connection in the middle of its answer"


class _Decoding:
    """The caller's sink behind a decoder. Pieces that were ready when it said stop wait in the decoder."""

    def __init__(self, decoder: Decoder, sink: Sink) -> None:
        self._decoder = decoder
        self._sink = sink

    def __call__(self, body: bytes) -> bool:
        self._decoder.feed(body)
        return self.go_on()

    def go_on(self) -> bool:
        while piece := self._decoder.next():
            if self._sink(piece) is False:
                return False
        return True


def _size(headers: dict[str, str]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def _too_large() -> Garbled:
    return Garbled("the upstream's answer has more than 100 headers, or more than 32 KiB of them")


class _Over:
    """In the parser's place after close, which a sink may call in the middle of a packet."""

    def feed_data(self, data: bytes) -> None:
        pass

    def should_keep_alive(self) -> bool:
        return False

    def get_status_code(self) -> int:
        return 0

    def get_http_version(self) -> str:
        return ""


_OVER = _Over()


def _discard(body: bytes) -> None:
    pass


_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_PHASES = {
    "write": "to take the request",
    "first_byte": "to begin its answer",
    "between": "to go on with its answer",
    "total": "for the whole exchange",
}
