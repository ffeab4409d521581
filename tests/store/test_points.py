from __future__ import annotations

import asyncio

from midstream.store import Store, open_store
from midstream.store.points import PointRows

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
