"""What a server asks and refuses while it is asked something, over each kind of stream."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest

from midstream.core.agents import OAuth
from midstream.core.errors import NotFound, Unreachable
from midstream.core.http import Incoming, Outgoing, Timeouts
from midstream.core.secret import Secret
from midstream.tools._mcp_links import HttpLink, SseLink
from midstream.tools._mcp_servers import McpServer, Tokens
from midstream.tools.mcp import Mcp
from midstream.wire.jsonrpc import Call, Fault, Notice, Result

from .test_mcp import Clock
from .web import Heard, Said, door, web

CALL = Call(1, "tools/call", {})


def silent(notice: Notice) -> None:
    """Hears nothing."""


class Streaming:
    """A server that answers a call when what it has asked itself is answered. said: what was posted to it.
    refuses: so many requests are answered with 401."""

    def __init__(self, *asks: dict[str, Any], refuses: int = 0) -> None:
        self.asks = asks
        self.said: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.refuses = refuses
        self.answered = asyncio.Event()
        self.stream: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        self.tokens.append(fields.get("authorization", ""))
        if self.refuses:
            self.refuses -= 1
            writer.write(b"HTTP/1.1 401 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        elif not body:
            self._begin(writer)
            writer.write(b"event: endpoint\ndata: /post\n\n")
            self.stream = writer
            return
        else:
            await self._take(msgspec.json.decode(body), writer)
        await writer.drain()
        writer.close()

    async def _take(self, said: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.said.append(said)
        if said.get("method") != "tools/call":
            writer.write(b"HTTP/1.1 202 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            if len(self.said) == len(self.asks) + 1:
                self.answered.set()
            return
        stream = self.stream
        if stream is None:
            stream = self._begin(writer)
        else:
            writer.write(b"HTTP/1.1 202 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            writer.close()
        for ask in self.asks:
            stream.write(b"data: %b\n\n" % msgspec.json.encode(ask))
        if self.asks:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.answered.wait(), 3)
        stream.write(b'data: {"jsonrpc":"2.0","id":1,"result":{"n":%d}}\n\n' % len(self.said))
        await stream.drain()

    def _begin(self, writer: asyncio.StreamWriter) -> asyncio.StreamWriter:
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        return writer


def asked(server: Streaming, kind: type[HttpLink] | type[SseLink], oauth: bool = False) -> Result | Fault:
    async def token(heard: Heard) -> Said:
        tokens.append(f"t{len(tokens)}")
        return Said({"access_token": tokens[-1]})

    tokens: list[str] = []

    async def run() -> Result | Fault:
        server.answered = asyncio.Event()
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with web(token) as login, door(host, login.host) as egress:
            one = McpServer("s", "s", f"http://{host}/", oauth=OAuth(f"{login.url}/", "me", Secret("canary-1")))
            keeper = Tokens(egress.send, Clock())

            async def bearer(anew: bool) -> str:
                return await keeper.bearer("org", one, anew=anew)

            link = kind(one, egress.send, bearer if oauth else None)
            try:
                if isinstance(link, SseLink):
                    await link.open()
                return await asyncio.wait_for(link.ask(CALL, {"mcp-protocol-version": "2025-11-25"}, silent), 10)
            finally:
                await link.close()
                if server.stream is not None:
                    server.stream.close()
                    with contextlib.suppress(ConnectionError):
                        await server.stream.wait_closed()
                listening.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [HttpLink, SseLink])
def test_what_a_server_asks_meanwhile_is_answered_at_once(kind: type[HttpLink] | type[SseLink]):
    ping = {"jsonrpc": "2.0", "id": "p1", "method": "ping"}
    other = {"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {}}
    server = Streaming(ping, other)
    assert asked(server, kind) == Result(1, {"n": 3})
    answers = {one["id"]: one for one in server.said if "method" not in one}
    assert answers["p1"] == {"jsonrpc": "2.0", "id": "p1", "result": {}}
    assert answers[9]["error"]["code"] == -32601


@pytest.mark.parametrize("kind", [HttpLink, SseLink])
@pytest.mark.parametrize("refuses", [0, 1])
def test_a_token_that_is_refused_is_renewed(kind: type[HttpLink] | type[SseLink], refuses: int):
    server = Streaming(refuses=refuses)
    assert isinstance(asked(server, kind, oauth=True), Result)
    assert server.tokens[0] == "bearer t0"
    assert server.tokens[-1] == f"bearer t{refuses}"


@pytest.mark.parametrize(
    "expires, seconds",
    [(3600, 3600), ("3599", 3599), (None, 300), ("soon", 300), (-1, 300), (1e300, 300), ([], 300), (60.5, 60.5)],
)
def test_a_token_is_kept_as_long_as_its_service_says_in_whichever_form(expires: Any, seconds: float):
    async def run() -> None:
        async with web(Said({"access_token": "t", "expires_in": expires})) as login, door(login.host) as egress:
            clock = Clock()
            keeper, one = (
                Tokens(egress.send, clock),
                McpServer("s", "s", oauth=OAuth(f"{login.url}/", "me", Secret("x"))),
            )
            for later, fetched in ((0, 1), (seconds - 31, 1), (seconds - 29, 2)):
                clock.now = 1000.0 + later
                assert await keeper.bearer("org", one) == "t"
                assert len(login.heard) == fetched

    asyncio.run(run())


@pytest.mark.parametrize("path", ["mcp", "sse"])
def test_a_call_over_http_has_the_time_of_its_tool(path: str):
    asked_for: list[Timeouts] = []

    async def noting(outgoing: Outgoing) -> Incoming:
        asked_for.append(outgoing.timeouts)
        raise Unreachable("noted")

    async def servers(org: str) -> list[McpServer]:
        return [McpServer("s", "s", f"https://m.example.org/{path}", seconds=45.0)]

    async def run() -> None:
        link = HttpLink((await servers("org"))[0], noting, None)
        if path == "mcp":
            with pytest.raises(Unreachable):
                await link.ask(CALL, {}, silent, 120.0)
            return
        mcp = Mcp(servers, noting, None, Clock())  # type: ignore[arg-type]
        with pytest.raises(Unreachable):
            await mcp._once_more("org", (await servers("org"))[0], ask=None, seconds=120.0)  # type: ignore[arg-type]

    asyncio.run(run())
    [timeouts] = asked_for
    assert (timeouts.between, timeouts.total) == (120.0, 120.0)
    assert timeouts.first_byte == (120.0 if path == "mcp" else 15.0)


def test_no_part_of_a_secret_is_left_where_a_refusal_is_cut():
    token = "tok-0123456789" * 20
    body = (token * 40).encode()

    async def run() -> None:
        async with web(Said(body, 400)) as there, door(there.host) as egress:
            server = McpServer("s", "s", f"{there.url}/mcp", {"authorization": f"Bearer {token}"}, trusted=True)
            link = HttpLink(server, egress.send, None)
            link.session = "one"
            with pytest.raises(NotFound) as raised:
                await link.ask(Call(1, "tools/list", {}), {}, silent)
            assert "tok-" not in raised.value.message.replace("***", "")

    asyncio.run(run())
