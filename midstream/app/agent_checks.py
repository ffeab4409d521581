"""What is wrong with a version before it is published: all of it at once, each with the path of its field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..agent.guardrails import guardrails_of
from ..agent.offered import choice_of, chosen_name
from ..agent.prepare import Given, besides, embedded, fall_back_of, model_of, prepare
from ..agent.variables import unfilled
from ..core.agents import AgentAsk, Loaded, Spec, Tool
from ..core.errors import BadRequest, CallerError
from ..core.http import OWN_HEADERS
from ..core.json_schema import misfit
from ..core.secret import written_out
from ..store.agents import AgentRow, VersionRow
from ..store.nouns import KINDS, NounRow
from ..store.orgs import OrgStore
from ..tools.http import owner_of, secrets_in
from .agent_calls import Call, calls_of, circle, tools_named
from .agents import own_tools, search_of, tool_of
from .guards import STORE_IT, classifiers, webhooks
from .models_of import Models

#: What a schema says of each argument alone, and what that may refer to.
_EACH_ALONE = ("$schema", "$id", "$defs", "definitions", "properties", "patternProperties", "additionalProperties")
#: A model's name in the place of one that is none.
_ANY = "?"


class Problem(Struct, frozen=True):
    """path: of the field, e.g. "pre_tools.0.args.city". id: of what is named and absent, "" = something else is wrong.
    place: where that is named or kept, when it is not the field, e.g. "tools.tool_1.mcp.server", "secrets". header: the
    one that needs its value anew."""

    path: str
    message: str
    id: str = ""
    place: str = ""
    header: str = ""


class _Found(Struct, frozen=True):
    """What of an org the version and its tools may name. secrets: names of those that headers may say.
    secrets_of_nouns: ids of nouns that have one."""

    tools: Mapping[str, Tool]
    nouns: Mapping[str, list[NounRow]]
    agents: Mapping[str, tuple[AgentRow, VersionRow | None]]
    documents: Mapping[str, str]
    secrets: frozenset[str]
    secrets_of_nouns: frozenset[str]


class Checks:
    """builtins: the server's own tools by name. servers: names of its MCP servers. check_address: raises BadRequest
    for one that may not be dialled whatever its name leads to."""

    def __init__(
        self,
        models: Models,
        builtins: Mapping[str, Tool],
        servers: Iterable[str],
        check_address: Callable[[str], None],
    ) -> None:
        self._check_address = check_address
        self._models = models
        self._builtins = builtins
        self._servers = frozenset(servers)

    async def problems(self, org: OrgStore, agent: AgentRow, spec: Spec) -> list[Problem]:
        """Empty when the version can be published. The org's models are known to `Models` already."""
        found = await _found(org, spec)
        problems = [*await self._fields(org, spec, found, agent.id), *await _circles(org, agent, spec, found)]
        named = {problem.path for problem in problems}
        return problems + [problem for problem in _turns(agent, spec, found) if problem.path not in named]

    async def absent(self, org: OrgStore, spec: Spec, tools: Sequence[Tool] = ()) -> list[Problem]:
        """What the version and its tools name and the org does not have. tools: that it will have."""
        return [one for one in await self._fields(org, spec, await _found(org, spec, tools), "") if one.id]

    async def _fields(self, org: OrgStore, spec: Spec, found: _Found, agent_id: str) -> list[Problem]:
        return [
            *self._model(org.org_id, spec),
            *self._keys(spec, found),
            *_tools(spec, found),
            *self._inside(spec, found),
            *_pre_tools(spec, found),
            *_variables(spec, found, later=any(not self._server(name, found) for name in spec.mcp_servers)),
            *_templates(spec, found),
            *(Problem(f"doc_ids.{n}", f"no such document: {id}", id) for n, id in enumerate(spec.doc_ids)
              if id not in found.documents),
            *self._named(spec, found),
            *self._choice(spec, found),
            *self._webhooks(spec, found),
            *await _agents(org, agent_id, spec, found),
        ]  # fmt: skip

    def _model(self, org: str, spec: Spec) -> list[Problem]:
        problems = []
        judges = classifiers(spec)
        pairs = [("configuration.model", spec.service, model_of(spec.configuration)), *_fallback(spec), *judges]
        for path, service, name in pairs:
            if not name or not isinstance(name, str):
                problems.append(Problem(path, "a model is needed"))
                continue
            try:
                self._models.targets(org, service, name, spec.keys, None)
            except CallerError as error:
                is_service = error.param == "service"
                beside = path.removesuffix("model") + "service" if path != "configuration.model" else "service"
                where = beside if is_service else "keys" if error.param == "apikey" else path
                # A request may bring its own key, but not for those that judge.
                if error.code != "key_missing" or spec.keys or (path, service, name) in judges:
                    absent = "" if error.param == "apikey" else service if is_service else name
                    problems.append(Problem(where, error.message, absent))
        return problems

    def _keys(self, spec: Spec, found: _Found) -> list[Problem]:
        """What no turn would take: whether the version's own do is told with its model."""
        known = {row.id: str(row.value()["service"]) for row in found.nouns["service_key"]}
        problems = []
        for service, id in spec.keys.items():
            if id not in known:
                problems.append(Problem(f"keys.{service}", f"no such service key: {id}", id))
            elif not self._models.takes(service, known[id]):
                problems.append(Problem(f"keys.{service}", f"the key {id} is one of {known[id]}"))
        return problems

    def _webhooks(self, spec: Spec, found: _Found) -> list[Problem]:
        """What the webhooks of guardrails cannot be asked with."""
        problems = []
        for path, webhook in webhooks(spec):
            try:
                self._check_address(webhook.url)
            except BadRequest as error:
                problems.append(Problem(f"{path}.url", error.message.removeprefix("url: ")))
            for header, text in webhook.headers.items():
                place, names = f"{path}.headers.{header}", secrets_in({header: text})
                gone = [name for name in names if name not in found.secrets and not owner_of(name)]
                problems += [Problem(place, f"no such secret: {name}", name, "secrets") for name in gone]
                problems += [Problem(place, f"the secret {name} is a tool's own") for name in names if owner_of(name)]
                if header.lower() in OWN_HEADERS:
                    problems.append(Problem(place, "is written by the server itself"))
                if written_out(header, text):
                    problems.append(Problem(place, STORE_IT))
        return problems

    def _named(self, spec: Spec, found: _Found) -> list[Problem]:
        servers = [(f"mcp_servers.{n}", name, self._reached(name, found)) for n, name in enumerate(spec.mcp_servers)]
        builtins = [(f"built_in_tools.{n}", name, self._builtin(name)) for n, name in enumerate(spec.built_in_tools)]
        return [Problem(path, why, name) for path, name, why in (*servers, *builtins) if why]

    def _choice(self, spec: Spec, found: _Found) -> list[Problem]:
        """A tool that shall be called and that the version does not have. Those of MCP servers are known in a turn;
        those that a request brings are no version's to choose, as requests without them could not do what it says."""
        path = "configuration.tool_choice"
        if spec.mcp_servers or "embedding" in (spec.configuration.get("type"), spec.type):
            return []
        tools = own_tools(spec, found.tools, self._builtins)
        try:
            name = chosen_name(spec.configuration.get("tool_choice"), path)
        except BadRequest:  # it is told with the rest of what turns would be refused with
            return []
        try:
            choice_of(name, [*tools, *search_of(spec, tools, self._builtins.values())], path)
        except BadRequest as error:
            why = f"{error.message.removeprefix(f'{path}: ')}; one that a request brings is chosen by that request"
            return [Problem(path, why, name)]
        return []

    def _server(self, name: str, found: _Found) -> str:
        """What is wrong with the name of an MCP server, "" = nothing."""
        own = {one for row in found.nouns["mcp_server"] for one in (row.id, row.name)}
        return "" if name in own or name in self._servers else f"no such MCP server: {name}"

    def _reached(self, name: str, found: _Found) -> str:
        """The same, and what it lacks: an org's own that stands elsewhere now has lost its headers."""
        for row in found.nouns["mcp_server"]:
            lost = () if row.id in found.secrets_of_nouns else row.value().get("header_names", ())
            if lost and (name == row.id or (name == row.name and name not in self._servers)):
                return f"the MCP server {row.name}: the header {lost[0]} needs a value"
        return self._server(name, found)

    def _builtin(self, name: str) -> str:
        if name in self._builtins:
            return ""
        return f"no such built-in tool: {name}; known: {', '.join(sorted(self._builtins))}"

    def _inside(self, spec: Spec, found: _Found) -> list[Problem]:
        """What the stored tools name and there is not. The agents that they call are looked at with the others."""
        problems = []
        for path, id in tools_named(spec):
            tool = found.tools.get(id)
            if tool is not None:
                problems += [
                    Problem(path, f"the tool {tool.name}: {why}", absent, f"tools.{id}.{field}")
                    for field, absent, why in self._kind(tool, found)
                    if why
                ]
        return problems + _secrets(spec, found)

    def _kind(self, tool: Tool, found: _Found) -> list[tuple[str, str, str]]:
        """(field, what it names, what is wrong with that, "" = nothing)"""
        if tool.kind == "knowledge":
            gone = [id for id in _documents(tool) if id not in found.documents]
            return [("knowledge.document_ids", id, f"no such document: {id}") for id in gone]
        if tool.kind == "mcp":
            server = str(tool.target.get("server", ""))
            return [("mcp.server", server, self._reached(server, found))]
        if tool.kind == "builtin":
            name = str(tool.target.get("name", ""))
            return [("builtin.name", name, self._builtin(name))]
        return []


