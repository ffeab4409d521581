"""A turn that is cut by the end of its server costs what its calls are estimated at, is counted, and is rung for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, stream, whole
from .waiting import until

ASK = "/api/v2/model/chat/completion"
TOML = """
[server]
lame_duck_seconds = 0
[egress]
allow = ["127.0.0.1:{hooks}"]
[providers.up]
kind = "openai_compatible"
base_url = "{upstream}/v1"
prices = {{ "*" = {{ input = "1000", output = "1000" }} }}
"""
#: Seconds that a model thinks which is not to answer before its caller is dead.
LONG = 60.0


class Model:
    """Thinks long about its next `slow` questions, answers the others."""

    slow = 0

    def __call__(self, asked: Asked) -> Said:
        if self.slow:
            self.slow -= 1
            return stream(LONG) if asked.json.get("stream") else Said((LONG,))
        message = {"role": "assistant", "content": "here it is"}
        usage = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return whole({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
                      "usage": usage})  # fmt: skip


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def upstream(model: Model) -> Iterator[Upstream]:
    with Upstream(model) as running:
        yield running


@pytest.fixture
def hooks() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture
def agents(upstream: Upstream, hooks: ToolServer, tmp_path: Path) -> Iterator[Agents]:
    with Serving(tmp_path, TOML.format(hooks=hooks.port, upstream=upstream.url)) as serving:
        made = Agents(serving)
        made.post("/v1/admin/alerts", {"name": "e", "type": "Error", "webhook": {"url": f"{hooks.url}/echo/error"}})
        yield made


def asked(agents: Agents, agent: str, **more: Any) -> Any:
    body = {"agent_id": agent, "user": "what is it?", "thread_id": "t", **more}
    return agents.serving.ask("POST", ASK, body).json


def dies(agents: Agents, upstream: Upstream, calls: int, gone: float = 0.0) -> None:
    """Once the model was asked so often. gone: seconds."""
    until(lambda: len(upstream.asked) == calls)
    agents.serving.kill()
    time.sleep(gone)
    agents.serving.start()


def counted(agents: Agents) -> list[Any]:
    return list(agents.serving.ask("GET", "/v1/admin/metrics?bucket=raw").json["data"])


def test_a_turn_that_ends_with_its_server_is_priced_counted_and_rung_for(
    agents: Agents, upstream: Upstream, hooks: ToolServer, model: Model
):
    agent = agents.agent(service="up", configuration={"model": "m"})
    asked(agents, agent)
    model.slow = 2
    with ThreadPoolExecutor() as pool:
        cut = [pool.submit(asked, agents, agent), pool.submit(asked, agents, agent, is_playground=True)]
        dies(agents, upstream, 3, gone=1.5)
        assert all(isinstance(one.exception(), OSError | HTTPException) for one in cut)
    until(lambda: len(counted(agents)) == 2)
    until(lambda: hooks.to("/echo/error"))
    done, failed = counted(agents)
    assert (done["success"], failed["success"], failed["failure"]) == (True, False, "interrupted")
    [attempt, tried] = [row for row in agents.serving.attempts() if row["status"] == "unknown"]
    # Until its model was asked, and not until somebody has noticed that the server was gone.
    assert 0 <= failed["latency_ms"] < 1000
    for one in (attempt, tried):
        tokens = one["usage"]["input_tokens"]
        assert tokens
        assert Decimal(one["cost"]) == Decimal(tokens) / 1000
    assert failed["run_id"] in (attempt["run_id"], tried["run_id"])
    mine = attempt if attempt["run_id"] == failed["run_id"] else tried
    for name in ("agent_id", "version_id", "thread_id", "key_id", "service", "model"):
        assert failed[name] == done[name], name
    assert (failed["attempts"], failed["input_tokens"], Decimal(failed["cost"])) == (
        1,
        mine["usage"]["input_tokens"],
        Decimal(mine["cost"]),
    )
    [sums] = agents.serving.ask("GET", "/v1/admin/metrics?group_by=agent").json["data"]
    assert (sums["turns"], sums["failures"]) == (2, 1)
    assert Decimal(sums["cost"]) == Decimal(done["cost"]) + Decimal(failed["cost"])
    rows = agents.serving.ask("GET", "/v1/admin/transactions").json["data"]
    assert {row["id"]: row["cost"] for row in rows if row["status"] == "unknown"} == {
        one["id"]: one["cost"] for one in (attempt, tried)
    }
    [rung] = hooks.to("/echo/error")
    told = rung["body"]
    assert (told["agent_id"], told["thread_id"], told["run_id"]) == (agent, "t", failed["run_id"])
    assert told["detail"] == {"code": "interrupted"}
    assert told["message_id"] == failed["message_id"]


def test_a_turn_that_goes_on_after_a_kill_costs_both_calls_and_is_counted_once(
    agents: Agents, upstream: Upstream, hooks: ToolServer, model: Model
):
    agent = agents.agent(service="up", configuration={"model": "m"})
    model.slow = 1
    id = asked(agents, agent, response_format={"type": "queue", "cred": {"name": "q"}})["message_id"]
    dies(agents, upstream, 1)
    job = until(lambda: _ended(agents, id), 30)
    costs = [Decimal(row["cost"]) for row in agents.serving.attempts()]
    assert len(costs) == 2
    assert Decimal(job["result"]["usage"]["cost"]) == sum(costs)
    [row] = until(lambda: counted(agents))
    assert (row["success"], row["attempts"], Decimal(row["cost"])) == (True, 2, sum(costs))
    assert not hooks.to("/echo/error")


def test_a_turn_that_every_server_died_of_is_counted_and_says_so_in_its_conversation(
    agents: Agents, upstream: Upstream, hooks: ToolServer, model: Model
):
    agent = agents.agent(service="up", configuration={"model": "m"})
    model.slow = 5
    id = asked(agents, agent, response_format={"type": "queue", "cred": {"name": "q"}})["message_id"]
    for calls in range(5):
        dies(agents, upstream, calls + 1)
    job = until(lambda: _ended(agents, id), 30)
    assert job["status"] == "failed"
    [row] = until(lambda: counted(agents))
    assert (row["success"], row["failure"], row["attempts"], row["message_id"]) == (False, "interrupted", 5, id)
    assert Decimal(row["cost"]) == sum(Decimal(one["cost"]) for one in agents.serving.attempts()) > 0
    until(lambda: hooks.to("/echo/error"))
    [conversation] = agents.serving.ask("GET", "/api/v1/conversation/chat-history").json["data"]
    said = agents.serving.ask("GET", f"/api/v1/conversation/{conversation['id']}").json["messages"]
    assert [one["role"] for one in said] == ["user", "assistant"]
    assert said[1]["error"]["code"] == "interrupted"
    model.slow = 0
    assert asked(agents, agent)["data"]["content"] == "here it is"


def test_a_cut_turn_that_is_refused_when_it_is_made_again_is_counted_rung_for_and_answered(
    agents: Agents, upstream: Upstream, hooks: ToolServer, model: Model
):
    agent = agents.agent(service="up", configuration={"model": "m"})
    model.slow = 1
    id = asked(agents, agent, response_format={"type": "queue", "cred": {"name": "q"}})["message_id"]
    until(lambda: len(upstream.asked) == 1)
    assert agents.serving.ask("POST", f"/v1/admin/agents/{agent}/pause", {}).status == 200
    dies(agents, upstream, 1)
    job = until(lambda: _ended(agents, id), 30)
    assert (job["status"], job["result"]["code"]) == ("failed", "agent_paused")
    [row] = until(lambda: counted(agents))
    assert (row["success"], row["failure"], row["attempts"], row["message_id"]) == (False, "agent_paused", 1, id)
    [attempt] = agents.serving.attempts()
    assert Decimal(row["cost"]) == Decimal(attempt["cost"]) > 0
    [rung] = until(lambda: hooks.to("/echo/error"))
    assert rung["body"]["detail"] == {"code": "agent_paused"}
    [conversation] = agents.serving.ask("GET", "/api/v1/conversation/chat-history").json["data"]
    said = agents.serving.ask("GET", f"/api/v1/conversation/{conversation['id']}").json["messages"]
    assert [one["role"] for one in said] == ["user", "assistant"]
    assert said[1]["error"]["code"] == "agent_paused"


def _ended(agents: Agents, id: str) -> Any:
    job = agents.serving.ask("GET", f"/v1/admin/jobs/{id}").json
    return job if job["ended_at"] else None
