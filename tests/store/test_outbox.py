from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, open_store
from midstream.store.database import Row, Statement, Value
from midstream.store.ledger import OutboxAdded
from midstream.store.outbox import KEPT, LEASE, Outbox

from .turns import ORG, with_store

NOW = 1_790_000_000.0


class Hands:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def added(name: str, topic: str = "turn", at: float = NOW, due: float | None = None) -> OutboxAdded:
    return OutboxAdded(name, ORG, topic, b"{}", at, at if due is None else due)


async def ids(outbox: Outbox, topic: str = "turn", limit: int = 10) -> list[str]:
    return [row.id for row in await outbox.take(topic, limit)]


def test_rows_are_taken_once_oldest_first_by_topic(any_url):
    async def work(store: Store) -> None:
        outbox = Outbox(store.db, "me", Hands())
        await store.ledger.commit(added("b", at=NOW - 1), added("a", at=NOW - 2), added("x", "other"), added("c"))
        assert await ids(outbox, limit=2) == ["a", "b"]
        assert await ids(outbox) == ["c"]
        assert await ids(outbox) == []
        [row] = await outbox.take("other", 1)
        assert (row.id, row.org_id, row.topic, row.payload, row.created_at, row.attempts) == (
            "x", ORG, "other", b"{}", NOW, 1,
        )  # fmt: skip

    with_store(any_url, work)


