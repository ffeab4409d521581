from __future__ import annotations

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.ledger import ConversationAdded, MessageAdded, OutboxAdded, Record, RunStarted
from midstream.store.memories import KEPT, Memories, Remembered, remembered

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


#: When a turn began that came after all that is forgotten here.
LATER = 4e9


def _new(sub: str, before: str = "", text: str = "new", began: float = NOW) -> Remembered:
    said = (f"conv_agt_1_{sub}", f"msg_{sub}", f"msg_{sub}_answer")
    return Remembered("org_a", "agt_1", "t1", *said, before, text, NOW, began, "memory:1")


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


def _turn(name: str, agent: str, conversation: str, asked_by: str | None = None) -> list[Record]:
    run, parent = f"run_{name}", asked_by and f"run_{asked_by}"
    return [
        RunStarted(
            run, "org_a", "key_1", "agent", "f", "m", conversation, "req_1", NOW, agent, "ver_1", parent_run_id=parent
        ),
        MessageAdded(f"msg_{name}", "org_a", run, 2, "user", b"{}", NOW, conversation, parent_id=""),
    ]


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_every_agent_that_had_a_turn_in_a_conversation_forgets_its_thread_with_it(any_url, how):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        await store.ledger.commit(*_thread("s1"), *_turn("guest", "agt_2", "conv_agt_1_s1"))
        for agent in ("agt_1", "agt_2", "agt_3"):
            await mine.put(agent, "t1", "the PIN")
        await getattr(threads, how)("conv_agt_1_s1")
        assert [await mine.get(agent, "t1") is not None for agent in ("agt_1", "agt_2", "agt_3")] == [
            False,
            False,
            True,
        ]

    with_store(any_url, work)


@pytest.mark.parametrize("other", ["theirs", "their own"])
def test_an_agent_that_had_turns_in_two_sub_threads_remembers_until_the_last_one_goes(any_url, other):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        await store.ledger.commit(*_thread("s1"), *_turn("guest", "agt_2", "conv_agt_1_s1"))
        agent = "agt_1" if other == "theirs" else "agt_2"
        await store.ledger.commit(*_thread("s2", agent), *_turn("again", "agt_2", f"conv_{agent}_s2"))
        await mine.put("agt_2", "t1", "shared")
        await threads.delete("conv_agt_1_s1")
        assert await mine.get("agt_2", "t1") is not None
        await threads.delete(f"conv_{agent}_s2")
        assert await mine.get("agt_2", "t1") is None

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
@pytest.mark.parametrize("begun_by", ["agt_3", ""])
def test_a_memory_stays_while_its_agent_goes_on_in_a_sub_thread_that_somebody_else_has_begun(any_url, how, begun_by):
    async def work(store: Store) -> None:
        mine, threads = store.memories("org_a"), store.org("org_a").threads
        third = (await store.org("org_a").agents.create("agt_3", "agt_3", b"{}"))[0].id if begun_by else ""
        await store.ledger.commit(*_thread("s1"), *_turn("guest", "agt_2", "conv_agt_1_s1"))
        await store.ledger.commit(*_thread("s2", third), *_turn("again", "agt_2", f"conv_{third}_s2"))
        for agent in ("agt_1", "agt_2"):
            await mine.put(agent, "t1", "shared")
        await getattr(threads, how)("conv_agt_1_s1")
        assert [await mine.get(agent, "t1") is not None for agent in ("agt_1", "agt_2")] == [False, True]
        await threads.delete("conv_agt_1_s1") if how == "reset" else None
        await getattr(threads, how)(f"conv_{third}_s2")
        assert await mine.get("agt_2", "t1") is None

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_an_agent_that_was_asked_by_a_conversation_and_had_turns_in_it_forgets_with_it(any_url, how):
    async def work(store: Store) -> None:
        asking = (await store.org("org_a").agents.create("asking", "asking", b"{}"))[0].id
        asked = (await store.org("org_a").agents.create("asked", "asked", b"{}"))[0].id
        threads, mine = store.org("org_a").threads, store.memories("org_a")
        first, second = [(await threads.found_or_made(agent, "t1", "s1", "")).id for agent in (asking, asked)]
        await store.ledger.commit(*_turn("own", asking, first), *_turn("asked", asked, second, "own"))
        await store.ledger.commit(*_turn("guest", asked, first))
        await mine.put(asked, "t1", "the PIN")
        await getattr(threads, how)(first)
        assert await mine.get(asked, "t1") is None

    with_store(any_url, work)