def _fallback(spec: Spec) -> list[tuple[str, str, str]]:
    """Path, service and model of what answers in the model's place."""
    try:
        fallback = fall_back_of(spec.configuration, spec.settings)
    except BadRequest:  # it is told with the rest of what turns would be refused with
        return []
    if fallback is None:
        return []
    place = "settings" if spec.configuration.get("fall_back") is None else "configuration"
    return [(f"{place}.fall_back.model", fallback.service or spec.service, fallback.model)]


async def _found(org: OrgStore, spec: Spec, more: Iterable[Tool] = ()) -> _Found:
    """more: tools that are there as well."""
    rows = await org.tools.some(dict.fromkeys(id for _, id in tools_named(spec)))
    tools = {id: tool_of(row) for id, row in rows.items()} | {tool.id: tool for tool in more}
    documents = [*spec.doc_ids, *(id for tool in tools.values() for id in _documents(tool))]
    names = frozenset(await org.secrets.names())
    of_nouns = frozenset(name for name in names if name.startswith(tuple(KINDS.values())))
    return _Found(
        tools,
        await org.nouns.all(),
        await org.agents.published([call.agent for call in calls_of(spec, tools)]),
        await org.agents.documents(dict.fromkeys(documents)),
        names - of_nouns,
        of_nouns,
    )


