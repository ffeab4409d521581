"""Agents on a real server: their turns, tools, threads, versions, limits and accounts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from midstream.core.ids import from_uuid

from .agents_at import Agents
from .serving import Reply, Serving
from .tool_server import ToolServer
from .waiting import until

TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.elsewhere]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
[limits]
agent_points = 40
thread_points = 5
window_seconds = 3600
"""


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("agents"), TOML.format(port=tools.port)) as serving:
        yield Agents(serving)


@pytest.fixture(autouse=True)
def forgotten(tools: ToolServer) -> None:
    tools.calls.clear()
    tools.most_at_once = 0


def test_a_turn_is_told_as_it_happens_and_the_call_stands_before_its_result_and_the_text(
    agents: Agents, tools: ToolServer
):
    agent = agents.agent(tool_ids=[agents.tool("weather", f"{tools.url}/echo/weather")])
    events = list(agents.events("/api/v1/conversation", {"agentId": agent, "message": "ask weather please"}))
    names = [name for name, _ in events if name != "text"]
    assert names == ["conversation", "tool_call", "tool_result", "usage", "done"]
    first_text = next(place for place, (name, _) in enumerate(events) if name == "text")
    assert first_text > [name for name, _ in events].index("tool_result")
    told = dict(events)
    assert told["tool_call"]["id"] == told["tool_result"]["id"]
    assert told["tool_result"]["status"] == "ok"
    text = "".join(data["delta"] for name, data in events if name == "text")
    assert told["done"]["text"] == text
    assert "weather" in text
    assert told["done"]["iterations"] == 2
    [call] = tools.to("/echo/weather")
    assert call["body"] == {"city": "city"}
    assert call["headers"]["idempotency-key"].endswith(":1:0")


def test_the_same_as_one_reply_and_the_next_turn_knows_the_one_before(agents: Agents):
    agent = agents.agent(configuration={"prompt": "Be kind."})
    first = agents.say(agent, "my name is Ada").json
    assert first["finishReason"] == "stop"
    assert "my name is Ada" in first["text"]
    second = agents.say(agent, "and again", conversationId=first["conversationId"]).json
    assert second["conversationId"] == first["conversationId"]
    assert second["usage"]["inputTokens"] > first["usage"]["inputTokens"]  # the words said before are in it


def test_five_tools_of_a_round_run_at_the_same_time_and_one_failure_is_that_tools_alone(
    agents: Agents, tools: ToolServer
):
    names = [f"slow_{letter}" for letter in "abcde"]
    ids = [agents.tool(name, f"{tools.url}/slow/{name}") for name in names]
    ids.append(agents.tool("broken_one", f"{tools.url}/fail"))
    agent = agents.agent(tool_ids=ids)
    events = list(agents.events("/api/v1/conversation", {"agentId": agent, "message": f"{' '.join(names)} broken_one"}))
    results = {data["name"]: data["status"] for name, data in events if name == "tool_result"}
    assert results == {**dict.fromkeys(names, "ok"), "broken_one": "failed"}
    assert tools.most_at_once >= 5
    assert events[-1][0] == "done"


def test_five_tools_of_one_second_take_about_one_and_a_failure_is_that_tools_text(
    agents: Agents, tools: ToolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tools, "slow", 1.0)
    names = [f"second_{letter}" for letter in "abcde"]
    ids = [agents.tool(name, f"{tools.url}/slow/{name}") for name in names]
    agent = agents.agent(tool_ids=[*ids, agents.tool("broken_two", f"{tools.url}/fail")])
    began = time.monotonic()
    asked = {"agent_id": agent, "user": f"{' '.join(names)} broken_two"}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", asked)
    took = time.monotonic() - began
    assert reply.status == 200
    assert 1.0 <= took < 2.5, took  # one after the other they take five
    steps = {step["name"]: step for step in reply.json["data"]["tools_data"].values()}
    assert {steps[name]["status"] for name in names} == {"ok"}
    assert all(1000 <= steps[name]["ms"] < 2500 for name in names)
    assert (steps["broken_two"]["status"], steps["broken_two"]["round"]) == ("failed", 1)
    assert steps["broken_two"]["ms"] < 1000  # and it was not waited for
    assert "500" in steps["broken_two"]["error"]
    assert "broken_two" in reply.json["data"]["content"]


