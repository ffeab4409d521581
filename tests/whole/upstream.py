"""A provider on loopback that answers as the test says and remembers everything that it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass
class Asked:
    """One request as it arrived. gone: set when its client closed the connection before the answer was complete."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Said:
    """An answer. pieces: written one after another, a number waits that many seconds. cut: close without ending."""

    pieces: Iterable[bytes | float] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    raw: bool = False


def whole(body: bytes | Any, status: int = 200, **headers: str) -> Said:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Said((data,), status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def stream(*pieces: bytes | float, cut: bool = False) -> Said:
    return Said(pieces, content_type="text/event-stream", cut=cut)


Answer = Callable[[Asked], Said]


class Upstream:
    """Use as a context manager; `url` is its origin. answer may be replaced at any time."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda asked: whole({}))
        self.asked: list[Asked] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Upstream:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())  # type: ignore[arg-type]
            try:
                await self._client(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(asyncio.current_task())  # type: ignore[arg-type]
                writer.close()

        server = await asyncio.start_server(client, "127.0.0.1", 0, limit=64 * 1024 * 1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ")
            asked = Asked(method, path, headers, body)
            self.asked.append(asked)
            said = self.answer(asked)
            watch = asyncio.ensure_future(self._watch(reader, asked))
            try:
                await _write(writer, said)
            except ConnectionError:
                asked.gone.set()
                raise
            finally:
                watch.cancel()
            if said.cut or said.raw:
                return

    async def _watch(self, reader: asyncio.StreamReader, asked: Asked) -> None:
        while not reader.at_eof():  # StreamReader says so as soon as the peer is gone
            await asyncio.sleep(0.005)
        asked.gone.set()


async def _write(writer: asyncio.StreamWriter, said: Said) -> None:
    if said.raw:
        for piece in said.pieces:
            await _piece(writer, piece, False)
        return
    lines = [f"HTTP/1.1 {said.status} X", f"content-type: {said.content_type}", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in said.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for piece in said.pieces:
        await _piece(writer, piece, True)
    if not said.cut:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _piece(writer: asyncio.StreamWriter, piece: bytes | float, chunked: bool) -> None:
    if isinstance(piece, bytes):
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
    else:
        await asyncio.sleep(piece)
