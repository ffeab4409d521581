"""The real application in a process that ends, is cancelled or finds the store away at a chosen step of a request.

    python -m tests.whole.crashing SPEC      (JSON of a Spec; prints, by kind, a JSON list of Swept)

Steps are those of tests.whole.steps. What the client got completely is a line in the file `acks`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import Struct

from midstream.app.compose import Process
from midstream.app.config import Config
from midstream.runs import settling
from midstream.runs.health import Health
from midstream.runs.order import Order
from midstream.runs.run import Run, Runs

from .steps import (
    Acked,
    Client,
    Countdown,
    Swept,
    configured,
    count_steps,
    fail_commits,
    in_one_process,
    mortal,
    opened,
    settled,
    sweep_lives,
    tell,
)

Kind = Literal["whole", "stream", "fallback", "conversation", "first_turn", "embedding", "opening"]
#: kill: SIGKILL; cancel: the run is cancelled; gone: the client hangs up; before, after: the k-th commit says that the
#: store is away, without or with having happened.
End = Literal["kill", "cancel", "gone", "before", "after"]


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


def client_of(process: Process, spec: Spec, countdown: Countdown) -> Client:
    acks = os.open(spec.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return Client(process, countdown, lambda acked: _keep(acks, acked))


def _keep(acks: int, acked: Acked) -> None:
    os.write(acks, msgspec.json.encode(acked) + b"\n")


async def ask(client: Client, spec: Spec, kind: Kind, name: str) -> Acked:
    return await client.ask("POST", *request(kind, name, spec.conversation), name)


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


async def silence(url: str) -> None:
    """Every worker that died counts as dead now, not in half a minute."""
    if url.startswith("postgres"):
        connection = await asyncpg.connect(url)
        await connection.execute("UPDATE workers SET seen_at = 0")
        await connection.close()


async def live(spec: Spec, config: Config, kind: Kind, steps: int) -> None:
    """One life: opened on what the last one left, serves one request well, then dies at a step of the next one."""
    countdown = mortal()
    await silence(spec.url)
    if kind == "opening":
        countdown.arm(steps)
    process = await opened(config, countdown)
    countdown.armed = False
    client = client_of(process, spec, countdown)
    served = await ask(client, spec, "whole", f"{kind}-{steps}-before")
    assert (served.done, served.status) == (True, 200), served
    if kind != "opening":
        countdown.arm(steps)
        await ask(client, spec, kind, f"{kind}-{steps}")
        countdown.armed = False
    await process.close()


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
            fail_commits(process, self._strikes, after=self._end == "after")

    def _strikes(self) -> bool:
        was = self.struck
        self.countdown.step()
        return self.struck and not was


async def strike_all(spec: Spec, config: Config, swept: list[Swept]) -> None:
    """Request after request in one process, each struck `stride` steps later, until one ends before its step."""
    settling.SETTLE_AGAIN = 0.02
    strike = Strike(spec.end)
    await silence(spec.url)
    process = await opened(config)
    strike.watch(process)
    runs = process.services.runs
    for kind in spec.kinds:
        steps, asked = spec.first, 0
        while True:
            runs._health = Health(runs._clock.steady)
            strike.client = client_of(process, spec, strike.countdown)
            strike.run, strike.struck = None, False
            strike.countdown.arm(steps)
            acked = await ask(strike.client, spec, kind, f"{kind}-{steps}")
            if acked.status == 503 and not strike.struck:  # the end of the turn before is still to be written
                await settled(runs)
                strike.countdown.arm(steps)
                await ask(strike.client, spec, kind, f"{kind}-{steps}-again")
            strike.countdown.armed = False
            asked += 1
            if not strike.struck or asked >= spec.most:
                break
            steps += spec.stride
        swept.append(Swept(kind, asked, asked - (not strike.struck), steps))
    await settled(runs)
    await process.close()


def main(spec: Spec) -> list[Swept]:
    config = configured(spec.config)
    if spec.end == "kill":
        return [
            sweep_lives(kind, spec.first, spec.stride, spec.most, partial(live, spec, config, kind))
            for kind in spec.kinds
        ]
    return in_one_process(partial(strike_all, spec, config))


if __name__ == "__main__":
    tell(main(msgspec.json.decode(sys.argv[1], type=Spec)))
