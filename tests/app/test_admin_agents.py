from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from midstream.core.ids import as_uuid

from ..store.sealed import secret_of
from .agent_things import WEATHER, agent, http_tool, made, other_org, post, published
from .asgi import Here, here


def test_an_agent_is_drafted_changed_published_and_published_again(tmp_path: Path):
    async def test(app: Here) -> None:
        drafted = await agent(app)
        assert drafted["status"] == "draft"
        path = f"/agents/{drafted['id']}"
        version = f"{path}/versions/{drafted['version_id']}"
        changed = await post(
            app, version, {"configuration": {"prompt": "Be brief.", "creativity_level": "max"}}, method="PATCH"
        )
        assert changed.json["configuration"] == {"model": "rehearsal", "prompt": "Be brief.", "creativity_level": "max"}
        changed = await post(app, version, {"configuration": {"creativity_level": None}}, method="PATCH")
        assert changed.json["configuration"] == {"model": "rehearsal", "prompt": "Be brief."}
        done = await post(app, f"{path}/publish", {"version_id": drafted["version_id"]})
        assert (done.status, done.json["status"], done.json["version_id"]) == (200, "published", drafted["version_id"])
        assert (await post(app, version, {"memory": True}, method="PATCH")).json["error"]["code"] == "not_a_draft"

        second = await made(app, f"{path}/versions", {"memory": True})
        assert (second["number"], second["status"], second["memory"]) == (2, "draft", True)
        assert second["configuration"]["prompt"] == "Be brief."
        assert (await app.ask("GET", f"/v1/admin{path}")).json["memory"] is False
        await post(app, f"{path}/publish", {"version_id": second["id"]})
        assert (await app.ask("GET", f"/v1/admin{path}")).json["memory"] is True
        history = (await app.ask("GET", f"/v1/admin{path}/versions")).json["data"]
        assert [(one["number"], one["status"]) for one in history] == [(2, "published"), (1, "archived")]
        compared = await app.ask(
            "GET", f"/v1/admin{path}/compare?from={drafted['version_id']}&to={second['version_id']}"
        )
        assert compared.json["changes"] == [{"path": "memory", "from": None, "to": True}]
        back = await post(app, f"{path}/publish", {"version_id": drafted["version_id"]})
        assert back.json["published_version_id"] == drafted["version_id"]

    here(tmp_path, test)


def test_a_draft_is_discarded_and_the_published_version_is_not(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app)
        path = f"/agents/{one['id']}/versions"
        for method, end in (("POST", "/discard"), ("DELETE", "")):
            draft = await made(app, path, {})
            assert (await post(app, f"{path}/{draft['id']}{end}", method=method)).status == 200
            assert (await app.ask("GET", f"/v1/admin{path}/{draft['id']}")).status == 404
            kept = await post(app, f"{path}/{one['version_id']}{end}", method=method)
            assert (kept.status, kept.json["error"]["code"]) == (409, "version_published")

    here(tmp_path, test)


