"""Tools that run before the first model call, on a real server: what they get, who hears of them, when they may run."""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.agent.template import current_time, zone_of

from .agents_at import Agents
from .scripted_model import Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream
from .waiting import until

ASK = "/api/v2/model/chat/completion"
TEXT = {"type": "string"}
BERLIN = {"timezone": "Europe/Berlin"}
TIME = re.compile(r"\w+day, \d{4}-\d\d-\d\d \d\d:\d\d \(Europe/Berlin, UTC\+0[12]:00\)")
RAILS = {"guardrails": {"input": {"patterns": ["topsecret"]}, "message": "Not that."}}
TOML = """
[server]
lame_duck_seconds = 0
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


class Slow:
    """Answers its next `slow` questions not before its caller is dead, the others as models do."""

    def __init__(self) -> None:
        self.slow = 0
        self._models = Models()

    def __call__(self, asked: Asked) -> Said:
        if self.slow:
            self.slow -= 1
            return Said((60.0,))
        return self._models(asked)


@pytest.fixture
def model() -> Slow:
    return Slow()


@pytest.fixture
def upstream(model: Slow) -> Iterator[Upstream]:
    with Upstream(model) as running:
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


def test_a_pre_tool_gets_the_time_in_the_users_zone_written_out_or_mapped(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    written = called_before(agents, ahead(agents, tools), args={"at": "{{current_time}}", "said": "x"})
    mapped = agents.tool("mapped", f"{tools.url}/echo/mapped", properties={"at": TEXT}, mapped={"at": "current_time"})
    for agent in (written, called_before(agents, mapped, args={})):
        data = agents.post(ASK, {"agent_id": agent, "user": "hello", "variables": BERLIN})["data"]
        assert "missing_variables" not in data or data["missing_variables"] == []
    assert len(tools.calls) == 2
    assert all(TIME.fullmatch(call["body"]["at"]) for call in tools.calls), tools.calls


def test_a_turn_that_goes_on_after_a_kill_has_called_its_pre_tools_once_whatever_the_time_is_by_then(
    agents: Agents, upstream: Upstream, tools: ToolServer, model: Slow, tmp_path: Path
):
    args = {"at": "{{current_time}}", "said": "{{_user_message}}"}
    agent = called_before(agents, ahead(agents, tools, effect="unsafe"), args=args)
    model.slow = 1
    later = {"response_format": {"type": "queue", "cred": {"name": "q"}}, "variables": BERLIN}
    id = agents.post(ASK, {"agent_id": agent, "user": "hello", **later})["message_id"]
    until(lambda: upstream.asked)
    agents.serving.kill()
    with closing(sqlite3.connect(tmp_path / "data" / "midstream.db")) as db:  # it began a day before
        [(began,)] = db.execute("SELECT created_at FROM runs").fetchall()
        zone = zone_of("Europe/Berlin")
        assert zone is not None
        told = msgspec.json.encode({"at": current_time(began - 86400, zone), "said": "hello"})
        db.execute("UPDATE runs SET created_at = created_at - 86400")
        assert db.execute("UPDATE tool_calls SET arguments = ?", (told,)).rowcount == 1
        db.commit()
    agents.serving.start()

    def ended() -> Any:
        job = agents.serving.ask("GET", f"/v1/admin/jobs/{id}").json
        return job if job["ended_at"] else None

    assert until(ended, 30)["result"]["data"]["content"] == "done"
    [call] = tools.calls
    first, again = [one.json["messages"][0]["content"].split("Current time")[0] for one in upstream.asked]
    assert call["body"]["at"] in first
    assert again == first


def test_no_tool_runs_before_a_question_that_is_blocked_and_none_is_missed(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    helper = agents.agent(service="up", configuration={"model": "helper"})
    schema = {"type": "object", "properties": {"message": TEXT}}
    asks = {"name": "asks", "kind": "agent", "parameters": schema, "agent": {"agent_id": helper}}
    asked = {"tool_id": agents.post("/v1/admin/tools", asks)["id"], "args": {"message": "{{_user_message}}"}}
    sent = {"tool_id": ahead(agents, tools), "args": {"at": "x", "said": "{{asks}}"}, "into": "found"}
    agent = agents.agent(
        service="up", configuration={"model": "m", "prompt": "{{found.got.said}} {{asks}} {{other}}"},
        settings=RAILS, pre_tools=[asked, sent], variables_state={"found": {"required": True}},
    )  # fmt: skip
    document = agents.post("/v1/admin/documents", {"name": "plan", "text": "a topsecret plan"})["id"]
    for said, more in (("topsecret 4711", {}), ("What is it?", {"documentIds": [document]})):
        told = agents.say(agent, said, **more).json
        assert (told["text"], told["blocked"]) == ("Not that.", "it matches topsecret")
        assert told["missingVariables"] == ["other"]
    assert upstream.asked == tools.calls == []
    data = agents.post(ASK, {"agent_id": agent, "user": "hello"})["data"]
    assert (data["content"], data["missing_variables"], len(tools.calls)) == ("done", ["other"], 1)
    assert [one.json["model"] for one in upstream.asked] == ["helper", "m"]
    assert upstream.asked[1].json["messages"][0]["content"].startswith("done done {{other}}")


def test_no_tool_runs_before_a_turn_that_is_refused(agents: Agents, upstream: Upstream, tools: ToolServer):
    agent = called_before(agents, ahead(agents, tools))
    refused = {"configuration": {"max_tokens": "many"}, "tool_choice": "no_such_tool"}
    for name, value in refused.items():
        reply = agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "hello", name: value})
        assert reply.status == 400, reply.body
    assert upstream.asked == tools.calls == []


def test_a_file_of_the_thread_that_comes_in_sight_because_the_prompt_is_long_is_checked_too(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    agents.post("/v1/admin/models", {"service": "up", "model": "m", "name": "m", "own": False, "context": 4000})
    agent = called_before(agents, ahead(agents, tools), args={"at": "x", "said": "y"}, settings=RAILS)
    file = f"data:text/plain;base64,{base64.b64encode(b'topsecret').decode()}"
    body = {"agent_id": agent, "thread_id": "t", "user": "word " * 1600, "files": [file]}
    assert agents.post(ASK, {**body, "guardrails": {"message": "as it is"}})["data"]["content"] == "done"
    asked = {"agent_id": agent, "thread_id": "t", "user": "and more " * 300}
    data = agents.post(ASK, asked)["data"]
    assert (data["blocked"], len(upstream.asked), len(tools.calls)) == ("it matches topsecret", 1, 2)
