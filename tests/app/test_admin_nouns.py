from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from midstream.app.config import load
from midstream.app.tool_rooms import configured_servers
from midstream.store.orgs import DEFAULT_ORG

from ..store.sealed import secret_of
from .agent_things import agent, http_tool, made, other_org, post, published
from .asgi import Here, here

BODIES: dict[str, dict[str, Any]] = {
    "templates": {"name": "t", "template": "Now: {{prompt}}"},
    "service_keys": {"name": "k", "service": "openai", "key": "sk-0123456789"},
    "mcp_servers": {"name": "m", "url": "https://mcp.example.org/mcp", "headers": {"authorization": "Bearer hush"}},
    "models": {"name": "tuned", "service": "openai", "model": "ft:gpt-4o:acme"},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_noun_is_made_listed_changed_and_deleted(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        one = await made(app, f"/{path}", BODIES[path])
        assert (await app.ask("GET", f"/v1/admin/{path}/{one['id']}")).json == one
        changed = await post(app, f"/{path}/{one['id']}", {"name": "new"}, method="PATCH")
        assert changed.json == {**one, "name": "new", "updated_at": changed.json["updated_at"]}
        assert (await app.ask("GET", f"/v1/admin/{path}")).json["data"] == [changed.json]
        assert (await post(app, f"/{path}/{one['id']}", {"name": None}, method="PATCH")).status == 400
        assert (await post(app, f"/{path}/{one['id']}", {"nmae": "x"}, method="PATCH")).json["error"]["param"] == "nmae"
        assert (await app.ask("DELETE", f"/v1/admin/{path}/{one['id']}")).status == 200
        assert (await app.ask("GET", f"/v1/admin/{path}/{one['id']}")).status == 404

    here(tmp_path, test)


def test_a_secret_that_was_given_is_in_no_reply_and_in_no_file(tmp_path: Path):
    async def test(app: Here) -> None:
        hidden = ["sk-0123456789", "hush-hush", "Bearer hush", "sk-replaced-9999"]
        replies = [
            await post(app, "/service_keys", BODIES["service_keys"]),
            await post(app, "/mcp_servers", BODIES["mcp_servers"]),
            await post(app, "/secrets", {"name": "TOKEN", "value": "hush-hush"}),
        ]
        key, server = replies[0].json["id"], replies[1].json["id"]
        assert (replies[0].json["hint"], replies[1].json["header_names"]) == ("...6789", ["authorization"])
        replies.append(await post(app, f"/service_keys/{key}", {"key": "sk-replaced-9999"}, method="PATCH"))
        assert replies[-1].json["hint"] == "...9999"
        tool = await http_tool(app, http={"headers": {"X-Api-Key": "hush-hush", "Accept": "text/plain"}})
        for path in (f"service_keys/{key}", "service_keys", f"mcp_servers/{server}", "mcp_servers", "secrets", "tools"):
            replies.append(await app.ask("GET", f"/v1/admin/{path}"))
        assert replies[-1].json["data"][0]["http"]["headers"] == {
            "X-Api-Key": f"{{{{secret:{tool}.x-api-key}}}}", "Accept": "text/plain",
        }  # fmt: skip
        for reply in replies:
            assert not [one for one in hidden if one in reply.body.decode()], reply.body
        await app.services.store.close()
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("midstream.db*"))
        assert not [one for one in hidden if one.encode() in kept]

    here(tmp_path, test)


def test_null_takes_the_headers_of_an_mcp_server_away(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await made(app, "/mcp_servers", BODIES["mcp_servers"])
        changed = await post(app, f"/mcp_servers/{one['id']}", {"headers": None}, method="PATCH")
        assert (changed.status, changed.json["header_names"]) == (200, [])
        [server] = await app.services.loader.servers(DEFAULT_ORG)
        assert server.headers == {}
        drafted = await agent(app, mcp_servers=["m"])
        assert (
            await post(app, f"/agents/{drafted['id']}/publish", {"version_id": drafted["version_id"]})
        ).status == 200

    here(tmp_path, test)


def test_a_key_of_a_service_is_not_taken_away_with_null(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await made(app, "/service_keys", BODIES["service_keys"])
        refused = await post(app, f"/service_keys/{one['id']}", {"key": None}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "key")
        assert refused.json["error"]["message"] == "key: cannot be null"
        assert (await app.ask("GET", f"/v1/admin/service_keys/{one['id']}")).json == one

    here(tmp_path, test)


def test_secrets_have_names_of_their_own(tmp_path: Path):
    async def test(app: Here) -> None:
        key = (await made(app, "/service_keys", BODIES["service_keys"]))["id"]
        await made(app, "/secrets", {"name": "TOKEN", "value": "a"})
        assert (await app.ask("GET", "/v1/admin/secrets")).json["data"] == [{"name": "TOKEN"}]
        assert (await app.ask("DELETE", f"/v1/admin/secrets/{key}")).status == 404
        assert (await post(app, "/secrets", {"name": key, "value": "a"})).json["error"]["param"] == "name"
        assert (await app.ask("DELETE", "/v1/admin/secrets/TOKEN")).status == 200
        assert (await app.ask("DELETE", "/v1/admin/secrets/TOKEN")).status == 404

    here(tmp_path, test)


def test_an_orgs_settings(tmp_path: Path):
    async def test(app: Here) -> None:
        org, boss = await other_org(app)
        assert (await app.ask("GET", "/v1/admin/settings")).json == {"org_id": "org_default", "timezone": "UTC"}
        changed = await post(app, "/settings", {"timezone": "Europe/Berlin"}, boss, "PATCH")
        assert changed.json == {"org_id": org, "timezone": "Europe/Berlin"}
        assert (await app.ask("GET", "/v1/admin/settings", key=boss)).json["timezone"] == "Europe/Berlin"
        assert (await app.ask("GET", "/v1/admin/settings")).json["timezone"] == "UTC"
        for wrong in ("Mars/Base", "", "../etc", "a\0"):
            refused = await post(app, "/settings", {"timezone": wrong}, method="PATCH")
            assert (refused.status, refused.json["error"]["param"]) == (400, "timezone")

    here(tmp_path, test)


def test_a_model_of_one_orgs_own_is_refused_to_the_others(tmp_path: Path):
    async def test(app: Here) -> None:
        _, boss = await other_org(app)
        await made(app, "/models", BODIES["models"], boss)
        taken = await post(app, "/models", {"name": "mine", "service": "openai_response", "model": "ft:gpt-4o:acme"})
        assert (taken.status, taken.json["error"]["code"]) == (403, "organization_not_permitted")
        public = await post(app, "/models", {"name": "mine", "service": "openai", "model": "gpt-4o"})
        assert (public.status, public.json["error"]["param"]) == (400, "model")
        described = await made(
            app, "/models", {"name": "gpt-4o", "service": "openai", "own": False, "context": 128_000}
        )
        assert described["context"] == 128_000
        pair = {"service": "openai", "configuration": {"model": "tuned"}, "keys": {}}
        await made(app, "/service_keys", BODIES["service_keys"], boss)
        await published(app, "theirs", boss, **pair)
        mine = await agent(app, "mine", service="openai", configuration={"model": "ft:gpt-4o:acme"})
        refused = await post(app, f"/agents/{mine['id']}/publish", {"version_id": mine["version_id"]})
        assert [one["path"] for one in refused.json["problems"]] == ["configuration.model"]

    here(tmp_path, test)


@pytest.mark.parametrize(
    "path, body, param",
    [
        ("templates", {"template": 5}, "template"),
        ("service_keys", {"service": "opnai"}, "service"),
        ("service_keys", {"key": "with space"}, "key"),
        ("service_keys", {"key": ""}, "key"),
        ("mcp_servers", {"url": "ftp://x"}, "url"),
        ("mcp_servers", {"url": "https://a b"}, "url"),
        ("mcp_servers", {"headers": {"a:b": "x"}}, "headers.a:b.[key]"),
        ("mcp_servers", {"headers": {"a": "x\r\nb: c"}}, "headers.a"),
        ("models", {"parameters": {"creativity_level": {"mni": 0}}}, "parameters.creativity_level.mni"),
        ("models", {"service": "nobody"}, "service"),
        ("models", {"context": 0}, "context"),
        ("models", {"parameters": {"creativity_level": {"min": 2, "max": 1}}}, "parameters.creativity_level.min"),
        (
            "models",
            {"parameters": {"creativity_level": {"max": 1, "default": 2}}},
            "parameters.creativity_level.default",
        ),
        ("models", {"parameters": {"top_p": {"min": 0.5, "default": 0}}}, "parameters.top_p.default"),
        ("models", {"parameters": {"top_p": {}, "probability_cutoff": None}}, "parameters.probability_cutoff"),
        ("models", {"parameters": {"warmth": {"max": 1}}}, "parameters.warmth"),
        ("models", {"parameters": {"max_tokens": {"min": 20}}, "output": 10}, "parameters.max_tokens.min"),
        ("models", {"context": 1000, "output": 1001}, "output"),
        ("models", {"modalities": ["text", "smell"]}, "modalities.1"),
        ("models", {"modalities": []}, "modalities"),
        ("models", {"name": "gpt-4o", "model": "gpt-4o-mini", "own": False}, "model"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(tmp_path: Path, path: str, body: dict[str, Any], param: str):
    async def test(app: Here) -> None:
        reply = await post(app, f"/{path}", {**BODIES[path], **body})
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert (await app.ask("GET", f"/v1/admin/{path}")).json["data"] == []

    here(tmp_path, test)


def test_a_model_is_described_once(tmp_path: Path):
    async def test(app: Here) -> None:
        body = {"name": "gpt-4o", "service": "openai", "own": False}
        first = await made(app, "/models", body)
        again = await post(app, "/models", body)
        assert (again.status, again.json["error"]["param"]) == (409, "name")
        assert (await post(app, f"/models/{first['id']}", {"context": 1000}, method="PATCH")).status == 200
        other = await made(app, "/models", {**body, "name": "gpt-4o-mini"})
        renamed = await post(app, f"/models/{other['id']}", {"name": "gpt-4o"}, method="PATCH")
        assert (renamed.status, renamed.json["error"]["param"]) == (409, "name")
        _, boss = await other_org(app)
        await made(app, "/models", body, boss)

    here(tmp_path, test)


def test_a_change_that_would_make_a_model_contradict_itself_is_refused(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await made(app, "/models", {"name": "gpt-4o", "service": "openai", "own": False, "context": 1000})
        for body, param in (({"output": 2000}, "output"), ({"model": "gpt-4o-mini"}, "model")):
            refused = await post(app, f"/models/{one['id']}", body, method="PATCH")
            assert (refused.status, refused.json["error"]["param"]) == (400, param)
        assert (await app.ask("GET", f"/v1/admin/models/{one['id']}")).json == one

    here(tmp_path, test)


@pytest.mark.parametrize("field", ["own", "model", "parameters", "modalities", "context", "output"])
def test_null_is_what_a_new_model_has_by_default(tmp_path: Path, field: str):
    async def test(app: Here) -> None:
        body = {"name": "ft:mine", "service": "openai"}
        one = await made(app, "/models", {**body, field: None})
        assert field not in one
        assert (await app.ask("GET", f"/v1/admin/models/{one['id']}")).json == one

    here(tmp_path, test)


def test_a_tool_keeps_its_name_when_null_is_given_for_it(tmp_path: Path):
    async def test(app: Here) -> None:
        id = await http_tool(app)
        refused = await post(app, f"/tools/{id}", {"name": None}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "name")
        assert (await app.ask("GET", f"/v1/admin/tools/{id}")).json["name"] == "weather"

    here(tmp_path, test)


@pytest.mark.parametrize(
    "body, param",
    [
        ({"http": None}, "http"),
        ({"kind": "mcp", "http": None}, "mcp"),
        ({"builtin": {"name": "x"}}, "builtin"),
        ({"kind": "soap"}, "kind"),
        ({"name": "two words"}, "name"),
        *(({"name": word}, "name") for word in ("auto", "none", "required", "any", "default")),
        ({"parameters": {"type": "array"}}, "parameters"),
        ({"parameters": {"properties": []}}, "parameters"),
        ({"effect": "harmless"}, "effect"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"http": {"url": "http://{h}/x"}}, "http.url"),
        ({"http": {"url": "https://api.{region}.example.org/x"}}, "http.url"),
        ({"http": {"url": "https://x.org/{id"}}, "http.url"),
        ({"http": {"url": "https://x.org", "methd": "GET"}}, "http.methd"),
        ({"http": {"url": "file:///etc/passwd"}}, "http.url"),
        ({"http": {"url": "https://x.org", "method": "TRACE"}}, "http.method"),
        ({"http": {"url": "https://x.org", "retries": 6}, "effect": "pure"}, "http.retries"),
        ({"http": {"url": "https://x.org", "retries": 1}}, "http.retries"),
        ({"http": {"url": "https://x.org", "retries": 1}, "effect": "unsafe"}, "http.retries"),
    ],
)
def test_a_mistake_in_a_tool_is_named_and_nothing_is_made(tmp_path: Path, body: dict[str, Any], param: str):
    async def test(app: Here) -> None:
        reply = await post(app, "/tools", {"name": "t", "http": {"url": "https://x.org"}, **body})
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert (await app.ask("GET", "/v1/admin/tools")).json["data"] == []

    here(tmp_path, test)


def test_tries_are_kept_with_an_effect_that_allows_them_only(tmp_path: Path):
    async def test(app: Here) -> None:
        id = await http_tool(app, effect="idempotent", http={"retries": 2})
        refused = await post(app, f"/tools/{id}", {"effect": "unsafe"}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "http.retries")
        assert refused.json["error"]["message"] == (
            "http.retries: a call of an unsafe tool is never repeated: say that its effect is pure or idempotent"
        )
        assert (await post(app, f"/tools/{id}", {"effect": "pure"}, method="PATCH")).status == 200

    here(tmp_path, test)


def test_an_argument_in_the_host_is_refused_when_a_tool_is_changed(tmp_path: Path):
    async def test(app: Here) -> None:
        id = await http_tool(app)
        refused = await post(app, f"/tools/{id}", {"http": {"url": "http://{h}/x"}}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "http.url")
        assert refused.json["error"]["message"] == "http.url: the host cannot be an argument"
        kept = (await app.ask("GET", f"/v1/admin/tools/{id}")).json["http"]["url"]
        assert kept == "https://weather.example.org/{city}"

    here(tmp_path, test)


@pytest.mark.parametrize(
    "kind, target",
    [
        ("mcp", {"server": "wiki", "tool": "search"}),
        ("agent", {"agent_id": "agt_1", "thread": "shared", "transfer": True}),
        ("knowledge", {"document_ids": ["doc_1"]}),
        ("builtin", {"name": "web_search"}),
    ],
)
def test_a_tool_of_each_kind_has_what_its_kind_needs(tmp_path: Path, kind: str, target: dict[str, Any]):
    async def test(app: Here) -> None:
        one = await made(app, "/tools", {"name": "t", "kind": kind, kind: target, "effect": "pure"})
        assert (one["kind"], one[kind], one["effect"]) == (kind, target, "pure")
        http = {"method": "POST", "url": "https://x.org/{a}", "response_path": "data.text"}
        now = await post(
            app, f"/tools/{one['id']}", {"kind": "http", "http": http, "timeout_seconds": 5}, method="PATCH"
        )
        assert now.json["http"] == {**http, "headers": {}, "query": None, "body": None, "retries": 0}
        assert kind not in now.json
        assert now.json["timeout_seconds"] == 5
        assert (await app.ask("DELETE", f"/v1/admin/tools/{one['id']}")).status == 200
        assert (await app.ask("GET", f"/v1/admin/tools/{one['id']}")).status == 404

    here(tmp_path, test)


def test_a_tool_that_searches_documents_can_be_asked_by_a_model_without_a_schema_of_its_own(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await made(app, "/tools", {"name": "t", "kind": "knowledge", "knowledge": {"document_ids": ["doc_1"]}})
        assert one["parameters"]["required"] == ["queries"]
        schema = {"type": "object", "properties": {"query": {"type": "string"}}}
        own = await post(app, f"/tools/{one['id']}", {"parameters": schema}, method="PATCH")
        assert own.json["parameters"] == schema
        bare = await post(app, f"/tools/{one['id']}", {"parameters": None}, method="PATCH")
        assert bare.json["parameters"] == one["parameters"]

    here(tmp_path, test)


def test_an_mcp_servers_token_is_got_with_a_secret_that_is_stored_by_name(tmp_path: Path):
    async def test(app: Here) -> None:
        oauth = {"token_url": "https://login.example.org/token", "client_id": "us", "client_secret": "{{secret:wiki}}"}
        await post(app, "/secrets", {"name": "wiki", "value": "hush-hush-hush"})
        one = await made(app, "/mcp_servers", {"name": "w", "url": "https://m.example.org", "oauth": oauth})
        assert one["oauth"] == oauth
        [server] = await app.services.loader.servers(DEFAULT_ORG)
        assert server.oauth is not None
        assert (server.oauth.client_id, server.oauth.client_secret.reveal()) == ("us", "hush-hush-hush")
        at = f"/mcp_servers/{one['id']}"
        changed = await post(app, at, {"transport": "sse", "oauth": None}, method="PATCH")
        assert (changed.status, "oauth" in changed.json) == (200, False)
        [server] = await app.services.loader.servers(DEFAULT_ORG)
        assert (server.oauth, server.transport) == (None, "sse")
        refused = await post(app, at, {"oauth": {**oauth, "client_secret": "hush-hush-hush"}}, method="PATCH")
        assert (refused.status, "hush" in str(refused.json)) == (400, False)

    here(tmp_path, test)


def test_no_other_tool_or_server_can_name_what_was_sealed_with_a_tool(tmp_path: Path):
    async def test(app: Here) -> None:
        own = f"{await http_tool(app, http={'headers': {'Authorization': 'Bearer hush'}})}.authorization"
        headers = {"x-leak": f"a {{{{ secret:{own} }}}}"}
        one = {"name": "other", "http": {"url": "https://mine.example.org", "headers": headers}}
        refused = await post(app, "/tools", one)
        assert (refused.status, refused.json["error"]["param"]) == (400, "http.headers.x-leak")
        at = f"/tools/{await http_tool(app, 'other')}"
        refused = await post(app, at, {"http": one["http"]}, method="PATCH")
        assert (refused.status, refused.json["error"]["param"]) == (400, "http.headers.x-leak")
        file = {"format": "midstream.agent", "agent": {"name": "a", "slug": "a"}, "tools": [{"id": "t", **one}]}
        assert (await post(app, "/agents/import", file)).json["error"]["param"] == "http.headers.x-leak"
        mine = {"headers": {"authorization": f"{{{{secret:{own}}}}}"}, "url": "https://weather.example.org"}
        again = await post(app, f"/tools/{own.partition('.')[0]}", {"http": mine}, method="PATCH")
        assert (again.status, again.json["http"]["headers"]) == (200, mine["headers"])
        oauth = {"token_url": "https://mine.example.org", "client_id": "us", "client_secret": f"{{{{secret:{own}}}}}"}
        server = {"name": "w", "url": "https://m.example.org", "oauth": oauth}
        refused = await post(app, "/mcp_servers", server)
        assert (refused.status, refused.json["error"]["param"]) == (400, "oauth.client_secret")

    here(tmp_path, test)


def test_the_operators_mcp_servers_have_tokens_too(tmp_path: Path):
    file = tmp_path / "midstream.toml"
    file.write_text(
        '[mcp.servers.w]\nurl = "https://m.example.org/x"\ntransport = "sse"\n'
        'oauth = { token_url = "https://l.example.org/t", client_id = "us", client_secret = "${HUSH}" }\n'
    )
    [server] = configured_servers(load(str(file), {"HUSH": "hush-hush-hush"}, {}))
    assert server.oauth is not None
    assert (server.transport, server.oauth.client_secret.reveal()) == ("sse", "hush-hush-hush")
    assert "hush-hush" not in repr(server)


def test_a_failure_that_nobody_expected_is_told_with_the_id_that_its_log_line_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def test(app: Here) -> None:
        id = await http_tool(app)
        with contextlib.closing(sqlite3.connect(tmp_path / "midstream.db")) as kept, kept:
            kept.execute("UPDATE tools SET body = '{'")
        for path in (f"/v1/admin/tools/{id}", "/mcp/v1/tools/list-tools"):
            reply = await app.ask("GET", path)
            error = reply.json["error"]
            assert (reply.status, error["code"]) == (500, "internal_error")
            assert error["request_id"] == reply.headers["x-request-id"]
            bug = error["message"].rpartition(" ")[2]
            [line] = [record.getMessage() for record in caplog.records if bug in record.getMessage()]
            assert "DecodeError" in line

    here(tmp_path, test)


def test_a_name_in_the_query_that_a_route_does_not_know_is_refused(tmp_path: Path):
    async def test(app: Here) -> None:
        for path, name in (
            ("/v1/admin/agents?limt=1", "limt"),
            ("/v1/admin/attempts?run=run_1", "run"),
            ("/api/v1/conversation/chat-history?agentid=agt_1", "agentid"),
            ("/v1/queues/q?after_id=dlv_1", "after_id"),
        ):
            reply = await app.ask("GET", path)
            assert reply.status == 400, (path, reply.body)
            assert f"{name}: unknown query parameter" in reply.body.decode()
        assert (await app.ask("GET", "/v1/admin/agents?limt=1", key="ms-nobodys")).status == 401
        assert (await app.ask("GET", "/v1/admin/agents?limit=1")).status == 200

    here(tmp_path, test)


def test_a_query_parameter_that_is_given_twice_is_refused_by_name(tmp_path: Path):
    async def test(app: Here) -> None:
        for path, name in (
            ("/v1/admin/agents?limit=1&limit=2", "limit"),
            ("/v1/admin/attempts?run_id=run_1&limit=1&run_id=run_1", "run_id"),
            ("/v1/admin/usage?group_by=model&group_by=org", "group_by"),
            ("/api/v1/conversation/chat-history?agentId=agt_1&agentId=", "agentId"),
            ("/v1/queues/q?limit=1&limit=1", "limit"),
        ):
            reply = await app.ask("GET", path)
            assert reply.status == 400, (path, reply.body)
            assert f"{name}: given twice in the query" in reply.body.decode()
        assert (await app.ask("GET", "/v1/admin/agents?limit=1&limit=2", key="ms-nobodys")).status == 401

    here(tmp_path, test)


def test_a_tool_that_is_moved_elsewhere_takes_no_sealed_credential_along(tmp_path: Path):
    async def test(app: Here) -> None:
        headers = {"authorization": "Bearer hush-hush", "x-token": "also-hush"}
        tool = await http_tool(app, http={"headers": headers})
        sealed = (await app.ask("GET", f"/v1/admin/tools/{tool}")).json["http"]["headers"]
        drafted = await agent(app, tool_ids=[tool])

        async def moved(url: str, **more: str) -> list[str]:
            """What publishing says then."""
            http = {"method": "GET", "url": url, "headers": {**sealed, **more}}
            assert (await post(app, f"/tools/{tool}", {"http": http}, method="PATCH")).status == 200
            reply = await post(app, f"/agents/{drafted['id']}/publish", {"version_id": drafted["version_id"]})
            return [one["message"].partition(": ")[2] for one in reply.json.get("problems", [])]

        needed = [f"the header {name} needs a value" for name in headers]
        for same in ("https://WEATHER.example.org:443/v2/{city}", "https://weather.example.org/{city}?a=b"):
            assert await moved(same) == []
        for elsewhere in (
            "https://evil.example.org/{city}",
            "http://weather.example.org/",
            "https://weather.example.org:8443/",
        ):
            assert await moved(elsewhere, **{"authorization": "Bearer new", "x-token": "new"}) == []
            assert await moved("https://weather.example.org/{city}") == needed
            assert await moved("https://weather.example.org/{city}", **headers) == []
        assert await moved("https://evil.example.org/", authorization="Bearer theirs") == needed[1:]
        assert (
            await secret_of(app.services.store.org(DEFAULT_ORG).secrets, f"{tool}.authorization")
        ) == "Bearer theirs"
        # Nor by the way round of another kind.
        builtin = {"kind": "builtin", "builtin": {"name": "python"}}
        assert (await post(app, f"/tools/{tool}", builtin, method="PATCH")).status == 200
        await post(app, f"/tools/{tool}", {"kind": "http", "http": {"url": "https://a.example.org/"}}, method="PATCH")
        assert await moved("https://a.example.org/") == needed

    here(tmp_path, test)


def test_an_mcp_server_that_is_moved_elsewhere_has_its_headers_no_more(tmp_path: Path):
    async def test(app: Here) -> None:
        server = (await made(app, "/mcp_servers", BODIES["mcp_servers"]))["id"]
        drafted = await agent(app, mcp_servers=["m"])
        secrets = app.services.store.org(DEFAULT_ORG).secrets

        async def problems() -> list[dict[str, str]]:
            path, version = f"/agents/{drafted['id']}/publish", {"version_id": drafted["version_id"]}
            return list((await post(app, path, version)).json.get("problems", []))

        for same in ({"url": "https://mcp.example.org:443/other"}, {"transport": "sse"}):
            assert (await post(app, f"/mcp_servers/{server}", same, method="PATCH")).status == 200
        assert "Bearer hush" in await secret_of(secrets, server)
        assert await problems() == []
        moved = await post(app, f"/mcp_servers/{server}", {"url": "https://evil.example.org/mcp"}, method="PATCH")
        assert moved.json["header_names"] == ["authorization"]
        assert await secrets.names() == []
        why = "the MCP server m: the header authorization needs a value"
        assert await problems() == [{"path": "mcp_servers.0", "message": why}]
        new = {"url": "https://more.example.org/mcp", "headers": {"x-token": "theirs"}}
        assert (await post(app, f"/mcp_servers/{server}", new, method="PATCH")).json["header_names"] == ["x-token"]
        assert await secret_of(secrets, server) == '{"x-token":"theirs"}'
        assert await problems() == []

    here(tmp_path, test)


def test_of_settings_that_are_changed_at_once_none_is_lost(tmp_path: Path):
    async def test(app: Here) -> None:
        embedding = {"embedding": {"model": "midstream/rehearsal"}}
        await asyncio.gather(
            *(post(app, "/settings", one, method="PATCH") for one in ({"timezone": "Asia/Tokyo"}, embedding))
        )
        kept = (await app.ask("GET", "/v1/admin/settings")).json
        assert (kept["timezone"], kept["embedding"]["model"]) == ("Asia/Tokyo", "midstream/rehearsal")

    here(tmp_path, test)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection"])
def test_headers_that_only_the_server_writes_are_refused_when_they_are_given(tmp_path: Path, name: str):
    async def test(app: Here) -> None:
        headers = {name: "x"}
        tool = {"name": "t", "kind": "http", "http": {"url": "https://x.example.org/", "headers": headers}}
        alert = {"name": "a", "type": "Error", "webhook": {"url": "https://x.example.org/", "headers": headers}}
        server = {"name": "m", "url": "https://x.example.org/mcp", "headers": headers}
        for path, body in (("/tools", tool), ("/alerts", alert), ("/mcp_servers", server)):
            reply = await post(app, path, body)
            assert reply.status == 400
            assert f"headers: {name} is written by the server itself" in reply.json["error"]["message"]
        alert["webhook"]["headers"] = {"Webhook-Signature": "x"}  # type: ignore[index]
        reply = await post(app, "/alerts", alert)
        assert "headers: Webhook-Signature is written by the server itself" in reply.json["error"]["message"]

    here(tmp_path, test)
