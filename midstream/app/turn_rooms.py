"""What an agent's turn works with: every room that takes part in one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from ..access.points import Points
from ..agent.guardrails import Webhook
from ..agent.prepare import Prepared
from ..core.account import TurnAccount
from ..core.agents import AgentAsk, Loaded, Tool
from ..core.errors import BadRequest, CallerError
from ..core.serving import Target
from ..core.toolbox import Toolbox
from ..delivery.live import Hub
from ..runs.run import Runs
from ..store import Store
from ..store.ledger import Record
from ..tools.mcp import Mcp
from .agents import AgentLoader, search_of, tool_of
from .alarms import Bell
from .clock import Clock
from .models_of import Models
from .threads import Threads


@dataclass(frozen=True, slots=True)
class TurnRooms:
    """documents: (name, text) of those that are attached, of one org. consult: asks a guardrail's webhook.
    check_address: raises BadRequest for one that may not be dialled whatever its name leads to.
    built_in: the tools that may be asked for by name. after: what shall happen because a turn has ended, by topic."""

    loader: AgentLoader
    points: Points
    models: Models
    threads: Threads
    tools: Toolbox
    mcp: Mcp
    store: Store
    runs: Runs
    clock: Clock
    documents: Callable[[str, Sequence[str]], Awaitable[tuple[tuple[str, str], ...]]]
    consult: Callable[[Loaded, Webhook, dict[str, Any]], Awaitable[Any]]
    after: Callable[[TurnAccount, Sequence[str]], Sequence[Record]]
    check_address: Callable[[str], None]
    bell: Bell
    hub: Hub
    built_in: tuple[Tool, ...] = ()

    async def offered(self, loaded: Loaded, ask: AgentAsk) -> Loaded:
        """The agent with the search of its documents, the tools of the MCP servers that it names, and those that the
        request names besides. Of MCP servers only what the org has agreed to."""
        more = search_of(loaded.spec, loaded.tools, self.built_in)
        if loaded.spec.mcp_servers:
            names = [tool.name for tool in (*loaded.tools, *more)]
            more += await self._of_servers(loaded.org, loaded.spec.mcp_servers, names)
        known = {word for tool in (*loaded.tools, *more) for word in (tool.id, tool.name)}
        wanted = [name for name in ask.tools or () if name not in known]
        if wanted:
            store = self.store.org(loaded.org).tools
            ids = dict.fromkeys((*wanted, *(row.id for row in await store.named(wanted))))
            rows, own = await store.some_sealed(ids)
            loaded = replace(loaded, secrets={**loaded.secrets, **own})
            more += (tool_of(rows[id]) for id in ids if id in rows)
            more += (tool for tool in self.built_in if tool.name in wanted)
        if any(name not in {tool.name for tool in more} | {tool.id for tool in more} for name in wanted):
            plain = await self._of_servers(loaded.org, None)
            # Where all tools are listed, those whose names others have are called by their servers' too.
            longer = await self._of_servers(loaded.org, None, [tool.name for tool in plain])
            more += [tool for tool in (*plain, *longer) if tool.name in wanted]
        return replace(loaded, tools=(*loaded.tools, *more)) if more else loaded

    async def _of_servers(self, org: str, only: Sequence[str] | None, others: Sequence[str] = ()) -> list[Tool]:
        return [tool for tool, offered in (await self.mcp.listed(org, only, others)).tools if offered.approved]

    def targets(self, org: str, loaded: Loaded, ask: AgentAsk, prepared: Prepared) -> tuple[Target, ...]:
        """The turn's model, then what answers in its place: the configured fallback, else the service's usual one
        where the face has one; none where that is switched off. One without a key is left out, and so is one that a
        version names and that is gone since it was published; what the request itself names must be there.
        Raises as Models.targets does, and BadRequest, configuration_invalid."""
        keys, models = loaded.spec.keys, self.models
        first = models.targets(org, prepared.service, prepared.model, keys, ask.api_key)
        spare = prepared.fall_back
        if spare is None and not (ask.usual_fallback and prepared.falls_back):
            return first
        service = spare.service if spare is not None else prepared.service
        model = spare.model if spare is not None else models.usual_fallback(first[0])
        if not model:
            return first
        key = ask.api_key if service in ("", prepared.service) else None
        try:
            rest = models.targets(org, service or prepared.service, model, keys, key)
        except CallerError as error:
            if error.code != "key_missing" and ask.configuration.get("fall_back") is not None:
                raise _not_to_be_had(error) from None
            return first
        return (*first, *(target for target in rest if target not in first))


def _not_to_be_had(error: CallerError) -> BadRequest:
    """Why what a request's own `fall_back` names cannot answer."""
    path = f"configuration.fall_back.{'model' if error.param == 'model' else 'service'}"
    return BadRequest(f"{path}: {error.message}", code="configuration_invalid", param=path)