def test_a_row_is_not_due_before_its_time(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        outbox = Outbox(store.db, "me", clock)
        await store.ledger.commit(added("later", due=NOW + 9))
        assert (await ids(outbox), await outbox.next_at("turn"), await outbox.next_at("none")) == ([], NOW + 9, None)
        clock.now += 9
        assert await ids(outbox) == ["later"]

    with_store(any_url, work)


def test_what_a_row_causes_and_that_it_is_done_are_one_transaction(any_url):
    async def work(store: Store) -> None:
        outbox = Outbox(store.db, "me", Hands())
        await store.ledger.commit(added("a"))
        [row] = await outbox.take("turn", 1)
        cause = ("INSERT INTO orgs (id, name, created_at) VALUES ($1, $2, $3)", ("org_x", "x", 0.0))
        broken = ("INSERT INTO orgs (id, name, created_at) VALUES ($1, $2, $3)", (ORG, "again", 0.0))
        with pytest.raises(Exception, match="exists"):
            await outbox.done([row], [cause, broken])
        assert await store.db.read("SELECT done_at FROM outbox") == [(None,)]
        assert len(await store.all_orgs().orgs()) == 1
        await outbox.done([row], [cause])
        assert await store.db.read("SELECT done_at, worker FROM outbox") == [(NOW, None)]
        assert len(await store.all_orgs().orgs()) == 2

    with_store(any_url, work)


def test_a_row_that_failed_waits_longer_each_time(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        outbox = Outbox(store.db, "me", clock)
        await store.ledger.commit(added("a"))
        pauses = []
        for attempt in range(1, 15):
            [row] = await outbox.take("turn", 1)
            assert row.attempts == attempt
            pauses.append(await outbox.failed(row))
            assert await ids(outbox) == []
            clock.now += pauses[-1]
        assert pauses[:5] == [1, 2, 4, 8, 16]
        assert pauses[-1] == 3600

    with_store(any_url, work)


def test_a_failure_that_was_nobodys_is_an_attempt_and_no_failure(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        outbox = Outbox(store.db, "me", clock)
        await store.ledger.commit(added("a"))
        for counts in (False, True, False):
            [row] = await outbox.take("turn", 1)
            await outbox.failed(row, counts=counts)
            await outbox.failed(row, counts=counts)  # said twice, when the store was away
            clock.now += 60
        [row] = await outbox.take("turn", 1)
        assert (row.attempts, row.failures) == (4, 1)

    with_store(any_url, work)


def test_a_row_that_was_let_go_is_due_at_once_as_if_it_had_not_been_taken(any_url):
    async def work(store: Store) -> None:
        outbox = Outbox(store.db, "me", Hands())
        await store.ledger.commit(added("a"), added("b"))
        await outbox.let_go(await outbox.take("turn", 2))
        assert [row.attempts for row in await outbox.take("turn", 2)] == [1, 1]

    with_store(any_url, work)


def test_a_taken_row_is_due_again_when_its_time_is_over_and_its_first_worker_has_no_say_any_more(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        mine, other = Outbox(store.db, "me", clock), Outbox(store.db, "other", clock)
        await store.ledger.commit(added("a"))
        [row] = await mine.take("turn", 1)
        clock.now += LEASE
        [again] = await other.take("turn", 1)
        assert again.attempts == 2
        await mine.failed(row)
        await mine.let_go([row])
        rows = await store.db.read("SELECT worker, available_at, attempts FROM outbox")
        assert rows == [("other", clock.now + LEASE, 2)]

    with_store(any_url, work)


def test_a_row_that_its_worker_still_needs_is_not_due_when_its_first_time_is_over(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        mine, other = Outbox(store.db, "me", clock), Outbox(store.db, "other", clock)
        await store.ledger.commit(added("a"), added("b"), added("done"))
        rows = {row.id: row for row in await mine.take("turn", 3)}
        await mine.done([rows["done"]])
        clock.now += LEASE - 1
        await mine.renew([rows["a"], rows["done"]])
        clock.now += 1
        assert [row.id for row in await other.take("turn", 9)] == ["b"]
        await mine.renew(rows.values())  # not what another has by now
        assert [await mine.is_mine(row) for row in rows.values()] == [True, False, False]
        clock.now += LEASE
        assert [await mine.is_mine(row) for row in rows.values()] == [False, False, False]
        assert sorted(await ids(other)) == ["a", "b"]

    with_store(any_url, work)


def test_rows_of_a_worker_that_is_gone_are_due_at_once_and_those_of_the_living_are_not(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        await store.ledger.commit(added("dead", at=NOW - 1), added("alive"))
        assert await ids(Outbox(store.db, "gone", clock), limit=1) == ["dead"]
        assert await ids(Outbox(store.db, store.worker, clock), limit=1) == ["alive"]
        next_one = Outbox(store.db, "next", clock)
        await next_one.recover()
        assert await ids(next_one) == ["dead"]

    with_store(any_url, work)


def test_what_was_done_long_ago_is_cleared_away(any_url):
    async def work(store: Store) -> None:
        clock = Hands()
        outbox = Outbox(store.db, "me", clock)
        await store.ledger.commit(added("a"), added("open"))
        await outbox.done(await outbox.take("turn", 1))
        await outbox.forget()
        assert len(await store.db.read("SELECT id FROM outbox")) == 2
        clock.now += KEPT + 1
        await outbox.forget()
        assert await store.db.read("SELECT id FROM outbox") == [("open",)]

    with_store(any_url, work)


def test_several_servers_that_reach_for_the_same_rows_get_each_once(postgres_url):
    async def run() -> None:
        stores = [await open_store(postgres_url, worker=f"w{n}") for n in range(3)]
        try:
            await stores[0].ledger.commit(*(added(f"row_{n:03}") for n in range(60)))
            clock = Hands()
            boxes = [Outbox(store.db, store.worker, clock) for store in stores]

            async def drain(box: Outbox) -> list[str]:
                got: list[str] = []
                while taken := await ids(box, limit=7):
                    got += taken
                return got

            got = [id for part in await asyncio.gather(*map(drain, boxes)) for id in part]
            rest = await drain(boxes[0])  # what was locked for a moment was passed over
            assert sorted(got + rest) == [f"row_{n:03}" for n in range(60)]
        finally:
            for store in stores:
                await store.close()

    asyncio.run(run())


def test_a_worker_is_told_of_each_row_that_is_committed(sqlite_url):
    async def work(store: Store) -> None:
        told: list[str] = []
        store.ledger.noticed = told.append
        await store.ledger.commit(added("a"), added("b", "other"))
        assert told == ["turn", "other"]

    with_store(sqlite_url, work)


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
def test_rows_that_were_taken_while_the_store_went_away_are_given_back_and_not_counted_as_tried(any_url, error):
    async def work(store: Store) -> None:
        outbox = Outbox(store.db, "me", Hands())
        await store.ledger.commit(added("a"), added("b", "other"))
        write, look_up = store.db.write, store.db.look_up

        async def taken_and_away(statements: Sequence[Statement]) -> None:
            await write(statements)
            raise error

        async def away(sql: str, *args: Value) -> list[Row]:
            if "payload" in sql:  # whether any is due is known
                raise error
            return await look_up(sql, *args)

        for name, failing in (("write", taken_and_away), ("look_up", away)):
            setattr(store.db, name, failing)
            with pytest.raises(error):
                await outbox.take("turn", 5)
            store.db.write, store.db.look_up = write, look_up  # type: ignore[method-assign]
            [row] = await outbox.take("turn", 5)
            assert (row.id, row.attempts) == ("a", 1)
            await outbox.let_go([row])
        assert await ids(outbox, "other") == ["b"]
        assert await ids(outbox, "turn") == ["a"]
        assert await ids(outbox, "turn") == []  # what is known to be taken stays so

    with_store(any_url, work)
