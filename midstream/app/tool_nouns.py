"""Tools called without an agent, the journal of tool calls, documents, and the approval of MCP servers' tools."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from ..core.agents import Tool
from ..core.ids import new_id
from ..core.json_words import decoded
from ..core.parts import ToolCall
from ..core.secret import Secret
from ..core.toolbox import ToolScope
from ..core.web import Caller
from ..store.tool_calls import CallRow
from ..tools._mcp_content import content_of
from ..tools.mcp import Offered, digest_of
from .admin_keys import WORDS
from .admin_scope import After, Limit, OrgId, Scope
from .agents import tool_of
from .noun_paths import MCP_TOOLS
from .nouns import ChatCaller, Who, json_reply, page
from .services import Services
from .tool_rooms import BUILTINS, ToolRooms

MAX_DOCUMENT = 8 * 1024 * 1024


class AskedCall(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=200, pattern=WORDS)
    arguments: dict[str, Any] = Field(default_factory=dict)


class Approval(BaseModel):
    """digest: of the tools that were looked at."""

    model_config = ConfigDict(extra="forbid", strict=True)
    digest: str | None = Field(None, min_length=1, max_length=64, pattern=WORDS)


class NewDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(min_length=1, max_length=200, pattern=WORDS)
    text: str = Field(min_length=1, max_length=MAX_DOCUMENT)
    org_id: str | None = Field(None, max_length=64)


def mcp_router(services: Services, rooms: ToolRooms) -> APIRouter:
    """/mcp/v1/tools: every tool that an org may use, whoever offers it."""
    router = APIRouter(prefix=MCP_TOOLS, tags=["tools"])

    @router.get("/list-tools", summary="Every tool that can be called here; one dead server hides nobody")
    async def list_tools(caller: ChatCaller) -> Response:
        tools, problems = await offered(services, rooms, caller.org)
        return json_reply({"tools": [_shown_tool(tool) for tool in tools], "problems": problems})

    @router.post("/call-tool", summary="Calls a tool; the call is in the journal like an agent's")
    async def call_tool(caller: ChatCaller, asked: AskedCall) -> Response:
        tools, _ = await offered(services, rooms, caller.org)
        tools, secrets = await _with_secrets(services, caller.org, tools, asked.name)
        call = ToolCall(new_id("call_"), asked.name, msgspec.json.encode(asked.arguments).decode())
        scope = ToolScope(caller.org, key=caller.key_id, secrets=secrets)
        [answer] = await rooms.tools.call(0, [call], tools, scope)
        return json_reply(
            {
                "id": call.id,
                "name": asked.name,
                "status": answer.status,
                "content": content_of(answer),
                "value": answer.value,
                "isError": answer.status != "ok",
                "error": answer.error or None,
                "ms": answer.ms,
            }
        )

    return router


def tool_admin_router(services: Services, rooms: ToolRooms) -> APIRouter:
    router = APIRouter(prefix="/v1/admin", tags=["tools"])
    scope = Scope(services)
    store = services.store

    @router.get("/tool_calls", summary="The journal of tool calls, oldest first")
    async def tool_calls(
        caller: Who,
        run_id: Annotated[str | None, Query(max_length=200, pattern=WORDS)] = None,
        org_id: OrgId = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        org = (await scope.of(caller, org_id)).org_id
        rows = await store.tool_calls(org).page(after=after, limit=limit + 1, run_id=run_id)
        return page([_shown_call(row) for row in rows], limit)

    @router.get("/mcp_servers/{server}/tools", summary="What an MCP server says of its tools now, and its digest")
    async def of_server(caller: Who, server: str, org_id: OrgId = None) -> Response:
        tools = await rooms.mcp.now((await scope.of(caller, org_id)).org_id, server)
        return json_reply({"id": server, "digest": digest_of(tools), "tools": [_shown_offer(one) for one in tools]})

    @router.post("/mcp_servers/{server}/approve", summary="Agree to every tool of an MCP server as it was looked at")
    async def approve(caller: Who, server: str, asked: Approval | None = None, org_id: OrgId = None) -> Response:
        org = (await scope.of(caller, org_id)).org_id
        tools = await rooms.mcp.approve(org, server, asked.digest if asked is not None else None)
        services.loader.forget(org)
        return json_reply({"id": server, "approved": [{"name": one.name, "hash": one.hash} for one in tools]})

    _add_documents(router, services, rooms, scope)
    return router


def _add_documents(router: APIRouter, services: Services, rooms: ToolRooms, scope: Scope) -> None:
    async def org_of(caller: Caller, org_id: str | None) -> str:
        return (await scope.of(caller, org_id)).org_id

    @router.post("/documents", status_code=201, summary="Give agents a document to search in")
    async def add(caller: Who, new: NewDocument) -> Response:
        row = await rooms.knowledge.add(await org_of(caller, new.org_id), new.name, new.text)
        return json_reply(asdict(row), 201)

    @router.get("/documents", summary="An org's documents, newest first")
    async def listing(caller: Who, org_id: OrgId = None, after: After = None, limit: Limit = 100) -> Response:
        documents = services.store.documents(await org_of(caller, org_id))
        return page([asdict(row) for row in await documents.page(after=after, limit=limit + 1)], limit)

    @router.get("/documents/{document_id}", summary="One document")
    async def get(caller: Who, document_id: str, org_id: OrgId = None) -> Response:
        documents = services.store.documents(await org_of(caller, org_id))
        return json_reply(asdict(await documents.one(document_id)))

    @router.delete("/documents/{document_id}", summary="Delete a document: it is found no more")
    async def delete(caller: Who, document_id: str, org_id: OrgId = None) -> Response:
        await services.store.documents(await org_of(caller, org_id)).delete(document_id)
        return json_reply({"id": document_id, "deleted": True})


async def offered(services: Services, rooms: ToolRooms, org: str) -> tuple[list[Tool], dict[str, str]]:
    """The built-in tools, the org's own, then those of MCP servers; and by name what is wrong with which server."""
    stored = [tool_of(row) for row in await services.store.org(org).tools.every()]
    tools = {tool.name: tool for tool in (*BUILTINS.values(), *stored) if tool.kind != "agent"}
    listed = await rooms.mcp.listed(org, others=tools.keys())
    return [*tools.values(), *(tool for tool, _ in listed.tools)], listed.problems