def test_an_agent_whose_only_draft_was_discarded_is_read_and_drafted_anew(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await agent(app, memory=True)
        path = f"/agents/{one['id']}"
        assert (await post(app, f"{path}/versions/{one['version_id']}/discard")).status == 200
        read = await app.ask("GET", f"/v1/admin{path}")
        assert (read.status, read.json["slug"], read.json["version_id"]) == (200, one["slug"], None)
        for method, end in (("GET", "/export"), ("GET", "/resolved"), ("POST", "/duplicate")):
            refused = await post(app, path + end, method=method)
            assert (refused.status, refused.json["error"]["code"]) == (404, "version_not_found")
            assert refused.json["error"]["message"].endswith("has no version: draft one with POST .../versions")
        draft = await made(app, f"{path}/versions", {"service": "midstream", "configuration": {"model": "rehearsal"}})
        assert (draft["number"], draft["memory"], draft["service"]) == (2, False, "midstream")
        assert (await post(app, f"{path}/publish", {"version_id": draft["id"]})).status == 200

    here(tmp_path, test)


def test_an_agent_is_found_by_every_spelling_paused_resumed_renamed_and_deleted(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app, slug="helper-1")
        for spelling in (one["id"], as_uuid(one["id"]), one["id"].removeprefix("agt_"), "helper-1"):
            assert (await app.ask("GET", f"/v1/admin/agents/{spelling}")).json["id"] == one["id"]
        assert (await post(app, "/agents/helper-1/pause")).json["status"] == "paused"
        assert (await post(app, "/agents/helper-1/resume")).json["status"] == "published"
        renamed = await post(app, "/agents/helper-1", {"name": "New", "slug": "helper-2"}, method="PATCH")
        assert (renamed.json["name"], renamed.json["slug"]) == ("New", "helper-2")
        assert (await app.ask("GET", "/v1/admin/agents/helper-1")).status == 404
        assert (await app.ask("DELETE", "/v1/admin/agents/helper-2")).status == 200
        assert (await app.ask("GET", f"/v1/admin/agents/{one['id']}")).status == 404
        assert (await app.ask("GET", "/v1/admin/agents")).json["data"] == []

    here(tmp_path, test)


def test_a_slug_is_made_from_the_name_and_one_that_is_given_is_kept_free(tmp_path: Path):
    async def test(app: Here) -> None:
        assert (await agent(app, "Zoë's Helper!"))["slug"] == "zo-s-helper"
        assert (await agent(app, "Zoë's Helper!"))["slug"].startswith("zo-s-helper-")
        assert (await agent(app, "日本"))["slug"] == "agent"
        refused = await post(app, "/agents", {"name": "x", "slug": "agent"})
        assert (refused.status, refused.json["error"]["code"]) == (409, "slug_taken")

    here(tmp_path, test)


@pytest.mark.parametrize("name", ["507f1f77bcf86cd799439011", "5F0C2D9E-81aa-8000-8000-a1b2c3000000", "0" * 32])
def test_a_slug_made_from_a_name_that_looks_like_an_id_does_not(tmp_path: Path, name: str):
    async def test(app: Here) -> None:
        refused = await post(app, "/agents", {"name": "x", "slug": name.lower()})
        assert (refused.status, refused.json["error"]["param"]) == (400, "slug")
        one = await agent(app, name)
        assert one["slug"] == f"agent-{name.lower()}"
        assert (await app.ask("GET", f"/v1/admin/agents/{one['slug']}")).json["id"] == one["id"]
        file = (await app.ask("GET", f"/v1/admin/agents/{one['id']}/export")).json
        _, boss = await other_org(app)
        assert (await made(app, "/agents/import", file, boss))["slug"] == one["slug"]
        assert (await agent(app, name))["slug"].startswith(f"{one['slug']}-")

    here(tmp_path, test)


def test_agents_page_newest_first(tmp_path: Path):
    async def test(app: Here) -> None:
        ids = [(await agent(app, f"a{n}"))["id"] for n in range(5)]
        seen: list[str] = []
        after = ""
        while True:
            page = (await app.ask("GET", f"/v1/admin/agents?limit=2{after}")).json
            seen += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert seen == ids[::-1]

    here(tmp_path, test)


def test_variables_may_be_mapped_to_tools_of_servers_that_are_known_only_in_a_turn(tmp_path: Path):
    async def test(app: Here) -> None:
        await made(app, "/mcp_servers", {"name": "there", "url": "https://x.example.org"})
        for server, status in (("there", 200), ("nowhere", 400)):
            drafted = await agent(app, mcp_servers=[server], variables_path={"add": {"a": "user.n"}})
            reply = await post(app, f"/agents/{drafted['id']}/publish", {"version_id": drafted["version_id"]})
            assert reply.status == status, reply.body

    here(tmp_path, test)


def test_publishing_refuses_with_all_that_is_wrong(tmp_path: Path):
    async def test(app: Here) -> None:
        tool = await http_tool(app)
        twin = await http_tool(app)
        key = (await made(app, "/service_keys", {"name": "k", "service": "openai", "key": "sk-0123456789"}))["id"]
        wrong = await agent(
            app,
            configuration={"model": "gpt-4o", "template_id": "tpl_nobody"},
            keys={"anthropic": key, "groq": "skey_nobody"},
            tool_ids=[tool, twin, "tool_nobody"],
            pre_tools=[{"tool_id": tool, "args": {"town": "x"}}, {"tool_id": "tool_gone", "args": {}}],
            variables_path={"weather": {"country": "a.b"}, "other": {"x": "y"}},
            connected_agents={"friend": {"agent_id": "agt_nobody"}, "weather": {"agent_id": "agt_nobody"}},
            doc_ids=["doc_nobody"],
            mcp_servers=["nowhere"],
            settings={"fall_back": {"service": "nobody", "model": "m"}},
        )
        refused = await post(app, f"/agents/{wrong['id']}/publish", {"version_id": wrong["version_id"]})
        assert refused.status == 400
        assert refused.json["error"]["problems"] == refused.json["problems"]
        assert {one["path"] for one in refused.json["problems"]} == {
            "configuration.model", "configuration.template_id", "keys.anthropic", "keys.groq", "tool_ids.1",
            "tool_ids.2", "pre_tools.0.args.town", "pre_tools.0.args.city", "pre_tools.1.tool_id",
            "variables_path.weather.country", "variables_path.other", "connected_agents.friend.agent_id",
            "connected_agents.weather.agent_id", "connected_agents.weather", "doc_ids.0", "mcp_servers.0",
            "settings.fall_back.service",
        }  # fmt: skip
        assert (await app.ask("GET", f"/v1/admin/agents/{wrong['id']}")).json["published_version_id"] is None

    here(tmp_path, test)


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"configuration": {"tool_call_count": 1000}}, "configuration.tool_call_count"),
        ({"configuration": {"fall_back": {"modle": "x"}}}, "configuration.fall_back.modle"),
        ({"configuration": {"fall_back": {"service": "nobody", "model": "x"}}}, "configuration.fall_back.service"),
        (
            {"configuration": {"guardrails": {"input": {"patterns": ["("]}}}},
            "configuration.guardrails.input.patterns.0",
        ),
        ({"settings": {"guardrails": {"inptu": {}}}}, "settings.guardrails.inptu"),
        ({"configuration": {"type": "vision"}}, "configuration.type"),
        ({"configuration": {"tool_choice": 5}}, "configuration.tool_choice"),
        ({"configuration": {"template_id": {"a": 1}}}, "configuration.template_id"),
        ({"configuration": {"template_id": ["t"]}}, "configuration.template_id"),
        ({"configuration": {"tone": {"value": "kind"}}}, "configuration.tone"),
        ({"configuration": {"response_type": "xml"}}, "configuration.response_type"),
        (
            {"configuration": {"response_type": "json_schema", "json_schema": {"type": 5}}},
            "configuration.response_type",
        ),
        ({"configuration": {"creativity_level": "warm"}}, "configuration.creativity_level"),
        ({"configuration": {"creativity_level": 1, "temperature": 2}}, "configuration.temperature"),
        ({"type": "embedding", "configuration": {"dimensions": 0}}, "configuration.dimensions"),
        ({"type": "embedding", "configuration": {"encoding_format": "base64"}}, "configuration.encoding_format"),
    ],
)
def test_what_every_turn_would_be_refused_with_is_not_published(tmp_path: Path, fields: dict[str, Any], path: str):
    async def test(app: Here) -> None:
        configuration = {"model": "rehearsal", **fields.pop("configuration", {})}
        one = await agent(app, configuration=configuration, **fields)
        refused = await post(app, f"/agents/{one['id']}/publish", {"version_id": one["version_id"]})
        assert [one["path"] for one in refused.json["problems"]] == [path], refused.json
        assert not refused.json["problems"][0]["message"].startswith(path)

    here(tmp_path, test)


