"""What a model nests without end is told to it as wrong, and everybody can still read everything afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .scripted_model import Call, Line, Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream
from .waiting import until

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""
#: Around what Python reads and writes at most, which depends on how deep its own stack is by then.
DEPTHS = (65, 300, 960, 975, 985, 3000)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(models: Models, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with (
        Upstream(models) as upstream,
        Serving(tmp_path_factory.mktemp("nested"), TOML.format(port=tools.port, url=upstream.url)) as serving,
    ):
        yield Agents(serving)


def test_arguments_nested_without_end_are_refused_and_the_journal_and_the_history_can_be_read(
    agents: Agents, models: Models, tools: ToolServer
):
    look = {"name": "look", "parameters": {"type": "object", "properties": {"a": {}}}, "url": f"{tools.url}/echo/look"}
    for depth in DEPTHS:
        for stream in (False, True):
            models.say("x", Line(calls=(Call("look", nested(depth)),)), Line("done"))
            thread = f"{depth} {stream}"
            asked = {"service": "up", "model": "x", "user": "hi", "extra_tools": [look], "thread_id": thread}
            reply = agents.serving.ask("POST", ASK, {**asked, "stream": stream})
            assert (reply.status, b"internal_error" in reply.body, b"done" in reply.body) == (200, False, True), depth
            assert agents.serving.ask("POST", ASK, asked).json["data"]["content"] == "done"
    assert tools.calls == []
    get = agents.serving.ask
    journal = get("GET", "/v1/admin/tool_calls?limit=1000")
    assert journal.status == 200
    assert [row["error"] for row in journal.json["data"]] == ["invalid_arguments"] * 2 * len(DEPTHS)
    assert "nested deeper than 64" in journal.json["data"][0]["result"]
    assert [row["arguments"] for row in journal.json["data"]][::2] == [nested(depth) for depth in DEPTHS]
    for run in get("GET", "/v1/admin/runs?limit=100").json["data"]:
        assert get("GET", f"/v1/admin/runs/{run['id']}/events").status == 200
    talks = get("GET", "/api/v1/conversation/chat-history").json["data"]
    assert len(talks) == 2 * len(DEPTHS)
    for talk in talks:
        told = get("GET", f"/api/v1/conversation/{talk['id']}")
        assert told.status == 200
        assert b"toolCalls" in told.body


def test_an_answer_nested_without_end_is_no_json_that_was_asked_for(agents: Agents, models: Models):
    for depth in DEPTHS:
        for stream in (False, True):
            models.say("x", *[Line(nested(depth))] * 2)
            form = {"configuration": {"response_type": {"type": "json_object"}}}
            asked = {"service": "up", "model": "x", "user": "hi", "thread_id": f"form {depth} {stream}", **form}
            reply = agents.serving.ask("POST", ASK, {**asked, "stream": stream})
            assert b"response_invalid" in reply.body, (depth, reply.body[-300:])
            assert b"nested deeper than 64" in reply.body


def test_a_call_nested_without_end_is_told_in_its_own_text_by_our_own_format(agents: Agents, models: Models):
    offered = {"name": "look", "parameters": {"type": "object"}}
    for depth in DEPTHS:
        for stream in (False, True):
            models.say("x", Line(calls=(Call("look", nested(depth)),)))
            asked = {"model": "up/x", "messages": [{"role": "user", "content": "hi"}], "tools": [offered]}
            reply = agents.serving.ask("POST", "/api/v1/completions", {**asked, "stream": stream})
            assert (reply.status, b"internal_error" in reply.body) == (200, False), (depth, reply.body[-300:])
            if not stream:
                [call] = reply.json["output"]
                assert call["arguments"] == nested(depth)


def test_an_answer_that_is_delivered_later_comes_whatever_was_nested_in_it(agents: Agents, models: Models):
    look = {"name": "look", "parameters": {"type": "object"}, "url": "http://127.0.0.1:9/"}
    for depth in DEPTHS:
        models.say("x", Line(calls=(Call("look", nested(depth)),)), Line(f"done {depth}"))
        queue = {"type": "queue", "cred": {"name": f"q{depth}"}}
        asked = {"service": "up", "model": "x", "user": "hi", "extra_tools": [look], "response_format": queue}
        assert agents.serving.ask("POST", ASK, asked).status == 200

        def delivered(depth: int = depth) -> Any:
            return agents.serving.ask("GET", f"/v1/queues/q{depth}").json["data"]

        [message] = until(delivered)
        assert message["payload"]["data"]["content"] == f"done {depth}"
        [step] = message["payload"]["data"]["tools_data"].values()
        assert step["arguments"] == {"input": nested(depth)}
