"""Requests over real connections, to the whole application and on to a provider on loopback: what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
import uvloop

from midstream.app.clock import Clock
from midstream.app.compose import open_process
from midstream.app.config_schema import Config, ProviderConfig, ServerConfig
from midstream.app.protocol import EdgeProtocol

from .asgi import KEY, priced

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


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = msgspec.json.decode(await reader.readexactly(length))
            status, kind, said = 200, b"application/json", WHOLE
            if body["model"] == "refused":
                status, said = 400, REFUSAL
            elif body["model"] == "lasting":
                writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n" + LASTING)
                del body
                await reader.read()
                break
            elif body.get("stream"):
                kind, said = b"text/event-stream", STREAM
            writer.write(b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(said)))
            writer.write(said)
    except asyncio.IncompleteReadError:
        pass
    writer.close()


def _send(writer: asyncio.StreamWriter, body: dict[str, Any], face: str = "chat/completions") -> None:
    data = msgspec.json.encode({"messages": [{"role": "user", "content": "hi"}], **body})
    writer.write(
        b"POST /v1/" + face.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(data), data)
    )


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    _send(writer, body)
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    else:
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


Served = Callable[[int], Awaitable[None]]


def _served(tmp_path: Path, test: Served) -> None:
    """Hands the port of a server to test."""

    async def go() -> None:
        upstream = await asyncio.start_server(_upstream, "127.0.0.1", 0, limit=64 * 1024 * 1024)
        port = upstream.sockets[0].getsockname()[1]
        priced(tmp_path)
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
            await test(listening.sockets[0].getsockname()[1])
        finally:
            listening.close()
            upstream.close()
            await process.services.runs.drain(5)
            await process.close()

    uvloop.run(go())  # as in production: its timers hold their callbacks


@pytest.mark.parametrize(
    "body",
    [
        {"model": "up/m"},
        {"model": "up/m", "stream": True},
        {"model": "up/refused"},
        {"model": "gone/m"},
        {"model": "midstream/rehearsal"},
        {"model": 5},
    ],
)
def test_a_finished_request_leaves_nothing_that_only_the_collector_could_free(tmp_path: Path, body: dict[str, Any]):
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            await _ask(reader, writer, body)
        left = await _left_behind(reader, writer, body)
        writer.close()
        assert left == []

    _served(tmp_path, test)


@pytest.mark.parametrize("face", ["chat/completions", "messages"])
def test_a_stream_under_way_holds_nothing_of_its_prompt(tmp_path: Path, face: str):
    prompt = 4 * 1024 * 1024

    async def streaming(port: int, size: int) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = {"model": "up/lasting", "stream": True, "max_tokens": 9}
        _send(writer, {**asked, "messages": [{"role": "user", "content": "x" * size}]}, face)
        await reader.readuntil(b"hi")
        return writer

    async def test(port: int) -> None:
        open_ = [await streaming(port, 10)]
        await asyncio.sleep(0.05)  # what the one before left to other threads
        gc.collect()
        tracemalloc.start()
        open_ += [await streaming(port, prompt)]
        await asyncio.sleep(0.05)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        for writer in open_:
            writer.close()
        assert held < prompt / 4

    _served(tmp_path, test)


async def _left_behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: dict[str, Any]) -> list[str]:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await _ask(reader, writer, body)
        await asyncio.sleep(0.02)
        gc.collect()
        return sorted({type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("midstream")})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
