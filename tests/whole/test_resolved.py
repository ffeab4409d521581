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


def test_the_resolved_key_is_the_one_that_a_turn_sends_and_publishing_takes_what_turns_take(tmp_path: Path):
    with Upstream(_answer) as up, Serving(tmp_path, TOML.format(url=up.url)) as serving:
        agents = Agents(serving)
        keys = {}
        for name, service in (("old", "up"), ("new", "up"), ("kind", "openai_compatible")):
            body = {"name": name, "service": service, "key": f"sk-0123456789-{name}"}
            keys[name] = agents.post("/v1/admin/service_keys", body)["id"]
        agent = agents.agent(service="up", configuration={"model": "m"})
        path = f"/v1/admin/agents/{agent}"

        def sent(named: dict[str, str]) -> tuple[str, str]:
            """The key that the upstream got, and the one that is shown, both by their last four signs."""
            version = agents.post(f"{path}/versions", {"keys": {"up": None, "openai_compatible": None, **named}})["id"]
            published = serving.ask("POST", f"{path}/publish", {"version_id": version})
            assert published.status == 200, published.body
            asked = serving.ask("POST", "/api/v2/model/chat/completion", {"agent_id": agent, "user": "?"})
            assert asked.status == 200, asked.body
            shown = serving.ask("GET", f"{path}/resolved", None).json["apikey"]
            return dict(up.asked[-1].headers)["authorization"][-4:], shown.removeprefix("...")

        for named, last in (
            ({}, "-old"),
            ({"up": keys["new"]}, "-new"),
            ({"openai_compatible": keys["new"]}, "-new"),
            ({"openai_compatible": keys["kind"]}, "kind"),
            ({"up": keys["kind"]}, "kind"),
        ):
            assert sent(named) == (last, last)
        serving.ask("DELETE", f"/v1/admin/service_keys/{keys['kind']}", None)
        refused = serving.ask("POST", "/api/v2/model/chat/completion", {"agent_id": agent, "user": "?"})
        assert (refused.status, refused.json["code"]) == (400, "key_missing")
        assert serving.ask("GET", f"{path}/resolved", None).json["apikey"] is None
