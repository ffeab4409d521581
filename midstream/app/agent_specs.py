"""What a version says: from the fields of a request, and as it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..agent.offered import shown
from ..agent.prepare import rounds_of
from ..core.agents import Loaded, Spec, Tool
from ..core.ids import spelled
from ..store.agents import AgentRow, VersionRow
from .admin_fields import SLUG, VersionFields

#: Fields whose members are replaced one by one; null takes one out.
MERGED = ("configuration", "settings", "limits", "keys")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")


def spec_from(old: Spec, fields: Mapping[str, Any]) -> Spec:
    """The version with these fields (of `VersionFields`, as they were given) in place of its own."""
    written: dict[str, Any] = msgspec.to_builtins(old)
    for name in VersionFields.model_fields:
        if name not in fields:
            continue
        value = fields[name]
        if value is not None and name in MERGED:
            value = _without_null({**written.get(name, {}), **value})
        written[name] = value
    return msgspec.convert(_spelled(_without_null(written)), Spec)


def _without_null(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in fields.items() if one is not None}


def _spelled(written: dict[str, Any]) -> dict[str, Any]:
    """Ids in their one spelling."""
    if "tool_ids" in written:
        written["tool_ids"] = list(dict.fromkeys(spelled("tool_", id) for id in written["tool_ids"]))
    if "pre_tools" in written:
        written["pre_tools"] = [{**one, "tool_id": spelled("tool_", one["tool_id"])} for one in written["pre_tools"]]
    if "connected_agents" in written:
        written["connected_agents"] = {
            name: _without_null({**one, "agent_id": spelled("agt_", one["agent_id"])})
            for name, one in written["connected_agents"].items()
        }
    return written


def slug_of(name: str) -> str:
    """A slug for an agent of this name."""
    slug = _NOT_IN_SLUG.sub("-", name.lower()).strip("-")[:48].strip("-") or "agent"
    return slug if SLUG.fullmatch(slug) else f"agent-{slug}"


def full(value: Any) -> Any:
    """JSON-ready, with every field, also those that are as by default."""
    if isinstance(value, Struct):
        return {name: full(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {name: full(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [full(one) for one in value]
    return value


def spec_of(row: VersionRow) -> Spec:
    return msgspec.json.decode(row.body, type=Spec)


def status_of(agent: AgentRow) -> str:
    """draft (never published) | published | paused"""
    if agent.status == "paused":
        return "paused"
    return "published" if agent.published_id else "draft"


def shown_agent(agent: AgentRow, version: VersionRow | None = None) -> dict[str, Any]:
    """version: whose fields are shown with it."""
    shown: dict[str, Any] = {
        "id": agent.id,
        "org_id": agent.org_id,
        "name": agent.name,
        "slug": agent.slug,
        "status": status_of(agent),
        "version_id": version.id if version is not None else agent.published_id,
        "published_version_id": agent.published_id,
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
    }
    return shown if version is None else {**shown, **full(spec_of(version))}


def shown_version(version: VersionRow) -> dict[str, Any]:
    return {
        "id": version.id,
        "version_id": version.id,
        "agent_id": version.agent_id,
        "number": version.number,
        "status": version.status,
        "created_at": version.created_at,
        "updated_at": version.updated_at,
        "published_at": version.published_at,
        **full(spec_of(version)),
    }


def resolved(loaded: Loaded, has: Sequence[Tool], documents: Mapping[str, str], key_hint: str | None) -> dict[str, Any]:
    """What a turn is made from, under the names that callers of /api/v2 know. has: the turn's tools. key_hint: the key,
    masked."""
    spec = loaded.spec
    tools = [_offered(tool) for tool in has]
    return {
        "success": True,
        "configuration": {**spec.configuration, "tools": tools},
        "service": spec.service,
        "apikey": key_hint,
        "pre_tools": [{"name": tool.name, "args": one.args} for one, tool in loaded.pre_tools],
        "variables": {name: one.default for name, one in spec.variables_state.items()},
        "variables_state": full(spec.variables_state),
        "rag_data": [{"id": id, "name": name} for id, name in documents.items()],
        "tools": tools,
        "tool_id_and_name_mapping": {tool.name: {"id": tool.id, "kind": tool.kind} for tool in has},
        "gpt_memory": spec.memory,
        "tool_call_count": rounds_of(spec.configuration, spec.settings),
        "settings": full(spec.settings),
        "version_id": loaded.version_id,
        "bridge_id": loaded.id,
        "agent_id": loaded.id,
        "org_id": loaded.org,
    }


def _offered(tool: Tool) -> dict[str, Any]:
    """As the model sees it: without the arguments that are taken from variables."""
    seen = shown(tool)
    function = {"name": seen.name, "description": seen.description or "", "parameters": seen.parameters}
    return {"type": "function", "function": function}
