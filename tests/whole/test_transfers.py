"""What a turn says of its answer when another agent has gone on instead: that is whose answer it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .scripted_model import Call, Line, Models
from .serving import Serving
from .upstream import Upstream
from .waiting import until

ASK = "/api/v2/model/chat/completion"
TOML = """
[providers.first]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.second]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.away]
kind = "openai_compatible"
base_url = "http://127.0.0.1:9/v1"
"""
TOLD = ("finish_reason", "native_finish_reason", "model")


@pytest.fixture(scope="module")
def upstream(models: Models) -> Iterator[Upstream]:
    with Upstream(models) as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with Serving(tmp_path_factory.mktemp("transfers"), TOML.format(url=upstream.url)) as serving:
        yield Agents(serving)


def going_on(agents: Agents, other: str, model: str = "A", **more: Any) -> str:
    """An agent instead of which the other one goes on."""
    connected = {"go": {"agent_id": other, "description": "goes on", "transfer": True}}
    configuration = {"model": model, **more.pop("configuration", {})}
    return agents.agent(service="first", configuration=configuration, connected_agents=connected, **more)


def second(agents: Agents, prompt: str = "", **more: Any) -> str:
    return agents.agent(
        service="second", configuration={"model": "B", "prompt": prompt, **more.pop("form", {})}, **more
    )


def asked(agents: Agents, models: Models, agent: str, line: Line, *others: str, **more: Any) -> Any:
    """The turn's data. line: what the last agent's model says. others: models that hand over as the first one does."""
    for model in ("A", *others):
        models.say(model, Line("One moment.", calls=(Call("go", {"message": "m"}),)))
    models.say("B", line)
    reply = agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "hi", **more})
    assert reply.status == 200, reply.body
    return reply.json["data"]


@pytest.mark.parametrize("stop", ["length", "content_filter", "stop"])
def test_a_turn_ends_as_the_answer_of_the_agent_that_went_on_did(agents: Agents, models: Models, stop: str):
    other = second(agents)
    for agent, more in ((going_on(agents, other), ()), (going_on(agents, going_on(agents, other, "M")), ("M",))):
        data = asked(agents, models, agent, Line("B says", stop=stop), *more)
        assert data["content"] == "B says"
        assert [data[name] for name in TOLD] == [stop, stop, "B"]
    for stream in (False, True):
        models.say("A", Line(calls=(Call("go", {"message": "m"}),)))
        models.say("B", Line("B says", stop=stop))
        body = {"agentId": agent if stream else going_on(agents, other), "message": "hi", "stream": stream}
        if stream:
            models.say("M", Line(calls=(Call("go", {"message": "m"}),)))
            told = [*agents.events("/api/v1/conversation", body)][-1][1]
        else:
            told = agents.post("/api/v1/conversation", body)
        assert (told["text"], told["finishReason"]) == ("B says", stop)
        [*_, kept] = agents.serving.ask("GET", f"/api/v1/conversation/{told['conversationId']}").json["messages"]
        assert (kept["finishReason"], kept["model"]) == (stop, "B")


def test_a_turn_names_the_model_that_answered_and_all_variables_without_a_value(
    agents: Agents, models: Models, upstream: Upstream
):
    away = {"fall_back": {"service": "second", "model": "B", "is_enable": True}}
    other = agents.agent(service="away", configuration={"model": "gone", "prompt": "{{b}} {{both}}", **away})
    agent = going_on(agents, other, configuration={"prompt": "{{a}} {{both}}"})
    data = asked(agents, models, agent, Line("B says"))
    assert (data["content"], data["model"], data["fallback"]) == ("B says", "B", True)
    assert data["firstAttemptError"]
    assert sorted(data["missing_variables"]) == ["a", "b", "both"]

    def counted() -> Any:
        return agents.serving.ask("GET", f"/v1/admin/metrics?bucket=raw&agent_id={agent}").json["data"]

    [row] = until(counted)
    assert (row["service"], row["model"]) == ("second", "B")


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_places_of_sources_are_counted_in_what_is_told(agents: Agents, models: Models, goes_on: bool):
    inner = '{"n": "Grass is green."}'
    text = f"```json\n{inner}\n```"
    at = text.index("Grass")
    more = {"configuration": {"response_type": "json"}}
    agent = going_on(agents, second(agents), **more) if goes_on else second(agents, form={"response_type": "json"})
    data = asked(agents, models, agent, Line(text, cites=(at, at + 15)))
    [source] = data["annotations"]
    assert (data["content"], inner[source["start"] : source["end"]]) == (inner, "Grass is green.")


def test_a_form_is_not_made_of_an_answer_that_was_cut(agents: Agents, models: Models, upstream: Upstream):
    agent = going_on(agents, second(agents), configuration={"response_type": "json"})
    models.say("A", Line(calls=(Call("go", {"message": "m"}),)), Line('{"n": 1}'))
    models.say("B", Line('{"n": ', stop="length"))
    before = len(upstream.asked)
    reply = agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "hi"})
    assert (reply.status, reply.json["code"]) == (502, "response_invalid")
    assert "it was cut" in reply.json["error"]
    assert len(upstream.asked) == before + 2


def test_what_the_agent_that_went_on_has_blocked_is_blocked_and_given_no_form(
    agents: Agents, models: Models, upstream: Upstream
):
    rails = {"output": {"patterns": ["secret"]}, "message": "Not that."}
    agent = going_on(agents, second(agents, settings={"guardrails": rails}), configuration={"response_type": "json"})
    before = len(upstream.asked)
    data = asked(agents, models, agent, Line("a secret"))
    assert (data["content"], data["finish_reason"]) == ("Not that.", "content_filter")
    assert data["blocked"] == "it matches secret"
    assert len(upstream.asked) == before + 2
