"""An agent's turn in a process that dies, whose client hangs up, or whose store is away, at a chosen step of it.

    python -m tests.whole.agent_crashing SPEC      (JSON of a Spec; prints, by kind, a JSON list of Swept)

Steps are those of tests.whole.steps. Before each struck turn stands a plain one on its thread, and after it another
one, which must be answered: by the process that goes on, or by the next life."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import time
from functools import partial
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import Struct

from midstream.app import jobs, supervisor
from midstream.app.compose import Process
from midstream.app.config import Config
from midstream.core import ids
from midstream.delivery import webhook
from midstream.runs import settling
from midstream.runs.health import Health
from midstream.store import outbox

from . import agent_script
from .steps import (
    PATIENCE,
    Acked,
    Client,
    Countdown,
    Swept,
    configured,
    count_steps,
    die,
    fail_commits,
    in_one_process,
    mortal,
    opened,
    settled,
    sweep_lives,
    tell,
)

#: said: a stream; whole: one reply; later: accepted, and delivered to a webhook; later-new: so, and its thread has no
#: name.
Kind = Literal["said", "whole", "later", "later-new"]
#: kill: SIGKILL; gone: the client hangs up; before, after: the k-th commit says that the store is away, without or
#: with having happened; full: the disk is full from the k-th commit on, for three of them.
End = Literal["kill", "gone", "before", "after", "full"]
#: Seconds until nothing of a turn whose client hung up is under way any more.
PROMPT = 0.25
#: Times that a step is struck which took longer: a machine is busy now and then, what waits for something waits always.
TRIES = 3


class Spec(Struct):
    """tools: origin of the tool server. first, stride: at which steps. most: lives at the most, per kind."""

    url: str
    config: str
    acks: str
    tools: str
    kinds: list[Kind]
    end: End = "kill"
    first: int = 1
    stride: int = 1
    most: int = 10_000


class Turns:
    """One process's turns of the agent."""

    def __init__(self, spec: Spec, process: Process, countdown: Countdown, agent: str) -> None:
        self.spec = spec
        self.process = process
        self.countdown = countdown
        self.agent = agent
        self.client = Client(process, countdown)
        self._conversation = ""

    async def plain(self, name: str, thread: str) -> None:
        """A turn that must be answered; the store's end of the turn before may still be on its way."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.client.gone.clear()
            acked = await self.client.ask("POST", *self._request("whole", name, thread), name)
            if acked.status == 200 or time.monotonic() > deadline:
                break
            assert acked.status == 503, acked
            await asyncio.sleep(0.02)
        assert f"re: {name}" in acked.body, acked

    async def struck(self, kind: Kind, name: str, steps: int) -> Acked:
        """The turn that is struck, if its step comes."""
        self.client.gone.clear()
        self.countdown.arm(steps)
        acked = await self.client.ask("POST", *self._request(kind, name, name), name)
        if kind.startswith("later"):
            await self.idle()
        acked.struck = not self.countdown.armed
        self.countdown.armed = False
        if not acked.struck and not kind.startswith("later"):
            assert acked.status == 200, acked
            assert f"re: {name}" in "".join(re.findall('"delta":"([^"]*)"', acked.body)) + acked.body, acked
        with open(self.spec.acks, "ab") as acks:
            acks.write(msgspec.json.encode(acked) + b"\n")
        return acked

    def _request(self, kind: Kind, name: str, thread: str) -> tuple[str, Any]:
        if kind == "said":
            body = {"agentId": self.agent, "message": name, "stream": True, "conversationId": self._conversation}
            return "/api/v1/conversation", body
        body = {"agent_id": self.agent, "user": name}
        if kind != "later-new":
            body["thread_id"] = thread
        if kind.startswith("later"):
            body["response_format"] = {"type": "webhook", "cred": {"url": f"{self.spec.tools}/hook"}}
        return "/api/v2/model/chat/completion", body

    async def begin(self, thread: str) -> None:
        await self.plain(f"plain-before-{thread}", thread)
        db = self.process.services.store.db
        [(id,)] = await db.read("SELECT id FROM conversations WHERE thread_id = $1", thread)
        self._conversation = ids.as_uuid(id)

    async def idle(self) -> None:
        """Everything that was accepted has been worked off."""
        db = self.process.services.store.db
        deadline = time.monotonic() + PATIENCE
        for sql in (
            "SELECT id, tries FROM jobs WHERE status IN ('queued', 'running')",
            "SELECT id, topic FROM outbox WHERE done_at IS NULL",
            "SELECT id, last_error FROM deliveries WHERE status = 'waiting'",
        ):
            while found := await db.read(sql):
                assert time.monotonic() < deadline, found
                await asyncio.sleep(0.005)


async def pass_time(url: str) -> None:
    """What waits for dead servers' leases to run out has waited."""
    sets = (
        "workers SET seen_at = 0",
        "conversation_turns SET until = 0",
        "deliveries SET available_at = 0 WHERE available_at > 0",
    )
    if url.startswith("postgres"):
        connection = await asyncpg.connect(url)
        for one in sets:
            await connection.execute(f"UPDATE {one}")
        await connection.close()
    else:
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            for one in sets:
                database.execute(f"UPDATE {one}")
        database.close()