def test_what_requests_may_say_a_version_may_say_too(tmp_path: Path):
    async def test(app: Here) -> None:
        configuration = {
            "model": "nobody", "fine_tune_model": {"current_model": "rehearsal"}, "tool_call_count": 0,
            "fall_back": {"service": "midstream", "model": "rehearsal"}, "responseStyle": "short", "tone": "dry",
            "guardrails": {"input": {"patterns": ["whisky"]}, "message": "Not here."},
        }  # fmt: skip
        one = await published(app, configuration=configuration)
        said = (await app.ask("GET", f"/v1/admin/agents/{one['id']}/resolved")).json
        assert said["tool_call_count"] == 0
        body = {"agent_id": one["id"], "user": "whisky please"}
        answer = (await app.ask("POST", "/api/v2/model/chat/completion", body)).json["data"]
        assert (answer["content"], answer["finish_reason"]) == ("Not here.", "content_filter")

    here(tmp_path, test)


def test_agents_that_call_each_other_in_a_circle_are_not_published(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app, "one")
        two = await published(app, "two", connected_agents={"one": {"bridge_id": one["id"]}})
        three = await published(app, "three", connected_agents={"two": {"agent_id": two["id"]}})
        version = await made(
            app, f"/agents/{one['id']}/versions", {"connected_agents": {"x": {"agent_id": three["id"]}}}
        )
        refused = await post(app, f"/agents/{one['id']}/publish", {"version_id": version["id"]})
        [problem] = refused.json["problems"]
        assert problem["path"] == "connected_agents.x"
        assert " -> ".join([one["id"], three["id"], two["id"], one["id"]]) in problem["message"]
        for name in (one["id"], one["slug"]):
            itself = await made(app, f"/agents/{one['id']}/versions", {"connected_agents": {"me": {"agent_id": name}}})
            refused = await post(app, f"/agents/{one['id']}/publish", {"version_id": itself["id"]})
            assert [one["path"] for one in refused.json["problems"]] == ["connected_agents.me"]

    here(tmp_path, test)