def _documents(tool: Tool) -> list[str]:
    return list(tool.target.get("document_ids") or ()) if tool.kind == "knowledge" else []


def _secrets(spec: Spec, found: _Found) -> list[Problem]:
    """What headers of the stored tools have no value for. What was sealed with a tool can only be given to it anew."""
    problems = []
    for path, id in tools_named(spec):
        tool = found.tools.get(id)
        if tool is None or tool.http is None or tool.kind != "http":
            continue
        for header, text in tool.http.headers.items():
            for name in secrets_in({header: text}):
                own = owner_of(name) == id
                why = f"the header {header} needs a value" if own else f"no such secret: {name}"
                problem = Problem(path, f"the tool {tool.name}: {why}", name, "secrets")
                if own:
                    problem = replace(problem, id=id, place=f"tools.{id}.http.headers", header=header)
                if name not in found.secrets and problem not in problems:
                    problems.append(problem)
    return problems


def _tools(spec: Spec, found: _Found) -> list[Problem]:
    problems: list[Problem] = []
    names: dict[str, str] = {}
    for place, id in enumerate(spec.tool_ids):
        tool = found.tools.get(id)
        if tool is None:
            problems.append(Problem(f"tool_ids.{place}", f"no such tool: {id}", id))
            continue
        if tool.name in names:
            problems.append(Problem(f"tool_ids.{place}", f"another tool of this agent is called {tool.name} as well"))
        names[tool.name] = id
    for name in spec.connected_agents:
        if name in names:
            problems.append(Problem(f"connected_agents.{name}", f"a tool of this agent is called {name} as well"))
    return problems


