"""The agents' part of the benchmark must notice an answer that is not the one asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Its modules lie beside each other and find each other by their plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    import agents

    yield agents
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCH)):
            del sys.modules[name]


def model(messages: list[dict[str, Any]], tools: int) -> dict[str, Any]:
    import agent_upstream

    offered = [{"type": "function", "function": {"name": f"t{place}"}} for place in range(tools)]
    answer = json.loads(agent_upstream._model({"messages": messages, "tools": offered}))
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def test_only_right_results_of_this_turn_are_counted(agents: ModuleType) -> None:
    user, right = {"role": "user", "content": "hi"}, {"role": "tool", "content": '{"sky":"clear"}'}
    asks = model([right, user], 2)
    assert [call["function"]["name"] for call in asks["tool_calls"]] == ["t0", "t1"]
    assert model([right, user, asks, right, right], 2)["content"] == "hi: 2 results"
    assert model([user, asks, right, {"role": "tool", "content": "Error"}], 2)["content"] == "hi: 1 results"


def test_an_answer_that_is_not_the_one_asked_for_ends_the_measurement(agents: ModuleType) -> None:
    class Server:
        name, said = "s", "hi: 2 results"

        def turn(self, client: object, agent: str, message: str, conversation: str) -> tuple[str, str]:
            return self.said, "conv"

    server = Server()
    asking = agents.Asking(server, 0)
    assert asking.say(None, "two", "hi") == "conv"
    server.said = "hi: 1 results"
    with pytest.raises(agents.Wrong):
        asking.say(None, "two", "hi")
