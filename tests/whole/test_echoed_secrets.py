"""A secret that a tool's service repeats is told to no model, no caller and no journal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .agents_at import Agents
from .mcp_remote import Remote, said
from .scripted_model import Call, Line, Models
from .serving import Serving
from .upstream import Asked, Said, Upstream, whole

TOML = """
[egress]
allow = ["127.0.0.1:{echo}", "127.0.0.1:{remote}"]
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
[mcp.servers.operators]
url = "{remote_url}/mcp"
headers = {{ x-auth = "canary-operator-1" }}
"""
#: As it is, and as JSON writes it.
CANARIES = ("canary-operator-1", "canary-wiki-1", "canary-http-1", 'canary"s\\quoted', 'canary\\"s\\\\quoted')


@pytest.fixture(scope="module")
def upstream(models: Models) -> Iterator[Upstream]:
    with Upstream(models) as running:
        yield running


@pytest.fixture(scope="module")
def agents(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    def echo(asked: Asked) -> Said:
        return whole({"headers": asked.headers}, content_type="application/json")

    remote = Remote("look")
    remote.answer = lambda params, headers: said(f"{headers}", structuredContent={"headers": headers})
    with Upstream(remote) as site, Upstream(echo) as echoing:
        toml = TOML.format(echo=echoing.port, remote=site.port, remote_url=site.url, url=upstream.url)
        with Serving(tmp_path_factory.mktemp("echoes"), toml) as serving:
            made = Agents(serving)
            headers = {"authorization": "Bearer canary-wiki-1"}
            made.post("/v1/admin/mcp_servers", {"name": "wiki", "url": f"{site.url}/mcp", "headers": headers})
            for name, value in (("PLAIN", "canary-http-1"), ("QUOTED", 'canary"s\\quoted')):
                made.post("/v1/admin/secrets", {"name": name, "value": value})
            secret = {"x-plain": "{{secret:PLAIN}}", "x-quoted": "{{secret:QUOTED}}"}
            made.tool("echo", f"{echoing.url}/echo", properties={}, http={"headers": secret})
            yield made


def test_no_secret_comes_back(agents: Agents, models: Models, upstream: Upstream):
    names = ["echo", "wiki__look", "operators__look"]
    agent = agents.agent(service="up", configuration={"model": "x"})
    models.say("x", Line(calls=tuple(Call(name, id=name) for name in names)))
    asked = {"agent_id": agent, "user": "hi", "tools": names}
    reply = agents.serving.ask("POST", "/api/v2/model/chat/completion", asked)
    assert {step["status"] for step in reply.json["data"]["tools_data"].values()} == {"ok"}
    told = [reply.body, upstream.asked[-1].body]
    for name in names:
        told.append(agents.serving.ask("POST", "/mcp/v1/tools/call-tool", {"name": name, "arguments": {}}).body)
    told.append(agents.serving.ask("GET", "/v1/admin/tool_calls").body)
    for body in told:
        assert b"***" in body
        assert not [canary for canary in CANARIES if canary.encode() in body]
        assert b"canary" not in body