def test_a_draft_answers_only_who_asks_for_it_and_publishing_is_seen_at_once(agents: Agents):
    agent = agents.agent(configuration={"prompt": "short"})
    before = agents.say(agent, "hello").json["usage"]["inputTokens"]
    long = {"model": "rehearsal", "prompt": "a much longer prompt of many more words than before"}
    draft = agents.post(f"/v1/admin/agents/{agent}/versions", {"service": "midstream", "configuration": long})
    assert agents.say(agent, "hello").json["usage"]["inputTokens"] == before
    version = draft.get("version_id") or draft["id"]
    agents.post(f"/v1/admin/agents/{agent}/publish", {"version_id": version})
    assert agents.say(agent, "hello").json["usage"]["inputTokens"] > before


def test_turns_of_one_conversation_wait_for_each_other_or_are_refused_when_they_will_not_wait(agents: Agents):
    agent = agents.agent()
    conversation = agents.say(agent, "hello").json["conversationId"]
    body = {"agentId": agent, "conversationId": conversation, "message": "say 40 words pace 50"}
    with ThreadPoolExecutor(4) as pool:
        begun = threading.Event()

        def hear() -> list[tuple[str, Any]]:
            heard = []
            for event in agents.events("/api/v1/conversation", body):
                heard.append(event)
                begun.set()
            return heard

        slow = pool.submit(hear)
        assert begun.wait(20)
        refused = agents.say(agent, "me too", conversationId=conversation, waitForTurn=False)
        assert refused.status == 409
        assert refused.json["statusCode"] == 409
        waited = agents.say(agent, "after you", conversationId=conversation)
        assert waited.status == 200
        assert slow.result()[-1][0] == "done"
    order = [data["text"][:12] for data in (dict(slow.result())["done"], waited.json)]
    assert order[0].startswith("word1")


def test_another_orgs_agents_are_as_unknown_as_those_that_never_were(agents: Agents):
    agent = agents.agent()
    org = agents.post("/v1/admin/orgs", {"name": "other"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org})["key"]
    foreign = agents.say(agent, "hello", key=key)
    unknown = agents.say("0" * 24, "hello", key=key)
    assert (foreign.status, unknown.status) == (404, 404)
    assert foreign.json["message"].replace(agent, "") == unknown.json["message"].replace("0" * 24, "")
    theirs = agents.say(agent, "hello").json["conversationId"]
    assert agents.say("", "hello", key=key, conversationId=theirs).status == 404


def test_of_many_at_once_exactly_the_agents_points_pass_by_any_spelling(agents: Agents):
    agent = agents.agent()
    bare = agent.removeprefix("agt_")
    uuid = f"{bare[:8]}-{bare[8:12]}-8{bare[12:15]}-8{bare[15:18]}-{bare[18:]}000000"
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda place: agents.say((agent, bare, uuid)[place % 3], "hi"), range(60)))
    assert [reply.status for reply in replies].count(200) == 40
    refused = [reply for reply in replies if reply.status == 429]
    assert len(refused) == 20
    assert all(int(reply.headers["retry-after"]) > 0 for reply in refused)


def test_a_thread_has_its_points_once_however_it_is_named_and_its_first_turn_is_one_of_them(agents: Agents):
    agent = agents.agent(limits={"thread": 3})

    def two(**more: Any) -> Reply:
        return agents.serving.ask("POST", "/api/v2/model/chat/completion", {"agent_id": agent, "user": "hi", **more})

    id = agents.say(agent, "hi").json["conversationId"]
    conversation = from_uuid("conv_", id)
    answers = [agents.say(agent, "hi", conversationId=id), two(thread_id=conversation), two(thread_id=conversation)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].json["limit_type"] == "thread"
    refused = agents.say(agent, "hi", conversationId=id)
    told = {"limitType": "thread", "currentUsage": 3, "limitValue": 3}
    assert (refused.status, {name: refused.json[name] for name in told}) == (429, told)
    named = [two(thread_id="t"), two(thread_id="t"), two(thread_id="t", sub_thread_id="s"), two(thread_id="t")]
    assert [answer.status for answer in named] == [200, 200, 200, 429]
    rows = agents.serving.ask("GET", f"/api/v1/conversation/chat-history?agentId={agent}").json["data"]
    others = [row["id"] for row in rows if row["id"] != id]
    assert [agents.say(agent, "hi", conversationId=other).status for other in others] == [429, 429]
    assert agents.say(agent, "hi").status == 200


