"""Turns of our own faces that leave nothing out: they are refused instead, by the names that each route has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

V2, V1, RUN, PLAIN = (
    "/api/v2/model/chat/completion", "/api/v1/conversation", "/api/v1/agent/run", "/api/v1/completions",
)  # fmt: skip
#: It takes no temperature, and no tool can be forced on it.
CLAUDE = "claude-opus-5-5"
HI = [{"role": "user", "content": "hi"}]
TOOL = {"name": "f", "parameters": {"type": "object"}}


def answered(asked: Asked) -> Said:
    if asked.path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [3.0]}]
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        return whole({"object": "list", "model": "e", "data": data, "usage": usage})
    usage = {"input_tokens": 3, "output_tokens": 1}
    said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "yes"}], "usage": usage}
    return whole({"id": "msg_1", "model": asked.json["model"], "stop_reason": "end_turn", **said})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answered) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = f'''
[providers.claude]
kind = "anthropic"
api_key = "sk-ant"
base_url = "{upstream.url}"
[providers.up]
kind = "openai_compatible"
base_url = "{upstream.url}/v1"
'''
    with Serving(tmp_path_factory.mktemp("strict"), toml) as serving:
        made = Agents(serving)
        made.tool("f", "https://example.org/f")
        yield made


def strictly(agents: Agents, path: str, body: dict[str, Any]) -> Reply:
    return agents.serving.ask("POST", path, body, x_midstream_strict="true")


#: path, body, what is left out by the name that it has there, who cannot honour it.
LEFT_OUT: list[tuple[str, dict[str, Any], list[str], str]] = [
    (V2, {"user": "hi", "service": "claude", "model": CLAUDE, "configuration": {"creativity_level": 0.5}},
     ["creativity_level"], "this turn"),
    (V2, {"user": "hi", "service": "claude", "model": CLAUDE, "tool_choice": "f",
          "extra_tools": [{**TOOL, "url": "https://example.org/f"}]},
     ["tool_choice"], "claude"),
    (RUN, {"model": f"claude/{CLAUDE}", "messages": HI, "stream": False, "tools": ["f"], "toolChoice": "f"},
     ["toolChoice"], "claude"),
    (V2, {"user": "hi", "service": "midstream", "model": "rehearsal", "tool_choice": "required"},
     ["tool_choice"], "this turn"),
    (RUN, {"model": "midstream/rehearsal", "messages": HI, "stream": False, "toolChoice": "required"},
     ["toolChoice"], "this turn"),
    (PLAIN, {"model": f"claude/{CLAUDE}", "messages": HI, "temperature": 0.5, "tools": [TOOL], "toolChoice": "f"},
     ["temperature", "toolChoice"], "claude"),
]  # fmt: skip


@pytest.mark.parametrize("path, body, names, who", LEFT_OUT)
def test_what_would_be_left_out_is_refused_by_the_name_that_it_has_there(
    agents: Agents, upstream: Upstream, path: str, body: dict[str, Any], names: list[str], who: str
):
    loose = agents.serving.ask("POST", path, body)
    assert loose.status == 200
    if path == PLAIN:
        assert loose.headers["x-midstream-dropped-params"] == ",".join(names)
    else:
        told = loose.json
        assert (told["data"]["dropped_parameters"] if path == V2 else told["droppedParameters"]) == names
    upstream.asked.clear()
    refused = strictly(agents, path, body)
    words = f"{who} cannot honour: {', '.join(names)}"
    assert refused.status == 400
    if path == V2:
        assert (refused.json["error"], refused.json["code"], refused.json["param"]) == (words, "unsupported", names[0])
    else:
        assert (refused.json["message"], refused.json["error"]) == (words, "unsupported")
    assert upstream.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_version_says_is_left_out_of_no_strict_turn_either(agents: Agents, stream: bool):
    agent = agents.agent(configuration={"dimensions": 3})
    assert agents.say(agent, "hi").json["droppedParameters"] == ["dimensions"]
    body = {"agentId": agent, "message": "hi", "stream": stream}
    if not stream:
        refused = strictly(agents, V1, body)
        assert (refused.status, refused.json["message"]) == (400, "this turn cannot honour: dimensions")
        return
    told = agents.serving.ask("POST", V1, body, x_midstream_strict="true")
    assert b"this turn cannot honour: dimensions" in told.body
    assert b"event: done" not in told.body


def test_a_strict_turn_of_which_nothing_is_left_out_is_answered(agents: Agents):
    assert strictly(agents, V1, {"agentId": agents.agent(), "message": "hi", "stream": False}).status == 200
    assert strictly(agents, V2, {"user": "hi", "service": "claude", "model": CLAUDE}).status == 200
    assert strictly(agents, RUN, {"model": f"claude/{CLAUDE}", "messages": HI, "stream": False}).status == 200
    assert strictly(agents, PLAIN, {"model": f"claude/{CLAUDE}", "messages": HI, "maxOutputTokens": 9}).status == 200


def test_a_vector_has_nothing_left_out_of_it_strictly(agents: Agents, upstream: Upstream):
    agent = agents.agent(type="embedding", service="up", configuration={"model": "e"})
    assert strictly(agents, V2, {"agent_id": agent, "user": "hi"}).status == 200
    upstream.asked.clear()
    refused = strictly(agents, V1, {"agentId": agent, "message": "hi", "stream": True, "variables": {"a": 1}})
    assert (refused.status, refused.json["message"]) == (400, "a vector cannot honour: stream, variables")
    assert upstream.asked == []


def test_the_turns_of_a_strict_batch_are_strict(agents: Agents):
    body = {"service": "claude", "model": CLAUDE, "configuration": {"creativity_level": 0.5}, "batch": ["hi"]}
    made = strictly(agents, "/api/v2/model/batch/chat/completion", body).json["batch_id"]

    def ended() -> Any:
        told = agents.serving.ask("GET", f"/api/v2/model/batch/{made}").json
        return told if told["status"] != "running" else None

    until(lambda: ended() is not None)
    [turn] = ended()["data"]
    assert (turn["status"], turn["code"]) == ("failed", "unsupported"), turn
