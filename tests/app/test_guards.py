"""What a version's guardrails name: models, addresses and secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.agent.guardrails import Webhook
from midstream.app.guards import consult
from midstream.core.agents import Loaded, Settings, Spec
from midstream.core.errors import BadRequest
from midstream.core.http import Outgoing
from midstream.core.secret import Secret

from .agent_things import agent, http_tool, made, post
from .asgi import Here, here

URL = "https://checks.example.org/now"
HEADERS = {"authorization": "Bearer {{secret:CHECKS}}", "x-team": "a"}


class World:
    """Answers with what it was sent."""

    status = 200
    headers: dict[str, str] = {}

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    async def __call__(self, outgoing: Outgoing) -> World:
        self.sent.append(outgoing)
        return self

    async def read(self, limit: int) -> bytes:
        return b'{"blocked": true, "reason": "%s"}' % dict(self.sent[-1].headers)["authorization"].encode()

    def close(self) -> None: ...


def loaded(rails: dict[str, Any], place: str = "settings", **secrets: str) -> Loaded:
    named = (
        {"settings": Settings(guardrails=rails)} if place == "settings" else {"configuration": {"guardrails": rails}}
    )
    known = {name.replace("__", "."): Secret(text) for name, text in secrets.items()}
    return Loaded("org", "agt_1", "a", "A", "active", "ver_1", Spec(**named), secrets=known)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["settings", "configuration"])
@pytest.mark.parametrize("stage", ["input", "output"])
def test_a_webhook_of_the_version_gets_the_secrets_that_it_names_and_does_not_tell_them(place: str, stage: str):
    world = World()
    agent = loaded({stage: {"webhook": {"url": URL, "headers": HEADERS}}}, place, CHECKS="hush-hush")
    answer = asyncio.run(consult(world, agent, Webhook(URL, HEADERS), {"stage": stage, "text": "x"}))  # type: ignore[arg-type]
    [sent] = world.sent
    assert dict(sent.headers) == {
        "content-type": "application/json", "authorization": "Bearer hush-hush", "x-team": "a",
    }  # fmt: skip
    assert answer == {"blocked": True, "reason": "Bearer ***"}


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://evil.example.org/", HEADERS),
        (URL + "?also", HEADERS),
        (URL, {"x-team": "{{secret:CHECKS}}"}),
        (URL, {**HEADERS, "x-more": "{{ secret:OTHER }}"}),
    ],
)
def test_a_webhook_that_only_a_request_names_gets_no_secret(url: str, headers: dict[str, str]):
    world = World()
    agent = loaded({"input": {"webhook": {"url": URL, "headers": HEADERS}}}, CHECKS="hush-hush", OTHER="hush-too")
    with pytest.raises(BadRequest, match="can only be named by a version's own guardrails"):
        asyncio.run(consult(world, agent, Webhook(url, headers), {}))  # type: ignore[arg-type]
    assert world.sent == []


@pytest.mark.parametrize("name", ["GONE", "tool_1.authorization"])
def test_a_secret_without_a_value_and_one_of_a_tools_own_are_not_sent(name: str):
    world, headers = World(), {"authorization": f"{{{{secret:{name}}}}}"}
    agent = loaded({"input": {"webhook": {"url": URL, "headers": headers}}}, tool_1__authorization="a tool's")
    with pytest.raises(BadRequest, match="has no value"):
        asyncio.run(consult(world, agent, Webhook(URL, headers), {}))  # type: ignore[arg-type]
    assert world.sent == []


async def problems(app: Here, **more: Any) -> list[tuple[str, str]]:
    one = await agent(app, **more)
    reply = await post(app, f"/agents/{one['id']}/publish", {"version_id": one["version_id"]})
    return [(told["path"], told["message"]) for told in reply.json.get("problems", [])]


def test_a_classifier_that_no_turn_could_ask_is_not_published(tmp_path: Path):
    async def test(app: Here) -> None:
        def by(**classifier: str) -> dict[str, Any]:
            return {"classifier": classifier}

        rails = {"input": by(service="nobody", model="m"), "output": by(service="midstream", model="gpt-4o")}
        for place in ("settings", "configuration"):
            more = {"model": "rehearsal"} if place == "configuration" else {}
            told = await problems(app, **{place: {**more, "guardrails": rails}})
            assert [path for path, _ in told] == [
                f"{place}.guardrails.input.classifier.service", f"{place}.guardrails.output.classifier.model",
            ]  # fmt: skip
            assert told[1][1] == "the model 'gpt-4o' is none of the service midstream's"
        [(path, why)] = await problems(app, settings={"guardrails": {"output": by(model="nonsense")}})
        assert path == "settings.guardrails.output.classifier.model"
        assert why.startswith("the model 'nonsense' does not exist here")
        keyless = {"guardrails": {"input": by(service="openai", model="gpt-4o")}}
        assert [path for path, _ in await problems(app, settings=keyless)] == ["keys"]
        fine = {"input": by(service="midstream", model="rehearsal"), "output": by(model="midstream/rehearsal")}
        assert await problems(app, settings={"guardrails": fine}) == []

    here(tmp_path, test)


def test_what_a_guardrails_webhook_cannot_be_asked_with_is_not_published(tmp_path: Path):
    async def test(app: Here) -> None:
        tool = await http_tool(app, http={"headers": {"authorization": "Bearer hush-hush"}})

        async def told(url: str = URL, **headers: str) -> list[tuple[str, str]]:
            rails = {"output": {"webhook": {"url": url, "headers": headers}}}
            found = await problems(app, settings={"guardrails": rails})
            return [(path.removeprefix("settings.guardrails.output.webhook."), why) for path, why in found]

        for private in ("http://127.0.0.1:9/x", "https://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest"):
            [(path, why)] = await told(private)
            assert (path, why.endswith("is not a public address")) == ("url", True)
        assert await told("ftp://x.example.org") != []
        named = {"authorization": "Bearer {{secret:CHECKS}}"}
        assert await told(**named) == [("headers.authorization", "no such secret: CHECKS")]
        await made(app, "/secrets", {"name": "CHECKS", "value": "v"})
        assert await told(**named, accept="text/plain") == []
        theirs = f"tool_{tool.removeprefix('tool_')}.authorization"
        [(path, why)] = await told(cookie=f"{{{{secret:{theirs}}}}}")
        assert (path, why) == ("headers.cookie", f"the secret {theirs} is a tool's own")
        assert await told(Host="x.example.org") == [("headers.Host", "is written by the server itself")]

    here(tmp_path, test)


def test_a_credential_that_is_written_out_in_guardrails_is_refused_with_what_to_do(tmp_path: Path):
    async def test(app: Here) -> None:
        rails = {"output": {"webhook": {"url": URL, "headers": {"X-Api-Key": "hush-hush"}}}}
        one = await agent(app)
        version = f"/agents/{one['id']}/versions"
        file = {"format": "midstream.agent", "agent": {"name": "n", "slug": "n", "settings": {"guardrails": rails}}}
        replies = [
            await post(app, "/agents", {"name": "n", "settings": {"guardrails": rails}}),
            await post(app, f"{version}/{one['version_id']}", {"configuration": {"guardrails": rails}}, method="PATCH"),
            await post(app, version, {"settings": {"guardrails": rails}}),
            await post(app, "/agents/import", file),
        ]
        for reply in replies:
            assert reply.status == 400
            why = "output.webhook.headers.X-Api-Key: store this value as a secret (POST /v1/admin/secrets) and write"
            assert why in reply.json["error"]["message"]
            assert "hush" not in reply.body.decode()

    here(tmp_path, test)


def test_a_file_of_an_agent_has_no_credential_of_guardrails_in_it_and_an_import_names_their_secrets(tmp_path: Path):
    async def test(app: Here) -> None:
        await made(app, "/secrets", {"name": "CHECKS", "value": "v"})
        named = {"input": {"webhook": {"url": URL, "headers": HEADERS}}}
        one = await agent(app, settings={"guardrails": named})
        # As versions could be before: written out.
        old = {"output": {"webhook": {"url": URL, "headers": {"X-Token": "hush-hush"}}}}
        spec = Spec("chat", "midstream", {"model": "rehearsal", "guardrails": old}, settings=Settings(guardrails=named))
        body = msgspec.json.encode(spec)
        write = "UPDATE agent_versions SET body = $1 WHERE id = $2"
        await app.services.store.db.write([(write, (body, one["version_id"]))])
        file = await app.ask("GET", f"/v1/admin/agents/{one['id']}/export")
        assert "hush" not in file.body.decode()
        assert file.json["secrets"] == ["CHECKS", "x-token"]
        reply = await post(app, f"/agents/{one['id']}/publish", {"version_id": one["version_id"]})
        [problem] = reply.json["problems"]
        assert problem["path"] == "configuration.guardrails.output.webhook.headers.X-Token"
        other = (await made(app, "/orgs", {"name": "other"}))["id"]
        copied = await made(app, "/agents/import", {**file.json, "org_id": other})
        assert {(told["path"], told["id"]) for told in copied["missing"]} == {
            ("secrets", "CHECKS"),
            ("secrets", "x-token"),
        }

    here(tmp_path, test)