def test_points_are_still_spent_after_a_kill(agents: Agents):
    agent = agents.agent(limits={"agent": 3})
    assert [agents.say(agent, "hi").status for _ in range(2)] == [200, 200]
    agents.serving.kill()
    agents.serving.start()
    assert [agents.say(agent, "hi").status for _ in range(2)] == [200, 429]


def test_each_model_call_is_one_transaction_and_each_turn_one_row_of_metrics_also_after_a_kill(
    agents: Agents, tools: ToolServer
):
    agent = agents.agent(tool_ids=[agents.tool("clock", f"{tools.url}/echo/clock")])
    for _ in range(3):
        agents.say(agent, "ask clock")
    agents.serving.kill()
    agents.serving.start()

    def transactions() -> list[dict[str, Any]]:
        rows = agents.serving.ask("GET", "/v1/admin/transactions?limit=1000").json["data"]
        return [row for row in rows if row["agent_id"] == agent]

    until(lambda: len(transactions()) >= 6)
    attempts = {row["id"]: row for row in agents.serving.attempts()}
    rows = transactions()
    assert len(rows) == len({row["id"] for row in rows}) == 6
    for row in rows:
        usage = attempts[row["id"]]["usage"]
        assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])


def test_what_a_tool_takes_from_variables_is_hidden_from_the_model_and_present_in_the_call(
    agents: Agents, tools: ToolServer
):
    both = {"city": {"type": "string"}, "token": {"type": "string"}}
    tool = agents.tool("lookup", f"{tools.url}/echo/lookup", properties=both)
    agent = agents.agent(tool_ids=[tool], variables_path={"lookup": {"token": "user.token"}})
    body = {"agentId": agent, "message": "use lookup", "variables": {"user": {"token": "t-1"}}}
    events = dict(agents.events("/api/v1/conversation", body))
    assert "token" not in events["tool_call"]["arguments"]
    assert tools.to("/echo/lookup")[0]["body"] == {"city": "city", "token": "t-1"}


def test_a_pre_tools_result_stands_in_the_prompt_and_its_failure_is_text(agents: Agents, tools: ToolServer):
    good = agents.tool("plan", f"{tools.url}/echo/plan")
    bad = agents.tool("broken", f"{tools.url}/fail")
    prompt = {"prompt": "{{plan.path}} and {{broken}}"}
    pre = [{"tool_id": good, "args": {"city": "{{where}}"}}, {"tool_id": bad, "args": {"city": "x"}}]
    agent = agents.agent(configuration=prompt, pre_tools=pre)
    reply = agents.say(agent, "hello", variables={"where": "Rome"})
    assert reply.status == 200
    assert tools.to("/echo/plan")[0]["body"] == {"city": "Rome"}
    assert len(tools.to("/fail")) == 1


def test_a_pre_tool_that_could_never_be_called_is_not_published(agents: Agents, tools: ToolServer):
    tool = agents.tool("plan", f"{tools.url}/echo/plan")
    agent = agents.agent(publish=False, pre_tools=[{"tool_id": tool, "args": {"city": 5}}])
    version = agents.serving.ask("GET", f"/v1/admin/agents/{agent}").json["version_id"]
    refused = agents.serving.ask("POST", f"/v1/admin/agents/{agent}/publish", {"version_id": version})
    assert (refused.status, refused.json["error"]["param"]) == (400, "pre_tools.0.args.city")


