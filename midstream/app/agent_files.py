"""An agent as one JSON file: written without secrets, read back into any org; and what differs between two versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace
from pydantic import Field

from ..agent.offered import chosen_name
from ..core.agents import PreTool, Spec, Tool, webhook_headers
from ..core.errors import BadRequest, Conflict
from ..core.ids import new_id, spelled
from ..core.json_same import same
from ..core.secret import written_out
from ..store.agents import AgentRow, VersionRow
from ..store.database import Statement
from ..store.nouns import NounRow
from ..store.orgs import OrgStore
from ..store.tools import ToolRow
from ..tools.http import owner_of
from .admin_fields import Body, Name, NewTool, Slug, VersionFields, Word
from .admin_tools import sealed, tool_from
from .agent_checks import Checks, Problem
from .agent_specs import spec_from, spec_of
from .agents import tool_of

FORMAT = "midstream.agent"
_SECRET = re.compile(r"\{\{\s*secret:\s*([^}\s]+)\s*\}\}")
#: An id of ours, or one that another system gave: 24 hexadecimal digits.
_ID = re.compile(r"[a-z]+_[0-9a-f]{24}")


class FileTool(NewTool):
    id: Word


class FileKey(Body):
    id: Word
    service: Word
    name: Name


class FileAgent(VersionFields):
    id: Word | None = None
    name: Name
    slug: Slug


class AgentFile(Body):
    """keys, secrets: what has to be stored anew where the file is read; their values are not in it."""

    format: Literal["midstream.agent"]
    agent: FileAgent
    tools: Annotated[list[FileTool], Field(max_length=500)] = Field(default_factory=list)
    keys: Annotated[list[FileKey], Field(max_length=200)] = Field(default_factory=list)
    secrets: Annotated[list[Name], Field(max_length=500)] = Field(default_factory=list)
    org_id: Word | None = None
    slug: Slug | None = None


# writing


def written(
    agent: AgentRow, version: VersionRow, tools: Mapping[str, ToolRow], keys: Mapping[str, NounRow]
) -> dict[str, Any]:
    """keys: the org's, by id."""
    spec = spec_of(version)
    said = [_tool_written(tool_of(row)) for row in tools.values()]
    used = [keys[id] for id in dict.fromkeys(spec.keys.values()) if id in keys]
    body = {name: one for name, one in msgspec.json.decode(version.body).items() if name != "keys"}
    naming = [*said, *_rails_written(body)]
    named = sorted({name for one in naming for name in _SECRET.findall(msgspec.json.encode(one).decode())})
    return {
        "format": FORMAT,
        "agent": {"id": agent.id, "name": agent.name, "slug": agent.slug, **body},
        "tools": said,
        "keys": [{"id": row.id, "service": row.value()["service"], "name": row.name} for row in used],
        "secrets": named,
    }


