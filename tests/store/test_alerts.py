from __future__ import annotations

import asyncio

from midstream.store import Store
from midstream.store.alerts import AlertsSent

from .turns import with_store


def test_of_many_occasions_at_once_one_is_told_and_after_the_window_one_more(any_url):
    async def work(store: Store) -> None:
        sent = AlertsSent(store.db, "org_a")
        asked = [sent.claim("alr_1", "f", f"o{place}", 1000.0, 60.0) for place in range(10)]
        told = [place for place, may in enumerate(await asyncio.gather(*asked)) if may]
        assert len(told) == 1
        assert await sent.claim("alr_1", "f", f"o{told[0]}", 1070.0, 60.0)  # the one that was told, done again
        assert not await sent.claim("alr_1", "f", "late", 1059.0, 60.0)
        assert await sent.claim("alr_1", "f", "late", 1060.0, 60.0)

    with_store(any_url, work)


def test_orgs_alerts_and_fingerprints_do_not_meet(any_url):
    async def work(store: Store) -> None:
        for org, alert, print in (("org_a", "a", "f"), ("org_b", "a", "f"), ("org_a", "b", "f"), ("org_a", "a", "g")):
            assert await AlertsSent(store.db, org).claim(alert, print, f"{org}{alert}{print}", 1000.0, 60.0)

    with_store(any_url, work)
