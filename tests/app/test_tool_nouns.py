from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.app.clock import Clock
from midstream.app.config import load
from midstream.app.nouns import noun_app
from midstream.app.operations import plain_error
from midstream.app.tool_nouns import mcp_router, tool_admin_router
from midstream.app.tool_rooms import ToolRooms
from midstream.core.agents import HttpTool, Tool
from midstream.core.agents import McpServer as OrgServer
from midstream.core.toolbox import ToolAnswer, ToolScope
from midstream.store import tools as tool_store
from midstream.store.orgs import DEFAULT_ORG

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


def test_every_tool_of_an_org_is_listed_and_can_be_called_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tool_store, "MANY", 2)

    async def test(app: Tooled) -> None:
        store = app.here.services.store.org(DEFAULT_ORG).tools
        for number in range(4):
            made = Tool(id="", name=f"look_{number}", http=HttpTool(url="https://x.example.org/{a}"))
            await store.create(made.name, made.kind, msgspec.json.encode(made))
        assert [row.name for row in await store.every()] == ["look_3", "look_2", "look_1", "look_0"]
        listed = (await app.ask("GET", "/mcp/v1/tools/list-tools")).json
        assert {f"look_{number}" for number in range(4)} <= {tool["name"] for tool in listed["tools"]}
        oldest = (await app.ask("POST", "/mcp/v1/tools/call-tool", {"name": "look_0"})).json
        assert "the address needs a value for a" in oldest["content"][0]["text"]

    tooled(tmp_path, test)


def test_a_tool_that_another_server_has_moved_takes_no_credential_along(tmp_path: Path):
    sent: list[tuple[str, dict[str, str]]] = []

    class Seen:
        async def run(self, tool: Tool, arguments: Any, scope: ToolScope, key: str, note: Any) -> ToolAnswer:
            assert tool.http is not None
            sent.append((tool.http.url, {name: one.reveal() for name, one in scope.secrets.items()}))
            return ToolAnswer("ok", "done")

    async def test(app: Tooled) -> None:
        app.rooms.kinds["http"] = Seen()
        loader, org = app.here.services.loader, app.here.services.store.org(DEFAULT_ORG)
        await org.nouns.put_secret("SHARED", "for all")

        def at(address: str) -> bytes:
            return msgspec.json.encode(Tool(id="", name="look", http=HttpTool(url=address)))

        row = await org.tools.create("look", "http", at("https://a.example.org/"), secrets={})
        own, shared = f"{row.id}.authorization", {"SHARED": "for all"}
        row = await org.tools.change(row, "look", "http", at("https://a.example.org/x"), secrets={own: "for a"})
        other = await org.tools.create("other", "http", at("https://a.example.org/"))
        await org.tools.change(other, "other", "http", b'{"id":"","name":"other"}', secrets={f"{other.id}.k": "o"})
        loader.forget(DEFAULT_ORG)
        called = {"name": "look", "arguments": {}}
        await app.ask("POST", "/mcp/v1/tools/call-tool", called)
        row = await org.tools.change(row, "look", "http", at("https://b.example.org/"), moved=True)
        await app.ask("POST", "/mcp/v1/tools/call-tool", called)
        await org.tools.change(row, "look", "http", at("https://b.example.org/y"), secrets={own: "for b"})
        await app.ask("POST", "/mcp/v1/tools/call-tool", called)
        assert sent == [
            ("https://a.example.org/x", {own: "for a", **shared}), ("https://b.example.org/", shared),
            ("https://b.example.org/y", {own: "for b", **shared}),
        ]  # fmt: skip

    tooled(tmp_path, test)


def test_an_mcp_server_has_the_time_that_it_is_given_or_that_of_all_tools(tmp_path: Path):
    async def org_servers(org: str) -> list[OrgServer]:
        return [OrgServer("mcp_1", "own", "https://m.example.org")]

    file = tmp_path / "midstream.toml"
    file.write_text(
        "[tools]\ntimeout_seconds = 120\n[mcp.servers.a]\nurl = 'https://m.example.org/x'\n"
        "[mcp.servers.b]\nurl = 'https://m.example.org/x'\ntimeout_seconds = 7\n"
    )

    config = load(str(file), {}, {})

    async def run(app: Here) -> None:
        rooms = ToolRooms(config, app.services.store, app.services.egress, Clock(), org_servers)
        assert [one.seconds for one in await rooms.servers(DEFAULT_ORG)] == [120, 7, 120]
        await rooms.close()

    here(tmp_path, run)


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
