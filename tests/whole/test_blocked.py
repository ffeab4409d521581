"""What output guardrails have blocked goes out in no form, on a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import Serving
from .test_live import hearing, later, until_end
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

ASK = "/api/v2/model/chat/completion"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"of what is forbidden").decode()
QUOTE = {"url": "https://e.org/hidden", "title": "a hidden title", "content": "a hidden quote", "start_index": 0,
         "end_index": 5}  # fmt: skip
#: All that there is of an answer.
PARTS = ("forbidden", PICTURE, "a hidden title", "a hidden quote", "e.org/hidden")
RAILS = {"guardrails": {"output": {"patterns": [{"pattern": "forbidden", "reason": "rule 1"}]}, "message": "NO."}}


class Model:
    """Says `text`, with a picture and a source. calls: what it asks for first."""

    def __init__(self) -> None:
        self.text = "forbidden words"
        self.calls: list[dict[str, Any]] = []

    def __call__(self, asked: Asked) -> Said:
        if "/images/" in asked.path:
            return whole({"created": 1, "data": [{"b64_json": PICTURE, "revised_prompt": self.text}]})
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
        source = {"type": "url_citation", "url_citation": QUOTE}
        message = {"role": "assistant", "content": self.text, "images": [image], "annotations": [source]}
        if self.calls and asked.json.get("tools") and "tool" not in [one["role"] for one in asked.json["messages"]]:
            calls = [{"id": f"c{n}", "type": "function", "function": one} for n, one in enumerate(self.calls)]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        stop = "tool_calls" if "tool_calls" in message else "stop"
        return whole({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": stop}]})


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def upstream(model: Model) -> Iterator[Upstream]:
    with Upstream(model) as running:
        yield running


@pytest.fixture
def agents(upstream: Upstream, tmp_path: Path) -> Iterator[Agents]:
    toml = (
        f'[providers.router]\nkind = "open_router"\napi_key = "r"\nbase_url = "{upstream.url}/v1"\n'
        f'[providers.openai]\napi_key = "sk-a"\nbase_url = "{upstream.url}/v1"\n'
    )
    with Serving(tmp_path, toml) as serving:
        yield Agents(serving)


def talker(agents: Agents, **more: Any) -> str:
    more = {"settings": RAILS, **more}
    return agents.agent(service="router", configuration={"model": "x", **more.pop("configuration", {})}, **more)


def of_the_answer(told: Any) -> list[str]:
    text = told if isinstance(told, str) else msgspec.json.encode(told).decode()
    return [part for part in PARTS if part in text]


def kept(agents: Agents) -> str:
    """All that the server has written anywhere, once it has ended."""
    agents.serving.stop()
    files = [one for one in agents.serving.folder.rglob("*") if one.is_file()]
    return "\n".join(one.read_bytes().decode("latin-1") for one in files)


def test_what_passes_is_told_and_kept_with_its_pictures_and_sources(agents: Agents, model: Model):
    model.text = "fine words"
    told = agents.post(ASK, {"agent_id": talker(agents), "user": "Draw."})["data"]
    assert len(told["images"]) == len(told["annotations"]) == 1
    assert set(of_the_answer(told)) == {*PARTS} - {"forbidden"}
    assert PICTURE in kept(agents)


def test_nothing_of_a_blocked_answer_is_told_kept_or_shown_to_a_model_again(agents: Agents, upstream: Upstream):
    more = {"type": "chatbot", "memory": True, "settings": {**RAILS, "suggestions": True, "titles": True}}
    agent = talker(agents, **more)
    serving = agents.serving
    told = agents.post(ASK, {"agent_id": agent, "user": "Draw.", "thread_id": "t"})["data"]
    assert (told["content"], told["finish_reason"], told["blocked"]) == ("NO.", "content_filter", "rule 1")
    assert (told["images"], told["annotations"]) == ([], [])
    everything: list[Any] = [told]
    everything += agents.events(ASK, {"agent_id": agent, "user": "Draw.", "thread_id": "t", "stream": True})
    everything += agents.events("/api/v1/conversation", {"agentId": agent, "message": "Draw."})
    plain = agents.say(agent, "Draw.").json
    assert "images" not in plain
    everything += [plain, serving.ask("GET", f"/api/v1/conversation/{plain['conversationId']}").json]
    queue = {"response_format": {"type": "queue", "cred": {"name": "q"}}}
    job = agents.post(ASK, {"agent_id": agent, "user": "Draw.", **queue})["message_id"]
    everything.append(until(lambda: serving.ask("GET", f"/v1/admin/jobs/{job}").json.get("result")))
    with hearing(serving, "c") as channel, hearing(serving, "t") as thread:
        later(agents, "c", "Draw.", agent_id=agent, thread_id="t", stream=True)
        everything += [*until_end(channel), *until_end(thread)]
    everything += [serving.ask("GET", path).json for path in (
        "/api/v1/conversation/chat-history", "/api/v1/conversation/search?q=words",
        f"/v1/admin/metrics?bucket=raw&agent_id={agent}", "/v1/admin/transactions", "/v1/admin/runs",
        f"/v1/admin/agents/{agent}/memories",
    )]  # fmt: skip
    assert of_the_answer(everything) == []
    assert [of_the_answer(one.json) for one in upstream.asked] == [[]] * len(upstream.asked)
    written = kept(agents)
    assert of_the_answer(written) == ["forbidden"]  # of the guardrails themselves
    assert "forbidden words" not in written


def test_a_blocked_picture_is_not_given_and_not_shown_to_the_model_that_drew_it(agents: Agents, upstream: Upstream):
    agent = agents.agent(type="image", service="openai", configuration={"model": "gpt-image-1"}, settings=RAILS)
    for _ in range(2):
        told = agents.post(ASK, {"agent_id": agent, "user": "Draw.", "thread_id": "t"})["data"]
        assert (told["content"], told["images"], told["blocked"]) == ("NO.", [], "rule 1")
    assert [one.path for one in upstream.asked] == ["/v1/images/generations"] * 2
    assert PICTURE not in kept(agents)


@pytest.mark.parametrize("transfer", [True, False])
def test_the_sources_of_the_agent_that_goes_on_are_the_turns_and_nothing_of_one_that_was_blocked_is(
    agents: Agents, model: Model, transfer: bool
):
    model.calls = [{"name": "other", "arguments": '{"message": "Say it."}'}]

    def told(settings: dict[str, Any]) -> Any:
        other = talker(agents, settings=settings)
        connected = {"other": {"agent_id": other, "description": "knows", "transfer": transfer}}
        agent = talker(agents, settings={}, connected_agents=connected)
        return agents.post(ASK, {"agent_id": agent, "user": "Hello."})["data"]

    model.text = "fine words"
    data = told(RAILS)
    [source] = data["annotations"]
    assert (source["quote"], len(data["images"])) == ("a hidden quote", 1 if transfer else 2)
    model.text = "forbidden words"
    data = told(RAILS)
    [step] = data["tools_data"].values()
    assert step["result"] == "NO."
    assert len(data["images"]) == (0 if transfer else 1)  # its own


@pytest.mark.parametrize("transfer", [True, False])
def test_what_an_agent_was_told_by_another_one_is_not_told_where_its_own_answer_was_blocked_for_it(
    agents: Agents, model: Model, transfer: bool
):
    other = talker(agents, settings={})
    connected = {"other": {"agent_id": other, "description": "knows", "transfer": transfer}}
    agent = talker(agents, connected_agents=connected)
    model.calls = [{"name": "other", "arguments": '{"message": "Say it."}'}]
    said = agents.say(agent, "Hello.").json
    told = agents.post(ASK, {"agent_id": agent, "user": "Hello."})["data"]
    assert [one["result"] for one in told["tools_data"].values()] == [""]
    history = agents.serving.ask("GET", f"/api/v1/conversation/{said['conversationId']}").json
    assert of_the_answer([told, said, history]) == []


def test_the_error_of_an_answer_in_no_right_form_does_not_quote_what_guardrails_have_not_seen(
    agents: Agents, model: Model
):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"response_type": {"type": "json_schema", "json_schema": schema}}
    model.text = '{"n": "forbidden words"}'
    refused = agents.serving.ask("POST", ASK, {"agent_id": talker(agents), "user": "Hello.", **form})
    assert (refused.status, refused.json["code"]) == (502, "response_invalid")
    assert of_the_answer(refused.json) == []
    free = agents.serving.ask("POST", ASK, {"agent_id": talker(agents, settings={}), "user": "Hello.", **form})
    assert "n: 'forbidden words' is not of type 'integer'" in free.json["error"]
