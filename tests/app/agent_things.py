"""Agents and what they use, made over the admin routes."""

from __future__ import annotations

from typing import Any

from .asgi import KEY, Here, Reply

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["city"],
}
CONFIGURATION = {"model": "rehearsal", "prompt": "You help {{name}}."}


async def post(app: Here, path: str, body: Any = None, key: str = KEY, method: str = "POST") -> Reply:
    return await app.ask(method, f"/v1/admin{path}", {} if body is None else body, key, content_type="application/json")


async def made(app: Here, path: str, body: Any, key: str = KEY) -> Any:
    reply = await post(app, path, body, key)
    assert reply.status == 201, reply.body
    return reply.json


async def http_tool(app: Here, name: str = "weather", key: str = KEY, **more: Any) -> str:
    http = {"method": "GET", "url": "https://weather.example.org/{city}", **more.pop("http", {})}
    return str((await made(app, "/tools", {"name": name, "parameters": WEATHER, "http": http, **more}, key))["id"])


async def agent(app: Here, name: str = "Helper", key: str = KEY, **more: Any) -> Any:
    body = {"name": name, "service": "midstream", "configuration": CONFIGURATION, **more}
    return await made(app, "/agents", body, key)


async def published(app: Here, name: str = "Helper", key: str = KEY, **more: Any) -> Any:
    drafted = await agent(app, name, key, **more)
    reply = await post(app, f"/agents/{drafted['id']}/publish", {"version_id": drafted["version_id"]}, key)
    assert reply.status == 200, reply.body
    return reply.json


async def other_org(app: Here) -> tuple[str, str]:
    """Another org and its admin's key."""
    org = (await made(app, "/orgs", {"name": "other"}))["id"]
    return org, (await made(app, "/keys", {"name": "boss", "org_id": org, "scopes": ["admin"]}))["key"]