def test_a_variable_that_may_be_left_out_is_missing_in_no_version(agents: Agents, tools: ToolServer):
    both = {"city": {"type": "string"}, "days": {"type": "integer"}}
    tool = agents.tool("ahead", f"{tools.url}/echo/ahead", parameters={"type": "object", "properties": both})
    agent = agents.agent(
        configuration={"prompt": "{{nickname}} {{user.city}} {{name}}"},
        variables_state={"name": "required", "nickname": {}, "user": "optional", "days": {"required": False}},
        pre_tools=[{"tool_id": tool, "args": {"city": "in {{user.city}}", "days": "{{days}}"}}],
    )
    told = agents.say(agent, "hello")
    assert told.json["missingVariables"] == ["name"]
    assert "missingVariables" not in agents.say(agent, "hello", variables={"name": "Ada"}).json
    asked = {"agent_id": agent, "user": "hello"}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", asked)
    assert reply.json["data"]["missing_variables"] == ["name"]
    assert [call["body"] for call in tools.to("/echo/ahead")] == [{"city": "in "}] * 3


def test_a_turn_without_an_agent_runs_its_tools_by_name_and_always_ends_in_text(agents: Agents, tools: ToolServer):
    agents.tool("adder", f"{tools.url}/echo/adder")
    body = {
        "model": "midstream/rehearsal",
        "messages": [{"role": "user", "content": "use adder"}],
        "tools": ["adder"],
        "stream": False,
    }
    reply = agents.serving.ask("POST", "/api/v1/agent/run", body)
    assert reply.json["finishReason"] == "stop"
    assert reply.json["iterations"] == 2
    assert [call["name"] for call in reply.json["toolCalls"]] == ["adder"]
    assert len(tools.to("/echo/adder")) == 1


def test_version_two_of_our_format_answers_with_everything_a_turn_came_to(agents: Agents, tools: ToolServer):
    agent = agents.agent(
        tool_ids=[agents.tool("sky", f"{tools.url}/echo/sky")],
        variables_state={"name": {"required": True}},
        configuration={"prompt": "You serve {{name}}."},
    )
    body = {"bridge_id": agent, "user": "look at the sky", "thread_id": "t1"}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", body)
    assert reply.json["success"] is True
    data, usage = reply.json["data"], reply.json["usage"]
    assert (data["finish_reason"], data["thread_id"], data["sub_thread_id"]) == ("stop", "t1", "t1")
    assert data["missing_variables"] == ["name"]
    assert "sky" in str(data["tools_data"])
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    other = agents.serving.ask("POST", "/api/v2/model/chat/completion", {**body, "org_id": "org_other"})
    assert (other.status, other.json["success"]) == (404, False)


def test_an_agent_that_is_named_twice_is_one_agent(agents: Agents):
    one, other = agents.agent(), agents.agent()
    mine, theirs = (agents.serving.ask("GET", f"/v1/admin/agents/{id}").json["slug"] for id in (one, other))
    plain, playground = "/api/v2/model/chat/completion", "/api/v2/model/playground/chat/completion/"
    for path, body in ((plain, {"agent_id": one, "bridge_id": mine}), (playground + mine, {"agent_id": one[4:]})):
        assert agents.serving.ask("POST", path, {**body, "user": "hi"}).json["success"] is True
    for path, body in ((plain, {"agent_id": one, "bridge_id": theirs}), (playground + theirs, {"agent_id": one})):
        reply = agents.serving.ask("POST", path, {**body, "user": "hi"})
        assert (reply.status, reply.json["code"], reply.json["param"]) == (400, "contradictory", "agent_id")


def test_two_sub_threads_of_one_thread_never_see_each_other(agents: Agents):
    agent = agents.agent()

    def say(text: str, sub: str) -> int:
        body = {"agent_id": agent, "user": text, "thread_id": "main", "sub_thread_id": sub}
        reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", body)
        return int(reply.json["usage"]["input_tokens"])

    first = say("one two three", "a")
    assert say("one two three", "b") == first
    assert say("one two three", "a") > first


