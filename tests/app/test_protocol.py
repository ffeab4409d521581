"""The listening side over real connections on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import uvicorn

from midstream.app import protocol
from midstream.app.protocol import EdgeProtocol

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"


class Listening:
    """An application that answers with what it read; it waits for `go` first when the path is /wait, and between the
    halves of its answer when it is /halves. gone: clients that went away; left: the path whose reader is told so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.waits = asyncio.Event()
        self.headers: list[tuple[bytes, bytes]] = []
        self.gone: list[str] = []
        self.talks: list[Talk] = []
        self.port = 0
        self.left: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/late":
            self.waits.set()
            await self.go.wait()
        scope["extensions"]["midstream.gone"](lambda: self.gone.append(path))
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.headers = scope["headers"]
        if path == "/wait":
            self.waits.set()
            await self.go.wait()
        if path == "/until-gone":
            self.waits.set()
            assert (await receive())["type"] == "http.disconnect"
            await send({"type": "http.response.start", "status": 200, "headers": []})  # into nothing
            self.left.set_result(path)
            return
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if path == "/halves":
            await send({"type": "http.response.body", "body": body[:3], "more_body": True})
            self.waits.set()
            await self.go.wait()
            body = body[3:]
        await send({"type": "http.response.body", "body": body})

    async def connect(self) -> Talk:
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port))
        self.talks.append(talk)
        return talk


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def heard(self) -> tuple[int, bytes]:
        """Status and body of one answer."""
        self.head = head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return int(head.split(b" ")[1]), await self.reader.readexactly(int(length.split(b":")[1]))

    async def closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 5) == b""

    def leave(self) -> None:
        self.writer.transport.abort()


