from __future__ import annotations

import asyncio

import pytest

from midstream.core.errors import Conflict, NotFound
from midstream.store import Store, cases, open_store
from midstream.store.cases import Cases

from .turns import with_store


def test_cases_and_scores_are_one_agents_of_one_org_and_the_newest_score_counts(any_url):
    async def work(store: Store) -> None:
        now = iter(range(1000, 2000))
        mine, others, theirs = (
            Cases(store.db, org, agent, lambda: float(next(now)))
            for org, agent in (("org_a", "agt_1"), ("org_a", "agt_2"), ("org_b", "agt_1"))
        )
        case = await mine.add(b'{"input":"hi"}')
        await mine.scored("ver_1", "trun_1", [(case.id, 0.5, b"{}")])
        await mine.scored("ver_1", "trun_2", [(case.id, 1.0, b'{"answer":"x"}')])
        assert (await mine.latest("ver_1"))[case.id].score == 1.0
        assert await mine.latest("ver_2") == {}
        for other in (others, theirs):
            assert (await other.all(), await other.latest("ver_1")) == ([], {})
            with pytest.raises(NotFound):
                await other.delete(case.id)
        assert await mine.all() == [case]
        await mine.delete(case.id)
        assert await mine.all() == []

    with_store(any_url, work)


def test_an_agent_has_no_more_cases_than_it_may_however_many_servers_add_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "MOST", 5)

    async def work(store: Store) -> None:
        shared = url.startswith("postgres")
        second = await open_store(url, worker="second") if shared else store
        try:
            for number in range(20):
                one, two = (Cases(each.db, "org_a", f"agt_{number}", lambda: 1.0) for each in (store, second))
                added = await asyncio.gather(*((one, two)[n % 2].add(b"{}") for n in range(12)), return_exceptions=True)
                refused = [end for end in added if isinstance(end, Conflict)]
                assert (len(refused), {end.code for end in refused}) == (7, {"too_many"})
                kept = await one.all()
                assert {row.id for row in kept} == {row.id for row in added if isinstance(row, cases.CaseRow)}
                await one.delete(kept[0].id)
                await two.add(b"{}")
        finally:
            if shared:
                await second.close()

    with_store(url, work)