async def set_up(spec: Spec, config: Config) -> str:
    """Makes the agent; its id."""
    process = await opened(config)
    client = Client(process, Countdown(die))

    async def made(path: str, body: Any) -> Any:
        acked = await client.ask("POST", path, body)
        assert acked.status in (200, 201), acked
        return msgspec.json.decode(acked.body)

    tools = [
        (await made("/v1/admin/tools", agent_script.tool(name, spec.tools)))["id"] for name in agent_script.EFFECTS
    ]
    agent = await made("/v1/admin/agents", agent_script.agent(tools))
    await made(f"/v1/admin/agents/{agent['id']}/publish", {"version_id": agent["version_id"]})
    await process.close()
    return str(agent["id"])


async def live(spec: Spec, config: Config, agent: str, kind: Kind, steps: int) -> None:
    """One life: works off what the last one left, goes on with its thread, then dies at a step of its own turn."""
    countdown = mortal()
    await pass_time(spec.url)
    process = await opened(config, countdown)
    turns = Turns(spec, process, countdown, agent)
    await turns.idle()
    if steps > spec.first:
        before = f"{kind}-{steps - spec.stride}"
        await turns.plain(f"plain-after-{before}", before)
    name = f"{kind}-{steps}"
    await turns.begin(name)
    await turns.idle()
    await turns.struck(kind, name, steps)
    await turns.plain(f"plain-after-{name}", name)
    await turns.idle()
    await process.close()


class Strike:
    """What happens to a turn at its step, in a process that goes on. left: commits that fail from then on."""

    def __init__(self, end: End) -> None:
        self.client: Client | None = None
        self.at = 0.0
        self.left = 0
        self.countdown = Countdown(self._now)
        self._end = end
        if end == "gone":
            count_steps(self.countdown)

    def _now(self) -> None:
        self.at = time.monotonic()
        self.left = 3 if self._end == "full" else 1
        if self._end == "gone" and self.client is not None:
            self.client.gone.set()

    def watch(self, process: Process) -> None:
        if self._end != "gone":
            fail_commits(process, self._strikes, after=self._end == "after")

    def _strikes(self) -> bool:
        self.countdown.step()
        strikes = self.left > 0
        self.left -= strikes
        return strikes


async def strike_all(spec: Spec, config: Config, agent: str, swept: list[Swept]) -> None:
    """Turn after turn in one process, each struck `stride` steps later, until one ends before its step."""
    settling.SETTLE_AGAIN = supervisor.AWAY = outbox.FIRST_PAUSE = 0.02
    jobs.FIRST_PAUSE, jobs.LONGEST_PAUSE, jobs.LOOK_EVERY, webhook.HOLD = 0.02, 0.1, 0.05, 0.5
    strike = Strike(spec.end)
    process = await opened(config)
    strike.watch(process)
    turns = Turns(spec, process, strike.countdown, agent)
    strike.client = turns.client
    runs, tasks = process.services.runs, None
    for kind in spec.kinds:
        steps, asked, slowest, again = spec.first, 0, 0.0, 0
        while True:
            runs._health = Health(runs._clock.steady)
            name = f"{kind}-{steps}" + "-again" * again
            took = 0.0
            await turns.begin(name)
            await turns.idle()
            tasks = tasks or len(_tasks())
            acked = await turns.struck(kind, name, steps)
            if spec.end == "gone" and acked.struck:
                await _nothing_under_way(process)
                took = time.monotonic() - strike.at
            await turns.plain(f"plain-after-{name}", name)
            await settled(runs)
            await turns.idle()
            await _nothing_left(process, tasks)
            asked += 1
            if not acked.struck:
                break
            again = again + 1 if took > PROMPT and again + 1 < TRIES else 0
            if not again:
                slowest = max(slowest, took)
                steps += spec.stride
        swept.append(Swept(kind, asked, asked - 1, steps, slowest))
    await process.close()


async def _nothing_under_way(process: Process) -> None:
    egress, runs = process.services.egress, process.services.runs
    while runs.active or egress.open > egress.idle:
        await asyncio.sleep(0.001)


async def _nothing_left(process: Process, tasks: int) -> None:
    """No task, lock or connection more than before."""
    services = process.services
    deadline = time.monotonic() + 2
    while len(_tasks()) > tasks:
        assert time.monotonic() < deadline, _tasks()
        await asyncio.sleep(0.002)
    assert not services.agents._under_way
    assert not len(services.conversations.turns)
    assert services.egress.open == services.egress.idle


def _tasks() -> list[asyncio.Task[Any]]:
    """Those under way, without work that goes round: it has one more during its rounds than before its first one."""
    return [task for task in asyncio.all_tasks() if "_Work." not in repr(task.get_coro())]


def main(spec: Spec) -> list[Swept]:
    config = configured(spec.config)
    agent = asyncio.run(set_up(spec, config))
    if spec.end != "kill":
        return in_one_process(partial(strike_all, spec, config, agent))
    swept = [
        sweep_lives(kind, spec.first, spec.stride, spec.most, partial(live, spec, config, agent, kind))
        for kind in spec.kinds
    ]
    for one in swept:
        if one.struck == one.asked:
            raise SystemExit(f"{one.kind}: it never ended")
    return swept


if __name__ == "__main__":
    tell(main(msgspec.json.decode(sys.argv[1], type=Spec)))