def test_the_playground_keeps_no_history_and_counts_nowhere_but_in_the_attempts(agents: Agents):
    agent = agents.agent()
    time.sleep(0.2)  # turns of before are counted
    before = agents.serving.ask("GET", "/v1/admin/metrics?group_by=agent").json
    path = f"/api/v2/model/playground/chat/completion/{agent}"
    reply = agents.serving.ask("POST", path, {"user": "hello", "thread_id": "play"})
    assert reply.json["success"] is True
    again = agents.serving.ask("POST", path, {"user": "hello", "thread_id": "play"})
    assert again.json["usage"]["input_tokens"] == reply.json["usage"]["input_tokens"]
    time.sleep(0.5)
    assert agents.serving.ask("GET", "/v1/admin/metrics?group_by=agent").json == before


@pytest.mark.parametrize("way", ["route", "field"])
def test_the_playground_answers_directly_and_spends_no_points(agents: Agents, way: str):
    agent = agents.agent(limits={"agent": 2, "thread": 1})
    chat, playground = "/api/v2/model/chat/completion", f"/api/v2/model/playground/chat/completion/{agent}"
    path, more = (playground, {}) if way == "route" else (chat, {"agent_id": agent, "is_playground": True})
    later = {"response_format": {"type": "queue", "cred": {"name": f"play-{way}"}}}
    for extra in ({}, later, {}):
        reply = agents.serving.ask("POST", path, {"user": "say 2 words", "thread_id": "t", **more, **extra})
        assert (reply.status, reply.json["data"]["content"]) == (200, "word1 word2")
    assert agents.serving.ask("GET", f"/v1/queues/play-{way}").json["data"] == []
    for thread in ("t", "u"):
        assert agents.serving.ask("POST", chat, {"agent_id": agent, "user": "hi", "thread_id": thread}).status == 200
    assert agents.serving.ask("POST", chat, {"agent_id": agent, "user": "hi", "thread_id": "v"}).status == 429


def test_an_agent_is_called_by_another_and_its_spending_is_the_callers(agents: Agents):
    child = agents.agent(configuration={"prompt": "You help."})
    parent = agents.agent(connected_agents={"helper": {"agent_id": child, "description": "helps"}})
    reply = agents.serving.ask(
        "POST", "/api/v2/model/chat/completion", {"agent_id": parent, "user": "ask helper please"}
    )
    assert reply.json["success"] is True, reply.json
    assert "This is the rehearsal model" in str(reply.json["data"]["tools_data"])
    runs = agents.serving.ask("GET", "/v1/admin/runs?limit=5").json["data"]
    attempts = [row for row in agents.serving.attempts() if row["run_id"] in {run["id"] for run in runs[:2]}]
    spent = sum(row["usage"]["input_tokens"] + row["usage"]["output_tokens"] for row in attempts)
    assert reply.json["usage"]["total_tokens"] == spent


def test_agents_that_are_named_by_their_slugs_are_called_and_do_not_wait_for_each_other(agents: Agents):
    def telling(slug: str, text: str) -> dict[str, Any]:
        message = {"type": "string", "enum": [text]}
        schema = {"type": "object", "properties": {"message": message}, "required": ["message"]}
        return {"agent_id": slug, "parameters": schema}

    first = agents.agent(slug="first-by-slug")
    agents.agent(slug="second-by-slug", connected_agents={"back": telling("first-by-slug", "hello")})
    version = agents.post(
        f"/v1/admin/agents/{first}/versions", {"connected_agents": {"onward": telling("second-by-slug", "go back")}}
    )["id"]
    body = {"agent_id": first, "version_id": version, "user": "onward"}
    assert agents.post("/api/v2/model/chat/completion", body)["success"] is True
    rows = agents.serving.ask("GET", "/v1/admin/tool_calls?limit=1000").json["data"][-2:]
    ends = {row["tool"]: (row["status"], row["error"]) for row in rows}
    assert ends == {"onward": ("ok", None), "back": ("failed", "agent_cycle")}


