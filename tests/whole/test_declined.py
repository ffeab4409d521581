"""Agents whose model declines: its refusal is their answer, and known for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from midstream.core.ids import as_uuid

from .agents_at import Agents
from .scripted_model import Call, Line, Models
from .serving import Serving
from .upstream import Upstream

ASK, TALK = "/api/v2/model/chat/completion", "/api/v1/conversation"
TOML = """
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""
WORDS = "I am sorry, I cannot help with that."
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["n"]}}}


@pytest.fixture(scope="module")
def upstream(models: Models) -> Iterator[Upstream]:
    with Upstream(models) as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("declined"), TOML.format(url=upstream.url)) as serving:
        yield Agents(serving)


@pytest.fixture(autouse=True)
def forgotten(upstream: Upstream, models: Models) -> None:
    upstream.asked.clear()
    models.lines.clear()
    models.say("m", Line(refusal=WORDS))


def up(agents: Agents, model: str = "m", **more: Any) -> str:
    return agents.agent(service="up", configuration={"model": model, **more.pop("configuration", {})}, **more)


def asked(agents: Agents, agent: str, **more: Any) -> Any:
    return agents.post(ASK, {"agent_id": agent, "user": "How?", **more})["data"]


def test_version_2_says_it_and_why_it_ended(agents: Agents, models: Models):
    agent = up(agents)
    data = asked(agents, agent)
    assert (data["content"], data["finish_reason"], data["native_finish_reason"]) == (WORDS, "content_filter", "stop")
    models.say("m", Line(refusal=WORDS))
    told = [*agents.events(ASK, {"agent_id": agent, "user": "How?", "stream": True})]
    assert "".join(one["content"] for name, one in told if name == "delta") == WORDS
    data = told[-1][1]["data"]
    assert (data["content"], data["finish_reason"]) == (WORDS, "content_filter")


@pytest.mark.parametrize("stream", [False, True])
def test_version_1_says_it_keeps_it_and_shows_it_to_the_next_turns_model(
    agents: Agents, models: Models, upstream: Upstream, stream: bool
):
    agent = up(agents)
    body = {"agentId": agent, "message": "How?", "stream": stream}
    told = [*agents.events(TALK, body)][-1][1] if stream else agents.post(TALK, body)
    assert (told["text"], told["finishReason"]) == (WORDS, "content_filter")
    [_, kept] = agents.serving.ask("GET", f"{TALK}/{told['conversationId']}").json["messages"]
    assert (kept["text"], kept["finishReason"]) == (WORDS, "content_filter")
    agents.say(agent, "And now?", conversationId=told["conversationId"])
    said = [(one["role"], one["content"]) for one in upstream.asked[-1].json["messages"]]
    assert said[-3:] == [("user", "How?"), ("assistant", WORDS), ("user", "And now?")]


def test_the_history_has_it_also_of_a_model_that_was_asked_without_an_agent(agents: Agents):
    words = [{"role": "user", "content": "How?"}]
    body = {"model": "up/m", "messages": words, "conversation": {}, "store": True}
    said = agents.post("/v1/chat/completions", body)
    assert said["choices"][0]["message"]["refusal"] == WORDS
    id = as_uuid(said["conversation"]["id"])
    [_, kept] = agents.serving.ask("GET", f"{TALK}/{id}").json["messages"]
    assert kept["text"] == WORDS


def test_an_agent_of_a_request_and_a_plain_completion_say_it(agents: Agents, models: Models):
    body = {"model": "up/m", "messages": [{"role": "user", "content": "How?"}], "stream": False}
    told = agents.post("/api/v1/agent/run", body)
    assert (told["text"], told["finishReason"]) == (WORDS, "content_filter")
    models.say("m", Line(refusal=WORDS))
    told = agents.post("/api/v1/completions", body)
    assert (told["outputText"], told["finishReason"]) == (WORDS, "content_filter")
    models.say("m", Line(refusal=WORDS))
    lines = agents.serving.ask("POST", "/api/v1/completions", {**body, "stream": True}).body.decode()
    assert '"finishReason":"content_filter"' in lines.splitlines()[-1]


@pytest.mark.parametrize("form", ["json", FORM])
@pytest.mark.parametrize("stream", [False, True])
def test_who_asked_for_a_form_gets_the_refusal_and_nobody_is_asked_for_it_again(
    agents: Agents, upstream: Upstream, form: Any, stream: bool
):
    body = {"agent_id": up(agents), "user": "How?", "response_type": form, "stream": stream}
    data = [*agents.events(ASK, body)][-1][1]["data"] if stream else agents.post(ASK, body)["data"]
    assert (data["content"], data["finish_reason"]) == (WORDS, "content_filter")
    assert "value" not in data
    assert "blocked" not in data
    assert len(upstream.asked) == 1


def test_a_model_that_declines_when_it_is_asked_for_the_form_again_has_declined(
    agents: Agents, models: Models, upstream: Upstream
):
    models.say("m", Line("seven"), Line(refusal=WORDS))
    data = asked(agents, up(agents), response_type=FORM)
    assert (data["content"], data["finish_reason"]) == (WORDS, "content_filter")
    assert "value" not in data
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_output_guardrails_see_it(agents: Agents, form: str):
    rails = {"output": {"patterns": ["sorry"]}, "message": "Not that."}
    data = asked(agents, up(agents, settings={"guardrails": rails}), response_type=form)
    assert (data["content"], data["blocked"]) == ("Not that.", "it matches sorry")


@pytest.mark.parametrize("transfer", [True, False])
def test_an_agent_that_another_one_asks_declines_in_its_own_words(
    agents: Agents, models: Models, upstream: Upstream, transfer: bool
):
    connected = {"other": {"agent_id": up(agents), "description": "knows", "transfer": transfer}}
    agent = up(agents, "first", connected_agents=connected, configuration={"response_type": "json"})
    models.say("first", Line(calls=(Call("other", {"message": "m"}),)), Line('{"n": 1}'))
    data = asked(agents, agent)
    [step] = data["tools_data"].values()
    assert step["result"] == WORDS
    if transfer:
        assert (data["content"], data["finish_reason"], len(upstream.asked)) == (WORDS, "content_filter", 2)
    else:
        assert (data["value"], data["finish_reason"]) == ({"n": 1}, "stop")
