from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from midstream.app import after, supervisor
from midstream.app.after import After, Topic
from midstream.app.asides import dispensable
from midstream.app.supervisor import Supervisor
from midstream.core.account import TurnAccount
from midstream.core.errors import Busy, NotFound, StoreDown, TimedOut
from midstream.metering.turns import after_turn, count_turn
from midstream.store import Store, open_store
from midstream.store.database import Statement
from midstream.store.ledger import OutboxAdded
from midstream.store.metrics import Period
from midstream.store.outbox import LEASE, OutboxRow

Handler = Callable[[OutboxRow], Awaitable[list[Statement]]]


def added(name: str, topic: str = "t", at: float = 0.0) -> OutboxAdded:
    return OutboxAdded(name, "org_a", topic, b"{}", at, at)


class Bench:
    """A store and its workers. now: the clock that the outbox and they go by."""

    def __init__(self, store: Store, topics: dict[str, Topic]) -> None:
        self.now = 1_790_000_000.0
        self.store = store
        store.outbox._clock = lambda: self.now
        self.after = After(store.outbox, topics, lambda: self.now, Supervisor(time.monotonic))
        store.ledger.noticed = self.after.wake

    async def open(self) -> list[str]:
        return [id for (id,) in await self.store.db.read("SELECT id FROM outbox WHERE done_at IS NULL ORDER BY id")]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.005)

    async def until_open(self, *ids: str) -> None:
        async with asyncio.timeout(20):
            while await self.open() != list(ids):
                await asyncio.sleep(0.005)


