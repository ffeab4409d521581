"""Loading an agent for a turn: everything in one piece, remembered while nothing of its org has changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.agents import TWO_AGENTS, AgentAsk, Loaded, McpServer, OAuth, Spec, Tool
from ..core.errors import BadRequest, Conflict, NotFound
from ..core.ids import spelled
from ..core.secret import Secret
from ..store import Store, changes
from ..store.agents import AgentRow, VersionRow
from ..store.nouns import KINDS, NounRow, every_model
from ..store.tools import ToolRow
from ..tools.http import owner_of
from ..tools.knowledge import searches
from .models_of import Models, OrgModels, ServiceKey, own_model

#: Seconds that an org is believed to be unchanged; also how soon a change made by another server is seen.
BELIEVE = 1.0
ORGS = AGENTS = 10_000

_spec = msgspec.json.Decoder(Spec)
_tool = msgspec.json.Decoder(Tool)

#: How a stored secret is named where its value is meant.
SECRET_NAME = re.compile(r"\{\{secret:([^{}]{1,200})\}\}")
#: What a connected agent is told, when nothing else is said.
MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "What this agent shall do, in full"}},
    "required": ["message"],
}


class _Org:
    """What is remembered of one org. checked: steady seconds. numbers: of its changes, read before all else.
    secrets: those that any of its stored tools may name; a tool's own are read with the tool."""

    __slots__ = ("agents", "checked", "known", "lock", "numbers", "secrets", "servers", "templates", "timezone")

    def __init__(self, numbers: changes.Numbers, checked: float) -> None:
        self.numbers = numbers
        self.checked = checked
        self.lock = asyncio.Lock()
        self.agents: dict[tuple[str, str], Loaded] = {}
        self.known = OrgModels()
        self.templates: Mapping[str, str] = {}
        self.secrets: Mapping[str, Secret] = {}
        self.servers: tuple[McpServer, ...] = ()
        self.timezone = "UTC"


class AgentLoader:
    """steady: seconds that never jump. builtins: the server's own tools by name. models: is told what an org has."""

    def __init__(
        self,
        store: Store,
        models: Models,
        steady: Callable[[], float],
        builtins: Mapping[str, Tool] | None = None,
    ) -> None:
        self._store = store
        self._models = models
        self._steady = steady
        self._builtins = builtins or {}
        self._orgs: dict[str, _Org] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        #: Counts what was forgotten: what was read meanwhile may be older.
        self._forgotten = 0
        self._owners = -1

    async def load(self, org: str, ask: AgentAsk) -> Loaded:
        """By any spelling of its id, or its slug; ask.version of any status, or the published one.

        Raises errors.NotFound (agent_not_found, version_not_found), Conflict (agent_paused), BadRequest
        (agent_not_published; contradictory, when ask.slug is another agent's), StoreDown."""
        known = await self._org(org)
        if not ask.agent:
            return Loaded(
                org, "", "", "", "active", "", Spec(),
                templates=known.templates, timezone=known.timezone, secrets=known.secrets,
            )  # fmt: skip
        name = (ask.agent, ask.version)
        loaded = known.agents.get(name)
        if loaded is None:
            async with known.lock:  # of many that ask for it at once, one reads
                loaded = known.agents.get(name)
                if loaded is None:
                    loaded = await self._cold(org, known, ask)
                    if len(known.agents) >= AGENTS:
                        known.agents.clear()
                    known.agents[name] = loaded
        if ask.slug not in ("", loaded.slug):
            raise BadRequest(TWO_AGENTS, param="agent_id", code="contradictory")
        if loaded.status == "paused":
            raise Conflict(f"the agent {loaded.slug} is paused", code="agent_paused")
        return loaded

    def forget(self, org: str) -> None:
        """Something of this org was changed by this server."""
        self._forgotten += 1
        self._orgs.pop(org, None)

    def forget_all(self) -> None:
        """Something that concerns every org was changed by this server."""
        self._forgotten += 1
        self._orgs.clear()

    async def ready(self, org: str) -> None:
        """`Models` knows this org afterwards."""
        await self._org(org)

    async def follow_owners(self) -> float:
        """Which org owns which model, as other servers change it. No request waits for that, so that none waits for the
        store while there is no such model. Seconds until the next look."""
        numbers = await changes.numbers(self._store.db, changes.ALL)
        await self._read_owners(numbers.all)
        return BELIEVE

    async def servers(self, org: str) -> tuple[McpServer, ...]:
        """An org's own MCP servers."""
        return (await self._org(org)).servers

    async def mcp_news(self, org: str) -> int:
        """Another number once an org has agreed to a tool, or any of our servers has seen that one has changed."""
        return (await self._org(org)).numbers.mcp

    async def stored(self, org: str, ids: Iterable[str]) -> tuple[dict[str, Tool], dict[str, Secret]]:
        """Tools by id as they are now, and the secrets that their headers may name."""
        known = await self._org(org)
        rows, own = await self._store.org(org).tools.some_sealed(ids)
        return {id: tool_of(row) for id, row in rows.items()}, {**known.secrets, **own}

    # an org

    async def _org(self, org: str) -> _Org:
        known = self._orgs.get(org)
        if known is not None and self._steady() - known.checked < BELIEVE:
            return known
        lock = self._opening.setdefault(org, asyncio.Lock())
        async with lock:
            known = self._orgs.get(org)
            if known is None or self._steady() - known.checked >= BELIEVE:
                known = await self._checked(org, known)
        if not lock.locked():
            self._opening.pop(org, None)
        return known

    async def _checked(self, org: str, known: _Org | None) -> _Org:
        forgotten, now = self._forgotten, self._steady()
        numbers = await changes.numbers(self._store.db, org)
        if known is None or known.numbers != numbers:
            known = await self._read(org, _Org(numbers, now))
            if len(self._orgs) >= ORGS:
                self._orgs.clear()
            self._orgs[org] = known
        known.checked = now if forgotten == self._forgotten else float("-inf")
        return known

    async def _read(self, org: str, made: _Org) -> _Org:
        await self._read_owners(made.numbers.all)
        scope = self._store.org(org)
        nouns, secrets = await scope.nouns.all_sealed()
        settings = await scope.nouns.settings()
        made.templates = {row.id: str(row.value().get("template", "")) for row in nouns["template"]}
        made.timezone = str(settings.get("timezone", "UTC"))
        nobodys = [name for name in secrets if not owner_of(name) and not name.startswith(tuple(KINDS.values()))]
        made.secrets = {name: secrets[name] for name in nobodys}
        made.servers = tuple(_server(row, secrets.get(row.id), made.secrets) for row in nouns["mcp_server"])
        keys = {
            row.id: ServiceKey(row.id, str(row.value()["service"]), secrets[row.id])
            for row in nouns["service_key"]
            if row.id in secrets
        }
        made.known = OrgModels(tuple(own_model(row) for row in nouns["model"]), keys)
        self._models.learn(org, made.known)
        return made

    async def _read_owners(self, number: int) -> None:
        """The models that orgs own, when those may have changed."""
        if self._owners != number:
            self._models.learn_owners(await every_model(self._store.db))
            self._owners = number

    # an agent

    async def _cold(self, org: str, known: _Org, ask: AgentAsk) -> Loaded:
        scope = self._store.org(org)
        version = spelled("ver_", ask.version) if ask.version else None
        found = await scope.agents.found(spelled("agt_", ask.agent), ask.agent, version)
        if found is None:
            raise NotFound(f"no such agent: {ask.agent}", code="agent_not_found")
        row, versioned = found
        if versioned is None and version is not None:
            raise NotFound(f"no such version: {ask.version}", code="version_not_found")
        if versioned is None:
            raise BadRequest(f"the agent {row.slug} has no published version", code="agent_not_published")
        return await self.assemble(row, versioned, known)

    async def resolved(self, org: str, row: AgentRow, versioned: VersionRow) -> Loaded:
        """What a turn of this version is made from, paused or not."""
        return await self.assemble(row, versioned, await self._org(org))

    async def assemble(self, row: AgentRow, versioned: VersionRow, known: _Org) -> Loaded:
        scope = self._store.org(row.org_id)
        spec = _spec.decode(versioned.body)
        ids = dict.fromkeys((*spec.tool_ids, *(one.tool_id for one in spec.pre_tools)))
        rows, own = await scope.tools.some_sealed(ids) if ids else ({}, {})
        tools = {id: tool_of(one) for id, one in rows.items()}
        return Loaded(
            org=row.org_id,
            id=row.id,
            slug=row.slug,
            name=row.name,
            status=row.status,
            version_id=versioned.id,
            spec=spec,
            tools=own_tools(spec, tools, self._builtins),
            pre_tools=tuple((one, tools[one.tool_id]) for one in spec.pre_tools if one.tool_id in tools),
            templates=known.templates,
            timezone=known.timezone,
            secrets={**known.secrets, **own} if own else known.secrets,
            servers=tuple(one for one in known.servers if {one.id, one.name} & {*spec.mcp_servers}),
        )


