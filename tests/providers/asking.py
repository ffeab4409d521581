"""A provider whose exchanges are seen and never made."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from msgspec import Raw

from midstream import providers
from midstream.core.errors import Unreachable
from midstream.core.events import Event
from midstream.core.http import Incoming, Outgoing
from midstream.core.registry import modules_of
from midstream.core.turn import Plan, Turn
from midstream.core.web import Request
from midstream.faces import openai_chat
from midstream.providers._service import Provider, Service

KEY = "sk-the-secret-key-of-this-provider"
ADDRESS = "http://127.0.0.1:9000/v1"
MODEL = "some-model"
SERVICES: dict[str, Service] = {name: module.SERVICE for name, module in modules_of(providers).items()}
REMOTE = {name: service for name, service in SERVICES.items() if not service.builtin}


def turn_of(value: dict[str, Any]) -> Turn:
    body = msgspec.json.encode({"model": MODEL, **value})
    return openai_chat.read("chat", Request("POST", "/v1/chat/completions", {}, {}, {}, "req_1", body))


def plan_of(turn: Turn) -> Plan:
    return Plan(turn, MODEL, turn.stream)


class Watched:
    """One provider of a service and what it would have sent."""

    def __init__(self, kind: str, key: str = KEY) -> None:
        self.service = SERVICES[kind]
        self.sent: list[Outgoing] = []
        self.events: list[Event] = []
        base_url = self.service.base_url or ADDRESS
        self.provider = Provider(kind, self.service, self._send, base_url=base_url, keys={"0": key})

    async def _send(self, outgoing: Outgoing) -> Incoming:
        self.sent.append(outgoing)
        raise Unreachable("not sent")

    async def leaving(self) -> None:
        """As a run's line does, nothing leaves before it is told."""
        assert not self.sent

    def emit(self, events: Any, size: int) -> bool:
        self.events += events
        return True

    def opened(self, resume: Any) -> None:
        pass

    def ask(self, plan: Plan) -> Outgoing:
        """What goes out first."""

        with contextlib.suppress(Unreachable):
            asyncio.run(self.provider.complete(None, "0", plan, self))  # type: ignore[arg-type]
        return self.sent[0]


def shown(outgoing: Outgoing, plan: Plan, service: Service) -> dict[str, Any]:
    """Without the key. dropped: what the caller is told that it could not carry."""
    asked = (service.write or service.dialect.write_ask)(plan)
    assert asked.body == outgoing.body
    return {
        "method": outgoing.method,
        "url": outgoing.url,
        "headers": {name: value.replace(KEY, "***") for name, value in outgoing.headers},
        "body": msgspec.json.decode(outgoing.body),
        "dropped": list(asked.dropped),
    }


def fields_of(value: dict[str, Any]) -> dict[str, Raw]:
    return {name: Raw(msgspec.json.encode(one)) for name, one in value.items()}
