"""Agents that draw, on a real server, against services on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

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
    if asked.path == "/v1/messages":
        return whole(bossed(asked))
    part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1290, "totalTokenCount": 1299}
    content = {"role": "model", "parts": [{"text": "Here."}, part]}
    return whole({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage})


def bossed(asked: Asked) -> dict[str, Any]:
    """Asks each of its agents for a picture, and says where it is."""
    last = asked.json["messages"][-1]["content"]
    asks = isinstance(last, str) or last[0]["type"] != "tool_result"
    calls: list[dict[str, Any]] = [
        {"type": "tool_use", "id": f"toolu_{one['name']}", "name": one["name"], "input": {"message": "A cat."}}
        for one in asked.json.get("tools", ())
        if asks
    ]
    return {
        "id": "m", "type": "message", "role": "assistant", "model": "x", "stop_sequence": None,
        "content": calls or [{"type": "text", "text": "Here it is."}],
        "stop_reason": "tool_use" if calls else "end_turn", "usage": {"input_tokens": 5, "output_tokens": 2},
    }  # fmt: skip


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


# drawn by an agent that another one asks


def painter(agents: Agents, **more: Any) -> str:
    return agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1", **more})


def boss(agents: Agents, transfer: bool = False, **others: str) -> str:
    connected = {name: {"agent_id": id, "description": "draws", "transfer": transfer} for name, id in others.items()}
    return agents.agent(service="anthropic", configuration={"model": "x"}, connected_agents=connected)


def test_what_an_agent_has_drawn_for_another_one_is_shown_to_that_ones_model_and_given_to_the_user(
    agents: Agents, upstream: Upstream
):
    one = boss(agents, painter=painter(agents, n=2))
    data = drawn(agents, one).json["data"]
    assert (data["content"], data["images"]) == ("Here it is.", [DATA, DATA])
    [step] = data["tools_data"].values()
    assert (step["status"], step["result"]) == ("ok", "2 pictures, which the user gets with your answer")
    [result] = upstream.asked[-1].json["messages"][-1]["content"]
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert result["content"] == [{"type": "text", "text": step["result"]}, *[{"type": "image", "source": source}] * 2]
    told = [*agents.events("/api/v2/model/chat/completion", {"agent_id": one, "user": "A cat.", "stream": True})]
    assert told[-1][1]["data"]["images"] == [DATA, DATA]
    said = agents.say(one, "A cat.").json
    history = agents.serving.ask("GET", f"/api/v1/conversation/{said['conversationId']}").json
    assert said["images"] == history["messages"][-1]["images"] == [DATA, DATA]


def test_what_the_agent_has_drawn_that_goes_on_is_the_turns_answer(agents: Agents, upstream: Upstream):
    one = boss(agents, True, painter=painter(agents))
    data = drawn(agents, one).json["data"]
    assert (data["content"], data["images"], data["finish_reason"]) == ("", [DATA], "stop")
    # afterwards its model knows that there was an answer
    assert drawn(agents, one, user="Thanks.", thread_id=data["thread_id"]).status == 200
    asked = [one for one in upstream.asked if one.path == "/v1/messages"][-1]
    assert [one["role"] for one in asked.json["messages"]] == ["user", "assistant", "user"]
    assert "image" in str(asked.json["messages"][1]["content"])
    # and what is written beside the picture is its text
    data = drawn(agents, boss(agents, True, painter=agents.agent(
        type="image", service="router", configuration={"model": "google/gemini-2.5-flash-image"}
    ))).json["data"]  # fmt: skip
    assert (data["content"], data["images"]) == ("Here.", [DATA])


def test_pictures_come_through_a_chain_of_agents_and_from_several(agents: Agents):
    between = boss(agents, painter=painter(agents))
    assert drawn(agents, boss(agents, between=between, painter=painter(agents))).json["data"]["images"] == [DATA, DATA]


def test_no_picture_that_was_paid_for_is_too_large_to_be_given(agents: Agents, upstream: Upstream):
    large = PIXEL + "A" * (5 * 1024 * 1024)
    upstream.answer = lambda asked: (
        whole({"created": 1, "data": [{"b64_json": large}] * 3}) if "/images/" in asked.path else answered(asked)
    )
    try:
        for transfer in (False, True):
            images = drawn(agents, boss(agents, transfer, painter=painter(agents))).json["data"]["images"]
            assert [len(one) for one in images] == [len(DATA) + 5 * 1024 * 1024] * 3
    finally:
        upstream.answer = answered


def test_a_picture_that_was_drawn_before_the_server_was_killed_is_given_after_it(agents: Agents, upstream: Upstream):
    one = boss(agents, painter=painter(agents))
    queue = {"response_format": {"type": "queue", "cred": {"name": "q"}}}

    def seen(path: str) -> int:
        return len([one for one in upstream.asked if one.path.endswith(path)])

    def slow(asked: Asked) -> Said:
        return (
            Said((9.0, b"{}")) if asked.path == "/v1/messages" and "tool_result" in str(asked.json) else answered(asked)
        )

    upstream.asked.clear()
    upstream.answer = slow
    try:
        job = drawn(agents, one, **queue).json["message_id"]
        until(lambda: seen("/v1/messages") == 2)
    finally:
        upstream.answer = answered
    agents.serving.kill()
    agents.serving.start()
    result = until(lambda: agents.serving.ask("GET", f"/v1/admin/jobs/{job}").json.get("result"), 30)
    assert (result["data"]["content"], result["data"]["images"]) == ("Here it is.", [DATA])
    assert seen("/images/generations") == 1
