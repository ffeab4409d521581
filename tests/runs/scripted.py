"""Runs over a real ledger in memory and a provider that follows a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw

from midstream.core.events import Attempted, Delta, Done, Event, PartStarted, Stopped, Used
from midstream.core.parts import Native, Text
from midstream.core.serving import Emit, Line, Priced, Target
from midstream.core.turn import Plan, Prompt, Turn
from midstream.core.usage import Usage
from midstream.metering.metrics import Metrics
from midstream.runs.log import Follower
from midstream.runs.order import Order
from midstream.runs.run import Run, Runs
from midstream.store.ledger import Ledger
from midstream.store.migrate import migrate
from midstream.store.presence import Presence
from midstream.store.recovery import unpriced
from midstream.store.sqlite import SqliteDatabase

Step = Callable[[Plan, Emit], Awaitable[None]]


class Clock:
    wall = staticmethod(time.time)
    steady = staticmethod(time.monotonic)


SPENT = Usage(uncached_in=3, out_text=2)


def answer(text: str = "hello", usage: Usage | None = SPENT) -> list[Event]:
    events: list[Event] = [Attempted("one", ""), PartStarted(0, Text("")), Delta(0, text), Stopped("stop")]
    if usage is not None:
        events.append(Used(usage))
    return [*events, Done()]


def says(*batches: Sequence[Event]) -> Step:
    async def step(plan: Plan, emit: Emit) -> None:
        for batch in batches:
            emit(batch, 10)
            await asyncio.sleep(0)

    return step


def raises(error: Exception) -> Step:
    async def step(plan: Plan, emit: Emit) -> None:
        raise error

    return step


class Scripted:
    """Each call takes the next step of its provider's script; the last one repeats. calls: (provider, key) in order."""

    def __init__(self, **scripts: Sequence[Step]) -> None:
        self.calls: list[tuple[str, str]] = []
        self.script(**scripts)

    def script(self, **scripts: Sequence[Step]) -> None:
        self._scripts = {name: list(steps) for name, steps in scripts.items()}

    async def __call__(self, target: Target, key: str, plan: Plan, line: Line) -> None:
        await line.leaving()
        self.calls.append((target.provider, key))
        steps = self._scripts[target.provider]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        await step(plan, line.emit)


class Bench:
    """One in-memory store and the runs over it."""

    def __init__(self, complete: Scripted, db: SqliteDatabase) -> None:
        self.db = db
        self.complete = complete
        self.runs = Runs(
            Ledger(db, "w1"),
            complete,
            lambda t, u, at, tier, billed, inner: Priced(None if t.provider == "unpriced" else "0.5", "{}"),
            Clock(),
            lambda: 0.0,
            Metrics(),
            Presence(db, "w1", unpriced),
        )

    def start(
        self, *targets: Target, stream: bool = True, detached: bool = False, within: bool = False, **more: Any
    ) -> tuple[Run, Follower]:
        native = Native("openai_chat", b'{"role":"user","content":"hi"}')
        turn = Turn(
            "openai_chat",
            {"x": Raw(b"1")},
            lambda fields: Prompt(()),
            model="m",
            stream=stream,
            fresh=(("user", native),),
        )
        order = Order(
            org="org_default", key_id="k", face="openai_chat", request_id="req", turn=turn,
            targets=targets or (Target("one", "m", "v"),), keep=True, size=400,
            **more,
        )  # fmt: skip
        run = self.runs.start(order, detached=detached, within=within)
        return run, run.log.follow()

    async def attempts(self) -> list[tuple[Any, ...]]:
        return await self.db.read(
            "SELECT provider, status, uncached_in, out_text, estimated, error_code FROM attempts ORDER BY seq"
        )

    async def statuses(self) -> list[str]:
        return [row[0] for row in await self.db.read("SELECT status FROM runs ORDER BY seq")]


async def everything(follower: Follower) -> list[Event]:
    events: list[Event] = []
    while batch := await follower.take():
        events += batch
    return events


def on_bench(complete: Scripted, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        db = SqliteDatabase(None)
        await migrate(db)
        await asyncio.wait_for(test(Bench(complete, db)), 20)
        await db.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    asyncio.run(run())