def listening(test: Callable[[Listening], Awaitable[None]]) -> None:
    async def run() -> None:
        application = Listening()
        config = uvicorn.Config(
            application, http=EdgeProtocol, ws="none", lifespan="off", log_config=None, access_log=False, port=0,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        application.port = server.servers[0].sockets[0].getsockname()[1]
        try:
            await asyncio.wait_for(test(application), 20)
        finally:
            application.go.set()
            for talk in application.talks:
                talk.leave()
                with contextlib.suppress(ConnectionError):
                    await talk.writer.wait_closed()
            server.should_exit = True
            await server.shutdown()

    asyncio.run(run())


async def asked(server: Listening, data: bytes) -> tuple[int, bytes]:
    talk = await server.connect()
    talk.say(data)
    answer = await talk.heard()
    talk.leave()
    return answer


def test_a_request_in_one_piece_and_one_in_single_bytes_are_the_same():
    async def test(server: Listening) -> None:
        assert await asked(server, HEAD + b"hello") == (200, b"hello")
        talk = await server.connect()
        for byte in HEAD + b"hello":
            talk.say(bytes([byte]))
            await asyncio.sleep(0)
        assert await talk.heard() == (200, b"hello")
        talk.say(HEAD + b"again")
        assert await talk.heard() == (200, b"again")
        talk.leave()

    listening(test)


def test_a_body_is_put_together_of_all_its_pieces():
    head = HEAD.replace(b"content-length: 5", b"transfer-encoding: chunked")

    async def test(server: Listening) -> None:
        for pieces in ([b"one"], [b"one", b"two"], [b"%d" % at for at in range(9000)]):
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            assert await asked(server, head + chunks + b"0\r\n\r\n") == (200, b"".join(pieces))

    listening(test)


@pytest.mark.parametrize(
    "head, status",
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
        (b"POST / HTTP/0.9\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 505),
        (b"GET / HTTP/2.0\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"x" * (protocol.MAX_URL + 1) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * (protocol.MAX_HEADERS + 1) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * protocol.MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        # Known before the head is complete, which may never be.
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * (protocol.MAX_HEADERS + 1), 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * protocol.MAX_HEADER_BYTES + b"\r\nc: d\r\n", 431),
    ],
)
def test_a_head_that_breaks_a_rule_is_refused_and_its_connection_closed(head: bytes, status: int):
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(head)
        got, body = await talk.heard()
        assert got == status
        assert msgspec.json.decode(body)["error"]["message"]
        assert await talk.closed()

    listening(test)


def test_a_head_at_the_limit_is_taken():
    async def test(server: Listening) -> None:
        many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * (protocol.MAX_HEADERS - 1) + b"\r\n"
        assert (await asked(server, many))[0] == 200

    listening(test)


def test_a_head_that_comes_in_many_pieces_is_refused_as_soon_as_it_is_too_large():
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(b"GET / HTTP/1.1\r\nhost: x\r\n")
        for number in range(33):
            await asyncio.sleep(0.002)
            talk.say(b"h%d: %b\r\n" % (number, b"v" * 1024))
        assert (await talk.heard())[0] == 431
        assert await talk.closed()

    listening(test)


def test_a_small_head_behind_a_large_body_in_one_piece_is_taken():
    async def test(server: Listening) -> None:
        size = 2 * protocol.MAX_HEADER_BYTES
        first = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"b" * size
        talk = await server.connect()
        talk.say(first + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await talk.heard())[0] == 200
        assert (await talk.heard())[0] == 200

    listening(test)


def test_trailers_have_the_limits_of_a_head():
    async def test(server: Listening) -> None:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
        for trailers in (b"a: b\r\n" * protocol.MAX_HEADERS, b"a: " + b"b" * protocol.MAX_HEADER_BYTES + b"\r\n"):
            talk = await server.connect()
            talk.say(head + trailers + b"\r\n")
            assert (await talk.heard())[0] == 431

    listening(test)


def test_trailers_are_no_headers():
    """Whoever looks at the head, a proxy say, has not seen them: they say neither who asks nor what."""

    async def test(server: Listening) -> None:
        head = b"POST / HTTP/1.1\r\nhost: x\r\nauthorization: mine\r\ntransfer-encoding: chunked\r\n\r\n"
        end = b"2\r\nhi\r\n0\r\nauthorization: another's\r\nhost: y\r\n\r\n"
        assert await asked(server, head + end) == (200, b"hi")
        assert [name for name, _ in server.headers] == [b"host", b"authorization", b"transfer-encoding"]
        assert dict(server.headers)[b"authorization"] == b"mine"

    listening(test)


def test_blanks_around_a_value_are_no_part_of_it():
    async def test(server: Listening) -> None:
        head = b"POST / HTTP/1.1\r\nhost: x \t\r\nx-a: \t b c \t \r\nx-b:  \r\nexpect: 100-continue \r\n"
        talk = await server.connect()
        talk.say(head + b"content-length: 2 \r\n\r\n")
        assert await asyncio.wait_for(talk.reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        talk.say(b"hi")
        assert await talk.heard() == (200, b"hi")
        assert dict(server.headers) == {
            b"host": b"x", b"x-a": b"b c", b"x-b": b"", b"expect": b"100-continue", b"content-length": b"2",
        }  # fmt: skip

    listening(test)


def test_an_old_client_needs_no_host():
    async def test(server: Listening) -> None:
        assert (await asked(server, b"GET / HTTP/1.0\r\n\r\n"))[0] == 200

    listening(test)


def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)

    async def test(server: Listening) -> None:
        talk = await server.connect()
        assert await talk.closed()

    listening(test)


def test_requests_that_do_not_wait_for_answers_are_answered_in_their_order():
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(HEAD.replace(b"/", b"/wait", 1) + b"first")
        await server.waits.wait()
        talk.say(HEAD + b"other" + HEAD + b"third")
        await asyncio.sleep(0.05)
        server.go.set()
        assert [await talk.heard() for _ in range(3)] == [(200, b"first"), (200, b"other"), (200, b"third")]

    listening(test)


#: As Java's own client asks, and `curl --http2`.
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAAAAMAAAAA\r\n"
#: Read as a request of its own, this is a second answer.
INNER = b"GET /inner HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("sliced", [10_000, 150, 1])
@pytest.mark.parametrize(
    "offer",
    [
        OFFER,
        OFFER.replace(b"h2c", b"websocket"),
        OFFER.replace(b"Upgrade,", b"close, Upgrade,"),
        OFFER.replace(b"upgrade:", b"Upgrade: TLS/1.3\r\nUPGRADE:"),
    ],
)
def test_a_request_that_offers_an_upgrade_is_answered_as_the_request_that_it_is(offer: bytes, sliced: int):
    async def test(server: Listening) -> None:
        talk = await server.connect()
        length = b"content-length: %d\r\n" % len(INNER)
        whole = b"POST /a HTTP/1.1\r\nhost: x\r\n" + offer + length + b"\r\n" + INNER
        sized = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
        chunked = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n" + OFFER + b"\r\n" + sized
        data = chunked + HEAD + b"plain" + whole
        for at in range(0, len(data), sliced):
            talk.say(data[at : at + sliced])
            await asyncio.sleep(0)
        asked = [await talk.heard() for _ in range(3)]
        assert asked == [(200, INNER), (200, b"plain"), (200, INNER)]
        if b"close" in offer:
            assert await talk.closed()
        else:
            talk.say(HEAD + b"again")
            assert await talk.heard() == (200, b"again")
            talk.leave()

    listening(test)


def test_an_old_client_that_offers_an_upgrade_is_answered_too():
    async def test(server: Listening) -> None:
        head = b"POST / HTTP/1.0\r\n" + OFFER + b"content-length: 5\r\n\r\n"
        assert await asked(server, head + b"hello") == (200, b"hello")

    listening(test)


def test_a_head_that_offers_an_upgrade_keeps_the_limits_of_a_head():
    async def test(server: Listening) -> None:
        for lines in (b"a: b\r\n" * protocol.MAX_HEADERS, b"a: " + b"b" * protocol.MAX_HEADER_BYTES + b"\r\n"):
            assert (await asked(server, b"POST / HTTP/1.1\r\nhost: x\r\n" + OFFER + lines + b"\r\n"))[0] == 431
        assert (await asked(server, b"POST / HTTP/1.1\r\n" + OFFER + b"\r\n"))[0] == 400

    listening(test)


def test_a_tunnel_is_refused_and_what_is_sent_into_it_is_no_request():
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(INNER) + INNER)
        assert (await talk.heard())[0] == 400
        assert await talk.closed()

    listening(test)


