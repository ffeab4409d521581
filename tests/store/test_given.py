"""What users gave before a line of messages begins: found on its branch however long ago that was."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from midstream.store import Store, given
from midstream.store.branches import Line, chain_of, head_of, hidden_in
from midstream.store.ledger import ConversationAdded, ConversationMoved, MessageAdded, Record
from midstream.store.rows import MessageDetail, ThreadMessage
from midstream.store.threads import ThreadStore

from .turns import NOW, ORG, with_store

C = "conv_1"
FILE = MessageDetail(attachments=({"kind": "file", "name": "a.txt"},))
DOCUMENT = MessageDetail(document_ids=("doc_1",))
#: Kept back by a guardrail, before its model was asked and after; and one that ended before its question had passed.
BLOCKED, ANSWERED, UNCHECKED = (
    MessageDetail(blocked="rude"), MessageDetail(blocked="secret", iterations=1), MessageDetail(unchecked=True),
)  # fmt: skip
WORDS = b'{"role":"user","parts":[{"type":"Text","text":"x"}]}'
NOTHING = b'{"role":"assistant","parts":[]}'


def said(id: str, seq: int, parent: str | None, **more: Any) -> MessageAdded:
    role = "user" if id.startswith("q") else "assistant"
    detail = more.pop("detail", MessageDetail())
    values = {"content": WORDS, "detail": None if detail is None else msgspec.json.encode(detail), **more}
    return MessageAdded(id, ORG, None, seq, role, created_at=NOW, conversation_id=C, parent_id=parent, **values)


def turns(count: int, first: int = 0, **details: MessageDetail) -> list[Record]:
    """A question and its answer each, q0, a0, q1, a1, ... with the details that are named."""
    return [
        said(f"{kind}{n:03}", 2 * n + at, before, detail=details.get(f"{kind}{n:03}", MessageDetail()))
        for n in range(first, count)
        for at, (kind, before) in enumerate((("q", f"a{n - 1:03}" if n else ""), ("a", f"q{n:03}")))
    ]


def moved(to: str) -> ConversationMoved:
    return ConversationMoved(C, ORG, to, NOW)


def with_messages(url: str, records: Sequence[Record], test: Callable[[ThreadStore], Awaitable[None]]) -> None:
    async def run(store: Store) -> None:
        await store.ledger.commit(ConversationAdded(C, ORG, NOW, agent_id="agt_1", thread_id=C, sub_thread_id=C))
        await store.ledger.commit(*records)
        await test(store.org(ORG).threads)

    with_store(url, run)


async def line(threads: ThreadStore, limit: int) -> Line:
    return await threads.line(await threads.thread(C), limit, shown=True)


async def found(threads: ThreadStore, limit: int = 2) -> list[str]:
    before = threads.given_before(await threads.thread(C), await line(threads, limit))
    ids: list[str] = []
    while page := await before.page():
        ids += [one.id for one in page]
    return ids


def test_what_was_given_before_the_line_is_found_newest_first_and_nothing_else(url: str):
    async def test(threads: ThreadStore) -> None:
        assert await found(threads) == ["q005", "q001"]
        assert await found(threads, 8) == ["q005", "q001"]
        assert await found(threads, 10) == ["q001"]
        assert await found(threads, 40) == []
        before = threads.given_before(await threads.thread(C), await line(threads, 2))
        first, second = await before.page()
        assert (first.document_ids, first.may_hold_files) == (("doc_1",), False)
        assert (second.document_ids, second.may_hold_files) == ((), True)
        assert [row.id for row in await before.words([second, first])] == ["q005", "q001"]
        assert (await before.words([second]))[0].content == WORDS

    with_messages(url, [*turns(10, q001=FILE, q005=DOCUMENT, q009=FILE), moved("a009")], test)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_only_the_branch_in_use_counts(url: str, page: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(given, "PAGE", page)
    records = [
        *turns(6, q001=FILE, q002=FILE, q004=FILE),
        said("q1b", 12, "a000", detail=FILE), said("a1b", 13, "q1b"), said("q2b", 14, "a1b"), said("a2b", 15, "q2b"),
    ]  # fmt: skip

    async def test(threads: ThreadStore) -> None:
        for current, ids in (("a005", ["q004", "q002", "q001"]), ("a2b", ["q1b"])):
            await threads.switch(await threads.thread(C), current)
            assert await found(threads) == ids

    with_messages(url, [*records, moved("a2b")], test)


def test_what_was_deleted_reset_or_kept_back_is_not_found(url: str):
    details = {
        "q001": FILE,
        "q002": FILE,
        "a002": BLOCKED,
        "q003": FILE,
        "a003": UNCHECKED,
        "q004": FILE,
        "a004": ANSWERED,
    }

    async def test(threads: ThreadStore) -> None:
        assert await found(threads) == ["q004", "q001"]
        for gone, ids in (("a002", ["q004", "q001"]), ("q004", ["q001"])):
            await threads.delete_message(C, gone)
            assert await found(threads) == ids
        await threads.reset(C)
        assert (await line(threads, 2)).messages == ()

    with_messages(url, [*turns(10, **details), moved("a009")], test)


def test_what_was_given_before_a_reset_is_not_found(url: str):
    async def test(threads: ThreadStore) -> None:
        await threads._db.write([("UPDATE conversations SET reset_seq = 6", ())])
        assert await found(threads) == ["q004"]

    with_messages(url, [*turns(10, q001=FILE, q004=FILE), moved("a009")], test)


def test_words_of_another_face_may_hold_files(url: str):
    native = [said(id, seq, None, dialect="openai_chat", detail=None) for seq, id in enumerate(("q000", "a000"))]
    records = [*native, *turns(6, 1, q002=FILE), moved("a005")]

    async def test(threads: ThreadStore) -> None:
        assert await found(threads) == ["q002", "q000"]

    with_messages(url, records, test)


def test_on_a_way_that_is_too_long_nothing_is_found(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(given, "MANY", 10)

    async def test(threads: ThreadStore) -> None:
        assert await found(threads) == ["q008"]

    with_messages(url, [*turns(10, q001=FILE, q008=FILE), moved("a009")], test)


def test_nothing_of_another_org_is_found(url: str):
    async def test(threads: ThreadStore) -> None:
        row, own = await threads.thread(C), await line(threads, 2)
        other = ThreadStore(threads._db, "org_b", lambda: NOW)
        before = other.given_before(row, own)
        assert await before.page() == ()
        given_ = await threads.given_before(row, own).page()
        assert await before.words(given_) == []

    with_messages(url, [*turns(10, q001=FILE), moved("a009")], test)


def test_it_is_found_by_an_index(url: str):
    """However much was said before it."""

    async def test(threads: ThreadStore) -> None:
        db = threads._db
        sql = given.holding(given._GIVEN, db.dialect)
        if db.dialect == "postgres":
            await db.write([("ANALYZE messages", ())])
            for place, value in enumerate(("'conv_1'", "'org_default'", "0", "1900", "''", "100"), 1):
                sql = sql.replace(f"${place}", value)
            plan = await db.read(f"EXPLAIN {sql}")
        else:
            plan = await db.read(f"EXPLAIN QUERY PLAN {sql}", C, ORG, 0, 1900, "", 100)
        assert "messages_that_give" in str(plan)

    with_messages(url, [*turns(1000, q001=FILE), moved("a999")], test)


# lines


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 19, 20])
def test_what_a_model_is_not_shown_does_not_count_among_the_messages_of_a_line(url: str, limit: int):
    records = [
        said("q0", 0, ""), said("a0", 1, "q0"), said("q1", 2, "a0"), said("a1", 3, "q1", content=NOTHING),
        said("q2", 4, "a1"), said("a2", 5, "q2", detail=BLOCKED), said("q3", 6, "a2"), said("a3", 7, "q3"),
        said("q4", 8, "a3"), said("a4", 9, "q4", content=NOTHING), moved("a4"),
    ]  # fmt: skip
    shown = ["q0", "a0", "q1", "q3", "a3", "q4"]

    async def test(threads: ThreadStore) -> None:
        end = await line(threads, limit)
        assert [one.id for one in end.shown() if not one.says_nothing()] == shown[-limit:]
        assert (end.head, end.seq) == ("a4", 10)
        assert end.more is (limit < len(shown))
        whole = await threads.line(await threads.thread(C), limit)
        assert len(whole.messages) == min(limit, 10)

    with_messages(url, records, test)


def test_each_message_is_read_once_also_where_many_are_not_to_be_shown(url: str):
    records = [said("q000", 0, ""), said("a000", 1, "q000")]
    records += [said(f"a{n:03}", n + 1, f"a{n - 1:03}", content=NOTHING) for n in range(1, 100)]

    async def test(threads: ThreadStore) -> None:
        read, rows = threads._db.read, 0

        async def counted(sql: str, *args: Any) -> Any:
            nonlocal rows
            found = await read(sql, *args)
            rows += len(found)
            return found

        threads._db.read = counted  # type: ignore[method-assign]
        assert (await line(threads, 1)).messages[0].id == "a000"
        assert rows <= 101

    with_messages(url, [*records, moved("a099")], test)


def test_on_any_tree_it_is_what_the_whole_branch_holds_before_the_line(url: str, monkeypatch: pytest.MonkeyPatch):
    """Against a plain walk over all messages, on trees that grow at random, with messages of other faces in them."""
    monkeypatch.setattr(given, "PAGE", 3)
    chance, seen = random.Random(7), 0
    details = [*[MessageDetail()] * 3, FILE, DOCUMENT]
    kinds = [*[MessageDetail()] * 6, BLOCKED, ANSWERED, UNCHECKED]

    def tree(conversation: str) -> list[Record]:
        records: list[Record] = [ConversationAdded(conversation, ORG, NOW, thread_id=conversation)]
        ids: list[str] = []
        for seq in range(chance.randint(1, 40)):
            kind = chance.choice("qa")
            id, detail = f"{kind}{conversation}{seq:03}", chance.choice(details if kind == "q" else kinds)
            parent = chance.choice([ids[-1], ids[-1], ids[-1], chance.choice(ids), None]) if ids else ""
            one = said(id, seq, parent, detail=detail, content=chance.choice([WORDS, WORDS, NOTHING]))
            records.append(msgspec.structs.replace(one, conversation_id=conversation))
            ids.append(id)
        return [*records, ConversationMoved(conversation, ORG, chance.choice(ids[-5:]), NOW)]

    async def check(threads: ThreadStore, conversation: str, limit: int) -> None:
        row = await threads.thread(conversation)
        rows = await threads._db.read(
            f"SELECT {ThreadMessage.COLUMNS}, detail FROM messages WHERE conversation_id = $1 ORDER BY seq, id",
            conversation,
        )
        every = [ThreadMessage(*one) for one in rows]
        chain, _ = chain_of(every, head_of(every, row.current_id))
        hidden = hidden_in(chain)
        there = [one for one in chain if one.deleted_at is None]
        counted = [one.id for one in there if one.id not in hidden and not one.says_nothing()]
        end = await threads.line(row, limit, shown=True)
        got = [one.id for one in end.messages]
        assert [id for id in counted if id in got] == counted[-limit:]
        assert got == [one.id for one in there][len(there) - len(got) :]
        gives = [one.id for one in there if one.role == "user" and one.id not in hidden and b"[" in (one.detail or b"")]
        before, found = threads.given_before(row, end), list[str]()
        while end.messages and (page := await before.page()):
            found += [one.id for one in page]
        assert found == [id for id in reversed(gives) if id not in got]
        nonlocal seen
        seen += len(found)

    async def run(store: Store) -> None:
        threads = store.org(ORG).threads
        for number in range(100):
            name = f"t{number:02}"
            await store.ledger.commit(*tree(name))
            for one in (await threads.all_messages(name))[chance.randint(1, 9) :: 7]:
                await threads.delete_message(name, one.id)
            for limit in (1, 2, 5, 60):
                await check(threads, name, limit)
        assert seen > 100

    with_store(url, run)
