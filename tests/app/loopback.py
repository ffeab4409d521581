"""The whole application over real connections in this process, and a provider on loopback that answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop

from midstream.app.clock import Clock
from midstream.app.compose import open_process
from midstream.app.config_schema import Config, ProviderConfig, ServerConfig
from midstream.app.protocol import EdgeProtocol

from ..price_list import put_price_list
from .asgi import KEY, Here

WHOLE = msgspec.json.encode(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
CHOICE = b'{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}'
CHUNK = b'data: {"id":"c","created":1,"model":"m","choices":[' + CHOICE + b"]}\n\n"
STREAM = CHUNK + b"data: [DONE]\n\n"
#: What comes of an answer that goes on for long.
LASTING = CHUNK.replace(b'"stop"', b"null")
REFUSAL = b'{"error":{"message":"no"}}'


class Provider:
    """asked: how many requests have come."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = msgspec.json.decode(await reader.readexactly(length))
        model, stream = body["model"], body.get("stream")
        del body  # it is not held while nothing happens
        self.asked += 1
        status, kind, said = 200, b"application/json", WHOLE
        if model == "refused":
            status, said = 400, REFUSAL
        elif model == "lasting":
            writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n" + LASTING)
            await reader.read()
            raise ConnectionError
        elif stream:
            kind, said = b"text/event-stream", STREAM
        writer.write(b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(said)))
        writer.write(said)


class Client:
    """One connection to the application."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, path: str, body: dict[str, Any]) -> None:
        data = msgspec.json.encode(body)
        self._writer.write(
            b"POST " + path.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(data), data)
        )

    async def ask(self, path: str, body: dict[str, Any]) -> bytes:
        """The body of the answer, the chunks of one that is streamed."""
        self.send(path, body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head:
            return await self.reader.readuntil(b"0\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await self.reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


class Loopback:
    """here: the same application without sockets."""

    def __init__(self, here: Here, provider: Provider, port: int) -> None:
        self.here = here
        self.provider = provider
        self._port = port

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self._port))


def loopback(tmp_path: Path, test: Callable[[Loopback], Awaitable[None]]) -> None:

    async def go() -> None:
        provider = Provider()
        upstream = await asyncio.start_server(provider, "127.0.0.1", 0, limit=64 * 1024 * 1024)
        port = upstream.sockets[0].getsockname()[1]
        put_price_list(tmp_path)
        config = Config(
            server=ServerConfig(data=str(tmp_path)),
            providers={
                "up": ProviderConfig(kind="openai_compatible", base_url=f"http://127.0.0.1:{port}"),
                "gone": ProviderConfig(kind="openai_compatible", base_url="http://127.0.0.1:9"),
            },
        )
        process = await open_process(config, KEY, Clock())
        server = uvicorn.Config(
            process.application, http=EdgeProtocol, ws="none", lifespan="off", log_config=None, proxy_headers=False
        )
        server.load()
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: EdgeProtocol(server, state, {}), "127.0.0.1", 0)
        try:
            await test(Loopback(Here(process), provider, listening.sockets[0].getsockname()[1]))
        finally:
            listening.close()
            upstream.close()
            await process.services.runs.drain(5)
            await process.close()

    uvloop.run(go())  # as in production: its timers hold their callbacks
