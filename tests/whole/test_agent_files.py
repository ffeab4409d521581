"""Agents as files on a real server: out of one org, into another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.elsewhere]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
"""
MODEL = {"model": "rehearsal"}


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("files"), TOML.format(port=tools.port)) as serving:
        yield Agents(serving)


class Importing:
    """Does what an import's reply says, and nothing else. draft: what it made."""

    def __init__(self, agents: Agents, key: str, draft: Any) -> None:
        self._agents = agents
        self._key = key
        self._draft = draft

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        reply = self._agents.serving.ask(method, f"/v1/admin{path}", body, key=self._key)
        assert reply.status in (200, 201), reply.body
        return reply.json

    def give(self, one: dict[str, str]) -> None:
        id, path = one["id"], one["path"].split(".")
        match path:
            case ["keys"]:
                self.ask("POST", "/service_keys", {"name": one["name"], "service": one["service"], "key": "sk-here-1"})
            case ["secrets"]:
                self.ask("POST", "/secrets", {"name": id, "value": "secret of here"})
            case ["tools", tool, "http", "headers"]:
                assert tool == id
                http = self.ask("GET", f"/tools/{id}")["http"]
                http["headers"][one["header"]] = "Bearer of here"
                self.ask("PATCH", f"/tools/{id}", {"http": http})
            case ["mcp_servers", _]:
                self.ask("POST", "/mcp_servers", {"name": id, "url": "https://mcp.example.org"})
            case ["doc_ids"]:
                document = self.ask("POST", "/documents", {"name": "d", "text": "blue"})["id"]
                self.change({"doc_ids": [document]})
            case ["configuration", "template_id"]:
                template = self.ask("POST", "/templates", {"name": "t", "template": "{{system_prompt}}!"})["id"]
                self.change({"configuration": {"template_id": template}})
            case ["tool_ids", place]:
                tool = {"name": "late", "http": {"url": "https://x.example.org"}}
                ids = list(self._draft["tool_ids"])
                ids[int(place)] = self.ask("POST", "/tools", tool)["id"]
                self.change({"tool_ids": ids})
            case ["connected_agents", name, "agent_id"]:
                friend = self.ask("POST", "/agents", {"name": name, "service": "midstream", "configuration": MODEL})
                self.ask("POST", f"/agents/{friend['id']}/publish", {"version_id": friend["version_id"]})
                self.change({"connected_agents": {name: {"agent_id": friend["id"]}}})
            case _:
                raise AssertionError(one)

    def change(self, fields: dict[str, Any]) -> None:
        path = f"/agents/{self._draft['id']}/versions/{self._draft['version_id']}"
        self._draft |= {"tool_ids": self.ask("PATCH", path, fields)["tool_ids"]}


def test_an_agent_that_has_got_what_its_import_says_is_missing_is_published_and_answers_in_another_org(
    agents: Agents, tools: ToolServer
):
    ask, post = agents.serving.ask, agents.post
    post("/v1/admin/secrets", {"name": "ORG", "value": "secret of there"})
    headers = {"authorization": "Bearer of there", "x-org": "{{secret:ORG}}"}
    weather = agents.tool("weather", f"{tools.url}/echo/weather", http={"headers": headers})
    gone = agents.tool("gone", f"{tools.url}/echo/gone")
    post("/v1/admin/mcp_servers", {"name": "wiki", "url": "https://mcp.example.org"})
    key = {"name": "main", "service": "elsewhere", "key": "sk-there-1"}
    template = post("/v1/admin/templates", {"name": "t", "template": "{{system_prompt}}"})["id"]
    one = agents.agent(
        configuration={"template_id": template},
        tool_ids=[weather, gone],
        pre_tools=[{"tool_id": weather, "args": {"city": "{{where}}"}, "into": "found"}],
        variables_path={weather: {"city": "where"}},
        keys={"elsewhere": post("/v1/admin/service_keys", key)["id"]},
        connected_agents={"friend": {"agent_id": agents.agent()}},
        doc_ids=[post("/v1/admin/documents", {"name": "d", "text": "blue"})["id"]],
        mcp_servers=["wiki"],
    )
    ask("DELETE", f"/v1/admin/tools/{gone}")
    file = ask("GET", f"/v1/admin/agents/{one}/export")
    assert b"of there" not in file.body

    org = post("/v1/admin/orgs", {"name": "there"})["id"]
    boss = post("/v1/admin/keys", {"name": "boss", "org_id": org, "scopes": ["admin", "chat"]})["key"]
    imported = ask("POST", "/v1/admin/agents/import", file.json, key=boss).json
    importing = Importing(agents, boss, imported)
    for missing in imported["missing"]:
        importing.give(missing)
    publish = f"/v1/admin/agents/{imported['id']}/publish"
    published = ask("POST", publish, {"version_id": imported["version_id"]}, key=boss)
    assert published.status == 200, published.body

    reply = agents.say(imported["id"], "use weather", key=boss, variables={"where": "Bonn"})
    assert reply.status == 200, reply.body
    assert [call["status"] for call in reply.json["toolCalls"]] == ["ok"]
    calls = tools.to("/echo/weather")
    assert [call["body"] for call in calls] == [{"city": "Bonn"}] * 2  # before the model, and by it
    for call in calls:
        assert (call["headers"]["authorization"], call["headers"]["x-org"]) == ("Bearer of here", "secret of here")


def test_a_file_and_a_document_may_be_as_large_as_the_guide_says(agents: Agents):
    ask = agents.serving.ask
    tools = [
        {"id": f"t{n}", "name": f"t{n}", "description": "x" * 500_000, "http": {"url": "https://x.org"}}
        for n in range(41)
    ]
    ids = [tool["id"] for tool in tools]
    agent = {"name": "Big", "slug": "big", "service": "midstream", "configuration": MODEL, "tool_ids": ids}
    file = msgspec.json.encode({"format": "midstream.agent", "agent": agent, "tools": tools})
    file += b" " * (20 * 1024 * 1024 - len(file))
    imported = ask("POST", "/v1/admin/agents/import", file)
    assert (imported.status, len(imported.json["tool_ids"])) == (201, 41)
    again = ask("GET", "/v1/admin/agents/big/export").json
    assert ask("POST", "/v1/admin/agents/import", {**again, "slug": "big-2"}).status == 201

    text = "the quick brown fox\n" * (8 * 1024 * 1024 // 20)
    document = ask("POST", "/v1/admin/documents", {"name": "d", "text": text})
    assert document.status == 201, document.body
    call = {"name": "search_documents", "arguments": {"queries": ["fox"]}}
    found = ask("POST", "/mcp/v1/tools/call-tool", call)
    assert document.json["id"] in found.body.decode()
