"""What the model of one agent may say to another one, and what of it the other one's tools are called with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .scripted_model import Call, Line, Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""
TEXT = {"type": "string"}


@pytest.fixture(scope="module")
def upstream(models: Models) -> Iterator[Upstream]:
    with Upstream(models) as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = TOML.format(port=tools.port, url=upstream.url)
    with Serving(tmp_path_factory.mktemp("arguments"), toml) as serving:
        yield Agents(serving)


@pytest.fixture(scope="module")
def payer(agents: Agents, tools: ToolServer) -> str:
    """An agent whose tool is called with the user's id, which is nobody's to choose."""
    pay = agents.tool("pay", f"{tools.url}/pay", properties={"uid": {"type": "integer"}}, mapped={"uid": "user.id"})
    return made(agents, "B", tool_ids=[pay])


def made(agents: Agents, model: str, prompt: str = "", **more: Any) -> str:
    return agents.agent(service="up", configuration={"model": model, "prompt": prompt}, **more)


def asking(agents: Agents, other: str, model: str = "A", **properties: Any) -> str:
    """An agent that asks another one with these arguments beside the message."""
    schema = {"type": "object", "properties": {"message": TEXT, **properties}, "required": ["message"]}
    return made(agents, model, connected_agents={"ask": {"agent_id": other, "parameters": schema}})


def paid(agents: Agents, models: Models, tools: ToolServer, agent: str, **said: Any) -> list[Any]:
    """What the tool was called with, when the first model says this to the next one."""
    tools.calls.clear()
    asks = Line(calls=(Call("ask", {"message": "pay", **said}),))
    models.say("A", asks)
    models.say("M", asks)
    models.say("B", Line(calls=(Call("pay"),)))
    asked = {"agent_id": agent, "user": "hi", "variables": {"user": {"id": 7}}}
    assert agents.serving.ask("POST", ASK, asked).json["data"]["content"] == "done"
    return [call["body"] for call in tools.to("/pay")]


def test_no_model_chooses_what_a_mapped_argument_of_another_agents_tool_is(
    agents: Agents, models: Models, tools: ToolServer, upstream: Upstream, payer: str
):
    agent = asking(agents, payer)
    assert paid(agents, models, tools, agent) == [{"uid": 7}]
    for said in ({"user": {"id": 666}}, {"user.id": 666}, {"uid": 666}, {"other": 1}):
        upstream.asked.clear()
        assert paid(agents, models, tools, agent, **said) == []
        told = upstream.asked[-1].json["messages"][-1]
        assert (told["role"], told["content"]) == ("tool", f"Error: the agent takes no argument {next(iter(said))}")


def test_the_callers_own_variables_win_where_a_tool_takes_its_argument_from_and_the_models_in_the_prompt(
    agents: Agents, models: Models, tools: ToolServer, upstream: Upstream, payer: str
):
    named = {"user": {"type": "object"}, "user.id": {"type": "integer"}}
    for agent in (asking(agents, payer, **named), asking(agents, asking(agents, payer, "M", **named), **named)):
        for said in ({"user": {"id": 666}}, {"user.id": 666}, {"user": {"id": 666}, "user.id": 667}):
            assert paid(agents, models, tools, agent, **said) == [{"uid": 7}]
    told = made(agents, "B", "Pay for {{user.name}}")
    upstream.asked.clear()
    paid(agents, models, tools, asking(agents, told, **named), user={"name": "Ada"})
    [system] = [one.json["messages"][0]["content"] for one in upstream.asked if one.json["model"] == "B"][:1]
    assert system.startswith("Pay for Ada")


def test_what_the_author_lets_a_model_say_is_what_a_tool_takes_where_the_caller_says_nothing(
    agents: Agents, models: Models, tools: ToolServer
):
    look = agents.tool("look", f"{tools.url}/look", properties={"where": TEXT}, mapped={"where": "city"})
    states = {"city": {"default": "Paris"}}
    agent = asking(agents, made(agents, "L", "In {{city}}", tool_ids=[look], variables_state=states), city=TEXT)
    for variables, city in (({}, "Rome"), ({"city": "Oslo"}, "Oslo")):
        tools.calls.clear()
        models.say("A", Line(calls=(Call("ask", {"message": "look", "city": "Rome"}),)))
        models.say("L", Line(calls=(Call("look"),)))
        agents.post(ASK, {"agent_id": agent, "user": "hi", "variables": variables})
        assert [call["body"] for call in tools.to("/look")] == [{"where": city}]


def test_what_a_version_says_to_an_agent_before_its_turn_are_that_agents_variables(
    agents: Agents, models: Models, tools: ToolServer, payer: str
):
    schema = {"type": "object", "properties": {"message": TEXT, "user": {"type": "object"}}}
    stored = {"name": "first", "kind": "agent", "parameters": schema, "agent": {"agent_id": payer}}
    pre = {"tool_id": agents.post("/v1/admin/tools", stored)["id"], "into": "found"}
    for arguments, uid in (({}, 7), ({"user": {"id": 8}}, 8)):
        agent = made(agents, "P", pre_tools=[{**pre, "args": {"message": "pay", **arguments}}])
        assert paid(agents, models, tools, agent) == [{"uid": uid}]
