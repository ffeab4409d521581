"""Agents that give vectors, on a real server, against a service on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

#: USD of one call: 5 tokens.
COST = Decimal("0.00001")


def embedded(asked: Asked) -> Said:
    if asked.json["model"] == "broken":
        return whole({"error": {"message": "not today"}}, 400)
    data = [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return whole({"object": "list", "model": asked.json["model"], "data": data, "usage": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(embedded) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = f'[providers.up]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\n'
    toml += 'prices = { "*" = { input = "2.00", output = "8.00" } }\n'
    with Serving(tmp_path_factory.mktemp("vectors"), toml) as serving:
        yield Agents(serving)


@pytest.mark.parametrize("where", ["type", "configuration", "request"])
def test_an_agent_of_type_embedding_gives_a_vector_of_the_size_that_it_says(
    agents: Agents, upstream: Upstream, where: str
):
    configuration: dict[str, Any] = {"model": "e", "dimensions": 2}
    if where == "configuration":
        configuration["type"] = "embedding"
    more = {"type": "embedding"} if where == "type" else {}
    agent = agents.agent(service="up", configuration=configuration, **more)
    body: dict[str, Any] = {"agent_id": agent, "user": "two words"}
    if where == "request":
        body["configuration"] = {"type": "embedding"}
    answer = agents.post("/api/v2/model/chat/completion", body)
    assert answer["data"] == {"embedding": [3.0, 4.0], "model": "e"}
    assert answer["usage"]["input_tokens"] == 5
    asked = upstream.asked[-1]
    assert (asked.path, asked.json["input"], asked.json["dimensions"]) == ("/v1/embeddings", ["two words"], 2)


ASK = "/api/v2/model/chat/completion"


def vectors(agents: Agents, model: str = "e") -> str:
    return agents.agent(type="embedding", service="up", configuration={"model": model})


def rows(agents: Agents, path: str) -> list[dict[str, Any]]:
    return list(agents.serving.ask("GET", f"/v1/admin/{path}").json["data"])


def transactions(agents: Agents, agent: str) -> list[dict[str, Any]]:
    return [one for one in rows(agents, "transactions?limit=1000") if one["agent_id"] == agent]


def turns(agents: Agents, agent: str) -> list[dict[str, Any]]:
    return rows(agents, f"metrics?bucket=raw&agent_id={agent}")


def delivered(agents: Agents, agent: str, queue: str) -> tuple[str, dict[str, Any]]:
    """(the id that was promised, what came)."""
    way = {"type": "queue", "cred": {"name": queue}}
    id = agents.post(ASK, {"agent_id": agent, "user": "two words", "response_format": way})["message_id"]
    until(lambda: agents.serving.ask("GET", f"/v1/queues/{queue}").json["data"])
    [one] = agents.serving.ask("GET", f"/v1/queues/{queue}").json["data"]
    return id, one["payload"]


def test_calls_of_an_agent_that_gives_vectors_are_accounted_to_it_as_turns_are(agents: Agents):
    agent = vectors(agents)
    version = agents.serving.ask("GET", f"/v1/admin/agents/{agent}").json["version_id"]
    agents.post(ASK, {"agent_id": agent, "user": "two words"})
    agents.post("/api/v1/conversation", {"agentId": agent, "message": "two words"})
    delivered(agents, agent, "accounted")
    until(lambda: len(transactions(agents, agent)) == 3 and len(turns(agents, agent)) == 3)
    counted = turns(agents, agent)
    for one in counted:
        assert (one["version_id"], one["model"], one["service"], one["attempts"]) == (version, "e", "up", 1)
        assert (one["input_tokens"], Decimal(one["cost"]), one["success"]) == (5, COST, True)
    assert {one["run_id"] for one in counted} == {one["run_id"] for one in transactions(agents, agent)}
    [spent] = [one for one in rows(agents, "usage?group_by=agent") if one["group"] == agent]
    assert (spent["attempts"], spent["input_tokens"], Decimal(spent["cost"])) == (3, 15, 3 * COST)


def test_a_vector_that_could_not_be_had_is_a_failed_turn_of_its_agent(agents: Agents):
    agent = vectors(agents, "broken")
    assert agents.serving.ask("POST", ASK, {"agent_id": agent, "user": "x"}).status == 400
    id, payload = delivered(agents, agent, "broken")
    assert (payload["success"], payload["message_id"]) == (False, id)
    until(lambda: len(turns(agents, agent)) == 2)
    assert [one["success"] for one in turns(agents, agent)] == [False, False]


def test_a_vector_in_the_playground_is_no_turn_of_production(agents: Agents):
    agent = vectors(agents)
    agents.post(ASK, {"agent_id": agent, "user": "x", "is_playground": True})
    until(lambda: len(transactions(agents, agent)) == 1)
    agents.post(ASK, {"agent_id": agent, "user": "x"})
    until(lambda: turns(agents, agent))
    assert len(turns(agents, agent)) == 1


@pytest.mark.parametrize("path", [ASK, "/api/v2/model/embedding", "/api/v1/conversation"])
def test_a_vector_says_what_it_has_cost(agents: Agents, path: str):
    agent = vectors(agents)
    ask = {"agentId": agent, "message": "two words"} if "v1" in path else {"agent_id": agent, "user": "two words"}
    assert Decimal(agents.post(path, ask)["usage"]["cost"]) == COST


@pytest.mark.parametrize("path", [ASK, "/api/v2/model/embedding", "/api/v1/conversation"])
def test_a_vector_that_shall_be_streamed_is_json_and_says_that_it_was_not(agents: Agents, path: str):
    agent, older = vectors(agents), "v1" in path
    ask = {"agentId": agent, "message": "two words"} if older else {"agent_id": agent, "user": "two words"}
    answer = agents.serving.ask("POST", path, {**ask, "stream": True})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (answer.json["droppedParameters"] if older else answer.json["data"]["dropped_parameters"]) == ["stream"]
    for quiet in ({}, {"stream": None}, {"stream": False}):
        assert b"ropped" not in agents.serving.ask("POST", path, {**ask, **quiet}).body


def test_a_vector_that_comes_later_has_the_id_that_was_promised(agents: Agents):
    id, payload = delivered(agents, vectors(agents), "promised")
    assert payload["data"] == {"embedding": [3.0, 4.0], "model": "e", "message_id": id}
    assert Decimal(payload["usage"]["cost"]) == COST


RAILS = {"input": {"patterns": ["bomb"]}, "message": "Not that."}


@pytest.mark.parametrize("where", ["settings", "configuration", "request", "later"])
@pytest.mark.parametrize("path", [ASK, "/api/v2/model/embedding", "/api/v1/conversation"])
def test_what_input_guardrails_block_is_not_sent_and_is_an_answer_with_its_reason(
    agents: Agents, upstream: Upstream, where: str, path: str
):
    older = "v1" in path
    stored = {"guardrails": RAILS}
    agent = agents.agent(
        type="embedding", service="up",
        configuration={"model": "e", **(stored if where == "configuration" else {})},
        settings=stored if where == "settings" or older else {},
    )  # fmt: skip
    ask: dict[str, Any] = {"agentId": agent} if older else {"agent_id": agent}
    if where in ("request", "later") and not older:
        ask |= stored
    text = "message" if older else "user"
    upstream.asked.clear()
    if where == "later" and not older:
        way = {"type": "queue", "cred": {"name": f"blocked{path.count('/')}"}}
        id = agents.post(path, {**ask, text: "a bomb", "response_format": way})["message_id"]
        [one] = until(lambda: agents.serving.ask("GET", f"/v1/queues/{way['cred']['name']}").json["data"])
        told = one["payload"]
        assert told["data"].pop("message_id") == id
    else:
        told = agents.post(path, {**ask, text: "a bomb"})
    assert upstream.asked == []
    data = told if older else told["data"]
    assert (data["blocked"], data["text" if older else "content"]) == ("it matches bomb", "Not that.")
    assert data["finishReason" if older else "finish_reason"] == "content_filter"
    assert (data["embeddings"] if older else data["embedding"]) == ([] if older else None)
    until(lambda: turns(agents, agent))
    assert [(one["success"], one["attempts"]) for one in turns(agents, agent)] == [(True, 0)]
    passed = agents.post(path, {**ask, text: "a cake"})
    assert (passed["embeddings"][0] if older else passed["data"]["embedding"]) == [3.0, 4.0]
    assert "blocked" not in str(passed)


def test_a_classifier_of_a_vector_is_asked_and_paid_for_in_the_same_turn(agents: Agents, upstream: Upstream):
    rails = {"input": {"classifier": {"service": "midstream", "model": "rehearsal"}}}
    agent = agents.agent(type="embedding", service="up", configuration={"model": "e"}, settings={"guardrails": rails})
    upstream.asked.clear()
    data = agents.post(ASK, {"agent_id": agent, "user": "two words"})["data"]
    assert (data["embedding"], data["blocked"]) == (None, "the classifier did not say that it may pass")
    assert upstream.asked == []
    until(lambda: len(transactions(agents, agent)) == 1)


def test_what_a_vector_does_not_have_is_named_or_refused(agents: Agents, upstream: Upstream):
    agent = agents.agent(type="embedding", service="up", configuration={"model": "e", "prompt": "Be kind."})
    more = {
        "thread_id": "t", "variables": {"a": 1}, "template_id": "tpl_x", "response_type": "json", "tools": ["x"],
        "tool_choice": "required", "guardrails": {"output": {"patterns": ["x"]}}, "stream": True,
        "configuration": {"fall_back": {"model": "x"}, "creativity_level": 1, "dimensions": 2},
    }  # fmt: skip
    data = agents.post(ASK, {"agent_id": agent, "user": "two words", **more})["data"]
    assert {*data["dropped_parameters"]} == {
        "stream", "thread_id", "variables", "template_id", "response_type", "tools", "tool_choice", "prompt",
        "guardrails.output", "fall_back", "creativity_level",
    }  # fmt: skip
    plain = {"response_type": "text", "tool_choice": "auto", "tools": [], "configuration": {"fall_back": {}}}
    said = {"agent_id": vectors(agents), "user": "two words"}
    assert "dropped_parameters" not in agents.post(ASK, {**said, **plain})["data"]
    upstream.asked.clear()
    picture = "data:image/png;base64,aGk="
    for wrong, code, param in (
        ({"images": [picture]}, "unsupported_media", "images[0]"),
        ({"guardrails": {"input": {"patterns": ["("]}}}, "guardrails_invalid", "guardrails.input.patterns.0"),
        ({"configuration": {"fall_back": {"model": 5}}}, "configuration_invalid", "configuration.fall_back.model"),
    ):
        reply = agents.serving.ask("POST", ASK, {**said, **wrong})
        assert (reply.status, reply.json["code"], reply.json["param"]) == (400, code, param)
    assert upstream.asked == []


def test_a_vector_without_a_text_is_refused_by_the_name_that_the_text_has_there(agents: Agents):
    agent, picture = vectors(agents), "data:image/png;base64,aGk="
    talking = agents.agent()
    said = agents.say(talking, "hi").json
    again = {"conversationId": said["conversationId"], "regenerateMessageId": said["messageId"]}
    for more in ({"attachments": [{"type": "image", "url": picture}]}, again):
        refused = agents.serving.ask("POST", "/api/v1/conversation", {"agentId": agent, **more})
        assert (refused.status, refused.json["error"]) == (400, "user_message_missing"), more
        assert refused.json["message"] == "message: a text is needed", more
    refused = agents.serving.ask("POST", ASK, {"agent_id": agent, "images": [picture]})
    assert (refused.status, refused.json["param"], refused.json["error"]) == (400, "user", "user: a text is needed")


def test_a_version_of_a_vector_is_not_published_with_guardrails_that_cannot_be_read(agents: Agents):
    agent = vectors(agents)
    broken = {"settings": {"guardrails": {"input": {"patterns": ["("]}}}}
    draft = agents.post(f"/v1/admin/agents/{agent}/versions", broken)
    told = agents.serving.ask("POST", f"/v1/admin/agents/{agent}/publish", {"version_id": draft["id"]})
    assert [one["path"] for one in told.json["problems"]] == ["settings.guardrails.input.patterns.0"]