def test_a_later_answer_is_acknowledged_then_delivered_signed_also_after_a_kill(agents: Agents, tools: ToolServer):
    agent = agents.agent()
    hook = {"type": "webhook", "cred": {"url": f"{tools.url}/echo/hook", "headers": {"x-mine": "1"}}}
    body = {"agent_id": agent, "user": "say 30 words pace 20", "response_format": hook}
    accepted = agents.serving.ask("POST", "/api/v2/model/chat/completion", body).json
    assert accepted["success"] is True
    agents.serving.kill()
    agents.serving.start()
    [call] = until(lambda: tools.to("/echo/hook"), 30)
    assert call["headers"]["x-mine"] == "1"
    assert call["headers"]["webhook-signature"].startswith("v1,")
    assert call["body"]["data"]["message_id"] == accepted["message_id"]
    assert call["body"]["data"]["content"].endswith("word30")
    time.sleep(0.5)
    assert len(tools.to("/echo/hook")) == 1
    runs = [
        run for run in agents.serving.ask("GET", "/v1/admin/runs?limit=20").json["data"] if run["status"] == "running"
    ]
    assert runs == []


def test_a_later_failure_goes_where_the_answer_would_have_gone(agents: Agents, tools: ToolServer):
    agent = agents.agent()
    hook = {"type": "webhook", "cred": {"url": f"{tools.url}/echo/failed"}}
    body = {"agent_id": agent, "user": "fail:400", "response_format": hook}
    accepted = agents.serving.ask("POST", "/api/v2/model/chat/completion", body).json
    [call] = until(lambda: tools.to("/echo/failed"), 30)
    assert call["body"]["success"] is False
    assert call["body"]["message_id"] == accepted["message_id"]


def test_an_agents_documents_can_be_searched_without_being_told_how(agents: Agents):
    made = agents.post("/v1/admin/documents", {"name": "Opening hours", "text": "The zoo opens at nine."})
    agents.post("/v1/admin/documents", {"name": "Secret", "text": "The zoo is search_documents haunted."})
    agent = agents.agent(doc_ids=[made["id"]])
    answer = agents.say(agent, "search_documents").json
    [call] = answer["toolCalls"]
    assert call["name"] == "search_documents"
    other = agents.say(agents.agent(), "search_documents").json
    assert other["toolCalls"] == []


def test_what_was_changed_of_what_was_asked_is_said(agents: Agents):
    agent = agents.agent()
    body = {"agent_id": agent, "user": "hello", "variables": {"timezone": "Mars/Olympus"}}
    [notice] = agents.serving.ask("POST", "/api/v2/model/chat/completion", body).json["data"]["notices"]
    assert "Mars/Olympus" in notice


def test_another_orgs_own_model_does_not_exist_on_v1(agents: Agents):
    agents.post("/v1/admin/models", {"name": "mine", "service": "elsewhere", "model": "ft-mine"})
    org = agents.post("/v1/admin/orgs", {"name": "other"})["id"]
    key = agents.post("/v1/admin/keys", {"name": "k", "org_id": org})["key"]
    ask = agents.serving.ask
    said = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    for path in ("/v1/chat/completions", "/v1/messages"):
        refused = ask("POST", path, {**said, "model": "elsewhere/ft-mine"}, key=key)
        unknown = ask("POST", path, {**said, "model": "midstream/ft-mine"}, key=key)
        assert refused.status == unknown.status == 404
        told, usual = refused.json["error"], unknown.json["error"]
        assert {**told, "message": ""} == {**usual, "message": ""}
        assert told["message"].split(";")[0] == "the model 'elsewhere/ft-mine' does not exist here"
        assert ask("POST", path, {**said, "model": "elsewhere/ft-mine"}).status == 502  # it is ours; nobody is there
    assert ask("GET", "/v1/models/elsewhere%2Fft-mine", key=key).status == 404
    assert ask("GET", "/v1/models/elsewhere%2Fft-mine").status == 200


def test_a_failure_of_version_two_names_its_message_and_unknown_paths_are_refused_in_its_words(agents: Agents):
    ask, at = agents.serving.ask, "/api/v2/model/chat/completion"
    failed = ask("POST", at, {"agent_id": agents.agent(), "user": "fail:400"})
    assert (failed.status, failed.json["success"]) == (400, False)
    assert failed.json["message_id"].startswith("msg_")
    refused = ask("POST", at, {"agent_id": agents.agent()})
    assert (refused.status, refused.json["success"], refused.json["message_id"]) == (400, False, None)
    unknown = ask("POST", "/api/v2/model/nothing", {})
    assert (unknown.status, unknown.json["success"]) == (404, False)
    assert ask("POST", "/api/v1/nothing", {}).json["statusCode"] == 404