def on_bench(folder: Path, topics: dict[str, Topic], test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        bench = Bench(store, topics)
        bench.after.start()
        try:
            await test(bench)
        finally:
            await bench.after.close()
            await store.close()

    asyncio.run(run())


class Doer:
    """Does rows, and can be told to fail or to wait."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.now = self.most = 0
        self.fails: set[str] = set()
        self.error: Exception = ValueError("a bug")
        self.gate = asyncio.Event()
        self.gated: set[str] = set()

    async def handle(self, row: OutboxRow) -> list[Statement]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if row.id in self.gated:
                await self.gate.wait()
            if row.id in self.fails:
                raise self.error
            self.did.append(row.id)
            return []
        finally:
            self.now -= 1


def test_a_row_is_done_soon_after_its_commit_without_waiting_for_a_poll(tmp_path, monkeypatch):
    monkeypatch.setattr(after, "POLL", 3600.0)
    doer = Doer()

    async def test(bench: Bench) -> None:
        await asyncio.sleep(0.05)
        await bench.store.ledger.commit(added("a"))
        await bench.until_open()
        assert doer.did == ["a"]

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


def test_what_was_committed_before_the_start_or_by_another_server_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(after, "POLL", 0.05)
    doer = Doer()

    async def test(bench: Bench) -> None:
        bench.store.ledger.noticed = None
        await asyncio.sleep(0.1)
        await bench.store.ledger.commit(added("a"), added("b"))
        await bench.until_open()
        assert sorted(doer.did) == ["a", "b"]

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


def test_topics_that_nobody_here_does_are_left_alone(tmp_path):
    doer = Doer()

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a", "other"), added("b"))
        await bench.until_open("a")

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


@pytest.mark.parametrize("error", [ValueError("a bug"), TimedOut("late", phase="total"), StoreDown()])
def test_a_poison_row_is_tried_with_growing_pauses_and_holds_up_no_other(tmp_path, caplog, error):
    doer = Doer()
    doer.fails, doer.error = {"bad"}, error

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("bad"), *(added(f"good_{n:02}") for n in range(40)))
        await bench.until_open("bad")
        pauses = []
        for attempt in range(1, 5):
            await bench.until(lambda attempt=attempt: len(caplog.records) >= attempt)
            [(at,)] = await bench.store.db.read("SELECT available_at FROM outbox WHERE id = 'bad'")
            pauses.append(at - bench.now)
            bench.now = at
            bench.after.wake("t")
        assert pauses == [1, 2, 4, 8]
        doer.fails = set()
        bench.now += 3600
        bench.after.wake("t")
        await bench.until_open()

    with caplog.at_level(logging.WARNING, "midstream.after"):
        on_bench(tmp_path, {"t": Topic(doer.handle)}, test)
    assert len(doer.did) == 41
    assert ("Traceback" in caplog.text) is isinstance(error, ValueError)


def test_a_row_that_never_ends_is_given_up_and_tried_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(after, "PATIENCE", 0.05)
    doer = Doer()
    doer.gated = {"slow"}

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("slow"))
        await bench.until(lambda: "slow of the outbox failed" in caplog.text)
        doer.gated = set()
        bench.now += 2
        bench.after.wake("t")
        await bench.until_open()

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


def test_rows_run_side_by_side_within_bounds_and_those_of_one_lane_one_after_the_other(tmp_path):
    free, laned = Doer(), Doer()
    free.gated = {f"f{n:02}" for n in range(40)}
    laned.gated = {"a1"}

    async def test(bench: Bench) -> None:
        rows = [added(f"f{n:02}", "free") for n in range(40)]
        await bench.store.ledger.commit(
            *rows, added("a1", "laned", 1), added("a2", "laned", 2), added("b1", "laned", 3), added("a3", "laned", 4)
        )
        await bench.until(lambda: free.now == after.PARALLEL and laned.did == ["b1"])
        assert laned.now == 1
        free.gate.set()
        laned.gate.set()
        await bench.until_open()

    on_bench(tmp_path, {"free": Topic(free.handle), "laned": Topic(laned.handle, lambda row: row.id[0])}, test)
    assert free.most == after.PARALLEL
    assert laned.did == ["b1", "a1", "a2", "a3"]


def test_what_waits_in_its_lane_for_longer_than_it_was_taken_for_is_done_once(tmp_path):
    doer = Doer()
    doer.gated = {"a1"}

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(*(added(f"a{n}", at=n) for n in range(1, 5)))
        await bench.until(lambda: doer.now == 1)
        for _ in range(9):
            bench.now += LEASE / 3 + after.POLL
            bench.after.wake("t")
            await asyncio.sleep(0.05)
        doer.gate.set()
        await bench.until_open()
        assert doer.did == ["a1", "a2", "a3", "a4"]
        assert await bench.store.db.read("SELECT DISTINCT attempts FROM outbox") == [(1,)]

    on_bench(tmp_path, {"t": Topic(doer.handle, lambda row: row.id[0])}, test)


def test_what_another_server_has_taken_while_it_waited_in_its_lane_is_left_to_that_one(tmp_path):
    doer = Doer()
    doer.gated = {"a1"}

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(*(added(f"a{n}", at=n) for n in range(1, 5)))
        await bench.until(lambda: doer.now == 1)
        done = "UPDATE outbox SET done_at = 1.0, worker = NULL WHERE id = 'a3'"
        await bench.store.db.write([("UPDATE outbox SET worker = 'other' WHERE id = 'a2'", ()), (done, ())])
        doer.gate.set()
        await bench.until_open("a2")
        assert doer.did == ["a1", "a4"]

    on_bench(tmp_path, {"t": Topic(doer.handle, lambda row: row.id[0])}, test)


def test_the_end_waits_for_rows_under_way_and_lets_go_of_those_that_do_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(after, "LAST", 0.2)
    doer = Doer()
    doer.gated = {"stuck"}

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("stuck"), added("quick"))
        await bench.until(lambda: doer.now == 1)
        await bench.after.close()
        await bench.after.close()
        assert (doer.did, await bench.open()) == (["quick"], ["stuck"])
        [row] = await bench.store.outbox.take("t", 9)
        assert (row.id, row.attempts) == ("stuck", 1)

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


class Away:
    """The store takes nothing any more, until it is back. refused: how often it did not."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused = 0
        self._bench = bench
        self._monkeypatch = monkeypatch
        self._write = bench.store.db.write
        monkeypatch.setattr(bench.store.db, "write", self._refuse)

    async def _refuse(self, statements: object) -> None:
        self.refused += 1
        raise StoreDown

    def back(self) -> None:
        self._monkeypatch.setattr(self._bench.store.db, "write", self._write)


def test_a_store_that_was_away_loses_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "AWAY", 0.05)
    doer = Doer()

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a"))
        away = Away(bench, monkeypatch)
        bench.after.wake("t")
        await bench.until(lambda: "the store is unavailable" in caplog.text)
        away.back()
        await bench.until_open()

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


