from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from midstream.core.errors import NotFound, StoreDown
from midstream.store import Store
from midstream.store.deliveries import _DUE, _ENDPOINTS, _HELD, Deliveries, OrgDeliveries
from midstream.store.ledger import DeliveryAdded

from .turns import ORG, with_store


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


async def sent(store: Store, *ids: str, at: float = 1.0) -> None:
    await store.ledger.commit(*(DeliveryAdded(id, ORG, "webhook", b"{}", b"payload", at, at) for id in ids))


def test_each_message_is_taken_once_and_comes_back_when_its_sender_has_died(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        one, two = Deliveries(store.db, clock), Deliveries(store.db, clock)
        await sent(store, *(f"dlv_{number}" for number in range(10)))
        both = await asyncio.gather(one.take("webhook", 20, 60.0), two.take("webhook", 20, 60.0))
        assert sorted(row.id for row in both[0] + both[1]) == sorted(f"dlv_{number}" for number in range(10))
        assert {row.tries for row in both[0] + both[1]} == {1}
        assert await one.take("webhook", 20, 60.0) == []
        clock.now = 66.0
        assert len(await two.take("webhook", 20, 60.0)) == 10

    with_store(url, work)


def test_endpoints_that_get_as_much_as_they_may_are_passed_over_and_what_was_not_tried_is_due_as_before(
    url: str,
) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        deliveries = Deliveries(store.db, clock)
        await sent(store, *(f"dlv_{number}" for number in range(6)))
        rows = await deliveries.take("webhook", 6, 60.0)
        ends = ("a", "a", "a", "a", "b", "c")
        await deliveries.put_back([replace(row, endpoint=end) for row, end in zip(rows, ends, strict=True)])
        await sent(store, "dlv_new", at=2.0)
        await sent(store, "dlv_later", at=9.0)
        assert await deliveries.next_at("webhook", ("a", "b")) == 1.0
        assert await deliveries.next_at("webhook", ("a", "b", "c")) == 2.0
        taken = await deliveries.take("webhook", 9, 60.0, {"a": 1, "b": 3}, 3)
        assert sorted((row.id, row.tries, row.available_at, row.endpoint) for row in taken) == [
            ("dlv_0", 1, 1.0, "a"), ("dlv_1", 1, 1.0, "a"), ("dlv_5", 1, 1.0, "c"), ("dlv_new", 1, 2.0, ""),
        ]  # fmt: skip
        assert [row.id for row in await deliveries.take("webhook", 9, 60.0, {"a": 3}, 3)] == ["dlv_4"]
        assert [row.id for row in await deliveries.take("webhook", 1, 60.0)] == ["dlv_2"]
        assert await deliveries.take("webhook", 0, 60.0) == []
        await deliveries.put_back(taken)
        await deliveries.put_back(taken)  # said twice, when the store was away
        assert {row.tries for row in await deliveries.take("webhook", 9, 60.0)} == {1}

    with_store(url, work)


@pytest.mark.parametrize("what", ["write", "look_up"])
def test_messages_that_were_taken_while_the_store_went_away_are_due_at_once_and_not_tried(url: str, what: str) -> None:
    async def work(store: Store) -> None:
        deliveries = Deliveries(store.db, Clock())
        await sent(store, "dlv_1", "dlv_2")
        whole = getattr(store.db, what)

        async def away(first: Any, *more: Any) -> Any:
            done = await whole(first, *more)
            if what == "look_up" and first != _HELD:
                return done
            raise StoreDown

        setattr(store.db, what, away)
        with pytest.raises(StoreDown):
            await deliveries.take("webhook", 9, 60.0)
        with pytest.raises(StoreDown):
            await deliveries.take("webhook", 9, 60.0)
        setattr(store.db, what, whole)
        assert [(row.id, row.tries) for row in await deliveries.take("webhook", 9, 60.0)] == [
            ("dlv_1", 1),
            ("dlv_2", 1),
        ]

    with_store(url, work)


def test_what_waits_for_each_endpoint_is_found_without_reading_through_it(url: str) -> None:
    async def work(store: Store) -> None:
        if store.db.dialect == "sqlite":
            for sql, values in ((_ENDPOINTS, ("webhook",)), (_DUE, ("webhook", "a", 5.0, 4))):
                plan = str(await store.db.read("EXPLAIN QUERY PLAN " + sql, *values))
                assert "deliveries_by_endpoint" in plan
                assert "SCAN deliveries" not in plan
                assert "SCAN one" not in plan

    with_store(url, work)


def test_what_failed_waits_for_its_time_and_at_last_is_dead(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        deliveries, mine = Deliveries(store.db, clock), OrgDeliveries(store.db, ORG, clock)
        await sent(store, "dlv_1")
        await deliveries.take("webhook", 1, 60.0)
        await deliveries.failed("dlv_1", "refused", 9.0)
        assert await deliveries.next_at("webhook") == 9.0
        assert (await mine.one("dlv_1")).last_error == "refused"
        clock.now = 9.0
        [row] = await deliveries.take("webhook", 1, 60.0)
        assert row.tries == 2
        await deliveries.failed("dlv_1", "refused again", None)
        assert [row.id for row in await mine.list(status="dead")] == ["dlv_1"]
        assert await mine.list(status="waiting") == []
        assert (await mine.again("dlv_1")).status == "waiting"
        [row] = await deliveries.take("webhook", 1, 60.0)
        assert row.tries == 1
        await deliveries.delivered("dlv_1")
        assert (await mine.one("dlv_1")).status == "delivered"

    with_store(url, work)


def test_lists_go_on_after_an_id(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        deliveries, mine = Deliveries(store.db, clock), OrgDeliveries(store.db, ORG, clock)
        await sent(store, "dlv_1", "dlv_2", "dlv_3")
        await deliveries.delivered("dlv_1")
        assert [row.id for row in await mine.list(limit=2)] == ["dlv_1", "dlv_2"]
        assert [row.id for row in await mine.list(after="dlv_2")] == ["dlv_3"]

    with_store(url, work)


def test_another_orgs_message_is_as_unknown_as_one_that_never_was(url: str) -> None:
    async def work(store: Store) -> None:
        await sent(store, "dlv_1")
        foreign = OrgDeliveries(store.db, "org_b", Clock())
        for ask in (foreign.one, foreign.again):
            with pytest.raises(NotFound):
                await ask("dlv_1")
        assert await foreign.list() == []

    with_store(url, work)


def test_what_a_live_channel_keeps_is_read_from_the_last_that_was_heard_until_its_time_is_over(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        deliveries, mine = Deliveries(store.db, clock), OrgDeliveries(store.db, ORG, clock)
        target = b'{"channel":"c"}'
        rows = [
            (ORG, target, 1.000001),
            (ORG, target, 1.000002),
            (ORG, b'{"channel":"d"}', 2.0),
            ("org_b", target, 3.0),
        ]
        await store.ledger.commit(
            *(
                DeliveryAdded(f"dlv_{place}", org, "live", channel, b"said %d" % place, at, at + 10.0)
                for place, (org, channel, at) in enumerate(rows)
            ),
            DeliveryAdded("dlv_hook", ORG, "webhook", target, b"to a webhook", 1.5, 1.5),
        )
        assert await mine.said(target, 0.0, 10) == [(1.000001, b"said 0"), (1.000002, b"said 1")]
        assert await mine.said(target, 1.000001, 10) == [(1.000002, b"said 1")]
        assert await mine.said(target, 0.0, 1) == [(1.000002, b"said 1")]
        assert [row.id for row in await deliveries.take("webhook", 10, 1.0)] == ["dlv_hook"]
        clock.now = 11.5
        await deliveries.forget_said()
        assert await mine.said(target, 0.0, 10) == []
        assert [payload for _, payload in await mine.said(rows[2][1], 0.0, 10)] == [b"said 2"]
        assert (await mine.one("dlv_hook")).status == "waiting"

    with_store(url, work)
