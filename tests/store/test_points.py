from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from midstream.store import Store, open_store
from midstream.store.points import PointRows
from midstream.store.postgres import PostgresDatabase

from .turns import ORG, with_store

#: Milliseconds.
WINDOW = 60_000


def test_of_two_servers_points_exactly_as_many_are_spent_as_there_are(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        other = await open_store(postgres_url, worker="other")
        try:
            servers = (PointRows(store.db, WINDOW), PointRows(other.db, WINDOW))
            by_agent = await asyncio.gather(
                *(servers[n % 2].spend(ORG, "agt_1", f"t{n % 30}", (100, 20)) for n in range(101))
            )
            assert [one.refused for one in by_agent].count("") == 100
            [refused] = [one for one in by_agent if one.refused]
            assert (refused.refused, refused.used) == ("agent", 100)
            assert 50 < refused.wait <= 60
            [(start,)] = await store.db.read("SELECT start FROM points WHERE name = 'agt_1'")
            again = [await server.spend(ORG, "agt_1", "", (100, 20)) for server in servers]
            assert {one.since for one in (refused, *again)} == {start}  # they speak of the same window
            by_thread = await asyncio.gather(*(servers[n % 2].spend(ORG, "agt_2", "t", (100, 20)) for n in range(25)))
            assert [one.refused for one in by_thread].count("thread") == 5
            assert (await servers[0].spend("org_other", "agt_1", "t1", (100, 20))).refused == ""
            rows = await store.db.read("SELECT name, used FROM points WHERE org_id = $1 AND kind = 'agent'", ORG)
            assert dict(rows) == {"agt_1": 100, "agt_2": 20}  # what a thread is refused its agent keeps
            [(spent,)] = await store.db.read("SELECT SUM(used) FROM points WHERE kind = 'thread' AND name <> 't'")
            assert spent == 100 + 1  # and the other way round
        finally:
            await other.close()

    with_store(postgres_url, work)


def test_a_window_that_is_over_begins_anew_and_old_ones_are_cleared_away(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        rows = PointRows(store.db, WINDOW)
        assert (await rows.spend(ORG, "a", "", (1, 1))).refused == ""
        assert (await rows.spend(ORG, "a", "", (1, 1))).refused == "agent"
        await store.db.write([("UPDATE points SET start = start - $1", (WINDOW,))])
        assert (await rows.spend(ORG, "a", "", (1, 1))).refused == ""
        await store.db.write([("UPDATE points SET start = start - $1", (2 * WINDOW + 1,))])
        await rows.clear()
        assert await store.db.read("SELECT 1 FROM points") == []

    with_store(postgres_url, work)


def test_what_is_given_back_at_one_server_can_be_spent_at_another_and_only_in_its_window(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        other = await open_store(postgres_url, worker="other")
        try:
            here, there = PointRows(store.db, WINDOW), PointRows(other.db, WINDOW)

            async def passed(times: int, thread: str = "t") -> int:
                done = await asyncio.gather(*(here.spend(ORG, "a", thread, (5, 4)) for _ in range(times)))
                return [one.refused for one in done].count("")

            spent = [await here.spend(ORG, "a", "t", (5, 4)) for _ in range(3)]
            assert {(one.kind, one.name) for one in spent[0].points} == {("thread", "t"), ("agent", "a")}
            await asyncio.gather(*(there.give_back(ORG, one.points) for one in spent[:2]))
            assert await passed(9) == 3
            assert await passed(9, "") == 1
            await there.give_back(ORG, (await here.spend(ORG, "b", "", (5, 4))).points)
            rows = await store.db.read("SELECT name, used FROM points ORDER BY kind, name")
            assert rows == [("a", 5), ("b", 0), ("t", 4)]
            await store.db.write([("UPDATE points SET start = start - $1", (WINDOW,))])
            assert await passed(9, "") == 5
            await there.give_back(ORG, spent[2].points)
            assert await passed(9, "") == 0
        finally:
            await other.close()

    with_store(postgres_url, work)


class Lossy:
    """The database does what is said to it, and then the answer is lost with the connection, so often."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        assert isinstance(store.db, PostgresDatabase)
        self.left = 0
        #: How many are lost in the same moment.
        self.together = asyncio.Barrier(1)
        self._whole = store.db._connection
        monkeypatch.setattr(store.db, "_connection", self._connection)

    @asynccontextmanager
    async def _connection(self, seconds: float) -> AsyncIterator[Any]:
        async with self._whole(seconds) as connection:
            yield connection
        if self.left:
            self.left -= 1
            await self.together.wait()
            raise ConnectionResetError


def test_a_point_is_spent_and_given_back_once_when_the_answer_of_the_database_is_lost(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        rows, lossy = PointRows(store.db, WINDOW), Lossy(store, monkeypatch)

        async def used() -> dict[str, int]:
            return dict(await store.db.read("SELECT kind, used FROM points WHERE name IN ('a', 't')"))

        lossy.left = 1
        paid = await rows.spend(ORG, "a", "t", (100, 20))
        assert (paid.refused, len(paid.points), await used()) == ("", 2, {"agent": 1, "thread": 1})
        lossy.left = 1
        await rows.spend(ORG, "a", "", (100, 20))
        assert await used() == {"agent": 2, "thread": 1}
        lossy.left = 1
        await rows.give_back(ORG, paid.points)
        assert (lossy.left, await used()) == (0, {"agent": 1, "thread": 0})
        lossy.left = 1
        assert (await rows.spend(ORG, "a", "t", (100, 1))).refused == ""  # its last one
        lossy.left = 1
        assert (await rows.spend(ORG, "a", "t", (100, 1))).refused == "thread"
        await store.db.write([("UPDATE points SET start = start - $1", (WINDOW,))])
        lossy.left = 1
        await rows.spend(ORG, "a", "t", (100, 1))  # a window that begins
        assert await used() == {"agent": 1, "thread": 1}

    with_store(postgres_url, work)


def test_when_many_answers_are_lost_at_once_each_of_them_is_one_point(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        rows, lossy = PointRows(store.db, WINDOW), Lossy(store, monkeypatch)
        lossy.left, lossy.together = 8, asyncio.Barrier(8)
        await asyncio.gather(*(rows.spend(ORG, "a", f"t{n}", (100, 20)) for n in range(8)))
        assert await store.db.read("SELECT used FROM points WHERE kind = 'agent'") == [(8,)]
        await asyncio.gather(*(rows.spend(ORG, "a", f"t{n}", (100, 20)) for n in range(200)))
        rows_kept = await store.db.read("SELECT name, used, length(marks) FROM points WHERE kind = 'agent'")
        assert rows_kept == [("a", 100, 384)]

    with_store(postgres_url, work)
