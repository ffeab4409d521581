"""Connections that become WebSockets, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from midstream.app import live_protocol, protocol
from midstream.app.protocol import EdgeProtocol
from midstream.app.server import websocket

UPGRADE = (
    b"GET /v1/live?token=t HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Application:
    """Says "hello" to a WebSocket, `floods` it until it is gone, or `refuses` it. A request is answered after `go`."""

    def __init__(self, floods: bool = False) -> None:
        self.floods = floods
        self.refuses = False
        self.go = asyncio.Event()
        self.kinds: list[str] = []
        self.gone = asyncio.Event()
        self.port = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.kinds.append(scope["type"])
        if scope["type"] == "http":
            await self.go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await receive()
        if self.refuses:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"n", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"o"})
            return
        await send({"type": "websocket.accept"})
        try:
            await send({"type": "websocket.send", "text": "hello"})
            while self.floods:
                await send({"type": "websocket.send", "text": "x" * 65536})
            await receive()
        finally:
            self.gone.set()


def serving(test: Callable[[Application], Awaitable[None]], floods: bool = False) -> None:
    async def run() -> None:
        application = Application(floods)
        config = uvicorn.Config(
            application, http=EdgeProtocol, ws=websocket, lifespan="off", log_config=None, access_log=False, port=0,
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
            server.should_exit = True
            await server.shutdown()

    asyncio.run(run())


async def heard(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


def test_an_upgraded_connection_has_no_timer_of_a_request_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)

    async def test(application: Application) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
        for place in range(0, len(UPGRADE), 40):
            writer.write(UPGRADE[place : place + 40])
            await asyncio.sleep(0)
        assert (await heard(reader)).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == b"\x81\x05hello"
        await asyncio.sleep(0.3)
        assert not reader.at_eof()
        writer.write(b"\x88\x80\0\0\0\0")
        assert await asyncio.wait_for(reader.read(), 5) == b"\x88\x00"
        writer.close()

    serving(test)


def test_an_upgrade_behind_a_request_that_is_being_answered_is_a_request(caplog: pytest.LogCaptureFixture):
    async def test(application: Application) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        while not application.kinds:
            await asyncio.sleep(0.01)
        writer.write(UPGRADE)
        await asyncio.sleep(0.05)
        application.go.set()
        for _ in range(2):
            assert (await heard(reader)).startswith(b"HTTP/1.1 200 ")
        assert application.kinds == ["http", "http"]
        writer.close()

    serving(test)


@pytest.mark.parametrize("wrong", [b"host: x\r\n", b"sec-websocket-version: 13\r\n", b"/v1/live"])
def test_what_is_no_good_upgrade_is_refused_or_a_request(wrong: bytes):
    async def test(application: Application) -> None:
        application.go.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
        writer.write(UPGRADE.replace(wrong, b"/elsewhere" if wrong == b"/v1/live" else b""))
        status = int((await heard(reader)).split(b" ")[1])
        assert status == (200 if wrong == b"/v1/live" else 400)
        writer.close()

    serving(test)


def test_an_upgrade_that_is_refused_before_the_application_is_asked_has_a_request_id():
    async def test(application: Application) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
        writer.write(UPGRADE.replace(b"sec-websocket-version: 13\r\n", b""))
        head = await heard(reader)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert len(re.findall(rb"\r\nx-request-id: req_[0-9a-f]{24}\r\n", head)) == 1
        assert application.kinds == []
        writer.close()

    serving(test)


def test_a_refusal_is_sent_whole_and_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture):
    async def test(application: Application) -> None:
        application.refuses = True
        reader, writer = await asyncio.open_connection("127.0.0.1", application.port)
        writer.write(UPGRADE)
        assert (await heard(reader)).startswith(b"HTTP/1.1 401 ")
        assert await asyncio.wait_for(reader.read(), 5) == b"no"
        writer.close()

    with caplog.at_level("INFO"):
        serving(test)
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_protocol, "STALL_SECONDS", 0.3)

    async def test(application: Application) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", application.port))
        await asyncio.get_running_loop().sock_sendall(raw, UPGRADE)
        await asyncio.wait_for(application.gone.wait(), 5)
        with contextlib.suppress(ConnectionResetError):
            while await asyncio.get_running_loop().sock_recv(raw, 65536):
                pass
        raw.close()

    serving(test, floods=True)
