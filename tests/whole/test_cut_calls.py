"""Calls of tools in an answer that did not come to its end: the service cut it, or its filter did."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from .agents_at import Agents
from .scripted_model import Call, Line, Models
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(models: Models, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with (
        Upstream(models) as upstream,
        Serving(tmp_path_factory.mktemp("cut"), TOML.format(port=tools.port, url=upstream.url)) as serving,
    ):
        yield Agents(serving)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["length", "content_filter"])
def test_no_tool_is_run_of_an_answer_that_was_cut_and_the_turn_ends_as_its_answer_did(
    agents: Agents, models: Models, tools: ToolServer, stop: str, stream: bool
):
    wipe = agents.tool(f"wipe_{stop}_{stream}", f"{tools.url}/wipe", properties={})
    agent = agents.agent(service="up", configuration={"model": "x"}, tool_ids=[wipe])
    name = f"wipe_{stop}_{stream}"
    for arguments in ("", '{"only": "the te', "{}"):
        for text in ("", "Let me see."):
            models.say("x", Line(text, (Call(name, "{}", "c1"), Call(name, arguments, "c2")), stop))
            reply = agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "hi", "stream": stream})
            told = reply.json if not stream else msgspec.json.decode(reply.body.rpartition(b"data: ")[2])
            data = told["data"]
            assert (data["finish_reason"], data["native_finish_reason"], data["tools_data"]) == (stop, stop, {})
            assert data["content"] == text or data["content"].startswith(
                "There is no answer: the model asked for tools"
            )
    assert tools.calls == []
    rows = agents.serving.ask("GET", "/v1/admin/tool_calls?limit=1000").json["data"]
    assert [row for row in rows if row["tool"] == name] == []
