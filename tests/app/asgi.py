"""The whole application in this process: a database in memory's stead on disk, no sockets, asked over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from midstream.app.clock import Clock
from midstream.app.compose import Process, open_process
from midstream.app.config_schema import Config, LimitsConfig, ServerConfig

from ..price_list import put_price_list

KEY = "ms-admin-key-of-these-tests"
MODEL = "midstream/rehearsal"


@dataclass
class Reply:
    """What came back so far. ended: it is complete."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Asking:
    """One request under way. leave(): its client hangs up."""

    def __init__(self, application: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.reply = Reply()
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self._more = asyncio.Event()
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
        }  # fmt: skip
        self.task = asyncio.get_running_loop().create_task(application(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert not self.reply.status, "two answers to one question"
            self.reply.status = message["status"]
            for name, value in message["headers"]:
                assert not {*b"\r\n"} & {*name, *value}
                self.reply.headers[name.decode()] = value.decode("latin-1")
        else:
            self.reply.pieces.append(message.get("body", b""))
            self.reply.ended = not message.get("more_body")
        self._more.set()

    def leave(self) -> None:
        self._left.set()

    async def until(self, seen: Callable[[Reply], bool]) -> Reply:
        while not seen(self.reply):
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), 10)
        return self.reply

    async def end(self) -> Reply:
        await asyncio.wait_for(self.task, 10)
        return self.reply


class Here:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.services = process.services

    def begin(self, method: str, path: str, body: Any = None, key: str = KEY, **headers: str) -> Asking:
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        if key:
            headers = {"authorization": f"Bearer {key}", **headers}
        return Asking(self.process.application, method, path, data, headers)

    async def ask(self, method: str, path: str, body: Any = None, key: str = KEY, **headers: str) -> Reply:
        return await self.begin(method, path, body, key, **headers).end()

    def chat(self, text: str, **more: Any) -> Asking:
        messages = [{"role": "user", "content": text}]
        return self.begin("POST", "/v1/chat/completions", {"model": MODEL, "messages": messages, **more})


@asynccontextmanager
async def opened(folder: Path, *, org_in_flight: int = 4096, **server: Any) -> AsyncIterator[Here]:
    put_price_list(folder)
    limits = LimitsConfig(org_in_flight=org_in_flight)
    config = Config(server=ServerConfig(data=str(folder), **server), limits=limits)
    process = await open_process(config, KEY, Clock())
    try:
        yield Here(process)
    finally:
        await process.services.runs.drain(5)
        await process.close()


def here(folder: Path, test: Callable[[Here], Awaitable[None]], **server: Any) -> None:
    """Runs a test on an application of its own; nothing may be left running behind it."""

    async def run() -> None:
        async with opened(folder, **server) as application:
            await asyncio.wait_for(test(application), 30)
            left = [task for task in asyncio.all_tasks() if "_http" in repr(task) or "serve" in repr(task)]
            assert not left

    asyncio.run(run())
