"""Guardrails of an agent whose users attach files and documents, on a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Serving
from .tool_server import ToolServer
from .upstream import Upstream, whole

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda asked: whole(ANSWER)) as running:
        yield running


@pytest.fixture(scope="module")
def hooks() -> Iterator[ToolServer]:
    with ToolServer() as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, hooks: ToolServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    toml = f'[egress]\nallow = ["127.0.0.1:{hooks.port}"]\n'
    toml += f'[providers.up]\nkind = "openai_compatible"\nbase_url = "{upstream.url}/v1"\napi_key = "sk"\n'
    with Serving(tmp_path_factory.mktemp("guarded"), toml) as serving:
        yield Agents(serving)


def guarded(agents: Agents, checks: dict[str, Any]) -> str:
    rails = {"input": checks, "message": "Not that."}
    return agents.agent(service="up", configuration={"model": "x"}, settings={"guardrails": rails})


def attached(text: str, mime: str = "text/plain") -> dict[str, Any]:
    return {"data": base64.b64encode(text.encode()).decode(), "mimeType": mime, "name": "notes.txt"}


def test_what_is_attached_is_checked_before_any_model_sees_it(agents: Agents, upstream: Upstream):
    agent = guarded(agents, {"patterns": ["bomb"]})
    document = agents.post("/v1/admin/documents", {"name": "plan", "text": "How to build a bomb."})["id"]
    upstream.asked.clear()
    for more in ({"attachments": [attached("a bomb")]}, {"documentIds": [document]}):
        reply = agents.say(agent, "Summarize it.", **more).json
        assert (reply["text"], reply["blocked"], reply["finishReason"]) == (
            "Not that.",
            "it matches bomb",
            "content_filter",
        )
    body = {"agent_id": agent, "user": "Summarize it.", "files": [f"data:text/csv;base64,{attached('x,bomb')['data']}"]}
    assert agents.post("/api/v2/model/chat/completion", body)["data"]["blocked"] == "it matches bomb"
    assert upstream.asked == []
    assert agents.say(agent, "Summarize it.", attachments=[attached("a cake")]).json["text"] == "ok"


def test_a_file_is_checked_however_it_is_encoded_and_blocked_when_it_cannot_be_read(agents: Agents, upstream: Upstream):
    agent = guarded(agents, {"patterns": ["bomb"]})
    upstream.asked.clear()
    for data, why in (
        ("a bomb".encode("utf-16-le"), "it matches bomb"),
        ("a bomb".encode("utf-16-be"), "it matches bomb"),
        ("bömb".encode("latin-1"), "a check could not be made: notes.txt is no text in UTF-8 or UTF-16"),
    ):
        file = {**attached(""), "data": base64.b64encode(data).decode()}
        assert agents.say(agent, "Summarize it.", attachments=[file]).json["blocked"] == why
    assert upstream.asked == []
    plain = agents.agent(service="up", configuration={"model": "x"})
    unread = agents.say(plain, "Summarize it.", attachments=[file])  # nor is it let through where nothing is checked
    assert (unread.status, unread.json["error"]) == (400, "invalid_media")
    assert upstream.asked == []


@pytest.mark.parametrize("mime", ["application/json", "application/xml", "Application/X-YAML;charset=utf-8"])
def test_one_bad_byte_lets_no_text_pass_whatever_it_is_called(agents: Agents, upstream: Upstream, mime: str):
    agent = guarded(agents, {"patterns": ["bomb"]})
    upstream.asked.clear()
    file = {**attached("", mime), "data": base64.b64encode(b'{"a": "bomb"}\xff').decode()}
    reply = agents.say(agent, "Summarize it.", attachments=[file]).json
    assert reply["blocked"] == "a check could not be made: notes.txt is no text in UTF-8 or UTF-16"
    assert upstream.asked == []


def test_a_webhook_is_told_of_all_that_a_user_says(agents: Agents, hooks: ToolServer):
    agent = guarded(agents, {"webhook": {"url": f"{hooks.url}/check"}})
    agents.say(agent, "Summarize it.", attachments=[attached("a cake")])
    [call] = hooks.to("/check")
    assert call["body"] == {"stage": "input", "text": "Summarize it.\n\nnotes.txt\n\na cake"}


def test_a_webhooks_stored_secret_reaches_it_and_no_other_that_a_request_names(agents: Agents, hooks: ToolServer):
    agents.post("/v1/admin/secrets", {"name": "CHECKS", "value": "hush-hush-hush"})
    webhook = {"url": f"{hooks.url}/sealed", "headers": {"authorization": "Bearer {{secret:CHECKS}}"}}
    agent = guarded(agents, {"webhook": webhook})
    assert agents.say(agent, "hello").json["text"] == "Not that."  # it does not say that it may pass
    [call] = hooks.to("/sealed")
    assert call["headers"]["authorization"] == "Bearer hush-hush-hush"
    exported = agents.serving.ask("GET", f"/v1/admin/agents/{agent}/export")
    assert (exported.json["secrets"], b"hush" in exported.body) == (["CHECKS"], False)
    theirs = {"input": {"webhook": {**webhook, "url": f"{hooks.url}/elsewhere"}}}
    for more, path in (({"guardrails": theirs}, ""), ({"configuration": {"guardrails": theirs}}, "configuration.")):
        body = {"agent_id": agent, "user": "hello", **more}
        refused = agents.serving.ask("POST", "/api/v2/model/chat/completion", body)
        assert refused.status == 400
        assert (
            f"{path}guardrails.input.webhook.headers.authorization: must be the value itself" in refused.json["error"]
        )
    assert hooks.to("/elsewhere") == []
