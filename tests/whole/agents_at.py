"""Agents on a real server, made through its admin API, and what is said to them."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Generator
from contextlib import closing
from typing import Any

import msgspec

from .serving import ADMIN_KEY, Reply, Serving

#: Those of all tests, so that tests of one server do not meet.
_MADE = itertools.count(1)


class Agents:
    """serving: a running server."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def tool(self, name: str, url: str, **more: Any) -> str:
        properties = more.pop("properties", {"city": {"type": "string"}})
        made = self.post(
            "/v1/admin/tools",
            {
                "name": name,
                "description": f"asks {name}",
                "kind": "http",
                "parameters": {"type": "object", "properties": properties, "required": [*properties]},
                "http": {"method": "POST", "url": url, **more.pop("http", {})},
                **more,
            },
        )
        return str(made["id"])

    def agent(self, *, publish: bool = True, configuration: dict[str, Any] | None = None, **more: Any) -> str:
        number = next(_MADE)
        made = self.post(
            "/v1/admin/agents",
            {
                "name": f"agent {number}",
                "slug": f"agent-{number}",
                "service": "midstream",
                "configuration": {"model": "rehearsal", **(configuration or {})},
                **more,
            },
        )
        if publish:
            self.post(f"/v1/admin/agents/{made['id']}/publish", {"version_id": made["version_id"]})
        return str(made["id"])

    def post(self, path: str, body: Any) -> Any:
        reply = self.serving.ask("POST", path, body)
        assert reply.status in (200, 201), reply.body
        return reply.json

    def say(self, agent: str, message: str, key: str = ADMIN_KEY, **more: Any) -> Reply:
        body = {"agentId": agent, "message": message, "stream": False, **more}
        return self.serving.ask("POST", "/api/v1/conversation", body, key=key)

    def events(self, path: str, body: Any) -> Generator[tuple[str, Any], None, None]:
        """Events of an SSE answer as they come. Whoever closes the iterator hangs up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.serving.port, timeout=30)
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        connection.request("POST", path, msgspec.json.encode(body), headers)
        with closing(connection), connection.getresponse() as reply:
            assert reply.status == 200, reply.read()
            name = ""
            for line in reply:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    name = text[7:]
                elif text.startswith("data: "):
                    yield name, msgspec.json.decode(text[6:])
