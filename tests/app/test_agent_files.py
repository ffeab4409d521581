"""Agents as files: what an import says that the org has to be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midstream.app.agent_files import differences

from .agent_things import agent, http_tool, made, other_org, post
from .asgi import Here, here

GONE = "65f0c0ffee65f0c0ffee65f9"
PROMPT = {"model": "rehearsal", "prompt": "Hi"}


def file_of(*tools: tuple[str, Any], **agent: Any) -> dict[str, Any]:
    """A file of an agent that has these tools, each (kind, target)."""
    said = [{"id": f"t{n}", "name": f"t{n}", "kind": kind, kind: target} for n, (kind, target) in enumerate(tools)]
    body = {"name": "New", "slug": "new", "service": "midstream", "configuration": PROMPT, **agent}
    ids = [*agent.get("tool_ids", ()), *(tool["id"] for tool in said)]
    return {"format": "midstream.agent", "agent": {**body, "tool_ids": ids}, "tools": said}


def placed(copied: Any) -> list[tuple[str, str]]:
    return [(one["path"], one["id"]) for one in copied["missing"]]


@pytest.mark.parametrize(
    "one, other, paths",
    [
        ({"a": {"enum": [True]}, "b": 1}, {"a": {"enum": [1]}, "b": 1.0}, ["a.enum"]),
        ({"a": False, "b": [{"c": 0.0}]}, {"a": 0, "b": [{"c": 0}]}, ["a"]),
        ({"a": [1, 2], "b": None}, {"a": [1, 2]}, []),
    ],
)
def test_versions_differ_where_json_tells_their_values_apart(one: Any, other: Any, paths: list[str]):
    assert [change["path"] for change in differences(one, other)] == paths


def test_what_an_agent_names_and_the_org_does_not_have_is_missing(tmp_path: Path):
    async def test(app: Here) -> None:
        draft = await agent(app, "draft")
        file = file_of(
            tool_ids=[f"tool_{GONE}"],
            pre_tools=[{"tool_id": GONE, "args": {}}],
            variables_path={f"tool_{GONE}": {"a": "b"}},
            configuration={"model": "gpt-4o", "template_id": "tpl_gone", "tool_choice": "nobody"},
            connected_agents={
                "friend": {"agent_id": "agt_gone"},
                "old": {"agent_id": draft["id"], "version_id": "ver_gone"},
                "draft": {"agent_id": draft["id"]},
            },
            doc_ids=["doc_gone"],
            built_in_tools=["telepathy"],
            settings={"fall_back": {"service": "nobody", "model": "m"}},
        )
        copied = await made(app, "/agents/import", file)
        assert sorted(placed(copied)) == sorted([
            ("tool_ids.0", f"tool_{GONE}"), ("pre_tools.0.tool_id", f"tool_{GONE}"),
            (f"variables_path.tool_{GONE}", f"tool_{GONE}"), ("configuration.model", "gpt-4o"),
            ("configuration.template_id", "tpl_gone"), ("configuration.tool_choice", "nobody"),
            ("connected_agents.friend.agent_id", "agt_gone"), ("connected_agents.old.version_id", "ver_gone"),
            ("connected_agents.draft.agent_id", draft["id"]), ("doc_ids", "doc_gone"),
            ("built_in_tools.0", "telepathy"), ("settings.fall_back.service", "nobody"),
        ])  # fmt: skip
        refused = await post(app, f"/agents/{copied['id']}/publish", {"version_id": copied["version_id"]})
        told = {(one["path"], one["message"]) for one in refused.json["problems"]}
        assert told == {(one["path"], one["message"]) for one in copied["missing"] if one["path"] != "doc_ids"}

    here(tmp_path, test)


def test_a_server_that_an_agent_names_is_missing(tmp_path: Path):
    async def test(app: Here) -> None:
        assert placed(await made(app, "/agents/import", file_of(mcp_servers=["wiki"]))) == [("mcp_servers.0", "wiki")]

    here(tmp_path, test)


def test_what_the_tools_of_a_file_name_is_missing_once_by_their_ids_here(tmp_path: Path):
    async def test(app: Here) -> None:
        headers = {"a": "{{secret:NOPE}}", "b": "x {{ secret:NOPE }}", "cookie": f"{{{{secret:tool_{GONE}.cookie}}}}"}
        file = file_of(
            ("agent", {"agent_id": "agt_gone"}),
            ("agent", {"agent_id": "agt_gone", "version_id": "ver_gone"}),
            ("builtin", {"name": "telepathy"}),
            ("mcp", {"server": "wiki", "tool": "t"}),
            ("knowledge", {"document_ids": ["doc_gone"]}),
            ("http", {"url": "https://x.org", "headers": headers}),
        )
        file["tools"][5]["id"] = file["agent"]["tool_ids"][5] = GONE
        file["agent"]["pre_tools"] = [{"tool_id": one["id"], "args": {"message": "x"}} for one in file["tools"]]
        file["secrets"] = ["NOPE", "ALSO", f"tool_{GONE}.cookie"]
        copied = await made(app, "/agents/import", file)
        ids = copied["tools"]
        assert ids[GONE] == f"tool_{GONE}"
        assert sorted(placed(copied)) == sorted([
            (f"tools.{ids['t0']}.agent.agent_id", "agt_gone"), (f"tools.{ids['t1']}.agent.agent_id", "agt_gone"),
            (f"tools.{ids['t2']}.builtin.name", "telepathy"), (f"tools.{ids['t3']}.mcp.server", "wiki"),
            (f"tools.{ids['t4']}.knowledge.document_ids", "doc_gone"), ("secrets", "NOPE"), ("secrets", "ALSO"),
            (f"tools.{ids[GONE]}.http.headers", ids[GONE]),
        ])  # fmt: skip
        assert [one["header"] for one in copied["missing"] if "header" in one] == ["cookie"]

    here(tmp_path, test)


def test_what_the_org_has_and_what_stands_in_the_file_is_not_missing(tmp_path: Path):
    async def test(app: Here) -> None:
        tool = await http_tool(app, "mine", http={"headers": {"authorization": "Bearer hush"}})
        await made(app, "/secrets", {"name": "ORG", "value": "o"})
        file = file_of(
            ("http", {"url": "https://x.org", "headers": {"cookie": "in the file", "b": "{{secret:ORG}}"}}),
            tool_ids=[tool],
            variables_path={"t0": {"a": "b"}},
        )
        file["secrets"] = ["ORG"]
        assert (await made(app, "/agents/import", file))["missing"] == []

    here(tmp_path, test)


def test_a_tool_that_must_be_called_is_the_same_one_after_an_import_though_it_is_named_by_its_id(tmp_path: Path):
    async def test(app: Here) -> None:
        _, boss = await other_org(app)
        tool = await http_tool(app)
        choice = {"type": "function", "function": {"name": tool}}
        one = await agent(app, tool_ids=[tool], configuration={"model": "rehearsal", "tool_choice": choice})
        file = await app.ask("GET", f"/v1/admin/agents/{one['id']}/export")
        copied = await made(app, "/agents/import", file.json, boss)
        assert copied["tools"][tool] != tool
        assert copied["configuration"]["tool_choice"] == copied["tools"][tool]
        assert copied["missing"] == []

    here(tmp_path, test)


def test_a_version_whose_tool_has_lost_a_header_is_refused_by_the_headers_name(tmp_path: Path):
    async def test(app: Here) -> None:
        headers = {"authorization": f"{{{{secret:tool_{GONE}.authorization}}}}"}
        file = file_of(("http", {"url": "https://x.org", "headers": headers}))
        file["tools"][0]["id"] = file["agent"]["tool_ids"][0] = GONE
        copied = await made(app, "/agents/import", file)
        refused = await post(app, f"/agents/{copied['id']}/publish", {"version_id": copied["version_id"]})
        assert refused.json["problems"] == [
            {"path": "tool_ids.0", "message": "the tool t0: the header authorization needs a value"}
        ]

    here(tmp_path, test)
