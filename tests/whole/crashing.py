"""The real application in a process that ends, is cancelled or finds the store away at a chosen step of a request.

    python -m tests.whole.crashing SPEC      (JSON of a Spec; prints, by kind, a JSON list of Swept)

A step is: a callback of the event loop (so every suspension of every task), the beginning of a statement on SQLite,
before and after the request's bytes are written upstream, before and after bytes of the answer are taken, before and
after bytes are sent to the client. What the client got completely is a line in the file `acks`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.events import Handle
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import Struct

from midstream.app.cli_options import provider_kinds
from midstream.app.clock import Clock
from midstream.app.compose import Process, open_process
from midstream.app.config import Config, load
from midstream.core import ids
from midstream.core.errors import StoreDown
from midstream.egress.connection import Connection
from midstream.runs import run as run_module
from midstream.runs.health import Health
from midstream.runs.order import Order
from midstream.runs.run import Run, Runs

Kind = Literal["whole", "stream", "fallback", "conversation", "first_turn", "embedding", "opening"]
#: kill: SIGKILL; cancel: the run is cancelled; gone: the client hangs up; before, after: the k-th commit says that the
#: store is away, without or with having happened.
End = Literal["kill", "cancel", "gone", "before", "after"]
KEY = "ms-admin-crashing-0123456789"
#: Seconds after which a request counts as hanging.
PATIENCE = 20.0


class Spec(Struct):
    """first, stride: at which steps. most: lives at the most, per kind."""

    url: str
    config: str
    acks: str
    conversation: str
    kinds: list[Kind]
    end: End = "kill"
    first: int = 1
    stride: int = 1
    most: int = 10_000


class Acked(Struct):
    """A request that came to an end. body: of the whole reply, or the stream's text. done: nothing is missing."""

    name: str
    status: int
    body: str
    done: bool


class Swept(Struct):
    """asked: how many requests. struck: how many met their step. steps: of one that was left alone, about."""

    kind: Kind
    asked: int
    struck: int
    steps: int


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


class Client:
    """Asks the application as an ASGI server does. gone: set when the client hangs up."""

    def __init__(self, process: Process, spec: Spec, countdown: Countdown) -> None:
        self.process = process
        self.gone = asyncio.Event()
        self._spec = spec
        self._countdown = countdown
        self._acks = os.open(spec.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def ask(self, kind: Kind, name: str) -> Acked:
        path, body = request(kind, name, self._spec.conversation)
        acked = Acked(name, 0, "", False)
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
                os.write(self._acks, msgspec.json.encode(acked) + b"\n")
            self._countdown.step()

        headers = [
            (b"authorization", b"Bearer " + KEY.encode()),
            (b"content-type", b"application/json"),
            (b"x-request-id", name.encode()),
        ]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        async with asyncio.timeout(PATIENCE):
            await self.process.application(scope, receive, send)
        return acked


def request(kind: Kind, name: str, conversation: str) -> tuple[str, dict[str, Any]]:
    if kind == "embedding":
        return "/v1/embeddings", {"model": "up/e", "input": name}
    body: dict[str, Any] = {"model": "up/x", "messages": [{"role": "user", "content": name}]}
    if kind == "stream":
        body["stream"] = True
    elif kind == "fallback":
        body["model"] = "two"
    elif kind == "conversation":
        body["conversation"] = conversation
    elif kind == "first_turn":
        body["conversation"] = {}
    return "/v1/chat/completions", body


async def opened(spec: Spec, config: Config, countdown: Countdown) -> Process:
    process = await open_process(config, KEY, Clock())
    db = process.services.store.db
    if db.dialect == "sqlite":
        db._writer.set_trace_callback(countdown.step)  # type: ignore[attr-defined]
    return process


async def silence(url: str) -> None:
    """Every worker that died counts as dead now, not in half a minute."""
    if url.startswith("postgres"):
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE workers SET seen_at = 0")
        await connection.close()


async def live(spec: Spec, config: Config, kind: Kind, steps: int) -> None:
    """One life: opened on what the last one left, serves one request well, then dies at a step of the next one."""
    ids._PROCESS = os.urandom(6).hex()  # a fork is to be a process like any other
    countdown = Countdown(die)
    count_steps(countdown)
    await silence(spec.url)
    if kind == "opening":
        countdown.arm(steps)
    process = await opened(spec, config, countdown)
    countdown.armed = False
    client = Client(process, spec, countdown)
    served = await client.ask("whole", f"{kind}-{steps}-before")
    assert (served.done, served.status) == (True, 200), served
    if kind != "opening":
        countdown.arm(steps)
        await client.ask(kind, f"{kind}-{steps}")
        countdown.armed = False
    await process.close()


def sweep_lives(spec: Spec, config: Config, kind: Kind) -> Swept:
    """Life after life, each dies `stride` steps later, until one outlives its request."""
    steps, asked = spec.first, 0
    while asked < spec.most:
        asked += 1
        child = os.fork()
        if child == 0:
            in_own_loop(live(spec, config, kind, steps))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"{kind}: life {steps} ended in an error")
            return Swept(kind, asked, asked - 1, steps)
        steps += spec.stride
    return Swept(kind, asked, asked, steps)


