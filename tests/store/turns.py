"""Records of turns, and a store around a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from midstream.app.supervisor import Supervisor
from midstream.core.usage import Usage
from midstream.store import Store, open_store, recovery
from midstream.store.ledger import AttemptSettled, AttemptStarted, MessageAdded, Record, RunEnded, RunStarted

ORG = "org_default"
NOW = 1_790_000_000.25


def with_store(url: str, work: Callable[[Store], Awaitable[None]], *, full_sync: bool = False) -> None:
    """Runs `work` with the store at `url`, open."""

    async def run() -> None:
        store = await open_store(url, worker="test", full_sync=full_sync)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def beating(store: Store) -> list[asyncio.Task[None]]:
    """What a server does beside its requests, so that others know that it lives."""
    supervisor = Supervisor(time.monotonic)
    tasks = [supervisor.keep("heartbeat", store.presence.beat, first=recovery.HEARTBEAT)]
    if store.db.dialect == "postgres":
        tasks.append(supervisor.keep("dead servers", store.presence.look_after))
    return tasks


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def run_started(name: str = "1", org: str = ORG, at: float = NOW, conversation: str | None = None) -> RunStarted:
    return RunStarted(
        id=f"run_{name}",
        org_id=org,
        key_id="key_1",
        kind="chat",
        face="openai_chat",
        model="fast",
        conversation_id=conversation,
        request_id=f"req_{name}",
        created_at=at,
    )


def attempt_started(name: str = "1", org: str = ORG, at: float = NOW, model: str = "m") -> AttemptStarted:
    return AttemptStarted(
        id=f"att_{name}",
        run_id=f"run_{name}",
        org_id=org,
        key_id="key_1",
        number=1,
        provider="local",
        model=model,
        estimate_in=17,
        started_at=at,
    )


def attempt_settled(name: str = "1", cost: str | None = "0.000123", usage: Usage | None = None) -> AttemptSettled:
    usage = usage or Usage(uncached_in=10, cache_read=5, out_text=7, out_reasoning=2, searches=1)
    return AttemptSettled(id=f"att_{name}", status="ok", usage=usage, ended_at=NOW + 1, cost=cost, price_snapshot="{}")


def run_ended(name: str = "1") -> RunEnded:
    return RunEnded(id=f"run_{name}", status="completed", ended_at=NOW + 1)


def message(
    name: str, seq: int = 0, *, run: str = "1", org: str = ORG, conversation: str | None = None
) -> MessageAdded:
    return MessageAdded(
        id=f"msg_{name}",
        org_id=org,
        run_id=f"run_{run}",
        seq=seq,
        role="user",
        content=b'{"role":"user","parts":[]}',
        created_at=NOW,
        conversation_id=conversation,
    )


def begin(name: str = "1", org: str = ORG) -> list[Record]:
    return [run_started(name, org), attempt_started(name, org), message(f"{name}_in", run=name, org=org)]


def end(name: str = "1", org: str = ORG) -> list[Record]:
    return [attempt_settled(name), run_ended(name), message(f"{name}_out", 1, run=name, org=org)]
