from __future__ import annotations

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
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
