"""Servers that tell each other what their live channels say, on a database that the test stands in for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.app import live_relay, supervisor
from midstream.app.deliver import live_said
from midstream.app.live_relay import LiveRelay
from midstream.app.supervisor import Supervisor
from midstream.core.errors import StoreDown
from midstream.delivery.live import Hub, Said
from midstream.store.database import Statement


class Wires:
    """Carries notices from each server to all. down: commits fail. cut(): nobody is heard any more."""

    dialect = "postgres"

    def __init__(self) -> None:
        self.heard: list[Callable[[str], None]] = []
        self.texts: list[str] = []
        self.down = False
        self._cut = asyncio.Event()

    async def write(self, statements: Sequence[Statement]) -> None:
        if self.down:
            raise StoreDown
        for sql, (name, text) in statements:
            assert (sql, name) == ("SELECT pg_notify($1, $2)", live_relay.NAME)
            assert len(str(text).encode()) < 8000  # PostgreSQL takes no longer ones
            self.texts.append(str(text))
            for heard in self.heard:
                heard(str(text))

    async def follow(self, db: Any, name: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        self.heard.append(heard)
        began()
        await self._cut.wait()
        self.heard.remove(heard)
        raise StoreDown

    def cut(self) -> None:
        self._cut.set()
        self._cut = asyncio.Event()


class Server:
    def __init__(self, wires: Wires) -> None:
        async def no_ends(org: str, channel: str, after: int) -> Sequence[Said]:
            return ()

        self.hub = Hub(lambda: 100.0, no_ends)
        self.relay = LiveRelay(wires, self.hub)  # type: ignore[arg-type]
        self.tasks = self.relay.keep(Supervisor(time.monotonic))

    def say(self, words: str, channel: str = "c") -> None:
        self.hub.say("o", channel, live_said("delta", "msg_1", b'"' + words.encode() + b'"'))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.relay.close()


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    made = Wires()
    monkeypatch.setattr(live_relay, "follow", made.follow)
    return made


async def texts(listener: Any, count: int) -> list[str]:
    async with asyncio.timeout(5):
        return [(await listener.next()).body.decode().partition('"data":"')[2][:-2] for _ in range(count)]


async def lost(listener: Any) -> bool:
    async with asyncio.timeout(5):
        while await listener.next() is not None:
            pass
    return bool(listener.lost)


@given(words=st.lists(st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=9000)))
def test_what_is_said_is_heard_whole_and_in_order_by_all_the_others(words: list[str]):
    async def test() -> None:
        wires = Wires()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live_relay, "follow", wires.follow)
            servers = [Server(wires) for _ in range(3)]
            while len(wires.heard) < len(servers):
                await asyncio.sleep(0)
            listeners = [await server.hub.join("o", "c") for server in servers]
            for one in words:
                servers[0].say(one)
            for listener in listeners:
                assert await texts(listener, len(words)) == words
            for server in servers:
                await server.stop()

    asyncio.run(test())


def test_text_that_grows_when_it_is_written_fits_into_notices(wires: Wires):
    async def test() -> None:
        one, two = Server(wires), Server(wires)
        await asyncio.sleep(0.01)
        for channel in ("\U0001f600" * 200, '"' * 200):
            listener = await two.hub.join("o", channel)
            for words in ("\U0001f600" * 5000, '\\"' * 5000):
                one.say(words, channel)
                assert await texts(listener, 1) == [words]
        await one.stop()
        await two.stop()

    asyncio.run(test())


def test_a_notice_that_comes_twice_is_heard_once_and_one_that_is_lost_is_missed(wires: Wires):
    async def test() -> None:
        one, two = Server(wires), Server(wires)
        await asyncio.sleep(0.01)
        listener = await two.hub.join("o", "c")
        one.say("1")
        assert await texts(listener, 1) == ["1"]
        two.relay._heard(wires.texts[-1])
        one.say("2")
        assert await texts(listener, 1) == ["2"]
        wires.down = True
        one.say("3")
        await asyncio.sleep(0.01)
        wires.down = False
        one.say("4")
        assert await lost(listener)
        await one.stop()
        await two.stop()

    asyncio.run(test())


def test_who_listens_has_to_come_back_when_its_server_did_not_hear_the_others_for_a_while(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervisor, "AWAY", 0.01)

    async def test() -> None:
        one, two = Server(wires), Server(wires)
        await asyncio.sleep(0.01)
        listener = await two.hub.join("o", "c")
        wires.cut()
        assert await lost(listener)
        again = await two.hub.join("o", "c")
        one.say("1")
        assert await texts(again, 1) == ["1"]
        await one.stop()
        await two.stop()

    asyncio.run(test())


@pytest.mark.parametrize("in_order", [True, False])
def test_a_server_that_dies_may_have_said_what_was_not_heard_and_one_that_stops_has_not(
    wires: Wires, monkeypatch: pytest.MonkeyPatch, in_order: bool
):
    monkeypatch.setattr(live_relay, "BEAT", 0.02)
    monkeypatch.setattr(live_relay, "DEAD", 0.1)

    async def test() -> None:
        one, two = Server(wires), Server(wires)
        await asyncio.sleep(0.3)  # both are silent, and there
        listener = await two.hub.join("o", "c")
        if in_order:
            one.say("the last")
            await one.stop()
            assert await texts(listener, 1) == ["the last"]
            await asyncio.sleep(0.3)
            assert not listener.lost
        else:
            wires.heard[:] = [heard for heard in wires.heard if heard != two.relay._heard]  # nothing comes any more
            assert await lost(listener)
            await one.stop()
        await two.stop()

    asyncio.run(test())


def test_more_than_may_wait_is_lost_to_the_others_who_notice(wires: Wires, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_relay, "WAITING", 10_000)

    async def test() -> None:
        one, two = Server(wires), Server(wires)
        await asyncio.sleep(0.01)
        listener = await two.hub.join("o", "c")
        one.say("0")
        assert await texts(listener, 1) == ["0"]
        for _ in range(30):
            one.say("x" * 1000)
        assert await lost(listener)
        await one.stop()
        await two.stop()

    asyncio.run(test())
