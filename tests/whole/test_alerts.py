"""Alerts on a real server: what happens to agents reaches webhooks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.core.ids import from_uuid

from ..postgres import private_postgres
from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

KEY = "c2VjcmV0LWtleS1vZi10d28tc2VydmVycy0wMTIzNDU="
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.gone]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
"""


@pytest.fixture(scope="module")
def hooks() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(hooks: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("alerts"), TOML.format(port=hooks.port)) as serving:
        yield Agents(serving)


def alert(agents: Agents, hooks: ToolServer, type: str, path: str, **more: Any) -> dict[str, Any]:
    webhook = {"url": f"{hooks.url}{path}", "headers": {"x-token": "hush-hush-hush"}}
    return dict(agents.post("/v1/admin/alerts", {"name": type, "type": type, "webhook": webhook, **more}))


def test_each_type_reaches_its_webhook_and_no_other(agents: Agents, hooks: ToolServer):
    state = {"name": {"required": True}}
    failing = agents.agent()
    spare = {"fall_back": {"service": "midstream", "model": "rehearsal"}}
    tired = agents.agent(service="gone", settings=spare)
    lacking = agents.agent(variables_state=state, configuration={"prompt": "Serve {{name}}."})
    limited = agents.agent(limits={"agent": 1})
    types = ("Error", "Variable", "retry_mechanism", "metrix_limit_reached")
    for type in types:
        alert(agents, hooks, type, f"/echo/{type}")
    assert agents.say(failing, "fail:400").status == 400
    assert agents.say(tired, "hello").status == 200
    assert agents.say(lacking, "hello").status == 200
    assert [agents.say(limited, "hello").status for _ in range(4)] == [200, 429, 429, 429]
    for type, agent in zip(types, (failing, lacking, tired, limited), strict=True):
        until(lambda type=type: hooks.to(f"/echo/{type}"))
        [call] = hooks.to(f"/echo/{type}")
        assert (call["body"]["type"], call["body"]["agent_id"]) == (type, agent)
        assert call["headers"]["x-token"] == "hush-hush-hush"
        assert "webhook-signature" in call["headers"]


def test_of_many_like_it_one_is_told_and_the_others_alerts_hear_nothing(agents: Agents, hooks: ToolServer):
    agent, other = agents.agent(), agents.agent()
    alert(agents, hooks, "Error", "/echo/mine", agent_ids=[agent])
    alert(agents, hooks, "Error", "/echo/others", agent_ids=[other])
    for _ in range(3):
        agents.say(agent, "fail:400")
    agents.say(other, "fail:400")
    until(lambda: hooks.to("/echo/mine") and hooks.to("/echo/others"))
    [mine] = hooks.to("/echo/mine")
    [others] = hooks.to("/echo/others")
    assert (mine["body"]["agent_id"], others["body"]["agent_id"]) == (agent, other)


def test_an_alerts_agents_may_be_named_as_everywhere_and_must_exist(agents: Agents, hooks: ToolServer):
    agent = agents.agent(slug="rung-for")
    made = alert(agents, hooks, "Error", "/echo/slug", agent_ids=["rung-for", agent.removeprefix("agt_")])
    assert made["agent_ids"] == [agent, agent]
    agents.say(agent, "fail:400")
    until(lambda: hooks.to("/echo/slug"))
    path = f"/v1/admin/alerts/{made['id']}"
    refused = agents.serving.ask("PATCH", path, {"agent_ids": [agent, "agt_nobody"]})
    assert (refused.status, refused.json["error"]["param"]) == (400, "agent_ids[1]")
    assert agents.serving.ask("PATCH", path, {"agent_ids": []}).json["agent_ids"] == []


def test_headers_of_a_webhook_are_never_shown_and_a_change_replaces_it_whole(agents: Agents, hooks: ToolServer):
    made = alert(agents, hooks, "Variable", "/echo/kept", agent_ids=[agents.agent()])
    path = f"/v1/admin/alerts/{made['id']}"
    shown = agents.serving.ask("GET", path)
    assert b"hush" not in shown.body + msgspec.json.encode(made)
    assert shown.json["header_names"] == ["x-token"]
    changed = agents.serving.ask("PATCH", path, {"webhook": {"url": f"{hooks.url}/echo/new"}, "window_seconds": 1})
    assert (changed.json["header_names"], changed.json["webhook"]) == ([], {"url": f"{hooks.url}/echo/new"})
    assert agents.serving.ask("PATCH", path, {"type": None}).status == 400
    assert agents.serving.ask("POST", "/v1/admin/alerts", {"name": "x", "type": "Errors"}).status == 400
    assert agents.serving.ask("DELETE", path).status == 200
    assert agents.serving.ask("GET", path).status == 404


