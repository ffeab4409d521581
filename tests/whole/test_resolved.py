"""What is shown of an agent as it is resolved, beside what its model is really asked."""

from __future__ import annotations

from pathlib import Path

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

TOML = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


def _answer(asked: Asked) -> Said:
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    return whole(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )


def test_the_resolved_tools_are_those_that_a_turn_shows_its_model(tmp_path: Path):
    with Upstream(_answer) as up, Serving(tmp_path, TOML.format(url=up.url)) as serving:
        agents = Agents(serving)
        document = agents.post("/v1/admin/documents", {"name": "d", "text": "x"})["id"]
        two = {"city": {"type": "string"}, "unit": {"type": "string"}}
        weather = agents.tool("weather", "https://x.example.org", properties=two, mapped={"unit": "prefs.unit"})
        forecast = agents.tool("forecast", "https://x.example.org", properties=two)
        friend = agents.agent()
        agent = agents.agent(
            service="up",
            configuration={"model": "m"},
            tool_ids=[weather, forecast],
            built_in_tools=["scrape"],
            doc_ids=[document],
            connected_agents={"friend": {"agent_id": friend}},
            variables_path={"weather": {"city": "at.city"}, forecast: {"city": "at.city"}},
        )
        said = serving.ask("GET", f"/v1/admin/agents/{agent}/resolved", None).json
        asked = {"agent_id": agent, "user": "?", "variables": {"at": {"city": "Oslo"}, "prefs": {"unit": "C"}}}
        assert serving.ask("POST", "/api/v2/model/chat/completion", asked).status == 200
        sent = {one["function"]["name"]: one["function"]["parameters"] for one in up.asked[0].json["tools"]}
        shown = {one["function"]["name"]: one["function"]["parameters"] for one in said["tools"]}
        assert shown == sent
        assert [*shown] == ["weather", "forecast", "friend", "scrape", "search_documents"]
        assert (shown["weather"]["properties"], [*shown["forecast"]["properties"]]) == ({}, ["unit"])
        assert said["tool_id_and_name_mapping"].keys() == shown.keys()
        assert said["configuration"]["tools"] == said["tools"]
