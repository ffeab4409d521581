"""The store goes away while runs begin, go on and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest, Cut, MidstreamError, Refused, StoreDown, TimedOut, Unreachable
from midstream.core.events import Attempted, Done, Failed, Started
from midstream.core.serving import Emit, Target
from midstream.core.turn import Plan
from midstream.runs import settling
from midstream.runs.route import TRIES_PER_TARGET
from midstream.store.ledger import MessageAdded

from .scripted import Bench, Scripted, Step, answer, everything, on_bench, raises, says

DOWN = Unreachable("no")


class Failing:
    """The ledger's commits as they are numbered from 0; those that `when` names find the store away, or this error."""

    def __init__(self, bench: Bench, when: Callable[[int], bool], error: type[BaseException] = StoreDown) -> None:
        ledger = bench.runs._ledger
        commit = ledger.commit
        self.count = 0

        async def counted(*records: Any) -> None:
            number, self.count = self.count, self.count + 1
            if when(number):
                raise error
            await commit(*records)

        ledger.commit = counted  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_AGAIN", 0.005)


async def settled(bench: Bench) -> None:
    while bench.runs.active or bench.runs.settling.waiting:
        await asyncio.sleep(0.002)


def test_without_a_store_nothing_is_sent_and_the_caller_is_told_to_come_back():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: number < 2)
        _, follower = bench.start()
        [end] = await everything(follower)
        assert isinstance(end, Failed)
        assert end.error.status == 503
        assert end.error.retry_after
        assert bench.complete.calls == []
        await settled(bench)

    on_bench(Scripted(one=[says(answer())]), test)


def counted(bench: Bench) -> int:
    """Attempts in the metrics."""
    lines = bench.runs._observer.text().decode().splitlines()  # type: ignore[attr-defined]
    return sum(int(line.split()[-1]) for line in lines if line.startswith("midstream_attempts_total{"))


@pytest.mark.parametrize("failing", [range(1), range(2), range(1, 3), range(2, 9)])
def test_as_many_attempts_are_counted_as_there_are_rows(failing: range):
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: number in failing)
        for _ in range(2):
            _, follower = bench.start()
            await everything(follower)
            await settled(bench)
        assert counted(bench) == len(await bench.attempts())

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_store_that_is_away_at_the_end_does_not_keep_the_answer_back_and_is_told_later_once():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: 1 <= number < 4)
        _, follower = bench.start()
        assert isinstance((await everything(follower))[-1], Done)
        assert [row[1] for row in await bench.attempts()] == ["started"]
        await settled(bench)
        assert await bench.attempts() == [("one", "ok", 3, 2, 0, None)]
        assert await bench.statuses() == ["completed"]
        assert await bench.db.read("SELECT role FROM messages ORDER BY seq") == [("user",), ("assistant",)]

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize("error", [ZeroDivisionError, OSError, MemoryError])
def test_whatever_keeps_the_end_from_being_written_the_answer_goes_out_and_is_told_later_once(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
):
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: 1 <= number < 4, error)
        _, follower = bench.start()
        assert isinstance((await everything(follower))[-1], Done)
        assert [row[1] for row in await bench.attempts()] == ["started"]
        await settled(bench)
        assert await bench.attempts() == [("one", "ok", 3, 2, 0, None)]
        assert await bench.statuses() == ["completed"]
        assert await bench.db.read("SELECT role FROM messages ORDER BY seq") == [("user",), ("assistant",)]

    on_bench(Scripted(one=[says(answer())]), test)
    assert "bug bug_" in caplog.text


def test_a_conversation_is_not_asked_on_before_its_last_end_is_written_whatever_kept_it_from_that():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: 1 <= number < 3, ZeroDivisionError)
        _, follower = bench.start(conversation="conv_1")
        await everything(follower)
        assert bench.runs.unsettled("conv_1")
        await settled(bench)
        assert not bench.runs.unsettled("conv_1")

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_a_bug_refuses_again_and_again_is_left_out_so_that_nothing_is_open_for_ever(
    caplog: pytest.LogCaptureFixture,
):
    async def test(bench: Bench) -> None:
        ledger, tries = bench.runs._ledger, 0
        commit = ledger.commit

        async def refusing(*records: Any) -> None:
            nonlocal tries
            if any(isinstance(record, MessageAdded) and record.role == "assistant" for record in records):
                tries += 1
                raise ZeroDivisionError
            await commit(*records)

        ledger.commit = refusing  # type: ignore[method-assign]
        _, follower = bench.start(conversation="conv_1")
        assert isinstance((await everything(follower))[-1], Done)
        await settled(bench)
        assert tries == 1 + settling.TRIES
        assert await bench.statuses() == ["completed"]
        assert [row[1] for row in await bench.attempts()] == ["ok"]
        assert await bench.db.read("SELECT role FROM messages") == [("user",)]

    on_bench(Scripted(one=[says(answer())]), test)
    assert "the store refuses" in caplog.text
    assert caplog.text.count("bug bug_") == 2  # when it was to be settled, and when it was tried again


def test_a_store_that_takes_nothing_at_all_is_tried_for_as_long_as_it_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settling, "LONGEST", 0.01)

    async def test(bench: Bench) -> None:
        failing = Failing(bench, lambda number: 1 <= number < 30, ZeroDivisionError)
        _, follower = bench.start()
        await everything(follower)
        await settled(bench)
        assert failing.count > 30
        assert await bench.db.read("SELECT role FROM messages ORDER BY seq") == [("user",), ("assistant",)]

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_store_that_goes_away_between_attempts_ends_the_run_and_the_first_attempt_is_settled():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: number == 1)
        _, follower = bench.start()
        [end] = await everything(follower)
        assert isinstance(end.error, StoreDown)
        assert len(bench.complete.calls) == 1
        await settled(bench)
        assert [row[1] for row in await bench.attempts()] == ["failed"]

    on_bench(Scripted(one=[raises(DOWN), says(answer())]), test)


