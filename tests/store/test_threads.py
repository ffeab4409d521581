from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, NotFound
from midstream.core.ids import new_id
from midstream.store import Store
from midstream.store import threads as module
from midstream.store.branches import chain_of, head_of
from midstream.store.folding import words_of
from midstream.store.ledger import (
    ConversationAdded,
    ConversationMoved,
    ConversationTouched,
    MessageAdded,
    MessageWords,
    Record,
)
from midstream.store.retention import forget
from midstream.store.rows import ThreadMessage
from midstream.store.searching import of_a_call
from midstream.store.threads import ThreadStore, better_title

from .turns import NOW, ORG, with_store

C = "conv_1"


def conversation(id: str = C, org: str = ORG, at: float = NOW, agent: str = "agt_1") -> ConversationAdded:
    return ConversationAdded(id, org, at, title="first words", agent_id=agent, thread_id=id, sub_thread_id=id)


def said(
    id: str, seq: int, parent: str | None, text: str = "", role: str = "user", *, at: float = NOW, org: str = ORG,
    conversation: str = C,
) -> list[Record]:  # fmt: skip
    return [
        MessageAdded(id, org, None, seq, role, b"{}", at, conversation, parent_id=parent, detail=b'{"model":"m"}'),
        MessageWords(id, org, conversation, text or f"words of {id}"),
    ]


def moved(to: str, org: str = ORG) -> ConversationMoved:
    return ConversationMoved(C, org, to, NOW)


#: A question answered twice, then edited: q1 -> a1 | a2 -> q2 -> a3, and q1b -> a4 beside q1.
TREE: tuple[Record, ...] = (
    conversation(),
    *said("q1", 0, ""), *said("a1", 1, "q1", role="assistant"), *said("a2", 2, "q1", role="assistant"),
    *said("q2", 3, "a2"), *said("a3", 4, "q2", role="assistant"),
    *said("q1b", 5, ""), *said("a4", 6, "q1b", role="assistant"),
    moved("a4"),
)  # fmt: skip


def with_tree(url: str, test: Callable[[Store, ThreadStore], Awaitable[None]]) -> None:
    async def run(store: Store) -> None:
        await store.ledger.commit(*TREE)
        await test(store, store.org(ORG).threads)

    with_store(url, run)


async def ids(threads: ThreadStore, limit: int = 100, upto: str | None = None) -> list[str]:
    line = await threads.line(await threads.thread(C), limit, upto=upto)
    return [one.id for one in line.messages]