@pytest.mark.parametrize(
    "body, param",
    [
        ({"nmae": "x"}, "nmae"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\0"}, "name"),
        ({"slug": "agt_" + "0" * 24}, "slug"),
        ({"slug": "0" * 24}, "slug"),
        ({"slug": "Ab"}, "slug"),
        ({"type": "chatt"}, "type"),
        ({"memory": "yes"}, "memory"),
        ({"configuration": {"modle": "x"}}, "configuration"),
        ({"configuration": {"prompt": "a\0b"}}, "configuration"),
        ({"configuration": {"prompt": 5}}, "configuration"),
        ({"configuration": {"seed": 2**60}}, "configuration"),
        ({"configuration": {"stream": True}}, "configuration"),
        ({"configuration": {"response_format": {"type": "webhook"}}}, "configuration"),
        ({"settings": {"tnoe": "x"}}, "settings.tnoe"),
        ({"settings": {"maximum_iterations": 101}}, "settings.maximum_iterations"),
        ({"settings": {"fall_back": {"modle": "x"}}}, "settings.fall_back.modle"),
        ({"pre_tools": [{"tool_id": "t", "arg": {}}]}, "pre_tools.0.arg"),
        ({"limits": {"agent": 0}}, "limits.agent"),
        ({"tool_ids": "t"}, "tool_ids"),
        ({"tool_ids": ["a b"]}, "tool_ids.0"),
        ({"connected_agents": {"a b": {"agent_id": "x"}}}, "connected_agents.a b.[key]"),
        ({"connected_agents": {"none": {"agent_id": "x"}}}, "connected_agents.none.[key]"),
        ({"variables_state": {"x": {"requierd": True}}}, "variables_state.x.requierd"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(tmp_path: Path, body: dict[str, Any], param: str):
    async def test(app: Here) -> None:
        reply = await post(app, "/agents", {"name": "n", **body})
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert (await app.ask("GET", "/v1/admin/agents")).json["data"] == []

    here(tmp_path, test)


@pytest.mark.parametrize(
    "schema",
    [{"type": "string"}, {"properties": {"n": {"type": "numbre"}}}, {"$ref": "#/nowhere"}, {"required": "city"},
     {"properties": {"n": {"minimum": "one"}}}],
)  # fmt: skip
def test_a_tool_whose_schema_is_none_is_not_made(tmp_path: Path, schema: dict[str, Any]):
    async def test(app: Here) -> None:
        http = {"url": "https://weather.example.org"}
        reply = await post(app, "/tools", {"name": "weather", "kind": "http", "http": http, "parameters": schema})
        error = reply.json["error"]
        assert (reply.status, error["param"]) == (400, "parameters")
        assert error["message"].startswith("parameters: ")
        assert "Value error" not in error["message"]
        assert (await app.ask("GET", "/v1/admin/tools")).json["data"] == []

    here(tmp_path, test)


@pytest.mark.parametrize(
    "body",
    [b'{"name":"n","configuration":{"prompt":"\\ud800"}}', b'{"name":"n","configuration":{"seed":NaN}}',
     b'{"name":"n","configuration":' + b'{"json_schema":' * 60 + b"1" + b"}" * 60 + b"}", b"\xff\xfe", b"[]", b"",
     b'{"name":"\\ud800"}', b'{"name":"n","configuration":{"stop":[' + b"[" * 5000 + b"]" * 5000 + b"]}}"],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(tmp_path: Path, body: bytes):
    async def test(app: Here) -> None:
        assert (await post(app, "/agents", body)).status == 400

    here(tmp_path, test)


def test_another_orgs_things_are_as_unknown_as_none_on_every_route(tmp_path: Path):
    async def test(app: Here) -> None:
        _, boss = await other_org(app)
        one = await published(app, slug="mine")
        tool = await http_tool(app)
        ids = {"agent": one["id"], "version": one["version_id"], "tool": tool}
        for path, body in (("templates", {"name": "t", "template": "x"}), ("mcp_servers", {"name": "m", "url": "https://x.org"}),
                           ("service_keys", {"name": "k", "service": "openai", "key": "sk-1"}),
                           ("models", {"name": "tuned", "service": "openai", "model": "ft:x"})):  # fmt: skip
            ids[path] = (await made(app, f"/{path}", body))["id"]
        a, v = f"/agents/{ids['agent']}", ids["version"]
        asks: list[tuple[str, str, Any]] = [
            ("GET", a, None), ("PATCH", a, {"name": "stolen"}), ("DELETE", a, None), ("GET", "/agents/mine", None),
            ("POST", f"{a}/pause", {}), ("POST", f"{a}/resume", {}), ("POST", f"{a}/publish", {"version_id": v}),
            ("POST", f"{a}/duplicate", {}), ("GET", f"{a}/export", None), ("GET", f"{a}/resolved", None),
            ("GET", f"{a}/compare?from={v}&to={v}", None), ("GET", f"{a}/versions", None),
            ("POST", f"{a}/versions", {}), ("GET", f"{a}/versions/{v}", None), ("DELETE", f"{a}/versions/{v}", None),
            ("PATCH", f"{a}/versions/{v}", {"memory": True}), ("POST", f"{a}/versions/{v}/discard", {}),
            ("GET", f"/agents?after={ids['agent']}", None), ("GET", f"/tools?after={tool}", None),
            ("GET", f"/tools/{tool}", None), ("PATCH", f"/tools/{tool}", {"description": "x"}),
            ("DELETE", f"/tools/{tool}", None),
        ]  # fmt: skip
        for path in ("templates", "mcp_servers", "service_keys", "models"):
            asks += [(method, f"/{path}/{ids[path]}", None) for method in ("GET", "DELETE")]
            asks += [("PATCH", f"/{path}/{ids[path]}", {"name": "stolen"}), ("GET", f"/{path}?after={ids[path]}", None)]
        for method, path, body in asks:
            said = []
            for real in (True, False):
                asked = path
                for id in () if real else (*ids.values(), "mine"):
                    asked = asked.replace(id, id[:-4] + "zzzz")
                reply = await app.ask(method, f"/v1/admin{asked}", body, boss, content_type="application/json")
                assert reply.status == 404, (method, asked, reply.body)
                error = reply.json["error"]
                text = error["message"]
                for id in (*ids.values(), "mine"):
                    text = text.replace(id, "ID").replace(id[:-4] + "zzzz", "ID")
                said.append((error["code"], text))
            assert said[0] == said[1]
        assert (await app.ask("GET", f"/v1/admin{a}")).json["name"] == "Helper"
        for path in ("agents", "tools", "templates", "mcp_servers", "service_keys", "models", "secrets"):
            assert (await app.ask("GET", f"/v1/admin/{path}", key=boss)).json["data"] == []

    here(tmp_path, test)


def test_the_operator_names_an_org_and_an_orgs_own_admin_stays_in_it(tmp_path: Path):
    async def test(app: Here) -> None:
        org, boss = await other_org(app)
        theirs = await agent(app, "theirs", org_id=org)
        assert theirs["org_id"] == org
        assert (await app.ask("GET", f"/v1/admin/agents/{theirs['id']}?org_id={org}")).status == 200
        assert (await app.ask("GET", f"/v1/admin/agents/{theirs['id']}")).status == 404
        assert (await app.ask("GET", "/v1/admin/agents?org_id=org_nobody")).status == 404
        mine = await agent(app, "boss", boss, org_id=org)
        assert mine["org_id"] == org
        new = {"name": "n", "service": "midstream", "configuration": {"model": "rehearsal"}}
        for other in ("org_default", "org_nobody"):
            assert (await post(app, "/agents", {**new, "org_id": other}, boss)).status == 404
            for path in ("agents", "tools", "settings", f"agents/{mine['id']}/memories", f"agents/{mine['id']}"):
                reply = await app.ask("GET", f"/v1/admin/{path}?org_id={other}", key=boss)
                assert (reply.status, reply.json["error"]["message"]) == (404, f"no such org: {other}"), path
        plain = (await made(app, "/keys", {"name": "k"}))["key"]
        assert (await app.ask("GET", "/v1/admin/agents", key=plain)).status == 403

    here(tmp_path, test)


def test_the_resolved_configuration_has_the_names_of_v2_and_no_secret(tmp_path: Path):
    async def test(app: Here) -> None:
        key = (await made(app, "/service_keys", {"name": "k", "service": "openai", "key": "sk-0123456789"}))["id"]
        tool = await http_tool(app, mapped={"unit": "prefs.unit"})
        friend = await published(app, "friend")
        one = await agent(
            app,
            service="openai",
            configuration={"model": "gpt-4o", "prompt": "p"},
            keys={"openai": key},
            tool_ids=[tool],
            pre_tools=[{"tool_id": tool, "args": {"city": "{{city}}"}}],
            variables_state={"city": {"default": "Bonn"}, "name": "required"},
            connected_agents={"friend": {"agent_id": friend["id"], "description": "knows"}},
            memory=True,
        )
        reply = await app.ask("GET", f"/v1/admin/agents/{one['id']}/resolved?version_id={one['version_id']}")
        said = reply.json
        assert "sk-0123456789" not in reply.body.decode()
        assert said["apikey"] == "...6789"
        assert (said["service"], said["configuration"]["model"], said["gpt_memory"]) == ("openai", "gpt-4o", True)
        assert said["pre_tools"] == [{"name": "weather", "args": {"city": "{{city}}"}}]
        assert said["variables"] == {"city": "Bonn", "name": None}
        assert said["variables_state"]["name"]["required"] is True
        assert said["rag_data"] == []
        assert list(said["tools"][0]["function"]["parameters"]["properties"]) == ["city"]  # what is mapped is hidden
        assert said["tool_id_and_name_mapping"] == {
            "weather": {"id": tool, "kind": "http"}, "friend": {"id": friend["id"], "kind": "agent"},
        }  # fmt: skip
        assert (said["version_id"], said["bridge_id"]) == (one["version_id"], one["id"])

    here(tmp_path, test)


def with_tool(agent: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A file of an agent with one tool."""
    tool = {"id": "65f0c0ffee65f0c0ffee65f1", "name": "t", "http": {"url": "https://x.org", "headers": headers or {}}}
    return {"format": "midstream.agent", "agent": {**agent, "tool_ids": [tool["id"]]}, "tools": [tool]}


def test_an_agent_goes_into_a_file_and_out_of_it_in_another_org_without_secrets(tmp_path: Path):
    async def test(app: Here) -> None:
        org, boss = await other_org(app)
        key = (await made(app, "/service_keys", {"name": "main", "service": "openai", "key": "sk-0123456789"}))["id"]
        tool = await http_tool(
            app, http={"headers": {"authorization": "Bearer hush", "x-plain": "p", "x-org": "{{secret:ORG}}"}}
        )
        one = await agent(
            app,
            keys={"openai": key},
            tool_ids=[tool],
            pre_tools=[{"tool_id": tool, "args": {"city": "Bonn"}, "into": "w"}],
            variables_path={tool: {"unit": "u"}},
            settings={"tone": "kind", "fall_back": {"model": "rehearsal"}},
            variables_state={"name": "required"},
        )
        file = await app.ask("GET", f"/v1/admin/agents/{one['id']}/export")
        assert "hush" not in file.body.decode()
        assert "sk-0123456789" not in file.body.decode()
        assert file.json["secrets"] == ["ORG", f"{tool}.authorization"]
        assert file.json["keys"] == [{"id": key, "service": "openai", "name": "main"}]
        copied = await made(app, "/agents/import", file.json, boss)
        assert copied["org_id"] == org
        new_tool = copied["tools"][tool]
        assert new_tool != tool
        assert copied["id"] != one["id"]
        assert copied["tool_ids"] == [new_tool]
        assert copied["pre_tools"] == [{"tool_id": new_tool, "args": {"city": "Bonn"}, "into": "w"}]
        assert copied["variables_path"] == {new_tool: {"unit": "u"}}
        assert copied["settings"] == one["settings"]
        assert copied["variables_state"] == one["variables_state"]
        headers_of = f"tools.{new_tool}.http.headers"
        assert [(gone["path"], gone["id"], gone.get("header")) for gone in copied["missing"]] == [
            ("keys", key, None), (headers_of, new_tool, "authorization"), ("secrets", "ORG", None),
        ]  # fmt: skip
        publish, version = f"/agents/{copied['id']}/publish", {"version_id": copied["version_id"]}
        refused = await post(app, publish, version, boss)
        assert {one["path"] for one in refused.json["problems"]} == {"tool_ids.0", "pre_tools.0.tool_id"}
        await made(app, "/secrets", {"name": "ORG", "value": "o"}, boss)
        headers = {"authorization": "Bearer other", "x-plain": "p", "x-org": "{{secret:ORG}}"}
        http = {"method": "GET", "url": "https://weather.example.org/{city}", "headers": headers}
        assert (await post(app, f"/tools/{new_tool}", {"http": http}, boss, "PATCH")).status == 200
        assert (await post(app, publish, version, boss)).status == 200
        shown = (await app.ask("GET", f"/v1/admin/tools/{new_tool}", key=boss)).json
        assert shown["parameters"] == WEATHER
        own = f"{new_tool}.authorization"  # of the new tool: the other one's is no other tool's
        assert shown["http"]["headers"] == {
            "authorization": f"{{{{secret:{own}}}}}", "x-plain": "p", "x-org": "{{secret:ORG}}",
        }  # fmt: skip

    here(tmp_path, test)


def test_ids_that_are_free_are_kept_when_a_file_is_read(tmp_path: Path):
    async def test(app: Here) -> None:
        file = {
            "format": "midstream.agent",
            "agent": {
                "id": "65f0c0ffee65f0c0ffee65f0", "name": "Old", "slug": "old",
                "tool_ids": ["65f0c0ffee65f0c0ffee65f1"],
            },
            "tools": [{"id": "65f0c0ffee65f0c0ffee65f1", "name": "t", "http": {"url": "https://x.org"}}],
        }  # fmt: skip
        read = await made(app, "/agents/import", file)
        assert read["id"] == "agt_65f0c0ffee65f0c0ffee65f0"
        assert read["tool_ids"] == ["tool_65f0c0ffee65f0c0ffee65f1"]
        assert (await app.ask("GET", "/v1/admin/agents/65f0c0ffee65f0c0ffee65f0")).status == 200
        again = await made(app, "/agents/import", {**file, "slug": "other"})
        assert again["id"] != read["id"]
        assert again["tool_ids"] != read["tool_ids"]

    here(tmp_path, test)


def test_of_files_with_one_id_that_are_read_at_once_each_becomes_an_agent_of_its_own(tmp_path: Path):
    async def test(app: Here) -> None:
        file = {"format": "midstream.agent", "agent": {"id": "65f0c0ffee65f0c0ffee65f0", "name": "Old", "slug": "old"}}
        replies = await asyncio.gather(*(post(app, "/agents/import", {**file, "slug": f"s{n}"}) for n in range(6)))
        assert {reply.status for reply in replies} == {201}
        assert len({reply.json["id"] for reply in replies}) == 6
        assert "agt_65f0c0ffee65f0c0ffee65f0" in {reply.json["id"] for reply in replies}
        for n, reply in enumerate(replies):
            assert (await app.ask("GET", f"/v1/admin/agents/s{n}")).json["id"] == reply.json["id"]
            [version] = (await app.ask("GET", f"/v1/admin/agents/s{n}/versions")).json["data"]
            assert version["id"] == reply.json["version_id"]
        of_one_slug = await asyncio.gather(*(post(app, "/agents/import", file) for _ in range(6)))
        assert sorted(reply.status for reply in of_one_slug) == [201] + [409] * 5

    here(tmp_path, test)


def test_of_files_with_one_tool_that_are_read_at_once_each_has_a_tool_of_its_own(tmp_path: Path):
    async def test(app: Here) -> None:
        replies = await asyncio.gather(
            *(post(app, "/agents/import", with_tool({"name": "New", "slug": f"s{n}"})) for n in range(6))
        )
        assert {reply.status for reply in replies} == {201}
        tools = {reply.json["tool_ids"][0] for reply in replies}
        assert len(tools) == 6
        assert {row["id"] for row in (await app.ask("GET", "/v1/admin/tools")).json["data"]} == tools

    here(tmp_path, test)


def test_a_file_that_is_refused_leaves_nothing_behind(tmp_path: Path):
    async def test(app: Here) -> None:
        await agent(app, slug="old")
        headers = {"authorization": "Bearer hush"}
        refused = await post(app, "/agents/import", with_tool({"name": "New", "slug": "old"}, headers))
        assert (refused.status, refused.json["error"]["code"]) == (409, "slug_taken")
        wrong = with_tool({"name": "New", "slug": "new"}, headers)
        wrong["tools"].append({"id": "t2", "name": "two", "mcp": {"server": "s", "tool": "t"}})
        assert (await post(app, "/agents/import", wrong)).status == 400
        assert (await app.ask("GET", "/v1/admin/tools")).json["data"] == []
        assert (await app.ask("GET", "/v1/admin/secrets")).json["data"] == []
        assert len((await app.ask("GET", "/v1/admin/agents")).json["data"]) == 1

    here(tmp_path, test)


def test_a_credential_that_stands_in_a_file_is_sealed(tmp_path: Path):
    async def test(app: Here) -> None:
        file = with_tool({"name": "New", "slug": "new"}, {"authorization": "Bearer hush"})
        [tool] = (await made(app, "/agents/import", file))["tool_ids"]
        shown = await app.ask("GET", f"/v1/admin/tools/{tool}")
        assert shown.json["http"]["headers"] == {"authorization": f"{{{{secret:{tool}.authorization}}}}"}
        assert await secret_of(app.services.store.org("org_default").secrets, f"{tool}.authorization") == "Bearer hush"

    here(tmp_path, test)


def test_a_duplicate_is_a_draft_of_its_own(tmp_path: Path):
    async def test(app: Here) -> None:
        one = await published(app, memory=True)
        copy = await made(app, f"/agents/{one['id']}/duplicate", {})
        assert copy["id"] != one["id"]
        assert (copy["status"], copy["name"], copy["memory"]) == ("draft", "Helper (copy)", True)

    here(tmp_path, test)
