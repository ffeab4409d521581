from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from midstream.core.errors import BadRequest, Conflict, StoreDown
from midstream.store import Store
from midstream.store.database import Statement
from midstream.store.group import Entry, Flusher, batched

from .turns import ORG, attempt_started, begin, end, run_started, with_store

_PLAIN_INSERT = "INSERT INTO orgs (id, name, created_at) VALUES ($1, $2, 0)"


def _org(name: str) -> Statement:
    return _PLAIN_INSERT, (f"org_{name}", name)


def test_a_failing_transaction_fails_alone_and_whole(url: str) -> None:
    async def work(store: Store) -> None:
        write = store.db.write
        await write([_org("taken")])
        outcomes = await asyncio.gather(
            write([_org("a")]),
            write([_org("half"), _org("taken")]),
            write([_org("b")]),
            write([_org("c"), (_PLAIN_INSERT, ("org_big", "x" * 10)), ("UPDATE orgs SET created_at = $1", (2**2000,))]),
            write([_org("d")]),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None), BadRequest, type(None)]
        names = {row[0] for row in await store.db.read("SELECT name FROM orgs")}
        assert names == {"default", "taken", "a", "b", "d"}

    with_store(url, work)


def test_a_failing_transaction_fails_alone_with_full_sync(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        await store.db.write([_org("taken")])
        outcomes = await asyncio.gather(
            *(store.db.write([_org(name)]) for name in ("a", "taken", "b")), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None)]

    with_store(sqlite_url, work, full_sync=True)


def test_many_callers_share_a_commit(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        seen: list[str] = []
        store.db._writer.set_trace_callback(seen.append)  # type: ignore[attr-defined]
        await asyncio.gather(*(store.ledger.commit(*begin(str(n))) for n in range(32)))
        store.db._writer.set_trace_callback(None)  # type: ignore[attr-defined]
        assert sum(sql == "COMMIT" for sql in seen) == 1

    with_store(sqlite_url, work)


def test_a_cancelled_caller_learns_of_it_after_the_outcome(url: str) -> None:
    async def work(store: Store) -> None:
        first = asyncio.create_task(store.ledger.commit(*begin()))
        await asyncio.sleep(0)
        first.cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await store.ledger.commit(*end())
        [attempt] = await store.org(ORG).attempts()
        assert attempt.status == "ok"

    with_store(url, work)


def test_a_cancelled_caller_takes_nobody_along(url: str) -> None:
    async def work(store: Store) -> None:
        tasks = [asyncio.create_task(store.ledger.commit(*begin(str(n)))) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None)]
        assert len(await store.org(ORG).runs()) == 3

    with_store(url, work)


def test_closing_writes_what_was_handed_in(url: str) -> None:
    handed: list[asyncio.Task[None]] = []

    async def work(store: Store) -> None:
        handed.extend(asyncio.create_task(store.ledger.commit(run_started(str(n)))) for n in range(5))
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*handed)
        with pytest.raises(StoreDown):
            await store.ledger.commit(run_started("late"))
        with pytest.raises(StoreDown):
            await store.db.read("SELECT 1")

    async def count(store: Store) -> None:
        assert len(await store.org(ORG).runs()) == 5

    with_store(url, work)
    with_store(url, count)


def test_a_broken_commit_is_every_callers_error_and_the_next_group_is_written() -> None:
    async def run() -> None:
        groups: list[int] = []

        async def commit(entries: list[Entry]) -> None:
            groups.append(len(entries))
            await asyncio.sleep(0)
            if len(groups) == 1:
                raise RuntimeError("a bug")

        flusher = Flusher(commit)
        outcomes = await asyncio.gather(*(flusher.write([]) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 3
        await flusher.write([])
        assert groups == [3, 1]

    asyncio.run(run())


def test_the_next_group_forms_while_one_is_written() -> None:
    async def run() -> None:
        groups: list[int] = []
        go = asyncio.Event()

        async def commit(entries: list[Entry]) -> None:
            groups.append(len(entries))
            await go.wait()

        flusher = Flusher(commit)
        writes = [asyncio.create_task(flusher.write([]))]
        await asyncio.sleep(0.01)
        writes += [asyncio.create_task(flusher.write([])) for _ in range(9)]
        await asyncio.sleep(0.01)
        assert groups == [1]
        go.set()
        await asyncio.gather(*writes)
        assert groups == [1, 9]

    asyncio.run(run())


def test_a_flusher_torn_down_answers_its_callers() -> None:
    async def run() -> None:
        async def commit(entries: list[Entry]) -> None:
            await asyncio.sleep(0.05)

        flusher = Flusher(commit)
        writes = [asyncio.create_task(flusher.write([])) for _ in range(2)]
        await asyncio.sleep(0)
        late = asyncio.create_task(flusher.write([]))
        await asyncio.sleep(0.01)
        assert flusher._task is not None
        flusher._task.cancel()
        outcomes = await asyncio.gather(*writes, late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreDown] * 3
        await asyncio.sleep(0.06)

    asyncio.run(run())


def _batches(*transactions: Sequence[str]) -> list[tuple[str, list[tuple[int]]]]:
    entries = [Entry([(sql, (number,)) for sql in sqls]) for number, sqls in enumerate(transactions)]
    return batched(entries)  # type: ignore[return-value]


def test_like_statements_run_together_and_each_callers_keep_their_order() -> None:
    assert _batches("ab", "ab") == [("a", [(0,), (1,)]), ("b", [(0,), (1,)])]
    assert _batches("ab", "ba") == [("a", [(0,)]), ("b", [(0,), (1,)]), ("a", [(1,)])]
    assert _batches("aba") == [("a", [(0,)]), ("b", [(0,)]), ("a", [(0,)])]


def test_many_turns_are_a_few_round_trips() -> None:
    entries = [
        Entry([(type(r).__name__, ()) for r in (run_started(str(n)), attempt_started(str(n)))]) for n in range(32)
    ]
    assert [(sql, len(rows)) for sql, rows in batched(entries)] == [("RunStarted", 32), ("AttemptStarted", 32)]
