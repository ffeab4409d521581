from __future__ import annotations

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.memories import Memories

from .turns import with_store


def test_a_memory_belongs_to_its_org_agent_and_thread(any_url):
    async def work(store: Store) -> None:
        mine, theirs = store.memories("org_a"), store.memories("org_b")
        await mine.put("agt_1", "t1", "Ada \0")
        for other, agent, thread in ((theirs, "agt_1", "t1"), (mine, "agt_2", "t1"), (mine, "agt_1", "t2")):
            assert await other.get(agent, thread) is None
        found = await mine.get("agt_1", "t1")
        assert found is not None
        assert found.text == "Ada \N{REPLACEMENT CHARACTER}"

    with_store(any_url, work)


def test_memories_are_listed_changed_and_forgotten(any_url):
    async def work(store: Store) -> None:
        mine = store.memories("org_a")
        for thread in ("c", "a", "b"):
            await mine.put("agt_1", thread, "old")
        await mine.put("agt_1", "b", "new")
        await mine.put("agt_2", "a", "other")
        assert [(row.thread_id, row.text) for row in await mine.page("agt_1", limit=2)] == [("a", "old"), ("b", "new")]
        assert [row.thread_id for row in await mine.page("agt_1", after="b")] == ["c"]
        await mine.forget("agt_1", "a")
        with pytest.raises(NotFound):
            await mine.forget("agt_1", "a")
        await mine.forget_all("agt_1")
        assert await mine.page("agt_1") == []
        assert len(await mine.page("agt_2")) == 1

    with_store(any_url, work)


def test_there_are_no_memories_without_an_org():
    with pytest.raises(ValueError):
        Memories(None, "", lambda: 0.0)  # type: ignore[arg-type]
