"""Opens everything that a process needs, in order, and closes it in the opposite order."""

from __future__ import annotations

import asyncio
import platform
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .. import providers
from ..access.identify import Identify
from ..access.limits import Limits
from ..access.points import Points
from ..core.errors import MidstreamError
from ..core.registry import modules_of
from ..core.serving import Complete, Line, Priced, Target
from ..core.turn import Plan
from ..core.usage import Usage
from ..egress import Egress
from ..faces import completion_v2, conversation_v1
from ..metering.metrics import Metrics
from ..metering.prices import Prices, price_table
from ..providers._inline import Links
from ..providers._service import Provider, Service
from ..runs.run import Runs
from ..store import Store, open_store, recovery
from ..store.orgs import DEFAULT_ORG
from ..store.recovery import Estimate
from .agent_checks import Checks
from .agents import AgentLoader
from .alarms import Bell
from .catalog import Catalog, Served
from .clock import Clock
from .compose_agents import Given, Workers, agents_of
from .config import Config, LimitsConfig, ProviderConfig
from .conversations import Conversations
from .edge import ADMIN, ASGIApp, Edge
from .faces import all_faces
from .keyfiles import sealing_key
from .last_used import LastUsed
from .live import LiveChannels
from .models_of import Models, lendable
from .noun_paths import BATCHES, HISTORY, MCP_TOOLS, QUEUES, Application, Later, Nouns
from .offered import Offered
from .operations import Operations, plain_error
from .protocol import LIVE
from .services import Services
from .stash import Stash
from .supervisor import Supervisor
from .tool_rooms import BUILTINS


@dataclass
class Process:
    """One running server. later: what it answers a moment after it is ready. leaving: it has been told to stop, so it
    is no longer ready."""

    config: Config
    services: Services
    application: ASGIApp
    later: Later
    last_used: LastUsed
    workers: Workers
    supervisor: Supervisor
    leaving: bool = False
    _kept: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """What goes on beside the requests."""
        keep, store, silence = self.supervisor.keep, self.services.store, recovery.SILENCE
        beat = keep("heartbeat", store.presence.beat, first=recovery.HEARTBEAT, patience=silence, vital=True)
        self._kept = [beat, self.last_used.keep(self.supervisor)]
        if store.db.dialect == "postgres":  # a SQLite has no other servers beside it
            self._kept.append(keep("dead servers", store.presence.look_after))
        self.workers.start()

    async def drain(self, seconds: float) -> None:
        """No new work; runs under way get so long to end."""
        await self.workers.stop_jobs()
        self.services.agents.shut()
        await self.services.runs.drain(seconds)

    async def close(self) -> None:
        await self.workers.close()
        await self.services.egress.close()
        for task in self._kept:
            task.cancel()
        await asyncio.wait(self._kept)
        try:
            await self.last_used.close()
        finally:
            await self.services.store.close()


def all_services() -> dict[str, Service]:
    """Every kind of provider, by the name of its file."""
    return {name: module.SERVICE for name, module in modules_of(providers).items()}


async def open_process(config: Config, admin_key: str, clock: Clock) -> Process:
    """Raises errors.OurError when something cannot be opened."""
    table = asyncio.get_running_loop().run_in_executor(None, price_table, Path(config.server.data))
    egress = Egress(allow=config.egress.allow)
    links = Links(egress.send, clock.steady, egress.check)
    served = served_by(config.providers, egress, links)
    providers = lendable(served, all_services(), switched_off(config.providers), egress.send, links)
    prices = Prices(await table, {name: one.prices for name, one in config.providers.items()})
    store, key = await _opened(config, clock, partial(estimated, prices, providers))
    faces = all_faces()
    stash = Stash()
    metrics = Metrics()
    runs = Runs(
        store.ledger, completing(providers), prices, clock, random.random, metrics, store.presence, stash.answered
    )  # fmt: skip
    catalog = Catalog(served, {name: alias.targets for name, alias in config.models.items()})
    models = Models(catalog, served, all_services(), providers)
    loader = AgentLoader(store, models, clock.steady, BUILTINS)
    conversations = Conversations(store, faces, runs.unsettled)
    points = await _points(store, clock, config.limits)
    bell = Bell(store, clock)
    supervisor = Supervisor(clock.steady)
    given = Given(
        config, store, egress, runs, clock, faces, conversations, loader, models, points, bell, key, supervisor,
    )  # fmt: skip
    turns, workers = agents_of(given)
    services = Services(
        identify=Identify(admin_key, DEFAULT_ORG, store.keys.find, clock.wall, clock.steady),
        catalog=catalog,
        offered=Offered(served, clock.steady),
        conversations=conversations,
        runs=runs,
        store=store,
        egress=egress,
        faces=faces,
        clock=clock,
        stash=stash,
        agents=turns,
        jobs=workers.jobs,
        limits=Limits(config.limits.org_in_flight, clock.steady),
        loader=loader,
        models=models,
        checks=Checks(models, BUILTINS, config.mcp.servers, egress.check),
        points=points,
        bell=bell,
        keep=config.server.store,
    )
    await loader.ready(DEFAULT_ORG)  # which models are whose is known from the first request on
    later = Later(partial(_applications, services, workers, given.key))
    admin = later.of(ADMIN[0])
    process = Process(config, services, admin, later, LastUsed(services.identify, store.keys), workers, supervisor)
    process.start()
    _gauge(metrics, services, supervisor)
    process.application = _edge(process, given, metrics)
    return process


