"""Agents that draw, on a real server, against services on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def answered(asked: Asked) -> Said:
    if asked.path.endswith("/images/generations") and asked.json["model"] == "gpt-image-0":
        return whole({"error": {"message": "not today"}}, 500)
    if asked.path.endswith(("/images/generations", "/images/edits")):
        return whole(
            {
                "created": 1,
                "data": [{"b64_json": PIXEL}] * asked.json.get("n", 1),
                "usage": {"input_tokens": 9, "output_tokens": 272, "total_tokens": 281},
            }
        )
    if asked.path.startswith("/router"):
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        message = {"role": "assistant", "content": "Here.", "images": [picture]}
        return whole({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1290, "totalTokenCount": 1299}
    content = {"role": "model", "parts": [{"text": "Here."}, part]}
    return whole({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage})


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(answered) as one:
        yield one


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = (
        f'[providers.openai]\napi_key = "sk-a"\nbase_url = "{upstream.url}/v1"\n'
        f'[providers.gemini]\napi_key = "g"\nbase_url = "{upstream.url}"\n'
        f'[providers.router]\nkind = "open_router"\napi_key = "r"\nbase_url = "{upstream.url}/router"\n'
        f'[providers.local]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/local"\n'
        f'[providers.anthropic]\napi_key = "a"\nbase_url = "{upstream.url}"\n'
    )
    with Serving(tmp_path_factory.mktemp("pictures"), toml) as serving:
        yield Agents(serving)


def drawn(agents: Agents, agent: str, **more: Any) -> Any:
    body = {"agent_id": agent, "user": "A cat.", **more}
    return agents.serving.ask("POST", "/api/v2/model/chat/completion", body)


def test_an_agent_of_type_image_draws_where_openai_draws(agents: Agents, upstream: Upstream):
    made = agents.agent(
        type="image", service="openai",
        configuration={"model": "gpt-image-1", "prompt": "In {{style}}.", "size": "1024x1024", "creativity_level": 0.3},
    )  # fmt: skip
    reply = drawn(agents, made, variables={"style": "watercolour"}, configuration={"quality": "low"})
    assert reply.status == 200, reply.body
    assert upstream.asked[-1].path == "/v1/images/generations"
    assert upstream.asked[-1].json == {
        "model": "gpt-image-1", "prompt": "In watercolour.\n\nA cat.", "size": "1024x1024", "quality": "low",
    }  # fmt: skip
    data = reply.json["data"]
    assert data["images"] == [f"data:image/png;base64,{PIXEL}"]
    assert data["finish_reason"] == "stop"
    assert "creativity_level" in data["dropped_parameters"] or "temperature" in data["dropped_parameters"]
    assert reply.json["usage"]["output_tokens"] == 272
    [attempt] = agents.serving.ask("GET", "/v1/admin/attempts?limit=1").json["data"]
    assert (attempt["usage"]["output_tokens"], attempt["status"]) == (272, "ok")


def test_a_picture_is_drawn_of_the_whole_conversation_where_the_agent_is_shown_it(agents: Agents, upstream: Upstream):
    for shown, prompt in (
        ({}, "Said before in this conversation:\nUser: A cat.\n\nDraw now: Make it blue."),
        ({"history_messages": 0}, "Make it blue."),
    ):
        made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1"}, settings=shown)
        thread = drawn(agents, made).json["data"]["thread_id"]
        assert drawn(agents, made, user="Make it blue.", thread_id=thread).status == 200
        assert upstream.asked[-1].json["prompt"] == prompt


def test_several_pictures_and_a_stream_of_one(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1", "response_count": 2})
    assert len(drawn(agents, made).json["data"]["images"]) == 2
    told = [*agents.events("/api/v2/model/chat/completion", {"agent_id": made, "user": "A cat.", "stream": True})]
    assert len(told[-1][1]["data"]["images"]) == 2


def test_a_picture_has_no_form_so_one_is_drawn_and_that_is_said(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1"})
    upstream.asked.clear()
    data = drawn(agents, made, response_type="json").json["data"]
    assert (data["images"], data["dropped_parameters"]) == ([f"data:image/png;base64,{PIXEL}"], ["response_type"])
    assert len(upstream.asked) == 1


def test_no_model_that_talks_is_asked_for_a_picture_in_the_place_of_one_that_draws(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-0"})
    upstream.asked.clear()
    assert drawn(agents, made).status == 500
    assert {one.json["model"] for one in upstream.asked} == {"gpt-image-0"}


def test_where_the_model_itself_draws_it_is_asked_to(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="gemini", configuration={"model": "gemini-2.5-flash-image"})
    data = drawn(agents, made, configuration={"size": "1024x1024"}).json["data"]
    assert upstream.asked[-1].json["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    assert (data["content"], data["images"]) == ("Here.", [f"data:image/png;base64,{PIXEL}"])
    assert "size" in data["dropped_parameters"]


DATA = f"data:image/png;base64,{PIXEL}"


def test_where_the_model_itself_draws_it_sees_pictures_that_users_gave_and_its_own(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="gemini", configuration={"model": "gemini-2.5-flash-image"})
    first = drawn(agents, made, images=[DATA]).json["data"]

    def shown() -> list[str]:
        said = [(one["role"], part) for one in upstream.asked[-1].json["contents"] for part in one["parts"]]
        return [role for role, part in said if "inlineData" in part]

    assert drawn(agents, made, user="Make it blue.", thread_id=first["thread_id"]).status == 200
    assert shown() == ["user", "user"]
    last = upstream.asked[-1].json["contents"][-1]["parts"]
    assert last == [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}, {"text": "Make it blue."}]
    # one that is sent again is not shown twice
    again = {"user": "Make it blue.", "thread_id": first["thread_id"], "images": first["images"]}
    assert drawn(agents, made, **again).status == 200
    assert shown() == ["user", "user", "user"]


def test_where_a_chat_draws_it_sees_what_it_drew(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="router", configuration={"model": "google/gemini-2.5-flash-image"})
    thread = drawn(agents, made).json["data"]["thread_id"]
    assert drawn(agents, made, user="Make it blue.", thread_id=thread).status == 200
    assert upstream.asked[-1].json["messages"][-1] == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": DATA}}, {"type": "text", "text": "Make it blue."}],
    }


def test_openais_models_change_the_pictures_that_came_before(agents: Agents, upstream: Upstream):
    made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1", "size": "1024x1024"})
    thread = drawn(agents, made).json["data"]["thread_id"]
    assert upstream.asked[-1].path == "/v1/images/generations"
    data = drawn(agents, made, user="Make it blue.", thread_id=thread).json["data"]
    assert (upstream.asked[-1].path, data["images"]) == ("/v1/images/edits", [DATA])
    assert upstream.asked[-1].json == {
        "model": "gpt-image-1", "size": "1024x1024", "images": [{"image_url": DATA}],
        "prompt": "Said before in this conversation:\nUser: A cat.\n\nDraw now: Make it blue.",
    }  # fmt: skip
    assert not data["dropped_parameters"]
    drawn(agents, made, images=[DATA])
    assert upstream.asked[-1].json["images"] == [{"image_url": DATA}]


@pytest.mark.parametrize("service, model", [("openai", "dall-e-3"), ("local", "sd-xl")])
def test_a_picture_that_a_service_cannot_be_shown_is_named_as_dropped(agents: Agents, service: str, model: str):
    made = agents.agent(type="image", service=service, configuration={"model": model})
    first = drawn(agents, made, images=[DATA]).json["data"]
    assert first["dropped_parameters"] == ["images"]
    made = agents.agent(type="image", service=service, configuration={"model": model})
    thread = drawn(agents, made).json["data"]["thread_id"]
    assert drawn(agents, made, user="Make it blue.", thread_id=thread).json["data"]["dropped_parameters"] == ["images"]


def test_the_picture_is_found_again_in_the_history(agents: Agents):
    made = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1"})
    reply = agents.say(made, "A cat.")
    assert reply.status == 200, reply.body
    history = agents.serving.ask("GET", f"/api/v1/conversation/{reply.json['conversationId']}")
    assert PIXEL.encode() in history.body
