from __future__ import annotations

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.ledger import ConversationAdded, MessageAdded, Record
from midstream.store.memories import Memories, Remembered, remembered

from .turns import NOW, with_store


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


def _thread(sub: str, agent: str = "agt_1", thread: str = "t1") -> list[Record]:
    id = f"conv_{agent}_{sub}"
    return [
        ConversationAdded(id, "org_a", NOW, agent_id=agent, thread_id=thread, sub_thread_id=sub),
        MessageAdded(f"msg_{sub}", "org_a", None, 0, "user", b"{}", NOW, id, parent_id=""),
    ]


def _new(sub: str, before: str = "") -> Remembered:
    return Remembered("org_a", "agt_1", "t1", f"conv_agt_1_{sub}", f"msg_{sub}", before, "new", NOW)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_a_conversation_that_is_deleted_or_reset_takes_the_memory_of_its_thread_with_it(any_url, how):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        await store.ledger.commit(*_thread("s1"), *_thread("other", "agt_2"))
        for agent, thread in (("agt_1", "t1"), ("agt_1", "t2"), ("agt_2", "t1")):
            await mine.put(agent, thread, "the PIN")
        await getattr(threads, how)("conv_agt_1_s1")
        assert await mine.get("agt_1", "t1") is None
        assert await mine.get("agt_1", "t2") is not None
        assert await mine.get("agt_2", "t1") is not None

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_a_memory_that_another_sub_thread_shares_stays_until_the_last_one_goes(any_url, how):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        await store.ledger.commit(*_thread("s1"), *_thread("s2"))
        await mine.put("agt_1", "t1", "shared")
        await getattr(threads, how)("conv_agt_1_s1")
        assert await mine.get("agt_1", "t1") is not None
        await threads.delete("conv_agt_1_s1") if how == "reset" else None
        await getattr(threads, how)("conv_agt_1_s2")
        assert await mine.get("agt_1", "t1") is None

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_a_memory_that_is_just_being_written_does_not_come_back(any_url, how):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        await store.ledger.commit(*_thread("s1"), *_thread("s2"))
        await store.db.write(remembered(_new("s1")))
        await store.db.write(remembered(_new("s1", "new")))
        assert await mine.get("agt_1", "t1") is not None
        await mine.forget("agt_1", "t1")
        await store.db.write(remembered(_new("s1", "new")))
        assert await mine.get("agt_1", "t1") is None
        await getattr(threads, how)("conv_agt_1_s1")
        await store.db.write(remembered(_new("s1")))
        assert await mine.get("agt_1", "t1") is None
        await store.db.write(remembered(_new("s2")))
        assert await mine.get("agt_1", "t1") is not None

    with_store(any_url, work)