def test_a_disliked_answer_is_told_once(agents: Agents, hooks: ToolServer):
    agent = agents.agent()
    alert(agents, hooks, "thumbsdown", "/echo/disliked", agent_ids=[agent])
    said = agents.say(agent, "hello").json
    at = f"/api/v1/conversation/{said['conversationId']}/messages/{said['messageId']}/reaction"
    for reaction in ("like", "dislike", "none", "dislike"):
        assert agents.serving.ask("POST", at, {"reaction": reaction}).status == 200
    until(lambda: hooks.to("/echo/disliked"))
    time.sleep(0.5)
    [call] = hooks.to("/echo/disliked")
    assert (call["body"]["type"], call["body"]["agent_id"]) == ("thumbsdown", agent)


def test_a_dislike_is_told_of_the_agent_that_has_answered(agents: Agents, hooks: ToolServer):
    first, second = agents.agent(), agents.agent()
    for agent, path in ((first, "/echo/of-first"), (second, "/echo/of-second")):
        alert(agents, hooks, "thumbsdown", path, agent_ids=[agent])
    id = agents.say(first, "hello").json["conversationId"]
    answer = agents.say(second, "go on", conversationId=id).json["messageId"]
    at = f"/api/v1/conversation/{id}/messages/{answer}/reaction"
    assert agents.serving.ask("POST", at, {"reaction": "dislike"}).status == 200
    until(lambda: hooks.to("/echo/of-second"))
    time.sleep(0.5)
    assert [call["body"]["agent_id"] for call in hooks.to("/echo/of-second")] == [second]
    assert hooks.to("/echo/of-first") == []


def test_a_dislike_of_what_no_agent_has_said_is_kept_and_not_told(agents: Agents, hooks: ToolServer):
    agent = agents.agent()
    alert(agents, hooks, "thumbsdown", "/echo/no-answer", agent_ids=[agent])
    id = agents.say(agent, "hello").json["conversationId"]
    words = [{"role": "user", "content": "say 2 words"}]
    body = {"model": "midstream/rehearsal", "messages": words, "conversation": from_uuid("conv_", id), "store": True}
    agents.post("/v1/chat/completions", body)
    at = f"/api/v1/conversation/{id}"
    said = agents.serving.ask("GET", at).json["messages"]
    assert [one["role"] for one in said] == ["user", "assistant", "user", "assistant"]
    for one in (said[0], said[2], said[3]):
        path = f"{at}/messages/{one['id']}/reaction"
        assert agents.serving.ask("POST", path, {"reaction": "dislike"}).status == 200
    path = f"{at}/messages/{said[1]['id']}/reaction"  # which comes last, so that it is told last
    assert agents.serving.ask("POST", path, {"reaction": "dislike"}).status == 200
    told = until(lambda: hooks.to("/echo/no-answer"))
    time.sleep(0.5)
    assert len(hooks.to("/echo/no-answer")) == len(told) == 1
    shown = agents.serving.ask("GET", at).json["messages"]
    assert [one["reaction"] for one in shown] == ["dislike"] * 4


