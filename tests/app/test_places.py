from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from midstream.app import places as module
from midstream.app import supervisor
from midstream.app.places import Places
from midstream.app.supervisor import Supervisor
from midstream.core.errors import Busy, Conflict, StoreDown
from midstream.store import Store, open_store
from midstream.store.jobs import Job, Jobs
from midstream.store.threads import ThreadStore

from ..postgres import Server, postgres

ORG, C = "org_default", "conv_1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/m.db"
        return
    server: Server = request.getfixturevalue("server")
    made = server.create()
    yield made
    server.drop(made)


class Line:
    """One server's conversation, and who was in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.threads: ThreadStore = store.org(ORG).threads
        self.places = Places(Supervisor(time.monotonic), shared=store.db.dialect != "sqlite")
        self.jobs = Jobs(store.db, store.worker, lambda: 5.0)
        self.order: list[str] = []

    async def turn(self, name: str, place: int = 0, seconds: float = 0.0, **more: Any) -> None:
        async with self.places.through(self.threads, ORG, C, place=place, **more):
            self.order.append(name)
            await asyncio.sleep(seconds)

    async def accepted(self, id: str) -> None:
        await self.jobs.add([Job(id, ORG, "key_1", "turn", None, f"run_{id}", b"{}", b"{}", 1.0, 1.0, line=C)])

    async def worked_off(self, *ids: str) -> None:
        """As the queue is."""
        for id in ids:
            [job] = await self.jobs.take(9)
            assert job.id == id
            await self.turn(id, job.place)
            await self.jobs.end(id, "done", b"")


def with_line(url: str, test: Callable[[Line], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await open_store(url, worker="test")
        try:
            line = Line(store)
            await asyncio.wait_for(test(line), 20)
            assert len(line.places) == 0
        finally:
            await store.close()

    asyncio.run(run())


def test_those_who_are_here_go_in_the_order_of_their_coming(url: str):
    async def test(line: Line) -> None:
        await asyncio.gather(*(line.turn(str(n), seconds=0.01) for n in range(12)))
        assert line.order == [str(n) for n in range(12)]

    with_line(url, test)


def test_a_turn_waits_for_those_that_were_accepted_before_it_and_for_none_after(url: str):
    async def test(line: Line) -> None:
        await line.accepted("msg_b")
        await line.accepted("msg_a")
        direct = asyncio.create_task(line.turn("direct"))
        await asyncio.sleep(0.1)
        await line.accepted("msg_c")
        behind = asyncio.create_task(line.turn("behind"))
        await asyncio.sleep(0.1)
        assert line.order == []
        await line.worked_off("msg_b", "msg_a", "msg_c")
        await asyncio.gather(direct, behind)
        assert line.order == ["msg_b", "msg_a", "direct", "msg_c", "behind"]

    with_line(url, test)


def test_an_accepted_turn_goes_before_those_who_came_after_it_though_they_wait_already(url: str):
    async def test(line: Line) -> None:
        first = asyncio.create_task(line.turn("first", seconds=0.3))
        await asyncio.sleep(0.05)
        await line.accepted("msg_1")
        later = asyncio.create_task(line.turn("later"))
        await asyncio.sleep(0.1)
        await line.worked_off("msg_1")
        await asyncio.gather(first, later)
        assert line.order == ["first", "msg_1", "later"]

    with_line(url, test)


def test_who_does_not_wait_is_told_that_others_are_there(url: str):
    async def test(line: Line) -> None:
        await line.accepted("msg_1")
        with pytest.raises(Conflict):
            async with line.places.through(line.threads, ORG, C, wait=False):
                pass
        await line.worked_off("msg_1")
        async with line.places.through(line.threads, ORG, C, wait=False):
            pass
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(line.places.through(line.threads, ORG, C))
            with pytest.raises(Conflict):
                await stack.enter_async_context(line.places.through(line.threads, ORG, C, wait=False))

    with_line(url, test)


def test_who_stops_waiting_holds_up_nobody(url: str):
    async def test(line: Line) -> None:
        tasks = [asyncio.create_task(line.turn(name, seconds=0.3)) for name in ("one", "two", "three")]
        await asyncio.sleep(0.15)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert line.order == ["one", "three"]

    with_line(url, test)


def test_who_waits_is_kept_company_and_nobody_else(url: str):
    async def test(line: Line) -> None:
        seen: list[str] = []

        @asynccontextmanager
        async def waiting() -> AsyncIterator[None]:
            seen.append("waits")
            yield
            seen.append("has waited")

        await line.turn("alone", waiting=waiting)
        first = asyncio.create_task(line.turn("first", seconds=0.2, waiting=waiting))
        await asyncio.sleep(0.05)
        with pytest.raises(Conflict):
            await line.turn("hurried", wait=False, waiting=waiting)
        assert seen == []
        behind = asyncio.create_task(line.turn("behind", waiting=waiting))
        await asyncio.sleep(0.05)
        assert seen == ["waits"]
        await asyncio.gather(first, behind)
        assert seen == ["waits", "has waited"]

    with_line(url, test)


def test_a_server_that_ends_refuses_those_who_wait_and_lets_go_of_their_places(url: str):
    async def test(line: Line) -> None:
        first = asyncio.create_task(line.turn("first", seconds=0.4))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(line.turn("waiting")) for _ in range(3)]
        await asyncio.sleep(0.1)
        line.places.shut()
        async with asyncio.timeout(0.2):
            assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {Busy}
        with pytest.raises(Busy):
            await line.turn("late")
        assert await line.store.db.read("SELECT holder FROM turn_tickets") == []
        await first
        await line.turn("free")
        assert line.order == ["first", "free"]

    with_line(url, test)


def test_a_server_that_ends_keeps_the_places_of_those_that_turns_under_way_wait_for(url: str):
    async def test(line: Line) -> None:
        first = asyncio.create_task(line.turn("first", seconds=0.3))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(line.turn("waiting"))
        within = asyncio.create_task(line.turn("within", stays=True))
        await asyncio.sleep(0.05)
        line.places.shut()
        with pytest.raises(Busy):
            await waiting
        await line.turn("late", stays=True)
        await asyncio.gather(first, within)
        assert line.order == ["first", "within", "late"]

    with_line(url, test)


def test_who_waited_at_a_server_that_died_holds_up_others_no_longer_than_the_lease(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    async def test(line: Line) -> None:
        await line.threads.ticket(C, "turn_dead", 0.6)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await line.turn("early")
        await line.turn("late")
        assert line.order == ["late"]
        await line.store.db.write([("UPDATE turn_tickets SET until = until - 4000", ())])
        await line.threads.ticket(C, "turn_next", 1)
        assert await line.store.db.read("SELECT holder FROM turn_tickets") == [("turn_next",)]

    made = server.create()
    with_line(made, test)
    server.drop(made)


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError, Conflict])
def test_a_turn_keeps_its_place_whatever_one_renewal_of_it_ends_in(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
):
    monkeypatch.setattr(module, "LEASE", 0.9)
    monkeypatch.setattr(supervisor, "FIRST", 0.01)
    monkeypatch.setattr(supervisor, "AWAY", 0.01)

    async def test(line: Line) -> None:
        take, failed = line.threads.take_turn, 0

        async def failing(*args: Any) -> bool:
            nonlocal failed
            if len(args) == 3 and not failed:  # a renewal
                failed += 1
                raise error("")
            return await take(*args)

        line.threads.take_turn = failing  # type: ignore[method-assign]
        under_way = asyncio.create_task(line.turn("first", seconds=2.0))
        await asyncio.sleep(1.8)
        assert failed == 1
        [(left,)] = await line.store.db.read(
            "SELECT until - EXTRACT(EPOCH FROM clock_timestamp()) FROM conversation_turns"
        )
        assert left > 0
        await under_way

    made = server.create()
    with_line(made, test)
    server.drop(made)


def test_a_place_that_could_not_be_given_back_is_given_back_when_the_store_is_there_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "AGAIN", 0.01)
    monkeypatch.setattr(supervisor, "FIRST", 0.01)
    monkeypatch.setattr(supervisor, "AWAY", 0.01)

    async def test(line: Line) -> None:
        give_back = line.threads.give_back
        errors: list[Exception] = [StoreDown(), StoreDown(), ZeroDivisionError()]

        async def failing(*args: Any, **more: Any) -> None:
            if errors:
                raise errors.pop(0)
            await give_back(*args, **more)

        line.threads.give_back = failing  # type: ignore[method-assign]
        await line.turn("first")
        async with asyncio.timeout(5):
            while errors:
                await asyncio.sleep(0.01)
            await line.turn("second")

    made = server.create()
    with_line(made, test)
    server.drop(made)


def test_who_waits_longer_than_the_lease_keeps_its_place(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEASE", 0.6)

    async def test(line: Line) -> None:
        await line.accepted("msg_1")
        waiting = asyncio.create_task(line.turn("waiting"))
        await asyncio.sleep(1.5)
        [(left,)] = await line.store.db.read("SELECT until - EXTRACT(EPOCH FROM clock_timestamp()) FROM turn_tickets")
        assert left > 0
        await line.worked_off("msg_1")
        await waiting

    made = server.create()
    with_line(made, test)
    server.drop(made)
