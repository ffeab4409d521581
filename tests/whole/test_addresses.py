"""Every address that somebody other than the operator can give goes through the one door out: none of them leads to a
private place, however it is spelled, resolved or redirected, and who gave it is told which one it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.flash]
kind = "gemini"
base_url = "http://127.0.0.1:9"
api_key = "goog-secret"
"""
#: What an address says, and why it is refused. {secret}: port of a private service; {open}: of one that may be called.
ADDRESSES = {
    "private": "http://127.0.0.1:{secret}/x",
    "network": "http://10.0.0.1:{secret}/x",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "mapped": "http://[::ffff:127.0.0.1]:{secret}/x",
    "decimal": "http://2130706433:{secret}/x",
    "octal": "http://0177.0.0.1:{secret}/x",
    "name": "http://localhost:{secret}/x",
    "redirect": "http://127.0.0.1:{open}/to/127.0.0.1:{secret}/x",
    "redirect to a name": "http://127.0.0.1:{open}/to/localhost:{secret}/x",
}
REFUSED = "may not be called"


@pytest.fixture(scope="module")
def hidden() -> Iterator[ToolServer]:
    """A private service that nobody may reach."""
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def allowed() -> Iterator[ToolServer]:
    """A service that the operator lets be called."""
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(allowed: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("addresses"), TOML.format(port=allowed.port)) as serving:
        yield Agents(serving)


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, allowed: ToolServer, hidden: ToolServer) -> Iterator[str]:
    hidden.calls.clear()
    yield ADDRESSES[request.param].format(secret=hidden.port, open=allowed.port)
    assert hidden.calls == []


def called(agents: Agents, name: str, arguments: dict[str, Any]) -> str:
    reply = agents.post("/mcp/v1/tools/call-tool", {"name": name, "arguments": arguments})
    assert reply["isError"] is True, reply
    return str(reply["content"][0]["text"])


def http_tool(agents: Agents, address: str, name: str) -> str:
    agents.tool(name, address)
    return called(agents, name, {"city": "Oslo"})


def scraped_page(agents: Agents, address: str, name: str) -> str:
    return called(agents, "scrape", {"url": address})


def pre_tool(agents: Agents, address: str, name: str) -> str:
    tool = agents.tool(name, address)
    agent = agents.agent(pre_tools=[{"tool_id": tool, "args": {"city": "x"}}])
    assert agents.say(agent, "hello").status == 200
    rows = agents.serving.ask("GET", "/v1/admin/tool_calls?limit=1000").json["data"]
    return str(next(row["result"] for row in rows if row["tool"] == name))


def mcp_server(agents: Agents, address: str, name: str) -> str:
    agents.post("/v1/admin/mcp_servers", {"name": name, "url": address})
    problems = agents.serving.ask("GET", "/mcp/v1/tools/list-tools").json["problems"]
    return str(problems[name])


def guardrail(agents: Agents, address: str, name: str) -> str:
    rails = {"input": {"webhook": {"url": address}}, "message": f"Blocked: it {REFUSED} or answers no url."}
    agent = agents.agent(publish=False, settings={"guardrails": rails})  # a draft: some are not published
    version = agents.serving.ask("GET", f"/v1/admin/agents/{agent}").json["version_id"]
    body = {"agent_id": agent, "version_id": version, "user": "hello"}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", body)
    return str(reply.json)


def picture(agents: Agents, address: str, name: str) -> str:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": address}}]
    body = {"model": "flash/x", "messages": [{"role": "user", "content": parts}]}
    reply = agents.serving.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 400, reply.body
    return str(reply.json)


def attachment(agents: Agents, address: str, name: str) -> str:
    agent = agents.agent(service="flash", configuration={"model": "x"})
    attached = [{"type": "image", "url": address}]
    reply = agents.say(agent, "look", attachments=attached)
    assert reply.status == 400, reply.body
    return str(reply.json)


def later_answer(agents: Agents, address: str, name: str) -> str:
    hook = {"type": "webhook", "cred": {"url": address}}
    body = {"agent_id": agents.agent(), "user": "hello", "response_format": hook}
    id = agents.serving.ask("POST", "/api/v2/model/chat/completion", body).json["message_id"]
    return tried(agents, lambda row: row["id"] == "dlv_" + id.removeprefix("msg_"))


def alert(agents: Agents, address: str, name: str) -> str:
    agent = agents.agent()
    before = {row["id"] for row in agents.serving.ask("GET", "/v1/admin/deliveries?limit=1000").json["data"]}
    made = agents.post(
        "/v1/admin/alerts", {"name": name, "type": "Error", "webhook": {"url": address}, "agent_ids": [agent]}
    )
    agents.say(agent, "fail:400")
    try:
        return tried(agents, lambda row: row["target"]["url"] == address and row["id"] not in before)
    finally:
        agents.serving.ask("DELETE", f"/v1/admin/alerts/{made['id']}")


def tried(agents: Agents, which: Callable[[dict[str, Any]], bool]) -> str:
    """What is said of a message that could not be delivered."""
    deadline = time.monotonic() + 15
    while True:
        rows = agents.serving.ask("GET", "/v1/admin/deliveries?limit=1000").json["data"]
        found = [row for row in rows if which(row) and row["last_error"]]
        if found:
            return str(found[-1])
        assert time.monotonic() < deadline, rows
        time.sleep(0.02)


#: Whoever can be given an address, and the word by which its refusal names it.
FIELDS: dict[Callable[[Agents, str, str], str], str] = {
    http_tool: "url",
    scraped_page: "url",
    pre_tool: "url",
    mcp_server: "url",
    guardrail: "Blocked",
    picture: "media",
    attachment: "media",
    later_answer: "url",
    alert: "url",
}
#: Those that follow no redirect, whether it leads to a private place or not.
STRAIGHT = (mcp_server, guardrail, later_answer, alert)


@pytest.mark.parametrize("field", FIELDS, ids=lambda one: one.__name__)
def test_no_address_that_is_given_leads_to_a_private_place(
    agents: Agents, address: str, field: Callable[[Agents, str, str], str]
) -> None:
    name = f"{field.__name__}_{abs(hash(address))}"
    told = field(agents, address, name)
    if "/to/" in address and field in STRAIGHT:
        assert "30" in told or REFUSED in told, told
        return
    assert REFUSED in told, told
    assert FIELDS[field] in told, told