async def _asks(store: Store) -> tuple[str, str]:
    """The conversations of two agents: a turn of the one that `conv_agt_1_s1` is has asked the first of them, and that
    one the other, all on one thread."""
    ids = []
    for agent in ("agt_2", "agt_3"):
        made = await store.org("org_a").agents.create(agent, agent, b"{}")
        ids.append((await store.org("org_a").threads.found_or_made(made[0].id, "t1", "s1", "asked")).id)
        await store.memories("org_a").put(made[0].id, "t1", "the PIN")
    await store.ledger.commit(*_thread("s1"), *_turn("own", "agt_1", "conv_agt_1_s1"))
    await store.ledger.commit(*_turn("asked", "agt_2", ids[0], "own"), *_turn("asked_too", "agt_3", ids[1], "asked"))
    return ids[0], ids[1]


async def _known(store: Store, *conversations: str) -> list[str]:
    """What is still known in these of what was said, by their ids."""
    threads, mine = store.org("org_a").threads, store.memories("org_a")
    rows = {row.id: row for row in await threads.threads() if row.id in conversations}
    said = [id for id, row in rows.items() if (await threads.line(row, 9)).messages]
    agents = [str(row[0]) for row in await store.db.read("SELECT id FROM agents")]
    return sorted(said + [agent for agent in agents if await mine.get(agent, "t1") is not None])


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_what_agents_were_asked_on_a_thread_goes_with_the_conversation_that_has_asked_them(any_url, how):
    async def work(store: Store) -> None:
        asked = await _asks(store)
        assert len(await _known(store, *asked)) == 4
        await getattr(store.org("org_a").threads, how)("conv_agt_1_s1")
        assert await _known(store, *asked) == []
        assert len(await store.org("org_a").threads.threads()) == (3 if how == "reset" else 0)

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
@pytest.mark.parametrize("whose", ["its user's own", "another conversation's"])
def test_what_an_agent_was_asked_stays_where_its_conversation_is(any_url, how, whose):
    async def work(store: Store) -> None:
        threads = store.org("org_a").threads
        first, second = await _asks(store)
        if whose == "its user's own":
            await store.ledger.commit(*_turn("spoken", "agt_2", first))
        else:
            other = ConversationAdded("conv_x", "org_a", NOW, agent_id="agt_x", thread_id="t1", sub_thread_id="s1")
            await store.ledger.commit(other, *_turn("x", "agt_x", "conv_x"), *_turn("y", "agt_2", first, "x"))
        agent = (await threads.thread(first)).agent_id
        await getattr(threads, how)("conv_agt_1_s1")
        assert await _known(store, first, second) == sorted([first, str(agent)])
        if whose == "another conversation's":
            await threads.delete("conv_agt_1_s1") if how == "reset" else None
            await getattr(threads, how)("conv_x")
            assert await _known(store, first, second) == []

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
@pytest.mark.parametrize("asks", [True, False])
def test_what_agents_ask_agents_for_another_conversation_stays_with_that_one(any_url, how, asks):
    async def work(store: Store) -> None:
        threads = store.org("org_a").threads
        asked = await _asks(store)
        other = ConversationAdded("conv_x", "org_a", NOW, agent_id="agt_x", thread_id="t1", sub_thread_id="s1")
        await store.ledger.commit(other, *_turn("x", "agt_x", "conv_x"))
        if asks:
            await store.ledger.commit(*_turn("y", "agt_2", asked[0], "x"), *_turn("z", "agt_3", asked[1], "y"))
        await getattr(threads, how)("conv_x")
        assert len(await _known(store, *asked)) == 4
        await threads.delete("conv_x") if how == "reset" else None
        await getattr(threads, how)("conv_agt_1_s1")
        assert await _known(store, *asked) == []

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_what_an_asked_agent_has_asked_goes_with_its_own_conversation_unless_it_was_asked_elsewhere_too(any_url, how):
    async def work(store: Store) -> None:
        threads = store.org("org_a").threads
        first, second = await _asks(store)
        await store.ledger.commit(*_turn("straight", "agt_3", second, "own"))
        agent = (await threads.thread(second)).agent_id
        await getattr(threads, how)(first)
        assert await _known(store, first, second) == sorted([second, str(agent)])

    with_store(any_url, work)


@pytest.mark.parametrize("how", ["delete", "reset"])
def test_what_an_asked_agent_has_asked_goes_with_its_own_conversation(any_url, how):
    async def work(store: Store) -> None:
        asked = await _asks(store)
        await getattr(store.org("org_a").threads, how)(asked[0])
        assert await _known(store, *asked) == []

    with_store(any_url, work)


