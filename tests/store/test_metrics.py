from __future__ import annotations

import asyncio
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, get_args

import asyncpg
import pytest
from msgspec.structs import asdict, replace

from midstream.core.account import TurnAccount
from midstream.core.errors import NotFound
from midstream.core.usage import Usage
from midstream.store import Store, open_store
from midstream.store.metrics import (
    SPANS,
    MetricsGroup,
    MetricsRow,
    Period,
    Transaction,
    nano,
    transaction_added,
    turn_counted,
)
from midstream.store.migrate import migrate, migrations

from .turns import with_store

DAY = 1_764_028_800.0  # a midnight, UTC


def a_turn(name: str = "1", **more: Any) -> TurnAccount:
    account = TurnAccount(
        id=f"msg_{name}",
        org="org_a",
        agent="agt_1",
        run=f"run_{name}",
        created_at=DAY + 10,
        version="ver_1",
        user="ada",
        thread="t1",
        key="key_1",
        service="openai",
        model="gpt",
        attempts=1,
        usage=Usage(uncached_in=10, cache_read=5, out_text=7, out_reasoning=2),
        cost="0.000123456",
        latency_ms=120,
    )
    return replace(account, **more)


def some_turns(count: int = 60) -> list[TurnAccount]:
    chance = random.Random(7)
    return [
        a_turn(
            f"{n}",
            org=chance.choice(["org_a", "org_b"]),
            agent=chance.choice(["agt_1", "agt_2"]),
            version=chance.choice(["ver_1", "ver_2"]),
            model=chance.choice(["gpt", "o3"]),
            key=chance.choice(["key_1", "key_2"]),
            thread=chance.choice(["t1", "t2"]),
            success=chance.random() < 0.8,
            attempts=chance.randint(1, 3),
            cost=chance.choice(["0.000000001", "1.5", None]),
            usage=Usage(uncached_in=chance.randint(0, 99), out_text=chance.randint(0, 99)),
            latency_ms=chance.randint(0, 5000),
            created_at=DAY + chance.random() * 3 * 86400,
        )
        for n in range(count)
    ]


async def count(store: Store, turns: Iterable[TurnAccount]) -> None:
    for turn in turns:
        await store.db.write(turn_counted(turn))


