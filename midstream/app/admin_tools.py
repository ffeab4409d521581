"""Tools under /v1/admin/tools. Credentials in their headers are sealed: what is shown of them is a placeholder."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from msgspec.structs import replace

from ..core.agents import Tool
from ..core.errors import BadRequest
from ..core.ids import new_id, spelled
from ..core.secret import written_out
from ..egress.targets import same_origin
from ..store.tools import ToolRow
from ..tools.http import foreign_secret, wrong_url
from ..tools.knowledge import PARAMETERS
from .admin_fields import NewTool, ToolFields
from .admin_scope import After, Limit, OrgId, Scope
from .agents import tool_of
from .nouns import Who, json_reply, page
from .services import Services

#: Fields of a body that only the kind of that name has.
KINDS = ("http", "mcp", "agent", "knowledge", "builtin")


def tools_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/admin/tools", tags=["agents"])
    scope = Scope(services)

    @router.post("", status_code=201, summary="Make a tool")
    async def create(caller: Who, new: NewTool) -> Response:
        org = await scope.of(caller, new.org_id)
        fields = new.given()
        fields.pop("org_id", None)
        tool, secrets = sealed(tool_from(Tool(new_id("tool_"), ""), fields))
        row = await org.tools.create(tool.name, tool.kind, msgspec.json.encode(tool), id=tool.id, secrets=secrets)
        services.loader.forget(org.org_id)
        return json_reply(shown_tool(row), 201)

    @router.get("", summary="An org's tools, newest first")
    async def listing(caller: Who, org_id: OrgId = None, after: After = None, limit: Limit = 100) -> Response:
        rows = await (await scope.of(caller, org_id)).tools.page(after=after, limit=limit + 1)
        return page([shown_tool(row) for row in rows], limit)

    @router.get("/{tool_id}", summary="One tool")
    async def get(caller: Who, tool_id: str, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        return json_reply(shown_tool(await org.tools.get(spelled("tool_", tool_id))))

    @router.patch("/{tool_id}", summary="Change a tool: what is given replaces what was")
    async def change(caller: Who, tool_id: str, new: ToolFields, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        row = await org.tools.get(spelled("tool_", tool_id))
        old = tool_of(row)
        tool, secrets = sealed(tool_from(old, new.given()))
        moved = old.http is None or tool.http is None or not same_origin(old.http.url, tool.http.url)
        row = await org.tools.change(row, tool.name, tool.kind, msgspec.json.encode(tool), secrets=secrets, moved=moved)
        services.loader.forget(org.org_id)
        return json_reply(shown_tool(row))

    @router.delete("/{tool_id}", summary="Delete a tool")
    async def delete(caller: Who, tool_id: str, org_id: OrgId = None) -> Response:
        org = await scope.of(caller, org_id)
        id = spelled("tool_", tool_id)
        await org.tools.delete(id)
        services.loader.forget(org.org_id)
        return json_reply({"id": id, "deleted": True})

    return router


def tool_from(old: Tool, fields: dict[str, Any]) -> Tool:
    """The tool with these fields replaced; null puts one back to its default. Raises BadRequest naming a field that
    does not go with the kind or the effect, an address that no request can be made to, or a header that names another
    tool's own credential."""
    written = {"id": old.id, **msgspec.to_builtins(old)}
    if "kind" in fields and fields["kind"] not in (None, old.kind):  # what the old kind needed goes with it
        written.pop("http", None)
        written.pop("target", None)
    if fields.get("name", "") is None:
        raise BadRequest("name: cannot be null", param="name")
    for name, value in fields.items():
        name = "target" if name in KINDS and name != "http" else name
        if value is None:
            written.pop(name, None)
        else:
            written[name] = value
    kind = written.get("kind", "http")
    foreign = next((name for name in KINDS if fields.get(name) is not None and name != kind), None)
    if foreign is not None:
        raise BadRequest(f"{foreign}: only tools of the kind {foreign} have it, this one is {kind}", param=foreign)
    if not written.get("http" if kind == "http" else "target") and kind != "knowledge":
        raise BadRequest(f"{kind}: a tool of the kind {kind} needs it", param=kind)
    if kind == "knowledge" and not written.get("parameters"):
        written["parameters"] = PARAMETERS
    if isinstance(written.get("target"), dict):
        written["target"] = {name: one for name, one in written["target"].items() if one is not None}
    tool = msgspec.convert(written, Tool)
    for name, value in (tool.http.headers if tool.http is not None else {}).items():
        if foreign := foreign_secret(value, tool.id):
            where = f"http.headers.{name}"
            raise BadRequest(f"{where}: the secret {foreign} is another tool's own: give its value", param=where)
    if tool.http is not None and (problem := wrong_url(tool.http.url)) is not None:
        raise BadRequest(f"http.{problem}", param="http.url")
    if tool.http is not None and tool.http.retries and tool.effect == "unsafe":
        never = "a call of an unsafe tool is never repeated: say that its effect is pure or idempotent"
        raise BadRequest(f"http.retries: {never}", param="http.retries")
    return tool


def sealed(tool: Tool) -> tuple[Tool, dict[str, str]]:
    """The tool with placeholders for the credentials in its headers, and the secrets by name."""
    secrets: dict[str, str] = {}
    if tool.http is None:
        return tool, secrets
    headers = {}
    for name, value in tool.http.headers.items():
        if written_out(name, value):
            secret = f"{tool.id}.{name.lower()}"
            secrets[secret] = value
            value = f"{{{{secret:{secret}}}}}"
        headers[name] = value
    return replace(tool, http=replace(tool.http, headers=headers)), secrets


def shown_tool(row: ToolRow) -> dict[str, Any]:
    tool = tool_of(row)
    written = msgspec.to_builtins(tool)
    shown: dict[str, Any] = {
        "id": row.id,
        "org_id": row.org_id,
        "name": tool.name,
        "description": tool.description,
        "kind": tool.kind,
        "parameters": tool.parameters,
        "effect": tool.effect,
        "timeout_seconds": tool.timeout_seconds,
        "mapped": tool.mapped,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
    if tool.http is not None:
        shown["http"] = msgspec.structs.asdict(tool.http)
    else:
        shown[tool.kind] = written.get("target", {})
    return shown
