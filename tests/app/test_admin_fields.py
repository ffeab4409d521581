"""Every field of every body of the operator's routes, with what it should not hold: taken or refused, no failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.agent.prepare import CONFIGURATION

from .agent_things import agent, http_tool, made, post
from .asgi import Here, Reply, here

WRONG: tuple[Any, ...] = (
    None, "", "x", "{{secret:x}}", "http://{h}/", 0, -1, 2**53, 1e308, 0.5, True, [], ["x"], [None], [{}], [[]],
    {}, {"a": 1}, {"a": None}, {"a": {"b": []}}, {"type": None}, {"": ""},
)  # fmt: skip
#: Of each kind one: they are published one by one.
FEW: tuple[Any, ...] = (None, "x", 0, 2**53, 0.5, True, [], [{}], {}, {"a": {"b": []}}, {"type": None})
HTTP = {"url": "https://x.example.org"}
CALLED = {"agent_id": "agt_1", "version_id": "ver_1"}
#: A body that is taken, of each route. Braces stand for the ids of what there is.
BODIES: dict[str, dict[str, Any]] = {
    "post /keys": {"name": "k"},
    "patch /keys/{key_id}": {"requests_per_minute": 5},
    "post /orgs": {"name": "o"},
    "post /agents": {"name": "a"},
    "post /agents/import": {
        "format": "midstream.agent",
        "agent": {"name": "a", "slug": "a", "tool_ids": ["t"], "pre_tools": [{"tool_id": "t"}]},
        "tools": [{"id": "t", "name": "t", "http": HTTP}],
    },
    "post /agents/{agent_id}/duplicate": {},
    "patch /agents/{agent_id}": {},
    "post /agents/{agent_id}/versions": {
        "pre_tools": [{"tool_id": "t"}], "connected_agents": {"a": CALLED}, "settings": {"fall_back": {"model": "m"}},
        "variables_state": {"v": {}},
    },
    "patch /agents/{agent_id}/versions/{version_id}": {
        "pre_tools": [{"tool_id": "t"}], "connected_agents": {"a": CALLED}, "settings": {"fall_back": {"model": "m"}},
        "variables_state": {"v": {}},
    },
    "post /agents/{agent_id}/publish": {"version_id": "{version_id}"},
    "post /agents/{agent_id}/test_cases": {"input": "i", "expected": "e"},
    "post /agents/{agent_id}/test_runs": {"version_id": "{version_id}"},
    "put /agents/{agent_id}/memories": {"thread_id": "t", "text": "x"},
    "post /tools": {"name": "t", "http": HTTP},
    "patch /tools/{tool_id}": {"http": HTTP},
    "post /templates": {"name": "t", "template": "x"},
    "patch /templates/{id}": {},
    "post /service_keys": {"name": "k", "service": "openai", "key": "sk-0123456789"},
    "patch /service_keys/{id}": {},
    "post /mcp_servers": {"name": "m", "url": "https://x.example.org"},
    "patch /mcp_servers/{id}": {},
    "post /models": {"name": "m", "service": "openai", "model": "ft:x", "parameters": {"seed": {}}},
    "patch /models/{id}": {"parameters": {"seed": {}}},
    "post /mcp_servers/{server}/approve": {"digest": "x"},
    "post /alerts": {"name": "a", "type": "Error", "webhook": HTTP},
    "patch /alerts/{id}": {"webhook": HTTP},
    "post /secrets": {"name": "s", "value": "x"},
    "patch /settings": {"embedding": {"model": "x"}},
    "post /documents": {"name": "d", "text": "x"},
}  # fmt: skip
NOUNS = ("templates", "service_keys", "mcp_servers", "models", "alerts")


async def things(app: Here) -> dict[str, str]:
    """One of everything, by what stands in the paths."""
    one = await agent(app)
    ids = {"agent_id": one["id"], "version_id": one["version_id"], "tool_id": await http_tool(app)}
    ids["key_id"] = (await made(app, "/keys", {"name": "k"}))["id"]
    for path in NOUNS:
        ids[path] = (await made(app, f"/{path}", BODIES[f"post /{path}"]))["id"]
    return ids


def resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object that a field may be, {} when it is none."""
    for one in (schema, *schema.get("anyOf", ())):
        found = schemas[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        if found.get("type") in ("object", "array"):
            return found
    return {}


def mistakes(schema: Mapping[str, Any], schemas: Mapping[str, Any], value: Any) -> Iterator[Any]:
    """The value with each of its members, on every level, replaced by each of WRONG."""
    yield from WRONG
    schema = resolved(schema, schemas)
    if schema.get("type") == "array":
        for inner in mistakes(schema.get("items", {}), schemas, value[0] if isinstance(value, list) and value else {}):
            yield [inner]
        return
    fields = dict(schema.get("properties", {}))
    said = value if isinstance(value, dict) else {}
    if isinstance(any_name := schema.get("additionalProperties"), dict):
        fields |= dict.fromkeys(said or ("weather",), any_name)
    for name, field in fields.items():
        for inner in mistakes(field, schemas, said.get(name)):
            yield {**said, name: inner}


def answered(reply: Reply, *asked: Any) -> None:
    assert reply.status < 500, (*asked, reply.body)
    assert reply.status < 400 or reply.json["error"]["code"], asked


@pytest.mark.parametrize("route", BODIES)
def test_a_field_of_any_kind_is_taken_or_refused_and_never_a_failure(tmp_path: Path, route: str):
    async def test(app: Here) -> None:
        ids = await things(app)
        method, _, path = route.partition(" ")
        document = (await app.ask("GET", "/openapi.json")).json
        body = document["paths"][f"/v1/admin{path}"][method]["requestBody"]["content"]["application/json"]["schema"]
        ids["id"] = ids.get(path.split("/")[1], "")
        valid = msgspec.json.decode(filled(msgspec.json.encode(BODIES[route]).decode(), ids))
        asked = filled(path, ids)
        answered(await post(app, asked, valid, method=method.upper()), route, valid)
        for wrong in mistakes(body, document["components"]["schemas"], valid):
            answered(await post(app, asked, wrong, method=method.upper()), route, wrong)
        for raw in (b'{"\\ud800":1}', b'{"name":"\\ud800"}', b"{", b"null", b"[1e999]"):
            answered(await post(app, asked, raw, method=method.upper()), route, raw)

    here(tmp_path, test)


def filled(text: str, ids: Mapping[str, str]) -> str:
    for name, id in ids.items():
        text = text.replace(f"{{{name}}}", id)
    return text


def test_no_route_with_a_body_is_left_out(tmp_path: Path):
    async def test(app: Here) -> None:
        document = (await app.ask("GET", "/openapi.json")).json
        routes = {
            f"{method} {path.removeprefix('/v1/admin')}"
            for path, operations in document["paths"].items()
            for method, one in operations.items()
            if path.startswith("/v1/admin") and "requestBody" in one
        }
        assert routes == {*BODIES}

    here(tmp_path, test)


@pytest.mark.parametrize("kind", ["chat", "embedding"])
def test_publishing_any_configuration_is_an_answer_and_never_a_failure(tmp_path: Path, kind: str):
    async def test(app: Here) -> None:
        one = await agent(app, type=kind)
        path = f"/agents/{one['id']}"
        first = one["version_id"]
        for name in sorted(CONFIGURATION):
            for wrong in FEW:
                version = await post(app, f"{path}/versions", {"from_version": first, "configuration": {name: wrong}})
                answered(version, name, wrong)
                if version.status != 201:
                    continue
                id = version.json["id"]
                answered(await app.ask("GET", f"/v1/admin{path}/resolved?version_id={id}"), "resolved", name, wrong)
                answered(await post(app, f"{path}/publish", {"version_id": id}), "publish", name, wrong)

    here(tmp_path, test)
