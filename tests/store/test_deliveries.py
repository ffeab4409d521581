from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midstream.core.errors import NotFound, StoreDown
from midstream.store import Store
from midstream.store.deliveries import Deliveries, OrgDeliveries
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


@pytest.mark.parametrize("after", ["the hold", "the look"])
def test_messages_that_were_taken_while_the_store_went_away_are_taken_again_as_if_not_tried(
    url: str, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    async def work(store: Store) -> None:
        deliveries = Deliveries(store.db, Clock())
        await sent(store, "dlv_1", "dlv_2")
        write, look_up = store.db.write, store.db.look_up

        async def cut(statements: Any) -> None:
            await write(statements)
            raise StoreDown

        async def away(sql: str, *args: Any) -> Any:
            raise StoreDown

        if after == "the hold":
            monkeypatch.setattr(store.db, "write", cut)
        else:
            monkeypatch.setattr(store.db, "look_up", away)
        with pytest.raises(StoreDown):
            await deliveries.take("webhook", 10, 60.0)
        with pytest.raises(StoreDown):
            await deliveries.take("webhook", 10, 60.0)
        monkeypatch.setattr(store.db, "write", write)
        monkeypatch.setattr(store.db, "look_up", look_up)
        assert [row.tries for row in await deliveries.take("webhook", 10, 60.0)] == [1, 1]

    with_store(url, work)


def test_a_message_is_put_back_once_however_often_that_is_said_and_by_nobody_else(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        one, two = Deliveries(store.db, clock), Deliveries(store.db, clock)
        mine = OrgDeliveries(store.db, ORG, clock)
        await sent(store, "dlv_1")
        [first] = await one.take("webhook", 1, 60.0)
        for _ in range(2):
            await one.put_back(first, 6.0)
        assert (await mine.one("dlv_1")).tries == 0
        clock.now = 6.0
        [second] = await two.take("webhook", 1, 60.0)
        await one.put_back(first, 7.0)
        assert (second.tries, (await mine.one("dlv_1")).available_at) == (1, 66.0)

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


def test_lists_go_on_after_an_id_and_what_is_delivered_is_forgotten_in_time(url: str) -> None:
    async def work(store: Store) -> None:
        clock = Clock()
        deliveries, mine = Deliveries(store.db, clock), OrgDeliveries(store.db, ORG, clock)
        await sent(store, "dlv_1", "dlv_2", "dlv_3")
        await deliveries.delivered("dlv_1")
        assert [row.id for row in await mine.list(limit=2)] == ["dlv_1", "dlv_2"]
        assert [row.id for row in await mine.list(after="dlv_2")] == ["dlv_3"]
        await deliveries.forget(6.0)
        assert [row.id for row in await mine.list()] == ["dlv_2", "dlv_3"]

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
