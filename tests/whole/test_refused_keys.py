"""A provider that refuses its key, on our own faces: there 401 and 403 mean the caller's own key and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .agents_at import Agents
from .serving import Reply, Serving
from .upstream import Asked, Said, Upstream, whole
from .waiting import until

WORDS = "Incorrect API key provided: ***."
BAD_KEY = "sk-bad-0123456789abcdef"
V2 = "/api/v2/model/chat/completion"
SAY = {"role": "user", "content": "Hello."}
TOML = "".join(
    f"""
[providers.up{number}]
kind = "{kind}"
base_url = "{{url}}{path}"
api_key = "sk-operators-0123456789"
"""
    for number, (kind, path) in enumerate([("openai_compatible", "/v1")] * 20 + [("gemini", "")])
)
GEMINI = "up20"


class Refusing:
    """status: of its next answers."""

    status = 401

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "GET":
            return whole({"data": []})
        if ":generateContent" in asked.path:
            details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
            message = "API key not valid. Please pass a valid API key."
            error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": details}
            return whole({"error": error}, 400)
        key = asked.headers["authorization"].removeprefix("Bearer ")
        error = {"message": f"Incorrect API key provided: {key}.", "code": "invalid_api_key"}
        return whole({"error": error}, self.status)


@pytest.fixture(scope="module")
def provider() -> Refusing:
    return Refusing()


@pytest.fixture(scope="module")
def agents(provider: Refusing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    with (
        Upstream(provider) as upstream,
        Serving(tmp_path_factory.mktemp("refused"), TOML.format(url=upstream.url)) as serving,
    ):
        yield Agents(serving)


@pytest.fixture
def service(agents: Agents) -> str:
    """One that nobody has asked yet: after such a refusal it is left alone for a while."""
    agents.services = getattr(agents, "services", 0) + 1  # type: ignore[attr-defined]
    return f"up{agents.services}"  # type: ignore[attr-defined]


def agent(agents: Agents, service: str, **more: Any) -> str:
    return agents.agent(service=service, configuration={"model": "x"}, **more)


def is_the_servers_trouble(reply: Reply, status: int, service: str) -> None:
    said = reply.json
    message = said.get("message") or said["error"]
    assert (reply.status, said.get("code") or said["error"]) == (502, "key_refused"), said
    assert message == f"the provider {service} refuses the key that it is asked with ({status}): {WORDS}"
    assert "sk-operators" not in reply.body.decode()
    assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_provider_that_refuses_the_servers_key_is_no_refusal_of_the_callers(
    agents: Agents, provider: Refusing, service: str, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provider, "status", status)
    ask = agents.serving.ask
    replies = [
        agents.say(agent(agents, service), "Hello."),
        ask("POST", "/api/v1/agent/run", {"model": f"{service}/b", "messages": [SAY], "stream": False}),
        ask("POST", "/api/v1/completions", {"model": f"{service}/c", "messages": [SAY]}),
        ask("POST", V2, {"service": service, "model": "d", "user": "Hello."}),
        ask("POST", "/api/v2/model/embedding", {"service": service, "model": "e", "user": "Hello."}),
    ]
    for reply in replies:
        is_the_servers_trouble(reply, status, service)
    ends = [one["status"] for one in agents.serving.attempts() if one["provider"] == service]
    assert ends == ["failed"] * len(replies)  # each was asked once


def test_a_stream_tells_the_same(agents: Agents, service: str):
    ask, agent_id = agents.serving.ask, agent(agents, service)
    asked = {"model": f"{service}/b", "messages": [SAY], "stream": True}
    is_the_servers_trouble(ask("POST", "/api/v1/completions", asked), 401, service)
    said = {"agentId": agent_id, "message": "Hello."}
    last = [*agents.events("/api/v1/conversation", said)][-1]
    message = f"the provider {service} refuses the key that it is asked with (401): {WORDS}"
    assert last == ("error", {"statusCode": 502, "message": message})
    own = {"agent_id": agent_id, "user": "Hello.", "stream": True, "apikey": BAD_KEY}
    failed = ask("POST", V2, own)  # nothing has been said yet, so it is a status
    assert (failed.status, failed.json["code"], failed.json["param"]) == (400, "key_refused", "apikey")
    assert failed.json["message_id"].startswith("msg_")


def test_a_key_that_was_refused_a_moment_ago_is_named_as_the_reason_why_nobody_is_asked(agents: Agents, service: str):
    agent_id = agent(agents, service)
    is_the_servers_trouble(agents.say(agent_id, "Hello."), 401, service)
    again = agents.say(agent_id, "Hello.")
    assert (again.status, again.json["error"]) == (503, "server_busy")
    assert again.json["message"] == f"the provider '{service}' has refused its key a moment ago, try again later"
    assert int(again.headers["retry-after"]) > 60


def test_a_key_that_the_request_has_brought_is_named_as_the_field_to_mend(agents: Agents, service: str):
    asked = {"agent_id": agent(agents, service), "user": "Hello.", "apikey": BAD_KEY}
    reply = agents.serving.ask("POST", V2, asked)
    assert (reply.status, reply.json["code"], reply.json["param"]) == (400, "key_refused", "apikey")
    assert reply.json["error"] == f"apikey: the provider {service} refuses this key (401): {WORDS}"
    assert reply.json["message_id"].startswith("msg_")
    again = agents.serving.ask("POST", V2, asked)  # the provider is not asked, and the mistake is the same
    assert (again.status, again.json["code"], again.json["param"]) == (400, "key_refused", "apikey")
    message = f"apikey: the provider {service} has refused this key a moment ago, and is asked with it again in "
    assert again.json["error"].startswith(message)
    assert "retry-after" not in again.headers
    assert len([one for one in agents.serving.attempts() if one["provider"] == service]) == 1
    # The organization's own key is not his to mend.
    stored = {"name": "team", "service": service, "key": "sk-teams-0123456789"}
    agents.post("/v1/admin/service_keys", stored)
    is_the_servers_trouble(agents.serving.ask("POST", V2, {**asked, "apikey": None}), 401, service)


def test_a_key_that_gemini_refuses_with_400_is_told_as_such(agents: Agents):
    reply = agents.say(agent(agents, GEMINI), "Hello.")
    assert (reply.status, reply.json["error"]) == (502, "key_refused")
    assert reply.json["message"].endswith("(400): API key not valid. Please pass a valid API key.")
    spare = {"fall_back": {"service": "midstream", "model": "rehearsal"}}
    told = {"service": GEMINI, "model": "y", "user": "Hello.", "configuration": spare}
    data = agents.serving.ask("POST", V2, told).json["data"]
    assert (data["model"], data["fallback"]) == ("rehearsal", True)
    assert "API key not valid" in data["firstAttemptError"]


def test_the_same_is_told_later_and_kept(agents: Agents, service: str):
    agent_id = agent(agents, service)
    queue = {"type": "queue", "cred": {"name": service}}
    asked = {"agent_id": agent_id, "user": "Hello.", "apikey": BAD_KEY, "response_format": queue}
    assert agents.serving.ask("POST", V2, asked).status == 200
    [told] = until(lambda: agents.serving.ask("GET", f"/v1/queues/{service}").json["data"])
    assert (told["payload"]["code"], told["payload"]["param"]) == ("key_refused", "apikey")
    failed = agents.say(agent_id, "Hello.")
    is_the_servers_trouble(failed, 401, service)
    [newest] = agents.serving.ask("GET", "/api/v1/conversation/chat-history?limit=1").json["data"]
    kept = agents.serving.ask("GET", f"/api/v1/conversation/{newest['id']}").json["messages"][-1]
    assert kept["error"]["code"] == "key_refused"


def test_the_models_own_formats_keep_the_providers_status(agents: Agents, service: str):
    reply = agents.serving.ask("POST", "/v1/chat/completions", {"model": f"{service}/x", "messages": [SAY]})
    assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
    asked = {"model": f"{service}/y", "messages": [SAY], "max_tokens": 9}
    assert agents.serving.ask("POST", "/v1/messages", asked).status == 401
