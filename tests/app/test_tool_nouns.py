from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from midstream.app.clock import Clock
from midstream.app.nouns import noun_app
from midstream.app.operations import plain_error
from midstream.app.tool_nouns import mcp_router, tool_admin_router
from midstream.app.tool_rooms import ToolRooms

from .asgi import KEY, Asking, Here, Reply, here

JSON = "application/json"


class Tooled:
    """The routes of tools alone, over a whole process."""

    def __init__(self, app: Here) -> None:
        services = app.services
        self.here = app
        self.rooms = ToolRooms(app.process.config, services.store, services.egress, Clock(), services.loader.servers)
        self._app = noun_app(
            services, plain_error, [mcp_router(services, self.rooms), tool_admin_router(services, self.rooms)]
        )

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(
            {**scope, "state": {"request_id": "req_1"}, "root_path": "", "http_version": "1.1"}, receive, send
        )

    async def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> Reply:
        data = b"" if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {key}", "content_type": JSON}
        return await Asking(self._asgi, method, path, data, headers).end()


def tooled(tmp_path: Path, test: Callable[[Tooled], Awaitable[None]]) -> None:
    async def run(app: Here) -> None:
        tools = Tooled(app)
        try:
            await test(tools)
        finally:
            await tools.rooms.close()

    here(tmp_path, run)


async def new_key(app: Tooled, *scopes: str) -> str:
    """Of an org of its own."""
    org = (await app.here.ask("POST", "/v1/admin/orgs", {"name": "other"}, content_type=JSON)).json["id"]
    asked = {"name": "k", "org_id": org, "scopes": list(scopes)}
    return str((await app.here.ask("POST", "/v1/admin/keys", asked, content_type=JSON)).json["key"])


def test_tools_are_listed_called_and_journalled(tmp_path: Path):
    async def test(app: Tooled) -> None:
        listed = (await app.ask("GET", "/mcp/v1/tools/list-tools")).json
        assert {"web_search", "scrape", "python", "search_documents"} <= {tool["name"] for tool in listed["tools"]}
        assert listed["problems"] == {}
        called = await app.ask("POST", "/mcp/v1/tools/call-tool", {"name": "python", "arguments": {"code": "6 * 7"}})
        assert called.status == 200, called.body
        assert (called.json["status"], called.json["content"]) == ("ok", [{"type": "text", "text": "42"}])
        wrong = await app.ask("POST", "/mcp/v1/tools/call-tool", {"name": "python", "arguments": {"code": 7}})
        assert (wrong.json["status"], wrong.json["isError"], wrong.json["error"]) == (
            "failed", True, "invalid_arguments",
        )  # fmt: skip
        unknown = await app.ask("POST", "/mcp/v1/tools/call-tool", {"name": "nope"})
        assert "there is no tool nope" in unknown.json["content"][0]["text"]
        rows = (await app.ask("GET", "/v1/admin/tool_calls?limit=2")).json
        assert [(row["tool"], row["status"]) for row in rows["data"]] == [("python", "ok"), ("python", "failed")]
        assert rows["data"][0]["arguments"] == {"code": "6 * 7"}
        rest = (await app.ask("GET", f"/v1/admin/tool_calls?after={rows['last_id']}")).json
        assert ([row["tool"] for row in rest["data"]], rest["has_more"]) == (["nope"], False)
        assert (await app.ask("GET", "/v1/admin/tool_calls?run_id=run_nobody")).status == 404

    tooled(tmp_path, test)


def test_documents_are_given_found_and_deleted_within_their_org(tmp_path: Path):
    async def test(app: Tooled) -> None:
        key = await new_key(app, "admin")
        made = await app.ask("POST", "/v1/admin/documents", {"name": "bridges", "text": "Towers of 200 metres"})
        assert made.status == 201, made.body
        id = made.json["id"]
        find = {"name": "search_documents", "arguments": {"queries": ["arches", "towers"], "similarityTopK": 2}}
        assert "200 metres" in (await app.ask("POST", "/mcp/v1/tools/call-tool", find)).json["content"][0]["text"]
        other = (await app.ask("POST", "/mcp/v1/tools/call-tool", find, key)).json["content"][0]["text"]
        assert other == "nothing was found"
        for method in ("GET", "DELETE"):
            assert (await app.ask(method, f"/v1/admin/documents/{id}", key=key)).status == 404
        assert (await app.ask("GET", "/v1/admin/documents", key=key)).json["data"] == []
        assert [one["id"] for one in (await app.ask("GET", "/v1/admin/documents")).json["data"]] == [id]
        assert (await app.ask("DELETE", f"/v1/admin/documents/{id}")).status == 200
        assert (await app.ask("GET", f"/v1/admin/documents/{id}")).status == 404
        assert (await app.ask("GET", "/v1/admin/tool_calls", key=key)).json["data"][0]["tool"] == "search_documents"

    tooled(tmp_path, test)


def test_mistakes_are_named_and_strangers_stay_out(tmp_path: Path):
    async def test(app: Tooled) -> None:
        for path, body, param in (
            ("/v1/admin/documents", {"name": "x"}, "text"),
            ("/v1/admin/documents", {"name": "x", "text": " "}, "text"),
            ("/v1/admin/documents", {"name": "x", "text": "y", "txt": 1}, "txt"),
            ("/mcp/v1/tools/call-tool", {"arguments": {}}, "name"),
            ("/mcp/v1/tools/call-tool", {"name": "x", "arguments": []}, "arguments"),
        ):
            reply = await app.ask("POST", path, body)
            assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert (await app.ask("GET", "/mcp/v1/tools/list-tools", key="wrong")).status == 401
        assert (await app.ask("GET", "/v1/admin/documents", key=await new_key(app))).status == 403
        assert (await app.ask("POST", "/v1/admin/mcp_servers/nobody/approve")).status == 404

    tooled(tmp_path, test)