def test_of_any_number_who_ask_for_a_thread_at_once_all_get_the_same(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        found = await asyncio.gather(*(threads.found_or_made("agt_1", "t", "s") for _ in range(20)))
        assert len({one.id for one in found}) == 1
        others = [
            await threads.found_or_made("agt_1", "t", "s2"),
            await threads.found_or_made("agt_2", "t", "s"),
            await store.org("org_b").threads.found_or_made("agt_1", "t", "s"),
        ]
        assert len({one.id for one in (*found, *others)}) == 4
        assert len(await threads.threads()) == 3

    with_store(url, test)


def test_a_deleted_threads_name_can_be_used_again(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        first = await threads.found_or_made("agt_1", "t", "s")
        await threads.delete(first.id)
        assert (await threads.found_or_made("agt_1", "t", "s")).id != first.id
        with pytest.raises(NotFound):
            await threads.thread(first.id)

    with_store(url, test)


def test_the_branch_in_use_is_what_leads_to_the_current_message(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        assert await ids(threads) == ["q1b", "a4"]
        assert await ids(threads, upto="a3") == ["q1", "a2", "q2", "a3"]
        assert await ids(threads, 3, upto="a3") == ["a2", "q2", "a3"]
        assert await ids(threads, 1, upto="a3") == ["a3"]
        assert await ids(threads, upto="") == []
        assert (await threads.line(await threads.thread(C), 1)).seq == 7

    with_tree(url, test)


def test_branches_are_listed_and_switched_between(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        row = await threads.thread(C)
        listed = [(one.message_id, one.length, one.current) for one in await threads.branches(row)]
        assert listed == [("a1", 2, False), ("a3", 4, False), ("a4", 2, True)]
        assert await threads.switch(row, "q1") == "a3"
        assert await ids(threads) == ["q1", "a2", "q2", "a3"]
        assert await threads.switch(row, "a1") == "a1"
        assert await ids(threads) == ["q1", "a1"]
        with pytest.raises(NotFound):
            await threads.switch(row, "nowhere")

    with_tree(url, test)


def test_messages_of_a_face_without_branches_follow_the_one_before_them(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await store.ledger.commit(*said("plain1", 7, None), *said("plain2", 8, None))
        assert await ids(threads) == ["q1b", "a4", "plain1", "plain2"]
        await store.ledger.commit(*said("next", 9, "plain2"), moved("next"))
        assert await ids(threads) == ["q1b", "a4", "plain1", "plain2", "next"]

    with_tree(url, test)


def test_after_a_reset_nothing_is_shown_and_nothing_is_lost(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await threads.reset(C)
        assert await ids(threads) == []
        line = await threads.line(await threads.thread(C), 10)
        assert (line.seq, line.head) == (7, "")
        assert len(await threads.all_messages(C)) == 7
        await store.ledger.commit(*said("new", 7, ""), moved("new"))
        assert await ids(threads) == ["new"]

    with_tree(url, test)


def test_a_deleted_message_is_not_shown_nor_found_and_what_follows_still_is(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await threads.delete_message(C, "q1b")
        assert await ids(threads) == ["a4"]
        assert await threads.search("q1b") == []
        with pytest.raises(NotFound):
            await threads.message(C, "q1b")
        with pytest.raises(NotFound):
            await threads.react(C, "q1b", "like")

    with_tree(url, test)


def test_reactions_come_and_go(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        for reaction in ("like", "dislike", None):
            await threads.react(C, "a4", reaction)  # type: ignore[arg-type]
            assert (await threads.message(C, "a4")).reaction == reaction

    with_tree(url, test)


def test_a_better_title_replaces_the_first_words_and_not_what_a_user_wrote(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await store.db.write([better_title(ORG, C, "A better one", "first words", ("", ""))])
        assert (await threads.thread(C)).title == "A better one"
        await threads.rename(C, "mine")
        await store.db.write([better_title(ORG, C, "Another", "A better one", ("", ""))])
        assert (await threads.thread(C)).title == "mine"

    with_tree(url, test)


def test_nothing_of_another_org_is_found_or_changed(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        other = store.org("org_b").threads
        row = await threads.thread(C)
        for refused in (
            other.thread(C), other.rename(C, "x"), other.delete(C), other.react(C, "a4", "like"), other.reset(C),
            other.delete_message(C, "a4"), other.message(C, "a4"), other.switch(row, "a1"), other.threads(after=C),
            other.search("words", after="a4"),
        ):  # fmt: skip
            with pytest.raises(NotFound):
                await refused
        assert await other.search("words") == []
        assert await other.threads() == []
        assert (await other.line(row, 10)).messages == ()
        await store.db.write([better_title("org_b", C, "x", "first words", ("", ""))])
        assert (await threads.thread(C)).title == "first words"

    with_tree(url, test)


def test_a_page_goes_on_where_it_ended_whatever_is_made_meanwhile(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(*(conversation(f"conv_{n}", agent=f"agt_{n % 2}") for n in range(7)))
        seen: list[str] = []
        while page := await threads.threads(after=seen[-1] if seen else None, limit=2):
            seen += [one.id for one in page]
            await store.ledger.commit(conversation(f"conv_more{len(seen)}"))
        assert seen == [f"conv_{n}" for n in range(6, -1, -1)]
        assert [one.id for one in await threads.threads(agent="agt_1") if "more" not in one.id] == [
            "conv_5", "conv_3", "conv_1",
        ]  # fmt: skip

    with_store(url, test)


# search


def test_messages_are_found_by_the_beginnings_of_their_words(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        text = "x" * 300 + " Kubernetes pods are groups of containers, " + "y" * 300
        await store.ledger.commit(*said("long", 7, "a4", text, at=NOW + 1))
        [found] = await threads.search("KUBER pods")
        assert (found.message_id, found.conversation_id, found.title) == ("long", C, "first words")
        assert "Kubernetes pods are groups" in found.text
        assert found.text.startswith("…")
        assert found.text.endswith("…")
        assert len(found.text) < 200
        assert await threads.search("kubernetes nowhere") == []
        assert len(await threads.search("words of")) == 7

    with_tree(url, test)


SIGNED = (
    "ada@example.org", "example.org", "https://example.org/a/b?c=1", "2026-11-26", "3.14", "file.log",
    "/usr/local/bin/thing", "v1.2.3", "555-1234", "ALPHA/beta", "beta", "snake_case", "it's",
)  # fmt: skip


@pytest.mark.parametrize("word", SIGNED)
def test_a_word_is_found_beside_any_signs(url: str, word: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await store.ledger.commit(*said("long", 7, "a4", "see: " + ", ".join(SIGNED) + ".", at=NOW + 1))
        assert [found.message_id for found in await threads.search(word)] == ["long"]

    with_tree(url, test)


def test_what_is_said_by_a_turn_that_began_before_a_reset_is_not_shown_and_what_comes_after_is(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await threads.reset(C)
        late = [*said("late", 7, "a4", role="assistant"), ConversationMoved(C, ORG, "late", NOW, 7, -1)]
        await store.ledger.commit(*late)
        await store.ledger.commit(*late)
        assert await ids(threads) == []
        row = await threads.thread(C)
        assert (row.current_id, row.reset_seq) == (None, 8)
        await store.ledger.commit(*said("q5", 8, ""), ConversationMoved(C, ORG, "q5", NOW, 8, 8))
        assert await ids(threads) == ["q5"]
        # of another face, whose messages follow the one before them
        await threads.reset(C)
        await store.ledger.commit(ConversationTouched(C, ORG, NOW, 9, 8), *said("later", 9, None, role="assistant"))
        assert await ids(threads) == []
        assert (await threads.thread(C)).reset_seq == 10

    with_tree(url, test)


def test_branches_neither_name_nor_count_deleted_messages(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        async def listed() -> list[tuple[str, int, bool]]:
            return [
                (one.message_id, one.length, one.current) for one in await threads.branches(await threads.thread(C))
            ]

        await threads.delete_message(C, "a3")
        await threads.delete_message(C, "q1b")
        assert await listed() == [("a1", 2, False), ("q2", 3, False), ("a4", 1, True)]
        with pytest.raises(NotFound):
            await threads.switch(await threads.thread(C), "a3")
        assert await threads.switch(await threads.thread(C), "q1") == "q2"
        await threads.delete_message(C, "q2")
        await threads.delete_message(C, "a2")  # the one in use ends where another goes on
        assert await listed() == [("q1", 1, True), ("a1", 2, False), ("a4", 1, False)]
        assert await threads.switch(await threads.thread(C), "q1") == "a1"
        assert await listed() == [("a1", 2, True), ("a4", 1, False)]
        for id in ("q1", "a1", "a4"):
            await threads.delete_message(C, id)
        assert await listed() == []

    with_tree(url, test)


def test_what_agents_say_to_each_other_is_neither_listed_nor_found(url: str):
    async def test(store: Store) -> None:
        call = f"{new_id('run_')}:1:0"
        for id, thread in (("conv_users", "run_1:2:3"), ("conv_agents", call), ("conv_plain", None)):
            await store.ledger.commit(
                ConversationAdded(id, ORG, NOW, title="t", agent_id="agt_1", thread_id=thread, sub_thread_id=thread),
                *said(f"msg_{id}", 0, "", "same", conversation=id),
            )
        threads = store.org(ORG).threads
        assert [one.id for one in await threads.threads()] == ["conv_plain", "conv_users"]
        assert sorted(one.conversation_id for one in await threads.search("same")) == ["conv_plain", "conv_users"]
        assert (await threads.thread("conv_agents")).thread_id == call
        assert [of_a_call(name) for name in (call, "run_1:2:3", "", "t1")] == [True, False, False, False]

    with_store(url, test)


HOSTILE = (
    '"', "words OR zz", "NEAR(words of)", "text:words", "zz*", "'; DROP TABLE messages; --", "words | !(zz",
    "words & !zz", "\\'", "*", 'words" OR "zz',
)  # fmt: skip


def test_no_word_means_anything_to_the_query_language(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        for text in HOSTILE:
            if words_of(text):
                assert await threads.search(text) == []
            else:
                with pytest.raises(BadRequest):
                    await threads.search(text)
        assert len(await threads.search("words -- of")) == 7

    with_tree(url, test)


def test_a_search_goes_on_after_a_message(url: str):
    async def test(store: Store) -> None:
        await store.ledger.commit(conversation())
        for n in range(5):
            await store.ledger.commit(*said(f"m{n}", n, None, "same", at=NOW + n // 2))
        threads = store.org(ORG).threads
        seen: list[str] = []
        while page := await threads.search("same", after=seen[-1] if seen else None, limit=2):
            seen += [one.message_id for one in page]
            await store.ledger.commit(*said(f"later{len(seen)}", 9, None, "same", at=NOW + 99))
        assert seen == ["m4", "m3", "m2", "m1", "m0"]

    with_store(url, test)


def test_a_deleted_conversation_is_not_searched(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        await threads.delete(C)
        assert await threads.search("words") == []

    with_tree(url, test)


# retention


def test_what_is_old_goes_with_its_words_and_what_is_in_use_stays(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        for n in range(5):
            id = f"conv_{n}"
            await store.ledger.commit(
                conversation(id, at=NOW + n), *said(f"m{n}", 0, "", "same", at=NOW + n, conversation=id)
            )
        await store.ledger.commit(
            MessageAdded("alone", ORG, "run_1", 0, "user", b"{}", NOW),
            MessageAdded("alone2", ORG, "run_1", 0, "user", b"{}", NOW + 9),
            ConversationMoved("conv_0", ORG, "m0", NOW + 9),
        )
        assert await forget(store.db, NOW + 3) == 3
        assert sorted(one.id for one in await threads.threads()) == ["conv_0", "conv_3", "conv_4"]
        assert sorted(one.message_id for one in await threads.search("same")) == ["m0", "m3", "m4"]
        left = await store.db.read("SELECT id FROM messages ORDER BY id")
        assert left == [("alone2",), ("m0",), ("m3",), ("m4",)]
        assert await forget(store.db, NOW + 3) == 0

    with_store(url, test)


def test_a_conversation_that_was_deleted_long_ago_goes_though_it_was_used_later(url: str):
    async def test(store: Store) -> None:
        await store.ledger.commit(conversation(at=NOW + 50))
        await store.db.write([("UPDATE conversations SET deleted_at = $1", (NOW,))])
        assert await forget(store.db, NOW + 3) == 1
        assert await store.db.read("SELECT id FROM conversations") == []

    with_store(url, test)


# turns among servers


def test_a_turn_is_held_by_one_until_it_is_given_back_or_its_time_is_over(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        assert await threads.take_turn(C, "a", 30)
        assert not await threads.take_turn(C, "b", 30)
        assert await threads.take_turn(C, "a", 30)
        await threads.give_back(C, "b")
        assert not await threads.take_turn(C, "b", 30)
        await threads.give_back(C, "a")
        assert await threads.take_turn(C, "b", -1)
        assert await threads.take_turn(C, "a", 30)

    with_store(url, test)


def test_of_many_who_want_a_turn_at_once_one_gets_it(url: str):
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        got = await asyncio.gather(*(threads.take_turn(C, f"h{n}", 30) for n in range(10)))
        assert sum(got) == 1

    with_store(url, test)


# branches as such


def row(id: str, seq: int, parent: str | None) -> ThreadMessage:
    return ThreadMessage(id, ORG, C, None, seq, "user", "", b"", NOW, parent, None, None)


@settings(max_examples=200)
@given(st.lists(st.none() | st.integers(-1, 11), max_size=12), st.integers(0, 12))
def test_a_chain_leads_from_one_end_to_the_other_and_never_in_a_circle(parents: Sequence[int | None], at: int):
    rows = []
    for seq, parent in enumerate(parents):
        name = None if parent is None else f"m{parent}" if 0 <= parent < seq else ""
        rows.append(row(f"m{seq}", seq, name))
    head = head_of(rows, f"m{at}" if at < len(rows) else None)
    chain, _ = chain_of(rows, head)
    assert bool(chain) == bool(rows)
    assert [one.seq for one in chain] == sorted({one.seq for one in chain})
    if rows:
        assert chain[-1].id == head
        for before, after in pairwise(chain):
            assert after.parent_id == before.id or (after.parent_id is None and after.seq == before.seq + 1)
        assert not chain[0].parent_id


def test_the_end_of_a_turn_moves_a_conversation_only_from_where_the_turn_has_left_it(url: str):
    async def test(store: Store, threads: ThreadStore) -> None:
        async def current() -> str | None:
            return (await threads.thread(C)).current_id

        late = ConversationMoved(C, ORG, "late", NOW, 7, -1, "q2")
        await store.ledger.commit(*said("late", 7, "q2", role="assistant"), late)
        assert await current() == "a4"
        await store.ledger.commit(moved("q2"), late, late)
        assert await current() == "late"
        assert await ids(threads) == ["q1", "a2", "q2", "late"]
        await store.db.write([("UPDATE conversations SET current_id = NULL", ())])
        await store.ledger.commit(late)
        assert await current() is None
        await store.ledger.commit(ConversationMoved(C, ORG, "a1", NOW, 8, -1, ""))
        assert await current() == "a1"

    with_tree(url, test)


#: A question and its answer twenty times, after a branch of its own.
LONG: tuple[Record, ...] = (
    conversation(),
    *said("beside", 0, ""),
    *(
        record
        for n in range(1, 41)
        for record in said(f"m{n:02}", n, f"m{n - 1:02}" if n > 1 else "", role="user" if n % 2 else "assistant")
    ),
    moved("m40"),
)


async def paged(threads: ThreadStore, limit: int, **more: bool) -> tuple[list[str], list[str]]:
    """All messages, read page by page from the newest on and from the oldest on."""
    row, found = await threads.thread(C), list[list[str]]()
    for way, end in (("before", 0), ("after", -1)):
        first = "" if way == "before" else found[0][0]
        pages, place = [[first]] if first else [], first
        while True:
            page = await threads.page(row, limit, **{way: place}, **more)
            names = [one.id for one in page.messages]
            assert len(names) == limit or not page.more
            pages.append(names)
            if not page.more:
                break
            place = names[end]
        found.append([name for names in (pages[::-1] if way == "before" else pages) for name in names])
    return found[0], found[1]


@pytest.mark.parametrize("limit", [1, 7, 40, 100])
def test_all_messages_are_read_page_by_page_in_both_directions(
    url: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 60)

    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(*LONG)
        names = [f"m{n:02}" for n in range(1, 41)]
        assert await paged(threads, limit) == (names, names)
        await threads.delete_message(C, "m20")
        names.remove("m20")
        assert await paged(threads, limit) == (names, names)
        assert await paged(threads, limit, every=True) == (["beside", *names], ["beside", *names])
        row = await threads.thread(C)
        for place in ("m20", "beside"):  # one that is deleted, one that stands elsewhere
            assert (await threads.page(row, 1, after=place)).messages[0].id == ("m21" if place == "m20" else "m01")
        assert [one.id for one in (await threads.page(row, 1, before="m20")).messages] == ["m19"]
        for more in ({"before": "m99"}, {"after": "m99"}):
            with pytest.raises(NotFound):
                await threads.page(row, 1, **more)
        await threads.reset(C)
        row = await threads.thread(C)
        assert (await threads.page(row, 9)).messages == (await threads.page(row, 9, before="m10")).messages == ()
        assert len((await threads.page(row, 99, every=True)).messages) == 40

    with_store(url, test)


def test_a_message_that_follows_a_deleted_one_is_shown_behind_the_nearest_that_is_there(url: str) -> None:
    async def test(store: Store, threads: ThreadStore) -> None:
        async def parents(**more: bool) -> dict[str, str | None]:
            page = await threads.page(await threads.thread(C), 100, **more)
            return {one.id: one.parent_id for one in page.messages}

        await store.ledger.commit(moved("a3"))
        for id in ("a2", "q2"):
            await threads.delete_message(C, id)
        assert await parents() == {"q1": "", "a3": "q1"}
        await threads.delete_message(C, "q1")
        assert await parents() == {"a3": ""}
        assert await parents(every=True) == {"a1": "", "a3": "", "q1b": "", "a4": "q1b"}
        page = await threads.page(await threads.thread(C), 1, before="a4", every=True)
        assert [(one.id, one.parent_id) for one in page.messages] == [("q1b", "")]

    with_tree(url, test)


def test_messages_of_another_face_are_shown_behind_the_one_before_them(url: str) -> None:
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(conversation())
        for seq in range(8):
            await store.ledger.commit(*said(f"m{seq}", seq, None))
        row = await threads.thread(C)

        async def parents(**more: Any) -> dict[str, str | None]:
            return {one.id: one.parent_id for one in (await threads.page(row, 3, **more)).messages}

        assert await parents() == {"m5": "m4", "m6": "m5", "m7": "m6"}
        assert await parents(before="m2") == {"m0": "", "m1": "m0"}
        assert await parents(after="m2", every=True) == {"m3": "m2", "m4": "m3", "m5": "m4"}
        for id in ("m4", "m3"):
            await threads.delete_message(C, id)
        assert await parents(before="m6") == await parents(before="m6", every=True) == {
            "m1": "m0", "m2": "m1", "m5": "m2"
        }  # fmt: skip
        await store.ledger.commit(*said("q", 8, "m4"))  # an agent's turn that goes on from there
        assert (await threads.page(row, 99, every=True)).messages[-1].parent_id == "m2"

    with_store(url, test)


def test_what_an_answer_answers_is_the_users_nearest_message_with_or_without_tools_between(url: str) -> None:
    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(conversation())
        for seq, role in enumerate(("assistant", "user", "assistant", "tool", "assistant")):
            await store.ledger.commit(MessageAdded(f"m{seq}", ORG, None, seq, role, b"{}", NOW, C))
        row = await threads.thread(C)

        async def asked(id: str) -> tuple[str, bool] | None:
            found = await threads.asked(row, await threads.message(C, id))
            return found and (found.id, found.deleted_at is not None)

        assert [await asked(id) for id in ("m0", "m2", "m3", "m4")] == [None, *[("m1", False)] * 3]
        await threads.delete_message(C, "m1")
        assert await asked("m4") == ("m1", True)

    with_store(url, test)


def test_of_more_messages_than_are_looked_through_branches_are_those_of_the_newest(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 10)

    async def test(store: Store) -> None:
        threads = store.org(ORG).threads
        await store.ledger.commit(*LONG, *said("edited", 41, "m38"))
        row = await threads.thread(C)
        assert [(one.message_id, one.current) for one in await threads.branches(row)] == [
            ("m40", True), ("edited", False)
        ]  # fmt: skip
        assert await threads.switch(row, "edited") == "edited"
        assert await threads.switch(row, "m39") == "m40"

    with_store(url, test)
