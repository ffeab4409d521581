from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midstream.core.parts import Media
from midstream.core.toolbox import ToolAnswer, ToolScope
from midstream.tools.agent import AgentTool

from .scripted import scope, tool

SCHEMA = {"type": "object", "properties": {"message": {}, "city": {}}, "anyOf": [{"properties": {"n": {}}}]}
MAPPED = {"customer": "user.id"}


class Agents:
    """asked: (agent, text, arguments, scope). calls: an agent's own tool, called by the one that runs."""

    def __init__(self, **calls: str) -> None:
        self.asked: list[tuple[str, str, dict[str, Any], ToolScope]] = []
        self.calls = calls
        self.kind = AgentTool(self, 8)

    async def __call__(self, agent: str, text: str, scope: ToolScope) -> ToolAnswer:
        self.asked.append((agent, text, scope.arguments, scope))
        if agent in self.calls:
            below = ToolScope(scope.org, run="child", agent=agent, thread="t", path=scope.path)
            return await self.ask({"agent_id": self.calls[agent]}, below)
        return ToolAnswer("ok", f"{agent} says hello")

    async def ask(self, target: dict[str, Any], under: ToolScope, **arguments: Any) -> ToolAnswer:
        made = tool(kind="agent", target=target, parameters=SCHEMA, mapped=MAPPED)
        return await self.kind.run(made, arguments, under, "run_1:1:0", lambda text: None)


def asked(agents: Agents, target: dict[str, Any], under: ToolScope, **arguments: Any) -> ToolAnswer:
    return asyncio.run(agents.ask(target, under, **arguments))


def test_another_agent_is_asked_on_a_thread_of_its_own_or_on_this_one():
    agents = Agents()
    here = scope(agent="agt_a", thread="t1", sub_thread="s1", variables={"x": 1})
    answer = asked(agents, {"agent_id": "agt_b", "version_id": "ver_1"}, here, message="hi", city="Oslo")
    assert answer == ToolAnswer("ok", "agt_b@ver_1 says hello")
    _, text, arguments, below = agents.asked[0]
    assert (text, arguments, below.path) == ("hi", {"city": "Oslo"}, ("agt_a",))
    assert (below.thread, below.sub_thread) == ("run_1:1:0", "")
    asked(agents, {"agent_id": "agt_b", "thread": "shared"}, here, query="hi")
    assert (agents.asked[1][3].thread, agents.asked[1][3].sub_thread) == ("t1", "s1")
    asked(agents, {"agent_id": "agt_b"}, here, n=1)
    assert agents.asked[2][1:3] == ('{"n":1}', {"n": 1})


def test_a_transfer_hands_the_turn_over_when_it_went_well():
    agents = Agents()
    assert asked(agents, {"agent_id": "agt_b", "transfer": True}, scope(agent="agt_a")).transfer
    assert not asked(agents, {"agent_id": "agt_b"}, scope(agent="agt_a")).transfer


@pytest.mark.parametrize(
    "text, count, told",
    [
        ("", 1, "1 picture, which the user gets with your answer"),
        (" \n", 3, "3 pictures, which the user gets with your answer"),
        ("A cat.", 1, "A cat."),
        ("", 0, ""),
    ],
)
def test_an_agent_that_has_only_drawn_is_put_into_words_but_where_it_goes_on_itself(text: str, count: int, told: str):
    class Drawing(Agents):
        async def __call__(self, *args: Any) -> ToolAnswer:
            return ToolAnswer("ok", text, media=(Media("image", data="aaaa"),) * count)

    answer = asked(Drawing(), {"agent_id": "agt_b"}, scope(agent="agt_a"))
    assert (answer.text, len(answer.media)) == (told, count)
    assert asked(Drawing(), {"agent_id": "agt_b", "transfer": True}, scope(agent="agt_a")).text == text


def test_a_circle_of_agents_is_stopped_and_told():
    agents = Agents(agt_b="agt_c", agt_c="agt_a")
    answer = asked(agents, {"agent_id": "agt_b"}, scope(agent="agt_a"))
    assert (answer.status, answer.error) == ("failed", "agent_cycle")
    assert "agt_a -> agt_b -> agt_c -> agt_a" in answer.text
    assert [one[0] for one in agents.asked] == ["agt_b", "agt_c"]
    assert asked(Agents(), {"agent_id": "agt_a"}, scope(agent="agt_a")).error == "agent_cycle"


def test_a_chain_of_agents_has_an_end():
    agents = Agents(**{f"agt_{n}": f"agt_{n + 1}" for n in range(30)})
    answer = asked(agents, {"agent_id": "agt_0"}, scope(agent="agt_start"))
    assert answer.error == "too_deep"
    assert len(agents.asked) == 7


def test_a_tool_without_an_agent_is_told():
    assert asked(Agents(), {}, scope()).error == "tool_broken"


def test_a_model_gives_the_arguments_that_the_tools_schema_names_and_no_others():
    for name in ("user", "user.id", "x", "query", "variables", "_user_message"):
        agents = Agents()
        answer = asked(agents, {"agent_id": "agt_b"}, scope(), **{"message": "hi", "city": "Oslo", name: "y"})
        assert (answer.status, answer.error, agents.asked) == ("failed", "invalid_arguments", []), name
        assert name in answer.text


def test_what_the_author_has_mapped_is_a_variable_and_what_a_model_said_is_none_of_them():
    agents = Agents()
    under = scope(variables={"user": {"id": 7}, "customer": 1}, arguments={"customer": 2, "town": "Bonn"})
    asked(agents, {"agent_id": "agt_b"}, under, message="hi", city="Oslo", customer=7)
    [(_, _, arguments, below)] = agents.asked
    assert below.variables == {"user": {"id": 7}, "customer": 7}
    assert arguments == {"town": "Bonn", "city": "Oslo"}
    asked(agents, {"agent_id": "agt_b"}, under, city="Oslo", customer=7)
    assert agents.asked[1][1] == '{"city":"Oslo"}'  # what no model is shown is no message either


def test_all_that_a_version_itself_says_to_an_agent_are_variables():
    agents = Agents()
    asked(agents, {"agent_id": "agt_b"}, scope(variables={"x": 1}, written=True), message="hi", x=2, city="Oslo")
    assert (agents.asked[0][3].variables, agents.asked[0][2]) == ({"x": 2, "city": "Oslo"}, {})
