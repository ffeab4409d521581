"""Which agents a version calls, as connected ones and through its tools, and whether they come to call it in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..core.agents import Spec, Tool
from ..core.ids import spelled
from ..store.agents import AgentRow, VersionRow
from ..store.orgs import OrgStore
from .agents import tool_of

#: Agents looked at for a circle.
MAX_AGENTS = 1000


class Call(Struct, frozen=True):
    """path: of what calls. agent_path, version_path: of what names the agent and its version. tool: the id of the one
    that calls, "" = the version itself. by: that tool in words. agent: its id or slug. version: "" = the published one.
    """

    path: str
    agent_path: str
    version_path: str
    tool: str
    by: str
    agent: str
    version: str


def calls_of(spec: Spec, tools: Mapping[str, Tool]) -> list[Call]:
    """tools: those of the version, by id."""
    made = []
    for name, said in spec.connected_agents.items():
        path = f"connected_agents.{name}"
        made.append(_call(said, path, f"{path}.agent_id", f"{path}.version_id"))
    for path, id in tools_named(spec):
        tool = tools.get(id)
        if tool is not None and tool.kind == "agent":
            made.append(_call(tool.target, path, path, path, tool))
    return made


def tools_named(spec: Spec) -> list[tuple[str, str]]:
    """(path, id) of every stored tool that the version names."""
    named = [(f"tool_ids.{place}", id) for place, id in enumerate(spec.tool_ids)]
    return named + [(f"pre_tools.{place}.tool_id", one.tool_id) for place, one in enumerate(spec.pre_tools)]


def _call(said: Mapping[str, Any], path: str, agent_path: str, version_path: str, tool: Tool | None = None) -> Call:
    agent, version = str(said.get("agent_id") or ""), str(said.get("version_id") or "")
    id, by = (tool.id, f"the tool {tool.name}: ") if tool is not None else ("", "")
    return Call(path, agent_path, version_path, id, by, spelled("agt_", agent), spelled("ver_", version))


async def circle(org: OrgStore, start: AgentRow, first: Call) -> list[str]:
    """The way by which the agent that is called first comes to call `start`, with `start` at both ends; [] when it does
    not. By the versions that the calls name, else the published ones; the agents of a step are read together."""
    begin = (first.agent, first.version)
    ways: dict[tuple[str, str], list[str]] = {begin: [start.id, first.agent]}
    step = [begin]
    while step and len(ways) < MAX_AGENTS:
        for one in step:
            if one[0] in (start.id, start.slug):
                return [*ways[one][:-1], start.id]
        following: list[tuple[str, str]] = []
        for one, calls in (await _called(org, step)).items():
            for call in calls:
                if (called := (call.agent, call.version)) not in ways:
                    ways[called] = [*ways[one], call.agent]
                    following.append(called)
        step = following
    return []


async def _called(org: OrgStore, agents: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Call]]:
    """What each of these versions of agents calls; those that do not exist call nothing."""
    published = await org.agents.published([id for id, version in agents if not version])
    specs: dict[tuple[str, str], Spec] = {}
    for id, version in agents:
        found = await org.agents.found(id, id, version) if version else published.get(id)
        specs[id, version] = _spec(found[1] if found is not None else None)
    rows = await org.tools.some(dict.fromkeys(id for spec in specs.values() for _, id in tools_named(spec)))
    tools = {id: tool_of(row) for id, row in rows.items()}
    return {one: calls_of(spec, tools) for one, spec in specs.items()}


def _spec(version: VersionRow | None) -> Spec:
    return msgspec.json.decode(version.body, type=Spec) if version is not None else Spec()
