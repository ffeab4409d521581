"""Agents that call each other, and ceilings of one turn: both come to an end, and say which."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[tools]
max_depth = 3
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
prices = {{ "*" = {{ input = "1000", output = "1000" }} }}
[providers.free]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


def insatiable(asked: Asked) -> Said:
    """Asks for its first tool as long as it is offered one. Refuses as "broken", lets everything pass as "judge"."""
    if asked.json["model"] == "broken":
        return whole({"error": {"message": "no"}}, 403)
    tools = asked.json.get("tools")
    message: dict[str, Any] = {"role": "assistant", "content": "ALLOW" if asked.json["model"] == "judge" else "enough"}
    if tools:
        named = tools[0]["function"]
        arguments = '{"city":"Oslo"}' if "city" in str(named) else '{"message":"go on"}'
        call = {"id": "c", "type": "function", "function": {"name": named["name"], "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tools else "stop"}
    usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
    return whole(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(insatiable) as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    told = TOML.format(port=tools.port, url=upstream.url)
    with Serving(tmp_path_factory.mktemp("ceilings"), told) as serving:
        yield Agents(serving)


@pytest.fixture(autouse=True)
def forgotten(upstream: Upstream, tools: ToolServer) -> None:
    upstream.asked.clear()
    tools.calls.clear()


def calling(agents: Agents, *others: str, **more: Any) -> str:
    """An agent that calls these others."""
    connected = {f"helper_{place}": {"agent_id": other, "description": "helps"} for place, other in enumerate(others)}
    return agents.agent(service="up", configuration={"model": "x"}, connected_agents=connected, **more)


def asking(agents: Agents, name: str, agent: str) -> str:
    """A tool that asks an agent."""
    made = agents.post("/v1/admin/tools", {"name": name, "kind": "agent", "agent": {"agent_id": agent}})
    return str(made["id"])


def test_a_circle_that_can_be_seen_is_not_published(agents: Agents):
    first = calling(agents)
    for other in (first, calling(agents, first)):
        connected = {"helper": {"agent_id": other, "description": "helps"}}
        draft = {"service": "up", "configuration": {"model": "x"}, "connected_agents": connected}
        version = agents.post(f"/v1/admin/agents/{first}/versions", draft)
        reply = agents.serving.ask(
            "POST", f"/v1/admin/agents/{first}/publish", {"version_id": version.get("version_id") or version["id"]}
        )
        assert reply.status == 400, reply.body
        assert "connected_agents.helper" in reply.json["error"]["param"]


def test_agents_that_come_to_call_each_other_in_a_circle_are_told_and_answer(agents: Agents, upstream: Upstream):
    tool = asking(agents, "ask_on", calling(agents))
    first = calling(agents, tool_ids=[tool], settings={"maximum_iterations": 3})
    second = calling(agents, tool_ids=[asking(agents, "ask_back", first)])
    for circle in (second, first):  # a <-> b, then one that asks itself
        agents.serving.ask("PATCH", f"/v1/admin/tools/{tool}", {"agent": {"agent_id": circle}})
        upstream.asked.clear()
        reply = agents.say(first, "go")
        assert reply.status == 200, reply.body
        assert reply.json["text"] == "enough"
        assert any("waiting for the answer already" in str(asked.json) for asked in upstream.asked)
        assert len(upstream.asked) < 40


def test_a_chain_of_agents_ends_at_the_configured_depth(agents: Agents, upstream: Upstream):
    last = calling(agents, settings={"maximum_iterations": 1})
    for _ in range(4):
        last = calling(agents, last, settings={"maximum_iterations": 1})
    assert agents.say(last, "go").json["text"] == "enough"
    assert any("3 deep at the most" in str(asked.json) for asked in upstream.asked)


@pytest.mark.parametrize(
    ("ceiling", "calls"),
    [({"maximum_iterations": 2}, 3), ({"tokens": 150, "maximum_iterations": 9}, 3), ({"cost": "0.05"}, 2)],
)
def test_at_a_ceiling_one_last_call_without_tools_ends_the_turn(
    agents: Agents, upstream: Upstream, tools: ToolServer, ceiling: dict[str, Any], calls: int
):
    tool = agents.tool(f"look_{calls}_{len(ceiling)}_{len(str(ceiling))}", f"{tools.url}/echo/look")
    agent = agents.agent(service="up", configuration={"model": "x"}, tool_ids=[tool], settings=ceiling)
    reply = agents.say(agent, "go").json
    assert (reply["text"], reply["iterations"], len(upstream.asked)) == ("enough", calls, calls)


#: What asks a model without a price besides, once, and what the turn costs then: one that refuses is charged nothing.
UNPRICED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a classifier": (
        {"settings": {"guardrails": {"input": {"classifier": {"service": "free", "model": "judge"}}}}}, None,
    ),
    "a model that fails": (
        {
            "service": "free", "configuration": {"model": "broken"},
            "settings": {"fall_back": {"service": "up", "model": "x"}},
        },
        "0.300000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("besides", UNPRICED)
def test_calls_without_a_price_do_not_switch_the_ceiling_of_the_others_off(
    agents: Agents, upstream: Upstream, tools: ToolServer, besides: str
):
    more, cost = UNPRICED[besides]
    tool = agents.tool(f"free_{len(besides)}", f"{tools.url}/echo/look")
    settings = {"cost": "0.15", "maximum_iterations": 9, **more["settings"]}
    said = {"service": "up", "configuration": {"model": "x"}, **more, "settings": settings}
    reply = agents.post(
        "/api/v2/model/chat/completion", {"agent_id": agents.agent(tool_ids=[tool], **said), "user": "go"}
    )
    assert reply["data"]["content"] == "enough"
    assert len(upstream.asked) == 1 + 3  # 0.1 USD each
    assert "tools" not in upstream.asked[-1].json
    assert reply["usage"]["cost"] == cost


@pytest.mark.parametrize(
    ("path", "said", "calls"),
    [
        ("/api/v1/conversation", {"message": "go", "stream": False}, 15),
        ("/api/v2/model/chat/completion", {"user": "go"}, 4),
    ],
)
def test_a_face_asks_the_model_so_often_where_the_agent_has_no_limit_of_its_own(
    agents: Agents, upstream: Upstream, tools: ToolServer, path: str, said: dict[str, Any], calls: int
):
    tool = agents.tool(f"face_{calls}", f"{tools.url}/echo/look")
    agent = agents.agent(service="up", configuration={"model": "x"}, tool_ids=[tool])
    named = {"agentId": agent} if "message" in said else {"agent_id": agent}
    assert agents.serving.ask("POST", path, {**said, **named}).status == 200
    assert len(upstream.asked) == calls
    assert "tools" not in upstream.asked[-1].json


@pytest.mark.parametrize("ceiling", [{"tokens": 250}, {"cost": "0.25"}])
def test_the_ceiling_of_a_turn_is_that_of_the_agents_that_it_calls_at_any_depth_too(
    agents: Agents, upstream: Upstream, tools: ToolServer, ceiling: dict[str, Any]
):
    tool = agents.tool(f"deep_{len(ceiling)}_{len(str(ceiling))}", f"{tools.url}/echo/look")
    spender = agents.agent(
        service="up", configuration={"model": "x"}, tool_ids=[tool], settings={"maximum_iterations": 20}
    )
    agent = calling(agents, calling(agents, spender), settings={**ceiling, "maximum_iterations": 9})
    reply = agents.post("/api/v2/model/chat/completion", {"agent_id": agent, "user": "go"})
    assert reply["data"]["content"] == "enough"
    # Three of them ask, each for the next; what they have to say then are last words.
    assert ["tools" in asked.json for asked in upstream.asked] == [True] * 3 + [False] * 3
    assert (reply["usage"]["total_tokens"], len(tools.calls)) == (600, 1)


def test_a_called_agents_own_ceiling_ends_its_turn_alone(agents: Agents, upstream: Upstream):
    last = calling(agents)
    helper = calling(agents, last, settings={"tokens": 200, "maximum_iterations": 9})
    agent = calling(agents, helper, settings={"tokens": 1000, "maximum_iterations": 2})
    assert agents.say(agent, "go").json["text"] == "enough"
    # Twice: it, the helper, the helper's helper, the helper's last words; then its own.
    assert [len(asked.json.get("tools", ())) for asked in upstream.asked] == [1, 1, 0, 0] * 2 + [0]


def test_agents_that_are_called_at_once_share_what_is_left(agents: Agents, upstream: Upstream, tools: ToolServer):
    tool = agents.tool("shared_look", f"{tools.url}/echo/look")
    more = {"tool_ids": [tool], "settings": {"maximum_iterations": 20}}
    helpers = [agents.agent(service="up", configuration={"model": "x"}, **more) for _ in range(4)]

    def all_at_once(asked: Asked) -> Said:
        offered = asked.json.get("tools") or []
        if len(offered) != 4:
            return insatiable(asked)
        calls = [
            {"id": f"c{place}", "type": "function",
             "function": {"name": one["function"]["name"], "arguments": '{"message":"go on"}'}}
            for place, one in enumerate(offered)
        ]  # fmt: skip
        choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}}
        usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
        return whole({"id": "c", "model": "x", "choices": [{**choice, "finish_reason": "tool_calls"}], "usage": usage})

    upstream.answer = all_at_once
    try:
        reply = agents.say(calling(agents, *helpers, settings={"tokens": 1000}), "go")
    finally:
        upstream.answer = insatiable
    assert reply.json["text"] == "enough"
    # It, then four that go on until 1000 are spent: a call that is under way by then ends, and each has its last words.
    assert len(upstream.asked) <= 1 + (9 + 3) + 4 + 1
    assert len(tools.calls) <= 9 + 3


def test_a_turn_whose_tools_before_it_have_spent_all_that_it_may_has_one_call_left(agents: Agents, upstream: Upstream):
    schema = {"type": "object", "properties": {"message": {"type": "string"}}}
    stored = {"name": "spends", "kind": "agent", "parameters": schema, "agent": {"agent_id": calling(agents)}}
    pre = {"tool_id": agents.post("/v1/admin/tools", stored)["id"], "args": {"message": "go"}}
    agent = calling(agents, calling(agents), pre_tools=[pre], settings={"tokens": 100})
    assert agents.say(agent, "go").json["text"] == "enough"
    assert len(upstream.asked) == 2
    assert "tools" not in upstream.asked[-1].json


def test_what_agents_that_were_called_had_spent_before_a_kill_counts_towards_the_ceiling(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    tools.slow = 1.0
    # The helper calls a helper of its own: what is far below counts as well.
    helper = calling(agents, calling(agents), settings={"maximum_iterations": 1})
    tool = agents.tool("slow_other", f"{tools.url}/slow/other", effect="pure")
    agent = calling(agents, helper, tool_ids=[tool], settings={"tokens": 500, "maximum_iterations": 9})

    def first_the_helper(asked: Asked) -> Said:
        body = asked.json
        offered = [one["function"]["name"] for one in body.get("tools", ())]
        if "slow_other" not in offered:
            return insatiable(asked)
        wanted = "slow_other" if any(one["role"] == "tool" for one in body["messages"]) else "helper_0"
        body["tools"].sort(key=lambda one: one["function"]["name"] != wanted)
        return insatiable(Asked(asked.method, asked.path, asked.headers, msgspec.json.encode(body)))

    upstream.answer = first_the_helper
    body = {"agent_id": agent, "user": "go", "response_format": {"type": "queue", "cred": {"name": "ceilings"}}}
    try:
        accepted = agents.serving.ask("POST", "/api/v2/model/chat/completion", body).json
        until(lambda: tools.to("/slow/other"), 30)
        assert len(upstream.asked) == 5  # it, the helper, the helper's helper, the helper, it
        agents.serving.kill()
        agents.serving.start()
        job = until(lambda: ended(agents, accepted["message_id"]), 30)
    finally:
        upstream.answer = insatiable
    assert len(upstream.asked) == 6, job  # the ceiling is reached: one last call without tools
    assert "tools" not in upstream.asked[-1].json
    assert job["result"]["data"]["content"] == "enough"
    assert job["result"]["usage"]["total_tokens"] == 600


def ended(agents: Agents, message: str) -> dict[str, Any] | None:
    job = agents.serving.ask("GET", f"/v1/admin/jobs/{message}").json
    return job if job["status"] in ("done", "failed") else None


def test_a_turn_that_takes_longer_than_it_may_is_stopped(agents: Agents, tools: ToolServer):
    tools.slow = 5.0
    tool = agents.tool("slow_one", f"{tools.url}/slow/one")
    settings = {"seconds": 1, "maximum_iterations": 50}
    agent = agents.agent(service="up", configuration={"model": "x"}, tool_ids=[tool], settings=settings)
    began = time.monotonic()
    reply = agents.say(agent, "go")
    assert time.monotonic() - began < tools.slow
    assert reply.status in (504, 408), reply.body
