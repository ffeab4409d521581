"""Puts together what agents' turns work with, and the workers beside the requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..access.points import Points
from ..delivery.live import Hub
from ..delivery.webhook import Webhooks
from ..egress import Egress
from ..knowledge.pieces import whole
from ..metering.alerts import ALERT
from ..metering.turns import TRANSACTION, TURN, after_turn, count_turn, keep_transaction
from ..runs.run import Runs
from ..store import Store
from ..store.deliveries import Deliveries
from ..store.interrupted import INTERRUPTED
from ..store.secrets import SealingKey
from .after import After, Topic
from .agent_turns import AgentTurns
from .agents import AgentLoader
from .alarms import Bell, Telling, org_of
from .asides import TRIES, Asides, dispensable
from .batch_ends import BatchEnds
from .clock import Clock
from .config import Config
from .conversations import Conversations
from .deliver import Deliver, ends_of
from .faces import Face
from .forgetting import FIRST, LONG, forgetting
from .guards import consult
from .interrupted import Interrupted
from .jobs import JobRunner
from .live_relay import LiveRelay
from .models_of import Models
from .remember import MEMORY, Remember, thread_of
from .supervisor import Supervisor
from .threads import Threads
from .titles import TITLE, Title
from .tool_rooms import BUILTINS, ToolRooms
from .turn_rooms import TurnRooms


@dataclass
class Workers:
    """What goes on beside the requests. Ended in order: no new jobs, then (once the runs are drained) the rest."""

    after: After
    jobs: JobRunner
    batches: BatchEnds
    webhooks: Webhooks
    tools: ToolRooms
    hub: Hub
    supervisor: Supervisor
    relay: LiveRelay | None = None
    more: Sequence[Callable[[], asyncio.Task[None]]] = ()
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.after.start()
        self._tasks = [*self.jobs.keep(self.supervisor), *(begin() for begin in self.more)]
        self._tasks.append(self.supervisor.keep("webhooks", self.webhooks.send, vital=True))
        if self.relay is not None:
            self._tasks += self.relay.keep(self.supervisor)

    async def stop_jobs(self) -> None:
        for task in self._tasks[:1]:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.webhooks.close()
        if self.relay is not None:
            await self.relay.close()
        await self.after.close()
        await self.tools.close()


@dataclass(frozen=True, slots=True)
class Given:
    """What the rest of the process has made before."""

    config: Config
    store: Store
    egress: Egress
    runs: Runs
    clock: Clock
    faces: Mapping[str, Face]
    conversations: Conversations
    loader: AgentLoader
    models: Models
    points: Points
    bell: Bell
    key: bytes
    supervisor: Supervisor


def agents_of(given: Given) -> tuple[AgentTurns, Workers]:
    store, clock, runs, supervisor = given.store, given.clock, given.runs, given.supervisor
    threads = Threads(
        store, given.conversations.turns, given.conversations.read, runs.unsettled, clock.wall, supervisor
    )  # fmt: skip
    deliveries = Deliveries(store.db, clock.wall)
    webhooks = Webhooks(deliveries, given.egress.send, given.key, clock.wall, random.random)
    hub = Hub(clock.wall, ends_of(store.db, clock.wall))
    after = After(store.outbox, topics_of(given, webhooks, hub), clock.wall, supervisor)
    tools = ToolRooms(given.config, store, given.egress, clock, given.loader.servers, given.loader.mcp_news)
    store.ledger.noticed = after.wake
    rooms = TurnRooms(
        loader=given.loader,
        points=given.points,
        models=given.models,
        threads=threads,
        tools=tools.tools,
        mcp=tools.mcp,
        store=store,
        runs=runs,
        clock=clock,
        documents=partial(attached, store),
        consult=partial(consult, given.egress.send),
        check_address=given.egress.check,
        after=lambda account, topics: after_turn(account, clock.wall(), topics),
        bell=given.bell,
        hub=hub,
        built_in=tuple(BUILTINS.values()),
    )
    turns = AgentTurns(rooms)
    tools.offer_agents(turns)
    deliver = Deliver(webhooks, hub, deliveries)
    seal = SealingKey(given.key)
    batches = BatchEnds(store, seal, webhooks, clock)
    jobs = JobRunner(store, seal, dict(given.faces), turns, runs, deliver, batches, clock)
    more: list[Callable[[], asyncio.Task[None]]] = []
    keep, relay = supervisor.keep, None
    if days := given.config.retention.days:
        forget = forgetting(store, clock, days)
        more.append(partial(keep, "retention", forget, first=FIRST, patience=LONG))
    if store.db.dialect == "postgres":  # a SQLite has no other servers beside it
        more.append(partial(keep, "owners of models", given.loader.follow_owners))
        relay = LiveRelay(store.db, hub)
    return turns, Workers(after, jobs, batches, webhooks, tools, hub, supervisor, relay, more)


def topics_of(given: Given, webhooks: Webhooks, hub: Hub) -> dict[str, Topic]:
    """What is done after a turn, by topic."""
    asides = Asides(given.loader, given.models, given.runs)
    remember = Remember(given.store, asides.ask, asides.instructions, given.clock.wall)
    return {
        TURN: Topic(count_turn, only_writes=True),
        INTERRUPTED: Topic(Interrupted(given.store, given.faces, hub, given.clock.wall).handle),
        TRANSACTION: Topic(keep_transaction, only_writes=True),
        ALERT: Topic(Telling(given.store, webhooks, given.clock.wall).handle, org_of, webhooks.wake),
        MEMORY: Topic(dispensable(remember.handle), thread_of, tries=TRIES),
        TITLE: Topic(dispensable(Title(given.store, asides.ask, hub, given.clock).handle), tries=TRIES),
    }


async def attached(store: Store, org: str, ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(name, text) of an org's documents. Raises NotFound."""
    documents = store.documents(org)
    return tuple([((await documents.one(id)).name, whole(await documents.pieces(id))) for id in ids])