async def _opened(config: Config, clock: Clock, price: Estimate) -> tuple[Store, bytes]:
    """The store, and the secret key that it is used with."""
    server = config.server
    store = await open_store(
        server.store_url, worker=platform.node(), full_sync=server.full_sync, clock=clock.wall, price=price
    )
    try:
        return store, await sealing_key(server, store)
    except MidstreamError:
        await store.close()
        raise


async def _points(store: Store, clock: Clock, limits: LimitsConfig) -> Points:
    points = Points(
        store,
        clock.steady,
        clock.wall,
        agent=limits.agent_points,
        thread=limits.thread_points,
        window=limits.window_seconds,
    )
    await points.load()
    return points


def _edge(process: Process, given: Given, metrics: Metrics) -> Edge:
    """process.application: that of the admin routes."""
    operations = Operations(_readiness(process), metrics)
    most = given.config.limits.org_live
    live = LiveChannels(process.workers.hub, given.store.keys, given.key, given.clock, most, given.supervisor)
    origins = given.config.server.cors_origins
    return Edge(process.services, process.application, operations, live, origins, _nouns(process.later))


def _nouns(later: Later) -> tuple[Nouns, ...]:
    """What is listed, read and changed beside the faces' own routes."""
    plain = [Nouns(prefix, later.of(prefix), plain_error) for prefix in (MCP_TOOLS, QUEUES, LIVE)]
    batches = Nouns(BATCHES, later.of(BATCHES), completion_v2.DIALECT.write_error)
    return (*plain, batches, Nouns(HISTORY, later.of(HISTORY), conversation_v1.DIALECT.write_error))


def _applications(services: Services, workers: Workers, key: bytes) -> Mapping[str, Application]:
    from .compose_nouns import applications  # with FastAPI

    return applications(services, workers, key)


def served_by(
    configured: Mapping[str, ProviderConfig], egress: Egress, links: Links | None = None
) -> dict[str, Served]:
    """The configured providers, then those that are part of the server. links: for all of them."""
    services = all_services()
    served = {
        name: Served(
            Provider(
                name,
                services[one.kind or name],
                egress.send,
                base_url=one.base_url,
                keys={str(place): key.reveal() for place, key in enumerate(one.api_key)},
                headers=tuple((word.lower(), value) for word, value in one.headers.items()),
                timeouts=one.timeouts,
                max_tokens=one.max_tokens_default,
                links=links,
            ),
            tuple(one.models),
        )
        for name, one in configured.items()
        if one.enabled
    }
    for name, service in services.items():
        if service.builtin:
            served[name] = Served(Provider(name, service, egress.send), service.models)
    return served


def switched_off(configured: Mapping[str, ProviderConfig]) -> list[str]:
    """Services that the operator has and does not want used."""
    return [one.kind or name for name, one in configured.items() if not one.enabled]


def estimated(
    prices: Prices, providers: Mapping[str, Provider], provider: str, model: str, usage: Usage, at: float
) -> Priced:
    """store.recovery.Estimate. A provider that is configured no more has no vendor to ask for its price."""
    known = providers.get(provider)
    return prices(Target(provider, model, known.service.vendor if known is not None else ""), usage, at)


def completing(providers: Mapping[str, Provider]) -> Complete:
    """Sends each attempt to its target's provider."""
    by_name = {name: one.complete for name, one in providers.items()}

    def complete(target: Target, key: str, plan: Plan, line: Line) -> Awaitable[None]:
        return by_name[target.provider](target, key, plan, line)

    return complete


def _gauge(metrics: Metrics, services: Services, supervisor: Supervisor) -> None:
    egress = services.egress
    metrics.gauges["midstream_active_runs"] = ("Runs under way.", lambda: services.runs.active)
    metrics.gauges["midstream_upstream_connections"] = ("Open connections to providers.", lambda: egress.open)
    metrics.gauges["midstream_upstream_connections_idle"] = ("Those kept for the next call.", lambda: egress.idle)
    standing = "Work beside the requests that stands still."
    metrics.gauges["midstream_standing_still"] = (standing, lambda: len(supervisor.still()))


def _readiness(process: Process) -> Callable[[], Awaitable[str | None]]:
    async def ready() -> str | None:
        if process.leaving:
            return "shutting down"
        try:
            await process.services.store.ping()
        except MidstreamError as error:
            return error.message
        still = process.supervisor.still(vital=True)
        return f"standing still: {', '.join(still)}" if still else None

    return ready