def test_a_row_that_failed_because_the_store_was_away_is_not_its_workers_for_the_rest_of_its_lease(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(supervisor, "AWAY", 0.02)
    doer = Doer()
    doer.gated = {"a"}

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a"))
        await bench.until(lambda: doer.now == 1)
        away = Away(bench, monkeypatch)
        doer.gate.set()  # it is done, and that cannot be written, nor that it failed
        await bench.until(lambda: away.refused >= 3)
        assert "the store is unavailable" in caplog.text
        away.back()
        await bench.until(lambda: "a of the outbox failed, try 1, again in 1 s" in caplog.text)
        bench.now += 1
        bench.after.wake("t")
        await bench.until_open()
        assert doer.did == ["a", "a"]

    on_bench(tmp_path, {"t": Topic(doer.handle)}, test)


def test_a_turns_account_reaches_the_sums(tmp_path):
    account = TurnAccount("msg_1", "org_a", "agt_1", "run_1", 1_790_000_000.0, cost="0.25")

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(*after_turn(account, bench.now))
        await bench.store.ledger.commit(*after_turn(account, bench.now))
        await bench.until_open()
        [row] = await bench.store.metrics("org_a").sums("agent", 86400, Period())
        assert (row.group, row.turns, row.cost) == ("agt_1", 1, "0.25")

    on_bench(tmp_path, {"turn": Topic(count_turn)}, test)


def test_rows_that_only_write_are_gathered_and_done_in_one_transaction(tmp_path, monkeypatch):
    monkeypatch.setattr(after, "POLL", 3600.0)
    doer = Doer()

    async def test(bench: Bench) -> None:
        await asyncio.sleep(0.05)
        writes, write = [], bench.store.db.write

        async def counted(statements):
            writes.append(len(statements))
            await write(statements)

        monkeypatch.setattr(bench.store.db, "write", counted)
        for n in range(5):
            await bench.store.ledger.commit(added(f"r{n}"))
        await bench.until_open()
        assert writes == [1, 5]  # they are taken, they are done

    on_bench(tmp_path, {"t": Topic(doer.handle, only_writes=True)}, test)
    assert doer.did == [f"r{n}" for n in range(5)]


@pytest.mark.parametrize("error", [ValueError("a bug"), StoreDown()])
def test_one_that_cannot_be_done_with_the_others_is_done_or_fails_alone(tmp_path, monkeypatch, error):
    monkeypatch.setattr(after, "TOGETHER", 50)
    doer = Doer()
    doer.fails, doer.error = {"good_07"}, error

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(*(added(f"good_{n:02}") for n in range(120)))
        await bench.until_open("good_07")
        doer.fails = set()
        bench.now += 1
        bench.after.wake("t")
        await bench.until_open()

    on_bench(tmp_path, {"t": Topic(doer.handle, only_writes=True)}, test)
    assert {f"good_{n:02}" for n in range(120)} == {*doer.did}


def test_what_may_stay_undone_is_given_up_when_its_model_has_failed_five_times_whatever_else_has_kept_it(
    tmp_path, caplog
):
    doer = Doer()
    doer.fails, doer.error = {"a"}, Busy("the server is shutting down")

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a"))
        await bench.until(lambda: len(caplog.records) == 1)

        async def fails(error: Exception, times: int) -> None:
            doer.error, before = error, len(caplog.records)
            for done in range(before + 1, before + times + 1):
                bench.now += 3600
                bench.after.wake("t")
                await bench.until(lambda done=done: len(caplog.records) == done)
            assert await bench.open() == ["a"]

        await fails(doer.error, 3)
        await fails(StoreDown(), 4)
        await fails(TimedOut("late", phase="total"), 4)
        await fails(StoreDown(), 4)
        doer.error = TimedOut("late", phase="total")
        bench.now += 3600
        bench.after.wake("t")
        await bench.until_open()
        assert "a of the outbox is given up: late" in caplog.text
        assert await bench.store.db.read("SELECT attempts, failures FROM outbox") == [(17, 4)]

    with caplog.at_level(logging.WARNING, "midstream"):
        on_bench(tmp_path, {"t": Topic(dispensable(doer.handle))}, test)


def test_what_may_stay_undone_is_given_up_at_once_when_its_agent_is_gone(tmp_path, caplog):
    doer = Doer()
    doer.fails, doer.error = {"a"}, NotFound("no such agent")

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a"))
        await bench.until_open()
        assert "a of the outbox is given up" in caplog.text

    on_bench(tmp_path, {"t": Topic(dispensable(doer.handle))}, test)


@pytest.mark.parametrize("tries", [5, 0])
def test_what_may_stay_undone_is_given_up_too_when_the_store_has_not_taken_it_five_times(tmp_path, caplog, tries):
    asked: list[str] = []

    async def too_large(row: OutboxRow) -> list[Statement]:
        asked.append(row.id)
        return [("UPDATE outbox SET payload = $1", (2**70,))]

    async def test(bench: Bench) -> None:
        await bench.store.ledger.commit(added("a"))
        for number in range(1, 7 if not tries else 5):
            await bench.until(lambda number=number: len(caplog.records) == number)
            assert await bench.open() == ["a"]
            bench.now += 3600
            bench.after.wake("t")
        if tries:
            await bench.until_open()
            assert "a of the outbox is given up: a value is larger" in caplog.text
            assert len(asked) == 5

    with caplog.at_level(logging.WARNING, "midstream"):
        on_bench(tmp_path, {"t": Topic(dispensable(too_large), tries=tries)}, test)
