"""A service that refuses what it is sent does not say which picture it cannot read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from midstream.core.errors import Refused
from midstream.core.events import Attempted
from midstream.core.http import Incoming, Outgoing
from midstream.core.parts import Media, Message, Text
from midstream.core.turn import Plan, Prompt, Turn
from midstream.core.unread import of_before
from midstream.providers._service import Provider

from .asking import MODEL, SERVICES, turn_of

PICTURE = Media("image", "image/png", data="AAAA")
SEEN = (Message("user", (PICTURE, Text("See."))), Message("assistant", (Text("I see."),)))
NOW = Message("user", (Text("And now?"),))
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


class Answer:
    def __init__(self, status: int, body: Any) -> None:
        self.status, self.headers, self._body = status, dict[str, str](), msgspec.json.encode(body)

    async def read(self, limit: int = 0) -> bytes:
        return self._body

    def close(self) -> None:
        pass


class Refusing:
    """status: with which it refuses pictures. broken: it refuses all."""

    def __init__(self, status: int, broken: bool = False) -> None:
        self.status, self.broken = status, broken
        self.sent: list[bytes] = []
        self.left = 0
        self.dropped: tuple[str, ...] = ()
        self.provider = Provider("x", SERVICES["openai"], self._send, base_url="http://127.0.0.1:9/v1", keys={"0": "k"})

    async def _send(self, outgoing: Outgoing) -> Incoming:
        self.sent.append(outgoing.body)
        refuses = self.broken or b"image_url" in outgoing.body
        return Answer(self.status if refuses else 200, {"error": {"message": "no"}} if refuses else CHAT)  # type: ignore[return-value]

    async def leaving(self) -> None:
        self.left += 1

    def emit(self, events: Any, size: int) -> bool:
        self.dropped += next((event.dropped for event in events if isinstance(event, Attempted)), ())
        return True

    def opened(self, resume: Any) -> None:
        pass

    def ask(self, plan: Plan) -> None:
        asyncio.run(self.provider.complete(None, "0", plan, self))  # type: ignore[arg-type]


def of_an_agent(*messages: Message) -> Plan:
    return Plan(Turn("agent", {}, lambda fields: Prompt(messages), model=MODEL), MODEL, False)


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_it_is_asked_once_more_with_words_for_what_was_said_before(status: int):
    for plan in (
        of_an_agent(*of_before(SEEN), NOW),
        Plan(turn_of({"messages": [{"role": "user", "content": "And now?"}]}), MODEL, False, of_before(SEEN)),
    ):
        service = Refusing(status)
        service.ask(plan)
        assert [b"image_url" in body for body in service.sent] == [True, False]
        assert b"you cannot read what stands here" in service.sent[-1]
        assert b"See." in service.sent[-1]
        assert (service.dropped, service.left) == (("messages.image",), 1)


def test_what_is_asked_now_and_what_is_refused_for_other_reasons_is_asked_once():
    for plan, status in (
        (of_an_agent(*SEEN, NOW), 400),  # all of it is asked now
        (of_an_agent(*of_before(SEEN), NOW), 401),
        (of_an_agent(*of_before(SEEN), NOW), 429),
        (of_an_agent(*of_before(SEEN), NOW), 500),
    ):
        service = Refusing(status)
        with pytest.raises(Refused):
            service.ask(plan)
        assert len(service.sent) == 1


def test_what_is_refused_without_it_too_is_told():
    service = Refusing(400, broken=True)
    with pytest.raises(Refused):
        service.ask(of_an_agent(*of_before(SEEN), NOW))
    assert len(service.sent) == 2