class Strike:
    """What happens to a request at its step, in a process that goes on."""

    def __init__(self, end: End) -> None:
        self.run: Run | None = None
        self.client: Client | None = None
        self.struck = False
        self.countdown = Countdown(self._now)
        if end in ("cancel", "gone"):
            count_steps(self.countdown)
        self._end = end

    def _now(self) -> None:
        self.struck = True
        if self._end == "gone" and self.client is not None:
            self.client.gone.set()
        elif self._end == "cancel" and self.run is not None:
            self.run.cancel()

    def watch(self, process: Process) -> None:
        runs: Runs = process.services.runs
        start = runs.start

        def noted(order: Order, *, detached: bool = False) -> Run:
            self.run = start(order, detached=detached)
            return self.run

        runs.start = noted  # type: ignore[method-assign]
        if self._end in ("before", "after"):
            self._fail_commits(process)

    def _fail_commits(self, process: Process) -> None:
        db = process.services.store.db
        write = db.write

        async def failing(statements: Any) -> None:
            was = self.struck
            self.countdown.step()
            strikes = self.struck and not was
            if not strikes or self._end == "after":
                await write(statements)
            if strikes:
                raise StoreDown

        db.write = failing  # type: ignore[method-assign]
        process.services.store.ledger._write = failing


async def strike_all(spec: Spec, config: Config, swept: list[Swept]) -> None:
    """Request after request in one process, each struck `stride` steps later, until one ends before its step."""
    run_module.SETTLE_AGAIN = 0.02
    strike = Strike(spec.end)
    await silence(spec.url)
    process = await open_process(config, KEY, Clock())
    strike.watch(process)
    runs = process.services.runs
    for kind in spec.kinds:
        steps, asked = spec.first, 0
        while True:
            runs._health = Health(runs._clock.steady)
            strike.client = Client(process, spec, strike.countdown)
            strike.run, strike.struck = None, False
            strike.countdown.arm(steps)
            acked = await strike.client.ask(kind, f"{kind}-{steps}")
            if acked.status == 503 and not strike.struck:  # the end of the turn before is still to be written
                await _settled(runs)
                strike.countdown.arm(steps)
                await strike.client.ask(kind, f"{kind}-{steps}-again")
            strike.countdown.armed = False
            asked += 1
            if not strike.struck or asked >= spec.most:
                break
            steps += spec.stride
        swept.append(Swept(kind, asked, asked - (not strike.struck), steps))
    await _settled(runs)
    await process.close()


async def _settled(runs: Runs) -> None:
    async with asyncio.timeout(PATIENCE):
        while runs.active or runs._unsettled:
            await asyncio.sleep(0.01)


def in_own_loop(work: Any) -> None:
    """For a child: runs this and ends the process."""
    code = 1
    try:
        asyncio.SelectorEventLoop().run_until_complete(work)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(spec: Spec) -> list[Swept]:
    config = load(spec.config, {}, provider_kinds())
    if spec.end == "kill":
        return [sweep_lives(spec, config, kind) for kind in spec.kinds]
    swept: list[Swept] = []
    asyncio.SelectorEventLoop().run_until_complete(strike_all(spec, config, swept))
    return swept


if __name__ == "__main__":
    print(msgspec.json.encode(main(msgspec.json.decode(sys.argv[1], type=Spec))).decode())