def _pre_tools(spec: Spec, found: _Found) -> list[Problem]:
    problems = []
    for place, one in enumerate(spec.pre_tools):
        tool = found.tools.get(one.tool_id)
        path = f"pre_tools.{place}"
        if tool is None:
            problems.append(Problem(f"{path}.tool_id", f"no such tool: {one.tool_id}", one.tool_id))
            continue
        known = _arguments(tool)
        problems += [
            Problem(f"{path}.args.{name}", f"the tool {tool.name} has no such argument")
            for name in one.args
            if known is not None and name not in known
        ]
        mapped = {**tool.mapped, **_mapped(spec, tool)}
        problems += [
            Problem(f"{path}.args.{name}", f"the tool {tool.name} needs this argument")
            for name in tool.parameters.get("required", [])
            if name not in one.args and name not in mapped
        ]
        given = {name: value for name, value in one.args.items() if name not in mapped}
        problems += [
            Problem(f"{path}.args.{name}", f"the tool {tool.name} does not take this: {why}")
            for name, why in _wrong_constants(tool, given).items()
            if known is None or name in known
        ]
    return problems


def _wrong_constants(tool: Tool, args: Mapping[str, Any]) -> dict[str, str]:
    """By argument, why the tool's schema does not take its value. What has placeholders is known only in a turn, and so
    is all that the schema says of several arguments together."""
    schema = {word: tool.parameters[word] for word in _EACH_ALONE if word in tool.parameters}
    constants = ((name, value) for name, value in args.items() if not unfilled(value, {}))
    told = {name: misfit(schema, {name: value}) for name, value in constants}
    return {name: why for name, why in told.items() if why is not None}


def _arguments(tool: Tool) -> frozenset[str] | None:
    """None: the tool takes any."""
    properties = tool.parameters.get("properties")
    if properties is None:
        return None
    additional = tool.parameters.get("additionalProperties")
    open_ended = additional is True or isinstance(additional, dict)
    return None if open_ended else frozenset(properties)


def _mapped(spec: Spec, tool: Tool) -> Mapping[str, str]:
    return {**spec.variables_path.get(tool.name, {}), **spec.variables_path.get(tool.id, {})}


def _variables(spec: Spec, found: _Found, *, later: bool) -> list[Problem]:
    """later: tools of MCP servers come to these, which are known only when a turn begins."""
    problems = []
    by_name = {name: tool for tool in found.tools.values() for name in (tool.id, tool.name)}
    others = {*spec.connected_agents, *spec.built_in_tools}
    for name, paths in spec.variables_path.items():
        tool = by_name.get(name)
        if tool is None and (name in others or later):
            continue
        if tool is None:
            problems.append(Problem(f"variables_path.{name}", "no tool of this agent has this name or id", name))
            continue
        known = _arguments(tool)
        problems += [
            Problem(f"variables_path.{name}.{argument}", f"the tool {tool.name} has no such argument")
            for argument in paths
            if known is not None and argument not in known
        ]
    return problems


