"""The real application in this process, the steps of it that are counted, and what sweeps over them have in common.

A step is: a callback of the event loop (so every suspension of every task), the beginning of a statement on SQLite,
before and after the request's bytes are written upstream, before and after bytes of the answer are taken, before and
after bytes are sent to the client."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.events import Handle
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import msgspec
from msgspec import Struct

from midstream.app.cli_options import provider_kinds
from midstream.app.clock import Clock
from midstream.app.compose import Process, open_process
from midstream.app.config import Config, load
from midstream.core import ids
from midstream.core.errors import StoreDown
from midstream.egress.connection import Connection
from midstream.runs.run import Runs

KEY = "ms-admin-crashing-0123456789"
#: Seconds after which a request counts as hanging.
PATIENCE = 20.0


class Acked(Struct):
    """A request that came to an end. body: of the whole reply, or the stream's text. done: nothing is missing.
    struck: it met its step."""

    name: str
    status: int = 0
    body: str = ""
    done: bool = False
    struck: bool = False


class Swept(Struct):
    """asked: how many requests. struck: how many met their step. steps: of one that was left alone, about. slowest:
    seconds until one without its client was over."""

    kind: str
    asked: int
    struck: int
    steps: int
    slowest: float = 0.0


class Countdown:
    """Strikes at the last of so many steps, once it is armed."""

    def __init__(self, strike: Callable[[], None]) -> None:
        self.left = 0
        self.armed = False
        self.strike = strike

    def arm(self, steps: int) -> None:
        self.left = steps
        self.armed = True

    def step(self, _what: object = None) -> None:
        if self.armed:
            self.left -= 1
            if self.left <= 0:
                self.armed = False
                self.strike()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_steps(countdown: Countdown) -> None:
    """From now on, in this process."""
    for owner, name in ((Handle, "_run"), (Connection, "begin"), (Connection, "data_received")):
        _surround(owner, name, countdown)


def _surround(owner: type, name: str, countdown: Countdown) -> None:
    inner = getattr(owner, name)

    def stepping(*args: Any) -> Any:
        countdown.step()
        result = inner(*args)
        countdown.step()
        return result

    setattr(owner, name, stepping)


def mortal() -> Countdown:
    """For a child that dies at a step: its steps are counted from now on."""
    ids._digits = ids._counting()  # a fork is to be a process like any other
    countdown = Countdown(die)
    count_steps(countdown)
    return countdown


async def opened(config: Config, countdown: Countdown | None = None) -> Process:
    """countdown: counts the statements on SQLite, too."""
    process = await open_process(config, KEY, Clock())
    db = process.services.store.db
    if countdown is not None and db.dialect == "sqlite":
        db._writer.set_trace_callback(countdown.step)  # type: ignore[attr-defined]
    return process


class Client:
    """Asks the application as an ASGI server does. gone: set when the client hangs up. ended: told of each request of
    which nothing is missing, before anything else happens."""

    def __init__(
        self, process: Process, countdown: Countdown, ended: Callable[[Acked], None] = lambda acked: None
    ) -> None:
        self.process = process
        self.gone = asyncio.Event()
        self._countdown = countdown
        self._ended = ended

    async def ask(self, method: str, path: str, body: Any, name: str = "setup") -> Acked:
        acked = Acked(name)
        given = False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                await self.gone.wait()
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": msgspec.json.encode(body)}

        async def send(message: MutableMapping[str, Any]) -> None:
            self._countdown.step()
            if message["type"] == "http.response.start":
                acked.status = message["status"]
            else:
                acked.body += message["body"].decode()
                acked.done = not message.get("more_body")
            if acked.done:
                self._ended(acked)
            self._countdown.step()

        headers = [
            (b"authorization", b"Bearer " + KEY.encode()),
            (b"content-type", b"application/json"),
            (b"x-request-id", name.encode()),
        ]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        async with asyncio.timeout(PATIENCE):
            await self.process.application(scope, receive, send)
        return acked


def fail_commits(process: Process, strikes: Callable[[], bool], *, after: bool) -> None:
    """strikes: asked at each commit whether it says that the store is away. after: it happens all the same."""
    db = process.services.store.db
    write = db.write

    async def failing(statements: Any) -> None:
        struck = strikes()
        if not struck or after:
            await write(statements)
        if struck:
            raise StoreDown

    db.write = failing  # type: ignore[method-assign]
    process.services.store.ledger._write = failing


async def settled(runs: Runs) -> None:
    """Every run has ended, and all of it is written."""
    async with asyncio.timeout(PATIENCE):
        while runs.active or runs.settling.waiting:
            await asyncio.sleep(0.002)


def sweep_lives(
    kind: str, first: int, stride: int, most: int, life: Callable[[int], Coroutine[Any, Any, None]]
) -> Swept:
    """Life after life, each dies `stride` steps later, until one outlives its request, or there were so many."""
    steps = first
    for asked in range(1, most + 1):
        child = os.fork()
        if child == 0:
            _in_own_loop(life(steps))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"{kind}: life {steps} ended in an error")
            return Swept(kind, asked, asked - 1, steps)
        steps += stride
    return Swept(kind, most, most, steps)


def _in_own_loop(work: Coroutine[Any, Any, None]) -> None:
    """For a child: runs this and ends the process."""
    code = 1
    try:
        asyncio.SelectorEventLoop().run_until_complete(work)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def configured(file: str) -> Config:
    return load(file, {}, provider_kinds())


def in_one_process(strikes: Callable[[list[Swept]], Coroutine[Any, Any, None]]) -> list[Swept]:
    """What this adds to the list that it is given."""
    swept: list[Swept] = []
    asyncio.SelectorEventLoop().run_until_complete(strikes(swept))
    return swept


def tell(swept: list[Swept]) -> None:
    """To whoever has started this program."""
    print(msgspec.json.encode(swept).decode())
