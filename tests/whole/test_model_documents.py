"""What an org says of a model, as its agents' turns on a real server keep to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .tool_server import ToolServer
from .upstream import Asked, Said, Upstream, whole

ASK = "/api/v2/model/chat/completion"
TOML = """
[egress]
allow = ["127.0.0.1:{port}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
[providers.claude]
kind = "anthropic"
api_key = "sk-ant"
base_url = "{url}"
"""

#: By the model's name.
DOCUMENTS: dict[str, dict[str, Any]] = {
    "short": {"output": 100},
    "small": {"context": 1000},
    "blind": {"modalities": ["text"]},
    "spare": {"output": 50, "context": 500, "modalities": ["text"], "parameters": {"creativity_level": {"max": 0.5}}},
    "claude-haiku-4-5": {"output": 200, "context": 1000},
}
SERVICE = {"claude-haiku-4-5": "claude"}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def answered(asked: Asked) -> Said:
    if asked.path == "/v1/messages":
        usage = {"input_tokens": 3, "output_tokens": 1}
        said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "yes"}], "usage": usage}
        return whole({"id": "msg_1", "model": asked.json["model"], "stop_reason": "end_turn", **said})
    if asked.json["model"] == "away":
        return whole({"error": {"message": "away"}}, 503)
    message: dict[str, Any] = {"role": "assistant", "content": "yes"}
    if "tools" in asked.json and asked.json["messages"][-1]["role"] != "tool":
        call = {"name": asked.json["tools"][0]["function"]["name"], "arguments": "{}"}
        message = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return whole({"id": "1", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answered) as one:
        yield one


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tools: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = TOML.format(url=upstream.url, port=tools.port)
    with Serving(tmp_path_factory.mktemp("documents"), toml) as serving:
        made = Agents(serving)
        for name, more in DOCUMENTS.items():
            made.post("/v1/admin/models", {"name": name, "service": SERVICE.get(name, "up"), "own": False, **more})
        yield made


def said(agents: Agents, user: str = "hello", **more: Any) -> Reply:
    return agents.serving.ask("POST", ASK, {"user": user, **more})


def test_what_a_model_leaves_out_is_reported_in_the_callers_words_and_nothing_is_said_to_be_used(
    agents: Agents, upstream: Upstream
):
    given = {"creativity_level": 0.3, "probability_cutoff": 0.5}
    older = said(agents, service="claude", model="claude-sonnet-4-5", configuration=given).json["data"]
    assert "top_p" not in upstream.asked[-1].json
    assert (older["dropped_parameters"], older.get("notices")) == (["probability_cutoff"], None)
    given = {"creativity_level": 1.5, "probability_cutoff": 2}
    newer = said(agents, service="claude", model="claude-opus-4-7", configuration=given).json["data"]
    assert not {"temperature", "top_p"} & upstream.asked[-1].json.keys()
    assert newer["dropped_parameters"] == ["creativity_level", "probability_cutoff"]
    assert "notices" not in newer


def test_a_turn_that_asked_no_model_says_of_no_value_that_it_was_used(agents: Agents):
    rails = {"input": {"patterns": ["secret"]}, "message": "no"}
    given = {"creativity_level": 9}
    asked = {"service": "up", "model": "m", "configuration": given, "guardrails": rails}
    assert "9" in said(agents, **asked).json["data"]["notices"][0]
    blocked = said(agents, "the secret", **asked).json["data"]
    assert (blocked["content"], blocked.get("notices")) == ("no", None)


def test_an_answer_is_no_longer_than_its_model_can_make_it(agents: Agents, upstream: Upstream):
    asked = said(agents, service="up", model="short", configuration={"max_tokens": 900}).json["data"]
    assert upstream.asked[-1].json["max_tokens"] == 100
    assert asked["notices"] == ["max_tokens 900 is outside of what the model takes: 100 was used"]
    said(agents, service="up", model="short", configuration={"max_tokens": "max"})
    assert upstream.asked[-1].json["max_tokens"] == 100
    said(agents, service="up", model="other", configuration={"max_tokens": 900})
    assert upstream.asked[-1].json["max_tokens"] == 900


def test_where_a_service_must_be_told_how_long_an_answer_may_be_it_is_told_no_more_than_there_is_room_for(
    agents: Agents, upstream: Upstream
):
    said(agents, service="claude", model="claude-haiku-4-5")
    assert upstream.asked[-1].json["max_tokens"] == 200
    said(agents, "x" * 3600, service="claude", model="claude-haiku-4-5")
    assert 0 < upstream.asked[-1].json["max_tokens"] < 100


def test_a_conversation_is_cut_to_the_context_of_its_model_and_a_prompt_that_is_too_long_goes_nowhere(
    agents: Agents, upstream: Upstream
):
    ask = {"service": "up", "model": "small", "thread_id": "long", "configuration": {"max_tokens": 300}}
    for number in range(6):
        assert said(agents, f"{number} " + "x" * 800, **ask).status == 200
    sent = [message["content"][:1] for message in upstream.asked[-1].json["messages"] if message["role"] == "user"]
    assert sent == ["3", "4", "5"]
    assert upstream.asked[-1].json["max_tokens"] == 300
    before = len(upstream.asked)
    refused = said(agents, "x" * 8000, **ask)
    assert (refused.status, refused.json["code"]) == (400, "context_length_exceeded")
    assert "2004 tokens" in refused.json["error"]
    assert "1000, the model's context" in refused.json["error"]
    assert len(upstream.asked) == before


def test_what_tools_answer_takes_the_place_of_what_was_said_before(
    agents: Agents, upstream: Upstream, tools: ToolServer
):
    def agent(size: int) -> str:
        tool = agents.tool(f"long{size}", f"{tools.url}/echo/{'y' * size}", properties={})
        return agents.agent(service="up", configuration={"model": "small", "max_tokens": 300}, tool_ids=[tool])

    asked = agent(1200)
    for number in range(3):
        assert said(agents, f"{number} " + "x" * 1000, agent_id=asked, thread_id="tools").status == 200
    first, second = (one.json["messages"] for one in upstream.asked[-2:])
    assert (first[-1]["role"], second[-1]["role"]) == ("user", "tool")
    assert len(second) < len(first) + 2  # the call and its result
    assert first[-1] in second
    before = len(upstream.asked)
    refused = said(agents, "again", agent_id=agent(4000))
    assert (refused.status, refused.json["code"], len(upstream.asked)) == (400, "context_length_exceeded", before + 1)


@pytest.mark.parametrize("face", [1, 2])
def test_what_a_model_does_not_read_is_refused_where_it_was_written(agents: Agents, upstream: Upstream, face: int):
    agent = agents.agent(service="up", configuration={"model": "blind"})
    before = len(upstream.asked)
    if face == 1:
        reply = agents.say(agent, "look", attachments=[{"type": "image", "url": PICTURE}])
        assert reply.json["error"] == "unsupported_media"
        assert reply.json["message"].startswith("attachments[0]: ")
    else:
        reply = said(agents, "look", agent_id=agent, images=[PICTURE])
        assert (reply.json["code"], reply.json["param"]) == ("unsupported_media", "images[0]")
    assert (reply.status, len(upstream.asked)) == (400, before)


def test_a_conversation_with_pictures_goes_on_with_a_model_that_sees_none(agents: Agents, upstream: Upstream):
    ask = {"service": "up", "thread_id": "seen"}
    assert said(agents, "look", model="other", images=[PICTURE], **ask).status == 200
    assert b"image_url" in upstream.asked[-1].body
    later = said(agents, "well?", model="blind", **ask).json["data"]
    assert b"image_url" not in upstream.asked[-1].body
    assert later["dropped_parameters"] == ["messages.image"]


def test_what_answers_in_a_models_place_is_asked_as_its_own_document_says(agents: Agents, upstream: Upstream):
    fall_back = {"service": "up", "model": "spare"}
    given = {"max_tokens": 900, "creativity_level": 1.5, "fall_back": fall_back}
    reply = said(agents, service="up", model="away", configuration=given).json["data"]
    first, last = upstream.asked[-4].json, upstream.asked[-1].json
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("away", 900, 1.5)
    assert (last["model"], last["max_tokens"], last["temperature"]) == ("spare", 50, 0.5)
    assert (reply["fallback"], len(reply["notices"])) == (True, 2)
    # One that cannot be asked this is left out.
    for more in ({"user": "x" * 4000}, {"images": [PICTURE]}):
        body = {"user": "look", "service": "up", "model": "away", "configuration": given, **more}
        assert agents.serving.ask("POST", ASK, body).status == 503
        assert upstream.asked[-1].json["model"] == "away"
