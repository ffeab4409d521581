"""Tools that run before the first model call, on a real server: what they get, who hears of them, when they may run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .scripted_model import Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream

ASK = "/api/v2/model/chat/completion"
TEXT = {"type": "string"}
TOML = """
[server]
lame_duck_seconds = 0
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(Models()) as running:
        yield running


@pytest.fixture
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture
def agents(upstream: Upstream, tools: ToolServer, tmp_path: Path) -> Iterator[Agents]:
    with Serving(tmp_path, TOML.format(port=tools.port, url=upstream.url)) as serving:
        yield Agents(serving)


def ahead(agents: Agents, tools: ToolServer, **more: Any) -> str:
    """A tool that is sent what it is called with."""
    return agents.tool("ahead", f"{tools.url}/echo/ahead", properties={"at": TEXT, "said": TEXT}, **more)


def called_before(agents: Agents, tool: str, prompt: str = "Known: {{found}}", **more: Any) -> str:
    args = more.pop("args", {"at": "{{tenant}}", "said": "floor=2.05"})
    return agents.agent(
        service="up", configuration={"model": "m", "prompt": prompt},
        pre_tools=[{"tool_id": tool, "args": args, "into": "found"}], **more,
    )  # fmt: skip


def test_whoever_asks_an_agent_is_told_nothing_of_the_tools_that_run_before_its_model(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    hidden = {"tenant": {"default": "tok-internal-9912"}}
    agent = called_before(agents, ahead(agents, tools), variables_state=hidden)
    heard = [
        *agents.events("/api/v1/conversation", {"agentId": agent, "message": "hello"}),
        *agents.events(ASK, {"agent_id": agent, "user": "hello", "stream": True}),
    ]
    heard += [("", agents.say(agent, "hello").json), ("", agents.post(ASK, {"agent_id": agent, "user": "hello"}))]
    assert not {name for name, _ in heard} & {"tool_call", "tool_result"}
    assert not re.search(rb"9912|2\.05|ahead", msgspec.json.encode(heard))
    assert [call["body"] for call in tools.calls] == [{"at": "tok-internal-9912", "said": "floor=2.05"}] * 4
    assert all("tok-internal-9912" in str(one.json["messages"][0]) for one in upstream.asked)
    rows = agents.serving.ask("GET", "/v1/admin/tool_calls").json["data"]
    assert [(row["tool"], row["status"]) for row in rows] == [("ahead", "ok")] * 4