def own_tools(spec: Spec, stored: Mapping[str, Tool], builtins: Mapping[str, Tool]) -> tuple[Tool, ...]:
    """The tools that the version names, but for those of MCP servers. stored: by id. builtins: by name."""
    agents = (_connected(name, one) for name, one in spec.connected_agents.items())
    builtin = (builtins[name] for name in spec.built_in_tools if name in builtins)
    return (*(stored[id] for id in spec.tool_ids if id in stored), *agents, *builtin)


def search_of(spec: Spec, tools: Iterable[Tool], builtins: Iterable[Tool]) -> list[Tool]:
    """The search of the version's documents, unless it has a tool for that."""
    if not spec.doc_ids or any(searches(tool) for tool in tools):
        return []
    return [tool for tool in builtins if searches(tool)]


def tool_of(row: ToolRow) -> Tool:
    return replace(_tool.decode(row.body), id=row.id)


def _connected(name: str, said: Mapping[str, Any]) -> Tool:
    """An agent as a tool of another one."""
    agent = spelled("agt_", str(said.get("agent_id", "")))
    target = {"agent_id": agent, **{key: said[key] for key in ("version_id", "thread", "transfer") if key in said}}
    return Tool(
        agent, name, str(said.get("description", "")), "agent", said.get("parameters") or MESSAGE, target=target
    )


def _server(row: NounRow, sealed: Secret | None, secrets: Mapping[str, Secret]) -> McpServer:
    """sealed: its headers. secrets: those of the org that are no tool's own, by name."""
    said = row.value()
    headers = msgspec.json.decode(sealed.reveal()) if sealed is not None else {}
    oauth = None
    if given := said.get("oauth"):
        named = SECRET_NAME.fullmatch(given["client_secret"])
        secret = secrets.get(named.group(1)) if named is not None else None
        oauth = OAuth(**{**given, "client_secret": secret or Secret("")})
    return McpServer(
        row.id, row.name, said["url"], {name: Secret(text) for name, text in headers.items()}, oauth,
        said.get("transport", "auto"),
    )  # fmt: skip