def test_a_search_of_documents_that_fails_is_told_and_one_that_finds_nothing_is_not(agents: Agents, hooks: ToolServer):
    alert(agents, hooks, "knowledge_base", "/echo/knowledge")
    own = agents.post("/v1/admin/documents", {"name": "Opening hours", "text": "The zoo opens at nine."})["id"]
    elsewhere = {"type": "array", "items": {"type": "string", "enum": ["doc_elsewhere"]}, "minItems": 1}

    def tool(name: str, **more: Any) -> str:
        schema = {"type": "object", "properties": {"query": {"type": "string", "enum": ["giraffe"]}, **more}}
        schema["required"] = [*schema["properties"]]
        body = {"name": name, "kind": "knowledge", "parameters": schema, "knowledge": {"document_ids": [own]}}
        return str(agents.post("/v1/admin/tools", body)["id"])

    agent = agents.agent(tool_ids=[tool("leaflets"), tool("archive", document_ids=elsewhere)])
    fine = agents.say(agent, "leaflets").json["toolCalls"]
    assert [one["status"] for one in fine] == ["ok"]
    broken = agents.say(agent, "archive").json
    assert [one["status"] for one in broken["toolCalls"]] == ["failed"]
    [call] = until(lambda: hooks.to("/echo/knowledge"))
    told = call["body"]
    assert (told["type"], told["agent_id"]) == ("knowledge_base", agent)
    assert told["detail"] == {"tool": "archive", "error": "no_documents"}
    assert "none of these documents" in told["message"]


def test_what_a_turn_lacked_and_searched_in_vain_is_told_and_counted_also_when_it_then_fails(
    hooks: ToolServer, tmp_path: Path
):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "archive", "arguments": '{"query":"a","document_ids":["doc_1"]}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}

    def answer(asked: Asked) -> Said:
        searched = any(one["role"] == "tool" for one in asked.json["messages"])
        return whole({"error": {"message": "no more"}}, 400) if searched else whole(asks)

    with Upstream(answer) as upstream:
        toml = TOML.format(port=hooks.port).replace("http://127.0.0.1:9/v1", f"{upstream.url}/v1")
        with Serving(tmp_path, toml) as serving:
            agents = Agents(serving)
            for type in ("Variable", "knowledge_base", "Error"):
                alert(agents, hooks, type, f"/echo/then-{type}")
            own = agents.post("/v1/admin/documents", {"name": "d", "text": "nothing"})["id"]
            tool = agents.post("/v1/admin/tools", {"name": "archive", "kind": "knowledge", "parameters": {
                "type": "object", "properties": {"query": {"type": "string"}, "document_ids": {"type": "array"}}},
                "knowledge": {"document_ids": [own]}})["id"]  # fmt: skip
            state = {"name": {"required": True}}
            agent = agents.agent(service="gone", configuration={"model": "m"}, variables_state=state, tool_ids=[tool])
            assert agents.say(agent, "look").status == 400
            for type in ("Variable", "knowledge_base", "Error"):
                [told] = until(lambda type=type: hooks.to(f"/echo/then-{type}"))
                assert told["body"]["type"] == type
            [turn] = serving.ask("GET", f"/v1/admin/metrics?bucket=raw&agent_id={agent}").json["data"]
            assert (turn["missing"], turn["tools"], turn["rounds"]) == (["name"], ["archive"], 1)


def test_of_two_servers_alerts_without_a_window_none_is_lost_and_a_limit_is_told_once(
    hooks: ToolServer, tmp_path_factory: pytest.TempPathFactory
):
    with private_postgres() as postgres:
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        where = {"MIDSTREAM_DATABASE_URL": postgres.create(), "MIDSTREAM_SECRET_KEY": KEY}
        servings = [Serving(folder, TOML.format(port=hooks.port), **where) for folder in folders]
        with servings[0], servings[1]:
            pair = [Agents(serving) for serving in servings]
            failing, limited = pair[0].agent(limits={"agent": 1000, "thread": 1000}), pair[0].agent(limits={"agent": 2})
            for type, agent in (("Error", failing), ("metrix_limit_reached", limited)):
                alert(pair[0], hooks, type, f"/echo/two/{type}", window_seconds=0, agent_ids=[agent])
            with ThreadPoolExecutor(8) as threads:
                asked = [threads.submit(pair[place % 2].say, failing, "fail:400") for place in range(40)]
                asked += [threads.submit(pair[place % 2].say, limited, "hello") for place in range(12)]
            assert sorted({one.result().status for one in asked}) == [200, 400, 429]
            until(lambda: len(hooks.to("/echo/two/Error")) >= 40)
            until(lambda: hooks.to("/echo/two/metrix_limit_reached"))
            time.sleep(1.5)
            runs = {call["body"]["run_id"] for call in hooks.to("/echo/two/Error")}
            assert (len(runs), len(hooks.to("/echo/two/Error"))) == (40, 40)
            assert len(hooks.to("/echo/two/metrix_limit_reached")) == 1