def _templates(spec: Spec, found: _Found) -> list[Problem]:
    id = spec.configuration.get("template_id")
    if not id or not isinstance(id, str) or id in {row.id for row in found.nouns["template"]}:
        return []  # what is no text is told with the rest of what turns would be refused with
    return [Problem("configuration.template_id", f"no such template: {id}", id)]


def _turns(agent: AgentRow, spec: Spec, found: _Found) -> list[Problem]:
    """What every turn would be refused with. A turn tells the first of it: each value that is told is taken out, and
    the rest tried again."""
    problems: list[Problem] = []
    rest: Spec | None = spec
    while rest is not None:
        problem = _refused(agent, rest, found)
        if problem is None:
            break
        problems.append(problem)
        rest = _without(rest, problem.path)
    return problems


def _refused(agent: AgentRow, spec: Spec, found: _Found) -> Problem | None:
    templates = {row.id: "" for row in found.nouns["template"]}
    loaded = Loaded(agent.org_id, agent.id, agent.slug, agent.name, agent.status, "", spec, templates=templates)
    kind = {"type": spec.configuration["type"]} if "type" in spec.configuration else {}
    ask = AgentAsk(text="?", tool_choice="auto", configuration=kind)  # tools are not all known before a turn
    try:
        chosen_name(spec.configuration.get("tool_choice"), "configuration.tool_choice")
        if "embedding" in (spec.configuration.get("type"), spec.type):
            embedded(loaded, ask)
            guardrails_of(besides(loaded, ask)[0])
        else:
            guardrails_of(prepare(loaded, ask, Given(now=0.0)).guardrails)
    except BadRequest as error:
        param = error.param or "configuration"
        beside = "settings." if param.startswith("guardrails") and "guardrails" not in spec.configuration else ""
        path = param if param.startswith("configuration") else f"{beside or 'configuration.'}{param}"
        return Problem(path, error.message.removeprefix(f"{param}: "))
    return None


def _without(spec: Spec, path: str) -> Spec | None:
    """The version without the value at this path; None when it is none that can be taken out."""
    place, _, member = path.partition(".")
    member = member.partition(".")[0]
    if place == "settings" and spec.settings.guardrails:
        return replace(spec, settings=replace(spec.settings, guardrails={}))
    rest = {name: value for name, value in spec.configuration.items() if name != member}
    if member == "model":
        rest[member] = _ANY
    return replace(spec, configuration=rest) if rest != spec.configuration else None


async def _agents(org: OrgStore, agent_id: str, spec: Spec, found: _Found) -> list[Problem]:
    problems = []
    for call in calls_of(spec, found.tools):
        there = found.agents.get(call.agent)
        if there is None:
            why = f"no such agent: {call.agent}"
            problems.append(Problem(call.agent_path, f"{call.by}{why}", call.agent, _place(call, "agent_id")))
        elif call.version:
            named = await org.agents.found(call.agent, call.agent, call.version)
            if named is None or named[1] is None:
                why = f"no such version: {call.version}"
                problems.append(Problem(call.version_path, f"{call.by}{why}", call.version, _place(call, "version_id")))
        elif there[1] is None and there[0].id != agent_id:
            why = f"the agent {there[0].slug} is not published"
            problems.append(Problem(call.agent_path, f"{call.by}{why}", call.agent, _place(call, "agent_id")))
    return problems


def _place(call: Call, field: str) -> str:
    return f"tools.{call.tool}.agent.{field}" if call.tool else ""


async def _circles(org: OrgStore, agent: AgentRow, spec: Spec, found: _Found) -> list[Problem]:
    problems = []
    for call in calls_of(spec, found.tools):
        if way := await circle(org, agent, call):
            ring = " -> ".join(way)
            problems.append(Problem(call.path, f"{call.by}these agents call each other in a circle: {ring}"))
    return problems
