from __future__ import annotations

import asyncio

from midstream.store import Store, open_store
from midstream.store.alerts import told_once
from midstream.store.ledger import DeliveryAdded

from .turns import with_store


async def may(
    store: Store, occasion: str, now: float, *, alert: str = "alr_1", print: str = "f", org: str = "org_a"
) -> bool:
    """Is this occasion told, by now or with this try?"""
    id = f"dlv_{org}{alert}{print}{occasion}"
    message = DeliveryAdded(id, org, "webhook", b"{}", b"{}", now, now)
    await store.db.write(told_once(message, alert, print, occasion, 60.0))
    return bool(await store.db.look_up("SELECT 1 FROM deliveries WHERE id = $1", id))


def test_of_many_occasions_at_once_one_is_told_and_after_the_window_one_more(any_url):
    async def work(store: Store) -> None:
        asked = [may(store, f"o{place}", 1000.0) for place in range(10)]
        told = [place for place, is_told in enumerate(await asyncio.gather(*asked)) if is_told]
        assert len(told) == 1
        assert await may(store, f"o{told[0]}", 1070.0)  # the one that was told, done again
        assert not await may(store, "late", 1059.0)
        assert await may(store, "late", 1060.0)

    with_store(any_url, work)


def test_of_servers_that_tell_the_same_at_once_exactly_one_does(postgres_url):
    async def run() -> None:
        stores = [await open_store(postgres_url, worker=f"w{place}") for place in range(2)]
        try:
            for minute in range(10):
                now = 1000.0 + 60 * minute
                asked = [may(store, f"{minute} of {place}", now) for place, store in enumerate(stores)]
                assert sum(await asyncio.gather(*asked)) == 1
        finally:
            for store in stores:
                await store.close()

    asyncio.run(run())


def test_orgs_alerts_and_fingerprints_do_not_meet(any_url):
    async def work(store: Store) -> None:
        for org, alert, print in (("org_a", "a", "f"), ("org_b", "a", "f"), ("org_a", "b", "f"), ("org_a", "a", "g")):
            assert await may(store, f"{org}{alert}{print}", 1000.0, alert=alert, print=print, org=org)

    with_store(any_url, work)