def test_a_conversation_that_waits_for_its_first_turn_was_asked_by_nobody(any_url):
    async def work(store: Store) -> None:
        threads = store.org("org_a").threads
        made = await store.org("org_a").agents.create("agt_2", "agt_2", b"{}")
        waiting = await threads.found_or_made(made[0].id, "t1", "s1", "later")
        await store.ledger.commit(*_thread("s1"))
        await threads.delete("conv_agt_1_s1")
        assert [row.id for row in await threads.threads()] == [waiting.id]

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
        await store.db.write(remembered(_new("s2", began=LATER)))
        assert await mine.get("agt_1", "t1") is not None

    with_store(any_url, work)


@pytest.mark.parametrize("message", ["msg_s1", "msg_s1_answer"])
@pytest.mark.parametrize("before", ["", "old"])
def test_a_turn_of_which_a_message_was_deleted_is_not_remembered(any_url, before, message):
    async def work(store: Store) -> None:
        mine, conversation = store.memories("org_a"), "conv_agt_1_s1"
        answer = MessageAdded("msg_s1_answer", "org_a", None, 1, "assistant", b"{}", NOW, conversation, parent_id="")
        await store.ledger.commit(*_thread("s1"), answer)
        if before:
            await mine.put("agt_1", "t1", before)
        await store.org("org_a").threads.delete_message(conversation, message)
        await store.db.write(remembered(_new("s1", before)))
        kept = await mine.get("agt_1", "t1")
        assert (kept.text if kept is not None else "") == before

    with_store(any_url, work)


async def _remember(store: Store, *new: Remembered) -> tuple[str | None, list[str]]:
    """What is remembered then, and which rows are to be done again."""
    for one in new:
        await store.db.write(remembered(one))
    kept = await store.memories("org_a").get("agt_1", "t1")
    rows = await store.db.read("SELECT id FROM outbox WHERE done_at IS NULL AND id <> 'memory:1' ORDER BY id")
    return kept.text if kept is not None else None, [id for (id,) in rows]


ROW = OutboxAdded("memory:1", "org_a", "memory", b"{}", NOW, NOW)


@pytest.mark.parametrize("before", ["", "as it was"])
def test_what_was_put_in_its_place_meanwhile_stays_and_the_turn_is_remembered_again_from_there(any_url, before):
    async def work(store: Store) -> None:
        mine = store.memories("org_a")
        await store.ledger.commit(*_thread("s1"), ROW)
        await mine.put("agt_1", "t1", "by a person")
        for _ in range(2):
            assert await _remember(store, _new("s1", before)) == ("by a person", ["memory:1+"])
        [row] = [one for one in await store.outbox.take("memory", 9) if one.id != "memory:1"]
        assert (row.org_id, row.payload, row.created_at) == ("org_a", b"{}", NOW)
        await store.outbox.done([row], remembered(_new("s1", "by a person", "both")))
        assert await _remember(store) == ("both", [])

    with_store(any_url, work)


@pytest.mark.parametrize("of", ["one", "all"])
@pytest.mark.parametrize("before", ["", "as it was"])
def test_what_was_forgotten_does_not_come_back_with_a_turn_from_before(any_url, of, before):
    async def work(store: Store) -> None:
        mine = store.memories("org_a")
        await store.ledger.commit(*_thread("s1"), ROW)
        if before:
            await mine.put("agt_1", "t1", before)
        if of == "all":
            await mine.forget_all("agt_1")
        elif before:
            await mine.forget("agt_1", "t1")
        else:
            with pytest.raises(NotFound):  # and holds all the same
                await mine.forget("agt_1", "t1")
        assert await mine.forgotten_since("agt_1", "t1", NOW)
        assert await mine.forgotten_since("agt_1", "t2", NOW) == (of == "all")
        assert not await mine.forgotten_since("agt_2", "t1", NOW)
        assert not await mine.forgotten_since("agt_1", "t1", LATER)
        assert not await store.memories("org_b").forgotten_since("agt_1", "t1", NOW)
        assert await _remember(store, _new("s1", before)) == (None, [])
        assert await _remember(store, _new("s1", "", began=LATER)) == ("new", [])

    with_store(any_url, work)


def test_that_a_thread_was_forgotten_is_forgotten_in_the_end_and_that_all_were_is_not(any_url):
    async def work(store: Store) -> None:
        times = iter((NOW, NOW + 1, NOW + KEPT + 2))
        mine = Memories(store.db, "org_a", lambda: next(times))
        await mine.forget_all("agt_1")
        for thread in ("t1", "t2"):
            with pytest.raises(NotFound):
                await mine.forget("agt_1", thread)
        rows = await store.db.read("SELECT thread_id, at FROM memories_forgotten ORDER BY thread_id")
        assert rows == [("", NOW), ("t2", NOW + KEPT + 2)]

    with_store(any_url, work)
