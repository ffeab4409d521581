"""The catalogue of what can go wrong at a provider, and a provider on raw sockets that does it.

A fault is a coroutine that writes the answer's bytes itself, broken in its own way. What must come of it:

    ok       the whole answer
    refused  an error status, before any output
    broken   output, then an error in the stream (asked in one piece: refused)
    any      one of these; only the rules that hold for every case are asked"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .fault_words import DIALECT_OF, PHASES, Frames, error, frames, texts, whole

CASE = re.compile(rb"case-\d+")
#: A reset throws away what the receiver's kernel has not been handed: give it the time.
SETTLE = 0.03
Play = Callable[["Wire"], Awaitable[None]]
Expected = str | Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """stream, whole: what must come of it by the way it was asked for; "" = not asked that way. Either may differ by
    dialect (and then only these dialects have it). tries: fewest and most requests that the provider may see.
    code: what the attempts' error codes begin with. estimated: dialects in which no usage was reported. calls: the
    tools that are called."""

    name: str
    play: Play
    stream: Expected
    whole: Expected
    tries: tuple[int, int] = (1, 1)
    code: str = ""
    estimated: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()

    def expected(self, dialect: str, streamed: bool) -> str:
        given = self.stream if streamed else self.whole
        return given if isinstance(given, str) else given.get(dialect, "")


@dataclass
class Case:
    """One question to one provider. seen: how often it was asked upstream."""

    id: str
    fault: Fault
    kind: str
    streamed: bool
    face: str
    seen: int = 0

    @property
    def dialect(self) -> str:
        return DIALECT_OF[self.kind]

    @property
    def said(self) -> tuple[str, str]:
        return texts(self.id)

    @property
    def expected(self) -> str:
        return self.fault.expected(self.dialect, self.streamed)

    @property
    def title(self) -> str:
        return f"{self.fault.name} {self.kind} {'stream' if self.streamed else 'whole'} {self.face} ({self.id})"


class Wire:
    """One answer being written. head: the request's, as it came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.case = case
        self.head = head
        self.keep = False
        self._chunked = True

    @property
    def frames(self) -> Frames:
        """The pieces of a good answer and the phase that each is of."""
        case = self.case
        if case.streamed:
            return frames(case.dialect, case.said)
        body = whole(case.dialect, case.said)
        half = len(body) // 2
        return [("start", body[:1]), ("text", body[1:half]), ("more", body[half:-1]), ("done", body[-1:])]

    @property
    def body(self) -> bytes:
        return b"".join(frame for _, frame in self.frames)

    @property
    def content_type(self) -> str:
        return "text/event-stream" if self.case.streamed else "application/json"

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin(
        self, status: int = 200, content_type: str | None = None, *lines: str, chunked: bool = True
    ) -> None:
        self._chunked = chunked
        kind = self.content_type if content_type is None else content_type
        head = [f"HTTP/1.1 {status} X", f"content-type: {kind}" if kind else "x-none: 1", *lines]
        if chunked:
            head.append("transfer-encoding: chunked")
        await self.raw("\r\n".join([*head, "", ""]).encode())

    async def say(self, data: bytes) -> None:
        if data:
            await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def end(self) -> None:
        if self._chunked:
            await self.raw(b"0\r\n\r\n")
        self.keep = True

    async def good(self, *pieces: bytes) -> None:
        """These pieces as a well-formed answer."""
        await self.begin()
        for piece in pieces or [frame for _, frame in self.frames]:
            await self.say(piece)
        await self.end()

    async def status(self, status: int, body: bytes, *lines: str, content_type: str = "application/json") -> None:
        await self.begin(status, content_type, f"content-length: {len(body)}", *lines, chunked=False)
        await self.raw(body)
        self.keep = True

    async def until(self, phase: str) -> None:
        """The answer's beginning, up to the end of that phase."""
        last = PHASES.index(phase)
        for at, frame in self.frames:
            if PHASES.index(at) <= last:
                await self.say(frame)

    async def reset(self) -> None:
        await asyncio.sleep(SETTLE)
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def stall(self) -> None:
        """Says no more until the other side has had enough."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


@dataclass
class FaultyUpstream:
    """Use as an async context manager. Finds the case by its id, which stands in the model's name.
    ledger: requests heard, by case. strays: requests that no case explains. open: connections now open."""

    cases: dict[str, Case] = field(default_factory=dict)
    ledger: Counter[str] = field(default_factory=Counter)
    strays: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    open: int = 0
    port: int = 0

    async def __aenter__(self) -> FaultyUpstream:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=1 << 20, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.heads.append(head)
        found = CASE.search(head.partition(b"\r\n")[0] + body)
        case = self.cases.get(found[0].decode()) if found else None
        if case is None:
            self.strays.append(head + body)
            return False
        self.ledger[case.id] += 1
        case.seen += 1
        wire = Wire(reader, writer, case, head)
        await case.fault.play(wire)
        return wire.keep


CATALOGUE: dict[str, Fault] = {}
#: Faults of the way to the provider: base_url in place of the upstream's.
AWAY = {
    "refused_connection": "http://127.0.0.1:9",
    "unknown_name": "http://no-such-host.invalid",
    "tls_to_plain_port": "https://127.0.0.1:{port}",
    "tls_bad_certificate": "https://127.0.0.1:{tls}",
    "tls_silence": "https://127.0.0.1:{silent}",
}
RETRIED = (3, 3)
#: Where time decides, the deadline may come before the last try.
TIMED = (1, 3)


def fault(
    name: str,
    stream: Expected,
    whole: Expected,
    tries: tuple[int, int] = (1, 1),
    code: str = "",
    *,
    estimated: Sequence[str] = (),
    calls: Sequence[str] = (),
) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        assert name not in CATALOGUE
        CATALOGUE[name] = Fault(name, play, stream, whole, tries, code, tuple(estimated), tuple(calls))
        return play

    return register


async def _never(wire: Wire) -> None:
    raise AssertionError("nothing may arrive")


for _name in AWAY:
    # A port that waits for another protocol says nothing either.
    _code = "upstream_timeout_connect" if _name in ("tls_silence", "tls_to_plain_port") else "upstream_unreachable"
    fault(_name, "refused", "refused", (0, 0), _code)(_never)


@fault("answer_then_silence", "refused", "refused", TIMED, "upstream_timeout")
async def _silence(wire: Wire) -> None:
    await wire.stall()


@fault("reset_without_answer", "refused", "refused", RETRIED, "upstream_cut")
async def _reset(wire: Wire) -> None:
    await wire.reset()


@fault("close_without_answer", "refused", "refused", RETRIED, "upstream_cut")
async def _close(wire: Wire) -> None:
    pass


@fault("reset_in_head", "refused", "refused", RETRIED, "upstream_cut")
async def _reset_in_head(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await wire.reset()


@fault("head_drips", "refused", "refused", TIMED, "upstream_timeout")
async def _head_drips(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 200 OK\r\nx: ")
    while not wire.reader.at_eof():
        await wire.raw(b"y")
        await asyncio.sleep(0.1)


@fault("head_of_a_megabyte", "refused", "refused", RETRIED, "upstream_garbled")
async def _huge_head(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\n")
    await wire.good()


@fault("ten_thousand_headers", "refused", "refused", RETRIED, "upstream_garbled")
async def _many_headers(wire: Wire) -> None:
    await wire.begin(200, None, *(f"x-{number}: y" for number in range(10_000)))
    await wire.end()


for _label, _line in {
    "not_http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "status_of_letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "http2_preface": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
    "length_of_letters": b"HTTP/1.1 200 OK\r\ncontent-length: abc\r\n\r\n{}",
    "two_lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "negative_length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
    "length_and_chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nnull\r\n",
    "chunk_of_letters": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "switching_protocols": b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "unknown_coding": b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\n{}",
}.items():

    @fault(f"garbage_{_label}", "refused", "refused", RETRIED, "upstream_garbled")
    async def _garbage(wire: Wire, line: bytes = _line) -> None:
        await wire.raw(line)
        await asyncio.sleep(SETTLE)


@fault("no_content", "refused", "refused", RETRIED, "upstream_")
async def _no_content(wire: Wire) -> None:
    await wire.raw(b"HTTP/1.1 204 X\r\n\r\n")
    wire.keep = True


@fault("empty_body", "refused", "refused", RETRIED, "upstream_")
async def _empty(wire: Wire) -> None:
    await wire.status(200, b"", content_type=wire.content_type)


for _label, _body in {
    "html": b"<html><body>Welcome to the proxy</body></html>",
    "text": b"upstream connect error or disconnect",
    "array": b"[1,2]",
    "string": b'"hi"',
    "null": b"null",
    "empty_object": b"{}",
    "nan": b'{"id": NaN}',
    "invalid_utf8": b'{"id": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "wrong_types": b'{"id":1,"type":2,"object":3,"choices":"x","content":5,"output":{},"candidates":7,"usage":[]}',
}.items():

    @fault(f"body_{_label}", "refused", "refused", RETRIED, "upstream_")
    async def _odd_body(wire: Wire, body: bytes = _body) -> None:
        await wire.status(200, body, content_type="text/html" if body[:1] == b"<" else wire.content_type)


@fault("good_without_content_type", "ok", "ok")
async def _typeless(wire: Wire) -> None:
    await wire.begin(200, "")
    await wire.say(wire.body)
    await wire.end()


@fault("good_as_text_plain", "ok", "ok")
async def _plain_typed(wire: Wire) -> None:
    await wire.begin(200, "text/plain; charset=utf-8")
    await wire.say(wire.body)
    await wire.end()


@fault("one_piece_in_place_of_a_stream", "ok", "")
async def _whole_for_stream(wire: Wire) -> None:
    await wire.status(200, whole(wire.case.dialect, wire.case.said))


@fault("length_too_long", "any", "refused", TIMED, "upstream_cut")
async def _too_long(wire: Wire) -> None:
    await wire.begin(200, None, f"content-length: {len(wire.body) + 10}", chunked=False)
    await wire.raw(wire.body)
    await asyncio.sleep(SETTLE)


@fault("length_too_short", "broken", "refused", TIMED, "upstream_")
async def _too_short(wire: Wire) -> None:
    size = sum(len(frame) for at, frame in wire.frames if at in ("start", "text"))
    await wire.begin(200, None, f"content-length: {size}", chunked=False)
    await wire.raw(wire.body)
    await asyncio.sleep(SETTLE)


_AFTER = {"start": "refused", "text": "broken", "more": "broken"}
#: At the end of the finish frames a stream is complete for dialects whose answer ends there.
_SAID_ALL = {
    "finish": {"chat": "any", "responses": "broken", "messages": "broken", "gemini": "any"},
    "usage": {"chat": "any", "messages": "broken"},
    "done": {"chat": "ok", "responses": "ok", "messages": "ok"},
}
_QUIET = {
    "finish": {"chat": "ok", "responses": "broken", "messages": "broken", "gemini": "ok"},
    "usage": {"chat": "ok", "messages": "broken"},
    "done": {"chat": "ok", "responses": "ok", "messages": "ok"},
}
_WHOLE = {"start": "refused", "text": "refused", "more": "refused", "done": "any"}
for _phase in PHASES:
    _expect = _AFTER.get(_phase) or _SAID_ALL[_phase]
    _times = {"start": RETRIED, "text": TIMED}.get(_phase, TIMED)

    @fault(f"reset_after_{_phase}", _expect, _WHOLE.get(_phase, ""), TIMED)
    async def _reset_after(wire: Wire, phase: str = _phase) -> None:
        await wire.begin()
        await wire.until(phase)
        await wire.reset()

    @fault(f"close_after_{_phase}", _expect, _WHOLE.get(_phase, ""), TIMED)
    async def _close_after(wire: Wire, phase: str = _phase) -> None:
        await wire.begin()
        await wire.until(phase)
        await asyncio.sleep(SETTLE)

    @fault(f"stall_after_{_phase}", _expect, _WHOLE.get(_phase, ""), TIMED)
    async def _stall_after(wire: Wire, phase: str = _phase) -> None:
        await wire.begin()
        await wire.until(phase)
        await wire.stall()

    _uncounted = ("chat",) if _phase == "finish" else ()

    @fault(f"quiet_end_after_{_phase}", _AFTER.get(_phase) or _QUIET[_phase], "", TIMED, estimated=_uncounted)
    async def _quiet_end(wire: Wire, phase: str = _phase) -> None:
        await wire.begin()
        await wire.until(phase)
        await wire.end()


for _status in (400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 501, 502, 503, 504, 529, 599):
    _again = RETRIED if _status in (408, 409, 429, 500, 502, 503, 504, 529) else (1, 1)

    @fault(f"status_{_status}", "refused", "refused", _again)
    async def _refuses(wire: Wire, status: int = _status) -> None:
        await wire.status(status, error(wire.case.dialect, status))

    if _status in (400, 429, 502):
        for _label, _body in {
            "html": b"<html>no</html>",
            "empty": b"",
            "ten_megabytes": b"x" * 10_000_000,
            "error_of_a_string": b'{"error":"no"}',
            "error_of_numbers": b'{"error":{"message":5,"code":[],"type":{},"status":7,"param":1,"details":{}}}',
            "error_null": b'{"type":"error","error":null}',
            "deep": b"[" * 100_000,
        }.items():

            @fault(f"status_{_status}_{_label}", "refused", "refused", _again)
            async def _refuses_oddly(wire: Wire, status: int = _status, body: bytes = _body) -> None:
                await wire.status(status, body, content_type="text/html" if body[:1] == b"<" else "application/json")


for _label, _wait, _again in (
    ("0", "0", RETRIED),
    ("1", "1", RETRIED),
    ("9999", "9999", (1, 1)),
    ("date", "Wed, 21 Oct 2015 07:28:00 GMT", RETRIED),
    ("garbage", "soon, I hope", RETRIED),
    ("negative", "-5", RETRIED),
    ("nan", "nan", RETRIED),
    ("infinite", "inf", RETRIED),
    ("huge", "9" * 400, TIMED),
):

    @fault(f"retry_after_{_label}", "refused", "refused", _again)
    async def _busy(wire: Wire, wait: str = _wait) -> None:
        await wire.status(429, error(wire.case.dialect, 429), f"retry-after: {wait}")


for _status in (300, 304, 600, 999):

    @fault(f"status_{_status}_of_no_meaning", "refused", "refused", TIMED, "upstream_garbled")
    async def _no_meaning(wire: Wire, status: int = _status) -> None:
        await wire.status(status, b"" if status == 304 else b"{}")


@fault("redirect_to_another_host", "refused", "refused", TIMED, "upstream_garbled")
async def _redirect(wire: Wire) -> None:
    await wire.status(307, b"", "location: http://169.254.169.254/latest/meta-data")


@fault("error_echoes_the_credentials", "refused", "refused")
async def _echo(wire: Wire) -> None:
    await wire.status(400, error(wire.case.dialect, 400, f"bad key in {wire.head.decode('latin-1')}"))