def test_a_client_that_has_asked_for_more_is_gone_for_what_it_is_being_told_as_well():
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(HEAD.replace(b"/ ", b"/until-gone ", 1) + b"first" + HEAD + b"other")
        await server.waits.wait()
        talk.leave()
        assert await asyncio.wait_for(server.left, 5) == "/until-gone"
        assert server.gone == ["/until-gone"]

    listening(test)


def test_what_cannot_be_read_behind_a_request_is_not_told_in_the_middle_of_its_answer():
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(HEAD.replace(b"/ ", b"/halves ", 1) + b"hello" + HEAD + b"other")
        await server.waits.wait()
        talk.say(b"nonsense\r\n\r\n")
        said = await asyncio.wait_for(talk.reader.read(), 5)
        assert said.count(b"HTTP/1.1") == 1
        assert said.endswith(b"\r\n\r\nhel")

    listening(test)


def test_a_head_that_comes_too_slowly_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)

    async def test(server: Listening) -> None:
        assert (await asked(server, b"GET / HTTP/1.1\r\nhos"))[0] == 408

    listening(test)


def test_a_body_that_comes_too_slowly_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.05)

    async def test(server: Listening) -> None:
        assert (await asked(server, HEAD + b"he"))[0] == 408

    listening(test)


@pytest.mark.parametrize(
    "said, status",
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"x" * (protocol.MAX_URL + 1) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * (protocol.MAX_HEADERS + 1), 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * protocol.MAX_HEADER_BYTES + b"\r\nc: d\r\n", 431),
        (b"GET / HTTP/1.1\r\nhos", 408),
        (HEAD + b"he", 408),
    ],
    ids=["nonsense", "no host", "a long URL", "many headers", "a large head", "a slow head", "a slow body"],
)  # fmt: skip
def test_what_is_refused_before_it_is_a_request_has_an_id_that_its_one_line_in_the_log_knows(
    said: bytes, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)
    known: list[str] = []

    async def test(server: Listening) -> None:
        for _ in range(2):
            talk = await server.connect()
            talk.say(said)
            assert (await talk.heard())[0] == status
            [id] = re.findall(rb"\r\nx-request-id: (req_[0-9a-f]{24})\r\n", talk.head)
            known.append(id.decode())

    listening(test)
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(set(known)) == 2
    assert [f"request {id} is refused with {status}: " in line for id, line in zip(known, lines, strict=True)] == [
        True
    ] * 2


def test_a_body_that_is_long_but_keeps_coming_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "BODY_RATE", 10)

    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200\r\n\r\n")
        for _ in range(10):
            talk.say(b"x" * 20)
            await asyncio.sleep(0.03)
        assert await talk.heard() == (200, b"x" * 200)
        talk.leave()

    listening(test)


def test_thinking_about_an_answer_has_no_deadline_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.03)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.03)

    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(HEAD.replace(b"/ ", b"/wait ", 1) + b"hello")
        await server.waits.wait()
        await asyncio.sleep(0.1)
        server.go.set()
        assert await talk.heard() == (200, b"hello")
        talk.leave()

    listening(test)


@pytest.mark.parametrize("path", ["/wait", "/late"])
def test_a_client_that_goes_away_is_noticed_also_by_who_asks_to_be_told_too_late(path: str):
    async def test(server: Listening) -> None:
        talk = await server.connect()
        talk.say(HEAD.replace(b"/ ", path.encode() + b" ", 1) + b"hello")
        await server.waits.wait()
        talk.leave()
        await asyncio.sleep(0.05)
        server.go.set()
        while not server.gone:
            await asyncio.sleep(0.005)
        assert server.gone == [path]

    listening(test)


def test_a_client_that_got_its_answer_has_not_gone_away():
    async def test(server: Listening) -> None:
        await asked(server, HEAD + b"hello")
        await asyncio.sleep(0.02)
        assert server.gone == []

    listening(test)