def test_accounts_that_cannot_be_written_when_they_are_due_are_written_with_the_end():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: number == 1)
        _, follower = bench.start(transactions=True)
        [end] = await everything(follower)
        assert isinstance(end.error, StoreDown)
        await settled(bench)
        assert await bench.db.read("SELECT id FROM outbox") == await bench.db.read("SELECT id FROM attempts")

    on_bench(Scripted(one=[raises(DOWN), says(answer())]), test)


def test_a_call_that_never_left_is_in_nobodys_accounts():
    async def test(bench: Bench) -> None:
        Failing(bench, lambda number: number == 0)
        _, follower = bench.start(transactions=True)
        await everything(follower)
        await settled(bench)
        assert bench.complete.calls == []
        assert await bench.db.read("SELECT id FROM outbox") == []

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_probe_that_could_not_be_written_down_does_not_keep_the_breaker_open():
    async def test(bench: Bench) -> None:
        circuit = bench.runs._health.circuit("one", "0", "m")
        for _ in range(5):
            circuit.fail(DOWN, bench.runs._clock.steady() - 60)
        Failing(bench, lambda number: number < 2)
        _, follower = bench.start()
        await everything(follower)
        await settled(bench)
        _, follower = bench.start()
        assert isinstance((await everything(follower))[-1], Done)

    on_bench(Scripted(one=[says(answer())]), test)


def test_of_many_runs_that_find_the_breaker_ready_one_alone_probes():
    async def test(bench: Bench) -> None:
        circuit = bench.runs._health.circuit("one", "0", "m")
        for _ in range(5):
            circuit.fail(DOWN, bench.runs._clock.steady() - 60)
        followers = [bench.start()[1] for _ in range(10)]
        ends = [(await everything(follower))[-1] for follower in followers]
        assert sum(isinstance(end, Done) for end in ends) == 1
        assert len(bench.complete.calls) == 1

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_bug_during_the_probe_does_not_keep_the_breaker_open_for_ever():
    async def test(bench: Bench) -> None:
        circuit = bench.runs._health.circuit("one", "0", "m")
        for _ in range(5):
            circuit.fail(DOWN, bench.runs._clock.steady() - 60)
        for ended_well in (False, True):
            _, follower = bench.start()
            assert isinstance((await everything(follower))[-1], Done) is ended_well

    on_bench(Scripted(one=[raises(KeyError("surprise")), says(answer())]), test)


async def _quiet(plan: Plan, emit: Emit) -> None:
    emit([Attempted("t", ""), Started("id")], 1)


async def _surprises(plan: Plan, emit: Emit) -> None:
    raise KeyError("surprise")


STEPS: list[Step] = [
    *(raises(error) for error in (
        DOWN, Cut("cut"), TimedOut("", phase="first_byte"), TimedOut("", phase="total"), BadRequest("x"),
        *(Refused("", status=status) for status in (400, 401, 404, 429, 500, 503, 529)),
        Refused("", status=503, retry_after=0.001), Refused("", status=429, retry_after=3600.0),
    )),
    _surprises, _quiet, says(answer()[:3]), says(answer()[:3], [Failed(Cut("cut"))]),
    says([Attempted("t", ""), Failed(Refused("", status=529))]), says(answer()), says([Attempted("t", ""), Done()]),
]  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.lists(st.sampled_from(STEPS), min_size=1, max_size=5)), min_size=1, max_size=3
    ),
    st.sets(st.integers(0, 8), max_size=2),
)
def test_whatever_happens_there_is_one_outcome_and_a_bounded_number_of_calls(
    providers: list[tuple[int, list[Step]]], away: set[int]
):
    async def test(bench: Bench) -> None:
        bench.runs._health.may_retry = lambda provider: True  # type: ignore[method-assign]
        Failing(bench, away.__contains__)
        targets = [Target(f"t{at}", "m", "v", ("a", "b")[:keys]) for at, (keys, _) in enumerate(providers)]
        _, follower = bench.start(*targets)
        events = await everything(follower)
        await settled(bench)
        assert [isinstance(event, Done | Failed) for event in events].count(True) == 1
        assert isinstance(events[-1], Done | Failed)
        assert sum(isinstance(event, Attempted) for event in events) <= 1
        assert len(bench.complete.calls) <= sum(TRIES_PER_TARGET + keys for keys, _ in providers)
        rows = await bench.attempts()
        assert all(row[1] in ("ok", "failed", "partial", "unknown") for row in rows)
        assert len([row for row in rows if row[1] != "unknown"]) == len(bench.complete.calls)
        if isinstance(events[-1], Done):
            assert await bench.statuses() == ["completed"]
            assert rows[-1][1] == "ok"

    scripts = {f"t{at}": steps for at, (_, steps) in enumerate(providers)}
    on_bench(Scripted(**scripts), test)


def test_an_error_is_one_of_the_tree_whatever_went_wrong():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        [end] = await everything(follower)
        assert isinstance(end.error, MidstreamError)

    on_bench(Scripted(one=[raises(RuntimeError("?"))]), test)
