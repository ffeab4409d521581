"""Every kind of tool that this server has, and what they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from ..core.agents import McpServer as OrgServer
from ..core.agents import Tool
from ..core.toolbox import RunAgent
from ..egress import Egress
from ..knowledge import Knowledge
from ..store import Store
from ..tools import knowledge, python, scrape, web_search
from ..tools._mcp_servers import McpServer
from ..tools._run import Kind, Tools
from ..tools.agent import AgentTool
from ..tools.http import Http
from ..tools.mcp import Mcp, News, silence
from .clock import Clock
from .config import Config

#: The server's own tools by name: what an agent's built_in_tools may say.
BUILTINS: Mapping[str, Tool] = {one.name: one for one in (web_search.TOOL, scrape.TOOL, python.TOOL, knowledge.TOOL)}

OrgServers = Callable[[str], Awaitable[Sequence[OrgServer]]]


class ToolRooms:
    """tools: the toolbox of runs and of calls without one. kinds: by kind, built-in ones by name; `agent` is added by
    whoever can run agents (`offer_agents`). servers: an org's own MCP servers. news: of their tools, see Mcp."""

    def __init__(
        self, config: Config, store: Store, egress: Egress, clock: Clock, servers: OrgServers, news: News = silence
    ) -> None:
        self._configured = configured_servers(config)
        self._servers = servers
        self.knowledge = Knowledge(store.documents)
        self.mcp = Mcp(self.servers, egress.send, store.approvals, clock.steady, news)
        self._max_depth, self._seconds = config.tools.max_depth, config.tools.timeout_seconds
        self._python = python.Python(
            partial(python.sandbox_of, config.sandbox.backend, config.sandbox.url, egress.send)
        )
        search, found = config.search, knowledge.KnowledgeTool(self.knowledge)
        self.kinds: dict[str, Kind] = {
            "http": Http(egress.send),
            "mcp": self.mcp,
            "knowledge": found,
            knowledge.TOOL.name: found,
            web_search.TOOL.name: web_search.WebSearch(
                egress.send, search.serper_api_key, search.searxng_url, store.searches
            ),
            scrape.TOOL.name: scrape.Scrape(egress.send),
            python.TOOL.name: self._python,
        }
        self.tools = Tools(self.kinds, store.tool_calls, clock.steady, config.tools.timeout_seconds)

    def offer_agents(self, run_agent: RunAgent) -> None:
        self.kinds["agent"] = AgentTool(run_agent, self._max_depth)

    async def servers(self, org: str) -> list[McpServer]:
        """The operator's, then the org's own; an org's of the same name as an operator's is reached by its id."""
        own = [
            McpServer(
                one.id,
                one.name,
                one.url,
                dict(one.headers),
                oauth=one.oauth,
                transport=one.transport,
                seconds=self._seconds,
            )
            for one in await self._servers(org)
        ]
        return [*self._configured, *own]

    async def close(self) -> None:
        await self.mcp.close()
        await self._python.close()


def configured_servers(config: Config) -> tuple[McpServer, ...]:
    return tuple(
        McpServer(
            name,
            name,
            one.url,
            dict(one.headers),
            one.command,
            one.env,
            one.oauth,
            True,
            one.transport,
            one.timeout_seconds or config.tools.timeout_seconds,
        )
        for name, one in config.mcp.servers.items()
        if one.enabled
    )
