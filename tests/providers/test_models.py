"""Which models a service says that it has."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlsplit

import pytest

from midstream.core.http import Incoming, Outgoing, Sink
from midstream.providers._service import Provider
from midstream.wire import anthropic_messages, gemini

from .asking import ADDRESS, KEY, SERVICES

IDS = [f"m-{number}" for number in range(130)]


class Page:
    """What the service answers."""

    status = 200

    def __init__(self, body: bytes) -> None:
        self.headers: dict[str, str] = {}
        self._body = body

    async def pump(self, sink: Sink) -> None:
        raise AssertionError("a list is read whole")

    async def read(self, limit: int = 0) -> bytes:
        return self._body

    def resume(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("kind, service", [("anthropic", anthropic_messages), ("gemini", gemini)])
def test_a_service_that_tells_its_models_in_pages_is_asked_for_all_of_them(kind: str, service: object):
    async def send(outgoing: Outgoing) -> Incoming:
        return Page(service.write_models(IDS, dict(parse_qsl(urlsplit(outgoing.url).query))))  # type: ignore[attr-defined]

    provider = Provider("up", SERVICES[kind], send, base_url=ADDRESS, keys={"0": KEY})
    assert asyncio.run(provider.models()) == IDS
