"""Agents that other agents call, on a server that stops or whose store goes away in the middle of it: nobody is told a
failure of ours as if it were the other agent's answer."""

from __future__ import annotations

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

ASK = "/api/v2/model/chat/completion"
QUEUE = {"type": "queue", "cred": {"name": "q"}}
TOML = """
[server]
lame_duck_seconds = 0
drain_seconds = 60
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


class Models:
    """`top` asks the lawyer and says what it was told; `lawyer` says yes, after having looked where it can. held: the
    model whose next answers wait until they may `go`. fails: then that answer is a failure, once."""

    def __init__(self) -> None:
        self.held, self.fails, self.waiting = "", False, 0
        self.go = threading.Event()

    def __call__(self, asked: Asked) -> Said:
        model, last = asked.json["model"], asked.json["messages"][-1]
        if model == "top" and last["role"] != "tool":
            said = calls("ask_lawyer", message="may I?")
        elif model == "lawyer" and asked.json.get("tools") and last["role"] != "tool":
            said = calls("look", city="Oslo")
        else:
            said = {"role": "assistant", "content": "yes" if model == "lawyer" else f"told: {last['content']}"}
        if self.held != model or (said.get("tool_calls") and model == "lawyer"):
            return answered(said)
        self.waiting += 1
        status, self.fails = (500, False) if self.fails else (200, False)
        if status == 500:
            self.held = ""
        return Said(self._pieces(answered(said) if status == 200 else whole({}, 500)), status)

    def _pieces(self, said: Said) -> Iterator[bytes | float]:
        while not self.go.is_set():
            yield 0.01
        yield from said.pieces


def calls(name: str, **arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def answered(message: dict[str, Any]) -> Said:
    stop = "tool_calls" if message.get("tool_calls") else "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                  "choices": [{"index": 0, "message": message, "finish_reason": stop}], "usage": usage})  # fmt: skip


def asking(agents: Agents, **lawyer: Any) -> str:
    """An agent that asks a lawyer: as agents are called, which is not to be repeated where it may do harm."""
    called = agents.agent(service="up", configuration={"model": "lawyer"}, **lawyer)
    made = {"name": "ask_lawyer", "kind": "agent", "description": "law", "agent": {"agent_id": called}}
    tool = agents.post("/v1/admin/tools", made)["id"]
    return agents.agent(service="up", configuration={"model": "top"}, tool_ids=[tool])


def asked(serving: Serving, agent: str, **more: Any) -> Reply:
    return serving.ask("POST", ASK, {"agent_id": agent, "user": "hello", **more})


def ended(serving: Serving, id: str) -> Any:
    def job() -> Any:
        found = serving.ask("GET", f"/v1/admin/jobs/{id}").json
        return found if found["ended_at"] else None

    return until(job, 60)


def listens(serving: Serving) -> bool:
    try:
        socket.create_connection(("127.0.0.1", serving.port), 1).close()
    except OSError:
        return False
    return True


def test_agents_that_are_under_way_when_the_server_is_to_stop_still_ask_others(tmp_path: Path):
    models = Models()
    with (
        Upstream(models) as upstream,
        Serving(tmp_path, TOML.format(url=upstream.url, port=1)) as serving,
        ThreadPoolExecutor() as pool,
    ):
        agent, models.held = asking(Agents(serving)), "top"
        later = asked(serving, agent, response_format=QUEUE).json["message_id"]
        direct = pool.submit(asked, serving, agent)
        until(lambda: models.waiting == 2)
        assert serving.process is not None
        serving.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(serving))
        time.sleep(0.5)
        models.held = ""
        models.go.set()
        assert direct.result().json["data"]["content"] == "told: yes"
        assert serving.process.wait(30) == 0
        serving.start()
        job = ended(serving, later)
        assert (job["status"], job["tries"], job["result"]["data"]["content"]) == ("done", 1, "told: yes")


@pytest.mark.parametrize("looks", [False, True])
def test_that_the_store_is_away_is_never_told_as_the_answer_of_an_agent(tmp_path: Path, looks: bool):
    """What the agent has done that must not be done twice is not done twice: that is told instead."""
    models = Models()
    with (
        ToolServer() as tools,
        Upstream(models) as upstream,
        Serving(tmp_path, TOML.format(url=upstream.url, port=tools.port)) as serving,
    ):
        agents = Agents(serving)
        own = {"tool_ids": [agents.tool("look", f"{tools.url}/echo/look")]} if looks else {}
        agent, models.held, models.fails = asking(agents, **own), "lawyer", True
        later = asked(serving, agent, response_format=QUEUE).json["message_id"]
        until(lambda: models.waiting)
        with closing(sqlite3.connect(serving.data / "midstream.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            models.go.set()
            until(lambda: "the store is away" in serving.log(), 20)
            other.execute("ROLLBACK")
        content = ended(serving, later)["result"]["data"]["content"]
        if looks:
            assert "it may have been done" in content
            assert len(tools.calls) == 1
        else:
            assert content == "told: yes"