def expected(turns: Iterable[TurnAccount], field: str, span: int | None) -> dict[Any, list[int]]:
    sums: dict[Any, list[int]] = defaultdict(lambda: [0] * 9)
    for turn in turns:
        start = None if span is None else int(turn.created_at // span) * span
        row = [
            1, not turn.success, turn.attempts, turn.usage.input_tokens, turn.usage.output_tokens,
            turn.usage.cache_read, turn.usage.out_reasoning, turn.latency_ms, nano(turn.cost),
        ]  # fmt: skip
        key = (getattr(turn, field), start)
        sums[key] = [a + b for a, b in zip(sums[key], row, strict=True)]
    return dict(sums)


def summed(rows: Iterable[MetricsRow]) -> dict[Any, list[int]]:
    return {
        (row.group, row.start): [
            row.turns, row.failures, row.attempts, row.input_tokens, row.output_tokens, row.cached_tokens,
            row.reasoning_tokens, row.latency_ms, nano(row.cost),
        ]
        for row in rows
    }  # fmt: skip


FIELDS = dict(zip(get_args(MetricsGroup), get_args(MetricsGroup), strict=True))


def test_sums_equal_the_raw_rows_in_any_order_and_however_often_a_turn_is_told(any_url):
    async def work(store: Store) -> None:
        turns = some_turns()
        chance = random.Random(3)
        await count(store, chance.sample(turns * 3, len(turns) * 3))
        for group in get_args(MetricsGroup):
            for span in (None, *SPANS):
                rows = await store.metrics(None).sums(group, span, Period())
                assert summed(rows) == expected(turns, FIELDS[group], span), (group, span)
        assert len(await store.metrics(None).turns(Period(), limit=1000)) == len(turns)

    with_store(any_url, work)


def some_bounds(chance: random.Random, turns: list[TurnAccount]) -> Period:
    """Anywhere, on the edges of buckets, at turns themselves, the wrong way round, or none."""

    def bound() -> float:
        at = DAY + chance.uniform(-1, 4) * 86400
        span = chance.choice([1, *SPANS])
        return chance.choice(
            [at, at // span * span, chance.choice(turns).created_at, math.nextafter(at // 300 * 300, 0)]
        )

    since, until = sorted([bound(), chance.choice([bound(), Period().until])])
    if chance.random() < 0.2:
        since, until = chance.choice(
            [(until, since), (since, since), (0.0, until), (since, since + chance.random() * 600)]
        )
    return Period(since, until, chance.choice(["", "agt_1"]))


def test_sums_are_those_of_the_raw_rows_of_the_same_bounds_wherever_these_cut_a_bucket(any_url):
    async def work(store: Store) -> None:
        chance = random.Random(11)
        turns = some_turns(200)
        turns += [a_turn(f"on {n}", created_at=DAY + n * 300) for n in (-1, 0, 1, 287, 288, 289, 576)]
        await count(store, turns)
        told = {turn.run: turn for turn in turns}
        for _ in range(60):
            period, group, span = (
                some_bounds(chance, turns),
                chance.choice(get_args(MetricsGroup)),
                chance.choice((None, *SPANS)),
            )
            raw = [told[row.id] for row in await store.metrics("org_a").turns(period, limit=1000)]
            rows = await store.metrics("org_a").sums(group, span, period)
            assert summed(rows) == expected(raw, FIELDS[group], span), (period, group, span)

    with_store(any_url, work)


def test_turns_without_a_user_a_thread_or_an_agent_are_one_group_that_has_no_name(any_url):
    async def work(store: Store) -> None:
        await count(store, [a_turn("1", agent="", version="", user="", thread="", key=""), a_turn("2")])
        for group in ("agent", "version", "user", "thread", "key"):
            rows = await store.metrics("org_a").sums(group, None, Period())
            assert {row.group: row.turns for row in rows} == {None: 1, getattr(a_turn("2"), group): 1}

    with_store(any_url, work)


def test_the_same_turn_told_by_two_servers_at_once_counts_once(postgres_url):
    async def run() -> None:
        stores = [await open_store(postgres_url, worker=f"w{n}") for n in range(3)]
        try:
            turns = some_turns(30)
            await asyncio.gather(*(store.db.write(turn_counted(turn)) for turn in turns for store in stores))
            for span in SPANS:
                rows = await stores[0].metrics(None).sums("agent", span, Period())
                assert sum(row.turns for row in rows) == len(turns)
                assert sum(nano(row.cost) for row in rows) == sum(nano(turn.cost) for turn in turns)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(run())


def test_an_org_sees_its_own_turns(any_url):
    async def work(store: Store) -> None:
        await count(store, [a_turn("a"), a_turn("b", org="org_b")])
        mine = store.metrics("org_a")
        assert [row.turns for row in await mine.sums("org", None, Period())] == [1]
        assert [row.id for row in await mine.turns(Period())] == ["run_a"]
        with pytest.raises(NotFound):
            await mine.turns(Period(), after="run_b")

    with_store(any_url, work)


def test_a_period_and_an_agent_choose_the_rows(any_url):
    async def work(store: Store) -> None:
        await count(
            store,
            [a_turn("1"), a_turn("2", created_at=DAY + 299), a_turn("3", created_at=DAY + 300), a_turn("4", agent="x")],
        )
        reader = store.metrics("org_a")
        starts = [(row.start, row.turns) for row in await reader.sums("org", 300, Period())]
        assert starts == [(DAY, 3), (DAY + 300, 1)]
        assert [row.turns for row in await reader.sums("org", 300, Period(DAY + 300))] == [1]
        assert [row.turns for row in await reader.sums("org", 300, Period(0, DAY + 300))] == [3]
        assert [row.turns for row in await reader.sums("thread", 300, Period(agent="x"))] == [1]
        assert [row.id for row in await reader.turns(Period(agent="x"))] == ["run_4"]

    with_store(any_url, work)


def test_raw_rows_are_paged_oldest_first_and_hold_everything(any_url):
    async def work(store: Store) -> None:
        await count(store, [a_turn(f"{n}", success=False, failure="upstream_cut") for n in (2, 1, 3)])
        reader = store.metrics("org_a")
        first = await reader.turns(Period(), limit=2)
        assert [row.id for row in first] == ["run_1", "run_2"]
        [last] = await reader.turns(Period(), after="run_2", limit=2)
        shown = asdict(last)
        assert b'"cost":"0.000123456"' in shown.pop("detail")
        assert shown == {
            "id": "run_3", "org_id": "org_a", "agent_id": "agt_1", "version_id": "ver_1", "user_id": "ada",
            "thread_id": "t1", "service": "openai", "model": "gpt", "key_id": "key_1", "run_id": "run_3",
            "success": False, "failure": "upstream_cut", "attempts": 1, "input_tokens": 15, "output_tokens": 9,
            "cached_tokens": 5, "reasoning_tokens": 2, "cost_nano": 123_456, "latency_ms": 120, "created_at": DAY + 10,
        }  # fmt: skip

    with_store(any_url, work)


def a_transaction(name: str = "1", org: str = "org_a", **more: Any) -> Transaction:
    one = Transaction(
        f"att_{name}", org, "run_1", "agt_1", "t1", "key_1", "openai", "gpt", "ok", 15, 9, 5, 2, "0.1", DAY
    )
    return replace(one, **more)


def test_a_model_call_is_one_transaction_however_often_it_is_told(any_url):
    async def work(store: Store) -> None:
        for one in (
            a_transaction("1"),
            a_transaction("2", agent_id=None, cost=None),
            a_transaction("1", model="other"),
        ):
            await store.db.write(transaction_added(one))
        await store.db.write(transaction_added(a_transaction("3", org="org_b")))
        reader = store.metrics("org_a")
        assert await reader.transactions(Period()) == [a_transaction("1"), a_transaction("2", agent_id=None, cost=None)]
        assert [one.id for one in await reader.transactions(Period(), after="att_1")] == ["att_2"]
        assert [one.id for one in await reader.transactions(Period(agent="agt_1"))] == ["att_1"]
        with pytest.raises(NotFound):
            await reader.transactions(Period(), after="att_3")

    with_store(any_url, work)


def test_in_the_order_of_arrival_no_turn_comes_before_one_that_was_read(any_url):
    """As they are counted one by one, some together, each begun before the last ones: whoever asks again after the last
    turn that it has read has read each once."""

    async def work(store: Store) -> None:
        reader, read = store.metrics("org_a"), list[str]()
        for n in range(0, 30, 3):
            for turns in ([a_turn(f"{n}", created_at=DAY - n)], [a_turn(f"{n + 1}"), a_turn(f"{n + 2}")]):
                await store.db.write([one for turn in turns for one in turn_counted(turn)])
            while rows := await reader.turns(Period(), order="arrived", after=read[-1] if read else None, limit=2):
                read += [row.id for row in rows]
        assert read == [f"run_{n}" for n in range(30)]
        assert [row.id for row in await store.metrics(None).turns(Period(DAY), order="arrived", limit=3)] == [
            "run_0", "run_1", "run_2"
        ]  # fmt: skip

    with_store(any_url, work)


def test_a_model_call_that_is_told_late_is_the_last_to_arrive(any_url):
    async def work(store: Store) -> None:
        for name, at in (("b", DAY + 5), ("c", DAY + 9), ("a", DAY + 1)):
            await store.db.write(transaction_added(a_transaction(name, created_at=at)))
        reader = store.metrics("org_a")
        assert [one.id for one in await reader.transactions(Period())] == ["att_a", "att_b", "att_c"]
        assert [one.id for one in await reader.transactions(Period(), order="arrived", after="att_c")] == ["att_a"]

    with_store(any_url, work)


def test_a_turn_that_another_server_is_still_writing_is_not_overtaken(postgres_url):
    """Numbers that are taken before a commit, as those of a sequence, would be read in another order than that."""

    async def run() -> None:
        stores = [await open_store(postgres_url, worker=f"{n}") for n in range(2)]
        slow = await asyncpg.connect(postgres_url)
        try:
            held = slow.transaction()
            await held.start()
            for sql, args in turn_counted(a_turn("slow")):
                await slow.execute(sql, *args)
            fast = asyncio.create_task(stores[0].db.write(turn_counted(a_turn("fast"))))
            await asyncio.wait([fast], timeout=0.5)
            reader = stores[1].metrics("org_a")
            before = [row.id for row in await reader.turns(Period(), order="arrived")]
            await held.commit()
            await fast
            last = before[-1] if before else None
            after = [row.id for row in await reader.turns(Period(), order="arrived", after=last)]
            assert sorted([*before, *after]) == ["run_fast", "run_slow"]
        finally:
            await slow.close()
            for store in stores:
                await store.close()

    asyncio.run(run())


def test_rows_from_before_there_were_arrivals_are_read_in_the_order_of_their_beginnings(any_url):
    """And what comes then comes after them."""

    async def work(store: Store) -> None:
        await count(store, [a_turn(f"{n}", created_at=DAY - n) for n in range(4)])
        await store.db.write(transaction_added(a_transaction()))
        [migration] = [one for one in migrations() if one.name == "arrivals"]
        undone = [
            *(f"DROP INDEX {name}" for name in re.findall(r"CREATE INDEX (\w+)", migration.text)),
            *(f"ALTER TABLE {name} DROP COLUMN arrival" for name in ("metrics_raw_data", "model_transactions")),
            "DROP TABLE arrivals",
            "DELETE FROM schema_version WHERE name = 'arrivals'",
        ]
        await store.db.alter([(sql, ()) for sql in undone])
        await migrate(store.db)
        await count(store, [a_turn("new", created_at=DAY - 9)])
        await store.db.write(transaction_added(a_transaction("new", created_at=DAY - 9)))
        reader = store.metrics("org_a")
        told = [row.id for row in await reader.turns(Period(), order="arrived")]
        assert told == ["run_3", "run_2", "run_1", "run_0", "run_new"]
        assert [row.id for row in await reader.transactions(Period(), order="arrived")] == ["att_1", "att_new"]

    with_store(any_url, work)


def test_words_that_postgres_does_not_take_are_counted_too(any_url):
    async def work(store: Store) -> None:
        await count(store, [a_turn("1", model="a\0b", thread="\ud800", user="x\0")])
        assert [row.turns for row in await store.metrics("org_a").sums("model", 300, Period())] == [1]

    with_store(any_url, work)