async def _with_secrets(
    services: Services, org: str, tools: list[Tool], name: str
) -> tuple[list[Tool], dict[str, Secret]]:
    """The tools, that of this name read anew with the secrets that it may name: none is sent to where it was before, or
    is by now."""
    named = [tool for tool in tools if tool.name == name and tool.kind == "http"]
    if not named:
        return tools, {}
    stored, secrets = await services.loader.stored(org, [tool.id for tool in named])
    return [*(tool for tool in tools if tool not in named), *stored.values()], secrets


def _shown_tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.parameters or {"type": "object"},
        "kind": tool.kind,
        "effect": tool.effect,
        "server": tool.target.get("server") if tool.kind == "mcp" else None,
        "approved": bool(tool.approved) if tool.kind == "mcp" else True,
    }


def _shown_offer(one: Offered) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": one.description,
        "inputSchema": one.schema,
        "annotations": one.hints,
        "effect": one.effect,
        "hash": one.hash,
        "approved": one.approved,
    }


def _shown_call(row: CallRow) -> dict[str, Any]:
    answer = row.answer()
    try:
        arguments = decoded(row.arguments)
    except msgspec.DecodeError:
        arguments = row.arguments.decode("utf-8", "replace")
    return {
        "id": row.id,
        "run_id": row.run_id or None,
        "round": row.round,
        "order": row.place,
        "call_id": row.call_id,
        "tool_id": row.tool_id or None,
        "tool": row.name,
        "kind": row.kind,
        "effect": row.effect,
        "arguments": arguments,
        "status": row.status,
        "result": None if answer is None else answer.text,
        "value": None if answer is None else answer.value,
        "error": row.error,
        "ms": None if answer is None else answer.ms,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
    }