def test_a_turn_that_is_answered_later_does_not_wait_for_a_batch(
    agents: Agents, tools: ToolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tools, "slow", 1.0)
    slow = agents.agent(tool_ids=[agents.tool("slow_one", f"{tools.url}/slow/1")])
    batch = {"agent_id": slow, "batch": ["slow_one"] * 200}
    made = agents.serving.ask("POST", "/api/v2/model/batch/chat/completion", batch).json["batch_id"]
    until(lambda: tools.to("/slow/1"))
    quick = {"agent_id": slow, "user": "hello", "response_format": {"type": "queue", "cred": {"name": "quick"}}}
    assert agents.serving.ask("POST", "/api/v2/model/chat/completion", quick).status == 200
    until(lambda: agents.serving.ask("GET", "/v1/queues/quick").json["data"])
    assert agents.serving.ask("GET", f"/api/v2/model/batch/{made}").json["status"] == "running"


def test_a_tool_that_is_chosen_must_be_there_also_when_the_turn_has_none(agents: Agents, tools: ToolServer):
    ask, agent, v2 = agents.serving.ask, agents.agent(), "/api/v2/model/chat/completion"
    refused = ask("POST", v2, {"agent_id": agent, "user": "hi", "tool_choice": "weather"})
    assert (refused.status, refused.json["code"], refused.json["param"]) == (400, "tool_choice_invalid", "tool_choice")
    told = ask("POST", v2, {"agent_id": agent, "user": "hi", "tool_choice": "required"}).json["data"]
    assert told["dropped_parameters"] == ["tool_choice"]
    run = {"model": "midstream/rehearsal", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    refused = ask("POST", "/api/v1/agent/run", {**run, "toolChoice": "weather"})
    assert (refused.status, refused.json["error"]) == (400, "tool_choice_invalid")
    assert refused.json["message"].startswith("toolChoice: ")
    assert ask("POST", "/api/v1/agent/run", {**run, "toolChoice": "required"}).json["droppedParameters"] == [
        "toolChoice"
    ]
    refused = ask("POST", "/api/v1/completions", {**run, "toolChoice": "weather"})
    assert (refused.status, refused.json["message"]) == (400, "toolChoice: no such tool: weather")
    assert ask("POST", "/api/v1/completions", {**run, "toolChoice": "required"}).status == 400
    stored = agents.agent(configuration={"tool_choice": "far"}, tool_ids=[agents.tool("far", f"{tools.url}/echo/far")])
    told = ask("POST", v2, {"agent_id": stored, "user": "hi", "tools": []}).json["data"]
    assert (told["tools_data"], told["dropped_parameters"]) == ({}, ["tool_choice"])


def test_a_tool_that_only_a_request_brings_is_chosen_by_that_request_and_by_no_published_agent(
    agents: Agents, tools: ToolServer
):
    ask, v2 = agents.serving.ask, "/api/v2/model/chat/completion"
    own = agents.tool("near", f"{tools.url}/echo/near")
    agent = agents.agent(tool_ids=[own])
    choosing = {"configuration": {"tool_choice": "extra"}}
    version = agents.post(f"/v1/admin/agents/{agent}/versions", choosing)["version_id"]
    refused = ask("POST", f"/v1/admin/agents/{agent}/publish", {"version_id": version})
    assert refused.json["problems"] == [
        {
            "path": "configuration.tool_choice",
            "message": "no such tool: extra; one that a request brings is chosen by that request",
        }
    ]
    extra = {"name": "extra", "url": f"{tools.url}/echo/extra", "parameters": {"type": "object", "properties": {}}}
    asked = {"agent_id": agent, "user": "hi", "extra_tools": [extra]}
    for chosen in ({"tool_choice": "extra"}, {"version_id": version}):
        told = ask("POST", v2, {**asked, **chosen}).json["data"]
        assert [one["name"] for one in told["tools_data"].values()] == ["extra"]
    without = ask("POST", v2, {"agent_id": agent, "user": "hi", "version_id": version})
    assert (without.status, without.json["code"]) == (400, "tool_choice_invalid")
