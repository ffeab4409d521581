"""A server on loopback whose answers a test writes, and the door to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from midstream.core.agents import HttpTool, Tool
from midstream.egress import Egress


class Heard(Struct):
    """One request as it came in. headers: lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Said(Struct):
    body: bytes | str | Any = b""
    status: int = 200
    headers: dict[str, str] = {}


Handler = Callable[[Heard], Awaitable[Said]]


class Web:
    """heard: every request. connections: how many were made."""

    def __init__(self, handler: Handler | Said) -> None:
        self.handler = handler
        self.heard: list[Heard] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:] if line}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                heard = Heard(method, target, headers, body)
                self.heard.append(heard)
                said = self.handler if isinstance(self.handler, Said) else await self.handler(heard)
                content = said.body
                if isinstance(content, str):
                    content = content.encode()
                elif not isinstance(content, bytes):
                    content = msgspec.json.encode(content)
                    said.headers.setdefault("content-type", "application/json")
                head = "".join(f"{name}: {value}\r\n" for name, value in said.headers.items())
                writer.write(f"HTTP/1.1 {said.status} X\r\n{head}content-length: {len(content)}\r\n\r\n".encode())
                writer.write(content)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def web(handler: Handler | Said) -> AsyncIterator[Web]:
    made = Web(handler)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@contextlib.asynccontextmanager
async def door(*allow: str, **more: Any) -> AsyncIterator[Egress]:
    egress = Egress(allow=allow, environ={}, **more)
    try:
        yield egress
    finally:
        await egress.close()


def http_tool(url: str, **more: Any) -> Tool:
    """Arguments of the tool itself: effect, parameters, mapped, timeout_seconds; all others are of its request."""
    own = {name: more.pop(name) for name in ("effect", "parameters", "mapped", "timeout_seconds") if name in more}
    return Tool(id="tool_1", name="look", http=HttpTool(url=url, **more), **{"effect": "pure", **own})
