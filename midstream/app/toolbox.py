"""Every kind of tool of this server, and the tools that it has itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core.agents import Tool
from ..core.toolbox import RunAgent
from ..egress import Egress
from ..knowledge.search import Knowledge
from ..store import Store
from ..tools import knowledge, python, scrape, web_search
from ..tools._mcp_servers import McpServer
from ..tools._run import Kind, Tools
from ..tools._sandbox_bubblewrap import BubblewrapSandbox
from ..tools._sandbox_fusion import FusionSandbox
from ..tools._sandbox_monty import MontySandbox
from ..tools._sandboxes import Sandbox
from ..tools.agent import AgentTool
from ..tools.http import Http
from ..tools.knowledge import KnowledgeTool
from ..tools.mcp import Mcp
from ..tools.python import Python
from ..tools.scrape import Scrape
from ..tools.web_search import WebSearch
from .agents import AgentLoader
from .clock import Clock
from .config import Config

#: The server's own tools, by name.
BUILT_IN: dict[str, Tool] = {tool.name: tool for tool in (web_search.TOOL, scrape.TOOL, python.TOOL, knowledge.TOOL)}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """tools: what runs calls. mcp: what MCP servers offer. knowledge: documents and the search in them."""

    tools: Tools
    mcp: Mcp
    python: Python
    knowledge: Knowledge

    async def close(self) -> None:
        await self.mcp.close()
        await self.python.close()


def toolbox_of(
    config: Config, store: Store, egress: Egress, loader: AgentLoader, clock: Clock, run_agent: RunAgent
) -> Toolbox:
    found = Knowledge(store.documents)
    mcp = Mcp(_Servers(config, loader), egress.send, store.approvals, clock.steady)
    sandboxed = Python(sandbox_of(config, egress))
    search = config.search
    search_tool = WebSearch(egress.send, search.serper_api_key, search.searxng_url, store.searches)
    kinds: dict[str, Kind] = {
        "http": Http(egress.send),
        "mcp": mcp,
        "agent": AgentTool(run_agent),
        "knowledge": KnowledgeTool(found),
        web_search.TOOL.name: search_tool,
        scrape.TOOL.name: Scrape(egress.send),
        python.TOOL.name: sandboxed,
        knowledge.TOOL.name: KnowledgeTool(found),
    }
    tools = Tools(kinds, store.tool_calls, clock.steady, config.tools.timeout_seconds)
    return Toolbox(tools, mcp, sandboxed, found)


def sandbox_of(config: Config, egress: Egress) -> Callable[[], Sandbox]:
    """Made at the first call, so that a server without one need not load it."""
    if config.sandbox.backend == "bubblewrap":
        return BubblewrapSandbox
    if config.sandbox.backend == "sandboxfusion":
        return lambda: FusionSandbox(egress.send, config.sandbox.url)
    return MontySandbox


class _Servers:
    """The operator's MCP servers, then the org's own."""

    def __init__(self, config: Config, loader: AgentLoader) -> None:
        self._operators = [
            McpServer(
                f"mcp_{name}", name, one.url, dict(one.headers), one.command, one.env, trusted=True,
                seconds=one.timeout_seconds,
            )
            for name, one in config.mcp.servers.items()
            if one.enabled
        ]  # fmt: skip
        self._loader = loader

    async def __call__(self, org: str) -> Sequence[McpServer]:
        own = await self._loader.servers(org)
        return [*self._operators, *(McpServer(one.id, one.name, one.url, dict(one.headers)) for one in own)]
