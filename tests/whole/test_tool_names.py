"""By which names a model knows its tools, where several might have the same, and what is chosen by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .mcp_remote import Remote
from .scripted_model import Call, Line, Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}", "127.0.0.1:{remote}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


@pytest.fixture(scope="module")
def upstream(models: Models) -> Iterator[Upstream]:
    with Upstream(models) as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def remote() -> Remote:
    return Remote("none", "auto", "look", "find")


@pytest.fixture(scope="module")
def agents(
    upstream: Upstream, tools: ToolServer, remote: Remote, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agents]:
    with Upstream(remote) as site:
        toml = TOML.format(port=tools.port, remote=site.port, url=upstream.url)
        with Serving(tmp_path_factory.mktemp("names"), toml) as serving:
            made = Agents(serving)
            made.post("/v1/admin/mcp_servers", {"name": "wiki", "url": f"{site.url}/mcp"})
            yield made


def offered(upstream: Upstream) -> dict[str, str]:
    """What the model was shown last: name -> description."""
    functions = [tool["function"] for tool in upstream.asked[-1].json["tools"]]
    return {one["name"]: one.get("description", "") for one in functions}


def test_a_tool_of_a_server_whose_name_another_tool_has_is_called_by_its_servers_too(
    agents: Agents, models: Models, upstream: Upstream, tools: ToolServer, remote: Remote
):
    own = agents.tool("look", f"{tools.url}/look", properties={}, description="my own")
    agent = agents.agent(service="up", configuration={"model": "x"}, tool_ids=[own], mcp_servers=["wiki"])
    models.say("x", Line(calls=(Call("look", id="a"), Call("wiki__look", id="b"))))
    steps = agents.post(ASK, {"agent_id": agent, "user": "hi"})["data"]["tools_data"]
    names = {"look": "my own", "find": "", "wiki__look": "", "wiki__none": "", "wiki__auto": ""}
    assert offered(upstream) == names
    assert [(step["name"], step["status"]) for step in steps.values()] == [("look", "ok"), ("wiki__look", "ok")]
    assert steps["b"]["result"] == "look of the server"
    assert (len(tools.to("/look")), remote.called) == (1, ["look"])
    listed = {
        tool["name"]: tool["server"] for tool in agents.serving.ask("GET", "/mcp/v1/tools/list-tools").json["tools"]
    }
    assert {name for name in listed if name in names} == set(names)
    assert listed["look"] is None
    called: Any = agents.post("/mcp/v1/tools/call-tool", {"name": "wiki__look"})
    assert called["content"] == [{"type": "text", "text": "look of the server"}]


def test_a_request_names_a_servers_tool_as_it_is_listed_or_as_its_agent_has_it(
    agents: Agents, models: Models, upstream: Upstream
):
    plain = agents.agent(service="up", configuration={"model": "x"}, mcp_servers=["wiki"])
    bare = agents.agent(service="up", configuration={"model": "x"})
    for agent in (plain, bare):
        for name in ("find", "wiki__look", "wiki__find"):
            agents.post(ASK, {"agent_id": agent, "user": "hi", "tools": [name]})
            assert [*offered(upstream)] == [name]
    reply = agents.serving.ask("POST", ASK, {"agent_id": bare, "user": "hi", "tools": ["other__find"]})
    assert (reply.status, reply.json["code"]) == (400, "tool_unknown")


def test_a_mode_of_tool_choice_is_one_whatever_the_tools_of_a_server_are_called(
    agents: Agents, models: Models, upstream: Upstream
):
    agent = agents.agent(service="up", configuration={"model": "x"}, mcp_servers=["wiki"])
    for asked, sent in (("none", "none"), ("auto", None), ("required", "required")):
        agents.post(ASK, {"agent_id": agent, "user": "hi", "tool_choice": asked})
        assert upstream.asked[-1].json.get("tool_choice") in (sent, sent or "auto")
    agents.post(ASK, {"agent_id": agent, "user": "hi", "tool_choice": "wiki__none"})
    assert upstream.asked[-1].json["tool_choice"]["function"]["name"] == "wiki__none"
    extra = {"name": "auto", "parameters": {"type": "object"}, "url": "https://example.org/"}
    reply = agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "hi", "extra_tools": [extra]})
    assert (reply.status, reply.json["param"]) == (400, "extra_tools[0].name")