def _tool_written(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(tool)
    target = body.pop("target", None)
    body.pop("approved", None)
    body.pop("headers", None)
    if target is not None:
        body[tool.kind] = target
    return {"kind": tool.kind, **body}


def _rails_written(body: dict[str, Any]) -> list[dict[str, str]]:
    """The headers of the guardrails' webhooks. One that was written out, as versions could have them once, becomes the
    name of a secret."""
    found = [headers for place in ("configuration", "settings")
             for _, headers in webhook_headers(body.get(place, {}).get("guardrails"))]  # fmt: skip
    for headers in found:
        headers |= {name: f"{{{{secret:{name.lower()}}}}}" for name, text in headers.items() if written_out(name, text)}
    return found


# reading


async def read(
    org: OrgStore, file: AgentFile, checks: Checks
) -> tuple[AgentRow, VersionRow, dict[str, str], list[dict[str, str]]]:
    """Makes the tools and a draft, all or nothing. What ids became, and what the org has to be given, see `_missing`.

    An id that is free is kept: what names it elsewhere goes on working. Documents that the org does not have are left
    out. The org's models are known to `Models` already. Raises errors.Conflict when the slug is in use."""
    while True:
        free = await _free(org, file)
        made = _tools(file, free)
        ids = {old: tool.id for old, tool in made}
        fields = file.agent.given()
        name, slug, wanted = fields.pop("name"), fields.pop("slug"), spelled("agt_", fields.pop("id", None) or "")
        spec = spec_from(Spec(), fields)
        renamed = {**ids, **{spelled("tool_", old): new for old, new in ids.items()}}
        spec = _renamed(spec, renamed)
        absent = await checks.absent(org, spec, [tool for _, tool in made])
        spec = _without(spec, {one.id for one in absent if _is_document(one)})
        missing = _missing(file, absent, await org.secrets.names())
        also = [one for _, tool in made for one in _adding(org, tool)]
        id = wanted if wanted in free else None
        try:
            row, version = await org.agents.create(name, file.slug or slug, msgspec.json.encode(spec), id=id, also=also)
        except Conflict:
            if await _free(org, file) == free:
                raise
            continue  # a file that is read at the same time has got one of the ids
        return row, version, ids, missing


async def _free(org: OrgStore, file: AgentFile) -> frozenset[str]:
    """Ids of the file that nobody has yet."""
    agent, tools = spelled("agt_", file.agent.id or ""), dict.fromkeys(spelled("tool_", tool.id) for tool in file.tools)
    free = [] if not _is_id("agt_", agent) or await org.agents.is_taken(agent) else [agent]
    return frozenset([*free, *[id for id in tools if _is_id("tool_", id) and not await org.tools.is_taken(id)]])


def _is_id(prefix: str, id: str) -> bool:
    return id.startswith(prefix) and _ID.fullmatch(id) is not None


def _tools(file: AgentFile, free: Set[str]) -> list[tuple[str, Tool]]:
    """The file's tools, each beside the id that the file has for it. Raises BadRequest."""
    made: list[tuple[str, Tool]] = []
    left = set(free)
    for tool in file.tools:
        fields = tool.given()
        fields.pop("org_id", None)
        wanted = spelled("tool_", fields.pop("id"))
        id = wanted if wanted in left else new_id("tool_")
        left.discard(wanted)
        _rename_own_secrets(fields, wanted, id)
        made.append((tool.id, tool_from(Tool(id, ""), fields)))
    return made


def _adding(org: OrgStore, tool: Tool) -> list[Statement]:
    """A credential that stands in a file is sealed as one that comes in by itself."""
    tool, secrets = sealed(tool)
    return org.tools.adding(tool.id, tool.name, tool.kind, msgspec.json.encode(tool), secrets)


def _rename_own_secrets(fields: dict[str, Any], old: str, new: str) -> None:
    """A tool that gets another id names its own secrets by that one."""
    headers = (fields.get("http") or {}).get("headers") or {}

    def renamed(found: re.Match[str]) -> str:
        name = found[1]
        return f"{{{{secret:{new + name.removeprefix(old) if owner_of(name) == old else name}}}}}"

    for header, text in headers.items():
        headers[header] = _SECRET.sub(renamed, text)


def _renamed(spec: Spec, ids: Mapping[str, str]) -> Spec:
    return replace(
        spec,
        tool_ids=tuple(ids.get(id, id) for id in spec.tool_ids),
        pre_tools=tuple(PreTool(ids.get(one.tool_id, one.tool_id), one.args, one.into) for one in spec.pre_tools),
        variables_path={ids.get(name, name): paths for name, paths in spec.variables_path.items()},
        configuration={**spec.configuration, **_choice(spec.configuration, ids)},
        keys={},
    )


def _choice(configuration: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """The tool that shall be called, where it is named by its id."""
    choice = configuration.get("tool_choice")
    try:
        name = chosen_name(choice, "configuration.tool_choice")
    except BadRequest:  # publishing tells it
        return {}
    return {"tool_choice": ids[name]} if name in ids else {}


def _is_document(problem: Problem) -> bool:
    """Is it one of the version's own?"""
    return problem.path.startswith("doc_ids.")


def _without(spec: Spec, documents: Set[str]) -> Spec:
    return replace(spec, doc_ids=tuple(id for id in spec.doc_ids if id not in documents))


def _missing(file: AgentFile, absent: Iterable[Problem], stored: Sequence[str]) -> list[dict[str, str]]:
    """{path, id, message}, of a service key {path, id, service, name} and of a header {path, id, header, message}: each
    once. stored: the names of the org's secrets."""
    missing = [{"path": "keys", "id": key.id, "service": key.service, "name": key.name} for key in file.keys]
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in absent:
        path = "doc_ids" if _is_document(one) else one.place or one.path
        header = {"header": one.header} if one.header else {}
        found.setdefault((path, one.id, one.header), {"path": path, "id": one.id, **header, "message": one.message})
    for name in file.secrets:
        if name not in stored and not owner_of(name):  # a tool's own are told by their headers
            said = {"path": "secrets", "id": name, "message": f"no such secret: {name}"}
            found.setdefault(("secrets", name, ""), said)
    return missing + list(found.values())


# comparing


def differences(one: Any, other: Any, path: str = "") -> list[dict[str, Any]]:
    """[{path, from, to}], in the order of the paths; null stands for what is not there."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for name in sorted(one.keys() | other.keys()):
            found += differences(one.get(name), other.get(name), f"{path}.{name}" if path else name)
        return found
    return [] if same(one, other) else [{"path": path, "from": one, "to": other}]
