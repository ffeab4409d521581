from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midstream.core.errors import BadRequest, Bug, Busy, Conflict, Cut, Garbled, Refused, TimedOut, Unreachable
from midstream.core.events import Attempted, Delta, Done, Failed, PartStarted, Started, Used
from midstream.core.http import Timeouts
from midstream.core.parts import Text
from midstream.core.serving import Emit, Line, Target
from midstream.core.turn import Plan
from midstream.core.usage import Usage
from midstream.runs import run as run_module
from midstream.store.ledger import MessageAdded

from .scripted import Bench, Scripted, answer, everything, on_bench, raises, says

BUSY = Refused("slow down", status=429)
DOWN = Refused("down", status=503)


def test_an_answer_is_logged_in_order_and_settled_before_its_end_is_told():
    async def test(bench: Bench) -> None:
        run, follower = bench.start()
        seen = []
        while not (seen and isinstance(seen[-1], Done)):
            seen += await follower.take()
        assert await bench.attempts() == [("one", "ok", 3, 2, 0, None)]
        assert await bench.statuses() == ["completed"]
        assert isinstance(seen[0], Attempted)
        assert seen[0].number == 1
        rows = await bench.db.read("SELECT role, dialect, seq FROM messages ORDER BY seq")
        assert rows == [("user", "openai_chat", 0), ("assistant", "", 1)]
        assert run.log.closed

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize("error", [BUSY, DOWN, Unreachable("no"), Cut("cut"), Garbled("?"), Refused("", status=529)])
def test_what_another_attempt_may_change_is_tried_again_and_both_attempts_are_in_the_ledger(error):
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        events = await everything(follower)
        assert isinstance(events[-1], Done)
        assert events[0].number == 2
        assert [row[1] for row in await bench.attempts()] == ["failed", "ok"]

    on_bench(Scripted(one=[raises(error), says(answer())]), test)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_at_fault_is_not_tried_again(status):
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        [end] = await everything(follower)
        assert end.error.status == status
        assert bench.complete.calls == [("one", "0")]

    on_bench(Scripted(one=[raises(Refused("no", status=status))], two=[says(answer())]), test)


def test_three_tries_of_one_target_then_the_next_one():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        assert isinstance((await everything(follower))[-1], Done)
        assert [name for name, _ in bench.complete.calls] == ["one"] * 3 + ["two"]

    on_bench(Scripted(one=[raises(DOWN)], two=[says(answer())]), test)


def test_a_refused_key_gives_way_to_the_next_key_at_once():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v", ("a", "b")))
        assert isinstance((await everything(follower))[-1], Done)
        assert bench.complete.calls == [("one", "a"), ("one", "b")]

    on_bench(Scripted(one=[raises(Refused("bad key", status=401)), says(answer())]), test)


def test_what_is_left_alone_and_answers_again_is_in_the_log_once(caplog):
    """Who watches the log learns of it; what callers bring themselves is their own affair."""
    caplog.set_level("INFO", "midstream.runs")

    async def test(bench: Bench) -> None:
        for name in ("one", "two", "one", "two"):
            _, follower = bench.start(Target(name, "m", "v", keys=("0", "1")))
            await everything(follower)
        _, follower = bench.start(Target("three", "m", "v", keys=("lent-1",)))
        await everything(follower)
        bench.runs._health.circuit("two", "0", "m")._opened_at = -1e9  # long ago
        _, follower = bench.start(Target("two", "m", "v"))
        await everything(follower)
        assert [record.message for record in caplog.records] == [
            "provider 'one' refuses its key 1 at model 'm' (status 401): it is left alone for 300 s",
            "provider 'two' fails at model 'm' (upstream_unreachable): it is asked again every 15 s",
            "provider 'two' answers at model 'm' again",
        ]

    refused, gone = raises(Refused("no", status=401)), raises(Unreachable("no"))
    script = Scripted(one=[refused, says(answer())], two=[gone] * 5 + [says(answer())], three=[refused])
    on_bench(script, test)


def test_a_long_retry_after_moves_on_to_the_next_target_instead_of_waiting():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        assert isinstance((await everything(follower))[-1], Done)
        assert [name for name, _ in bench.complete.calls] == ["one", "two"]

    slow = Refused("later", status=429, retry_after=30)
    on_bench(Scripted(one=[raises(slow)], two=[says(answer())]), test)


def test_nothing_is_tried_again_once_output_was_seen_and_the_failure_is_the_end():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        events = await everything(follower)
        assert [type(event) for event in events] == [Attempted, PartStarted, Delta, Failed]
        assert [row[:5] for row in await bench.attempts()] == [("one", "partial", 100, 2, 1)]
        assert await bench.statuses() == ["failed"]

    cut = says(answer()[:3], [Failed(Cut("cut"))])
    on_bench(Scripted(one=[cut], two=[says(answer())]), test)


def test_a_failure_that_is_told_as_it_is_keeps_the_bytes_that_it_came_in():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"))
        assert (await everything(follower))[-1].native == b"event: error"

    on_bench(Scripted(one=[says(answer()[:3], [Failed(Cut("cut"), b"event: error")])]), test)


def test_lifecycle_events_do_not_commit_so_the_other_target_may_still_answer():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        events = await everything(follower)
        assert [event.text for event in events if isinstance(event, Delta)] == ["hello"]
        assert sum(isinstance(event, Started | Attempted) for event in events) == 1

    begun = says([Attempted("one", ""), Started("id"), PartStarted(0, Text(""))], [Failed(DOWN)])
    on_bench(Scripted(one=[begun], two=[says(answer())]), test)


@pytest.mark.parametrize("stream", [True, False])
def test_a_stream_lets_go_of_its_question_with_its_first_output_and_not_before(stream: bool):
    async def test(bench: Bench) -> None:
        run, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"), stream=stream)
        asked = run.order.turn

        async def fails(plan: Plan, emit: Emit) -> None:
            assert asked.fields
            emit([Failed(DOWN)], 0)

        async def holds(plan: Plan, emit: Emit) -> None:
            assert asked.fields
            emit(answer()[:3], 10)
            assert bool(asked.fields) is bool(asked.fresh) is not stream
            emit(answer()[3:], 10)

        bench.complete.script(one=[fails], two=[holds])
        assert isinstance((await everything(follower))[-1], Done)
        rows = await bench.db.read("SELECT seq, role FROM messages ORDER BY seq")
        assert rows == [(0, "user"), (1, "assistant")]

    on_bench(Scripted(), test)


def test_an_answer_without_an_end_is_an_error_never_a_stop():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        end = (await everything(follower))[-1]
        assert isinstance(end, Failed)
        assert isinstance(end.error, Cut)

    on_bench(Scripted(one=[says(answer()[:3])]), test)


async def _never(plan: Plan, emit: Emit) -> None:
    emit(answer()[:3], 10)
    await asyncio.Event().wait()


def test_a_reader_that_leaves_ends_the_run_and_what_was_spent_is_settled():
    async def test(bench: Bench) -> None:
        run, follower = bench.start()
        await follower.take()
        follower.leave()
        while bench.runs.active:
            await asyncio.sleep(0)
        assert [row[:5] for row in await bench.attempts()] == [("one", "partial", 100, 2, 1)]
        assert await bench.statuses() == ["cancelled"]
        assert run.ended

    on_bench(Scripted(one=[_never]), test)


def test_cancelling_at_any_step_leaves_exactly_one_terminal_state():
    never_called = []
    for steps in range(12):

        async def test(bench: Bench, steps: int = steps) -> None:
            run, follower = bench.start()
            for _ in range(steps):
                await asyncio.sleep(0)
            run.cancel()
            run.cancel()
            events = await everything(follower)
            assert sum(isinstance(event, Done | Failed) for event in events) == 1
            rows = await bench.attempts()
            assert all(row[1] in ("ok", "partial", "failed", "unknown") for row in rows)
            unknown = [row for row in rows if row[1] == "unknown"]
            assert len(rows) - len(unknown) == len(bench.complete.calls)
            never_called.extend(unknown)
            assert await bench.statuses() in (["completed"], ["cancelled"], [])

        on_bench(Scripted(one=[says(answer())]), test)
    assert set(never_called) == {("one", "unknown", 0, 0, 0, "cancelled")}


def test_usage_that_came_before_a_cut_is_kept_and_not_replaced_by_an_estimate():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        await everything(follower)
        assert [row[:5] for row in await bench.attempts()] == [("one", "partial", 7, 9, 0)]

    used = [*answer()[:3], Used(Usage(uncached_in=7, out_text=9))]
    on_bench(Scripted(one=[says(used, [Failed(Cut("cut"))])]), test)


def test_no_first_token_in_time_is_a_timeout_of_that_phase_and_may_be_tried_again():
    async def quiet(plan: Plan, emit: Emit) -> None:
        emit([Attempted("one", ""), Started("id")], 1)
        await asyncio.Event().wait()

    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v", timeouts=Timeouts(first_token=0.02)))
        assert isinstance((await everything(follower))[-1], Done)
        assert [row[5] for row in await bench.attempts()] == ["upstream_timeout_first_token", None]

    on_bench(Scripted(one=[quiet, says(answer())]), test)


def test_the_time_for_the_first_token_does_not_limit_what_follows_it():
    async def slow(plan: Plan, emit: Emit) -> None:
        emit(answer()[:3], 1)
        await asyncio.sleep(0.1)
        emit(answer()[3:], 1)

    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v", timeouts=Timeouts(first_token=0.03, total=5)))
        assert isinstance((await everything(follower))[-1], Done)

    on_bench(Scripted(one=[slow]), test)


def test_the_total_time_limits_an_answer_that_was_begun():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(Target("one", "m", "v", timeouts=Timeouts(first_token=0.02, total=0.05)))
        end = (await everything(follower))[-1]
        assert isinstance(end.error, TimedOut)
        assert end.error.phase == "total"

    on_bench(Scripted(one=[_never]), test)


def test_a_bug_ends_the_run_with_an_id_and_the_attempt_is_settled(caplog):
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        end = (await everything(follower))[-1]
        assert isinstance(end.error, Bug)
        assert end.error.bug_id in caplog.text
        assert await bench.statuses() == ["failed"]
        assert [row[1] for row in await bench.attempts()] == ["failed"]

    on_bench(Scripted(one=[raises(KeyError("surprise"))]), test)


def test_a_cancellation_that_nobody_asked_for_is_a_bug_and_not_the_clients_leaving(caplog):
    async def cancelled(plan: Plan, emit: Emit) -> None:
        raise asyncio.CancelledError

    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        end = (await everything(follower))[-1]
        assert isinstance(end.error, Bug)
        assert end.error.bug_id in caplog.text
        assert await bench.statuses() == ["failed"]
        assert [row[1] for row in await bench.attempts()] == ["failed"]

    on_bench(Scripted(one=[cancelled]), test)


def test_whatever_happens_to_a_run_its_log_has_an_end_before_it_is_closed(monkeypatch, caplog):
    async def broken(owner: object) -> None:
        raise ZeroDivisionError

    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        [end] = await everything(follower)
        assert isinstance(end.error, Bug)
        assert end.error.bug_id in caplog.text
        assert "ZeroDivisionError" in caplog.text

    monkeypatch.setattr(run_module._Owner, "do", broken)
    on_bench(Scripted(one=[says(answer())]), test)


def test_a_draining_server_takes_no_new_run_and_ends_those_that_do_not_end():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        await follower.take()
        await bench.runs.drain(0.02)
        end = (await everything(follower))[-1]
        assert isinstance(end.error, Busy)
        assert await bench.statuses() == ["failed"]
        assert [row[1] for row in await bench.attempts()] == ["partial"]
        with pytest.raises(Busy):
            bench.start()

    on_bench(Scripted(one=[_never]), test)


def test_a_provider_that_keeps_failing_is_left_alone_and_the_refusal_says_when_to_come_back():
    async def test(bench: Bench) -> None:
        for _ in range(2):
            _, follower = bench.start()
            await everything(follower)
        calls = len(bench.complete.calls)
        _, follower = bench.start()
        [end] = await everything(follower)
        assert isinstance(end.error, Busy)
        assert end.error.retry_after
        assert len(bench.complete.calls) == calls

    on_bench(Scripted(one=[raises(Unreachable("gone"))]), test)


def test_a_reader_that_is_behind_stops_the_provider_until_it_has_caught_up():
    state: list[bool] = []
    caught_up = asyncio.Event()

    async def chatty(plan: Plan, emit: Emit) -> None:
        emit(answer()[:3], 10)
        state.append(emit([Delta(0, "x")], 300_000))
        state.append(emit([Delta(0, "x")], 10))
        await caught_up.wait()
        emit(answer()[3:], 10)

    async def test(bench: Bench) -> None:
        run, follower = bench.start()
        run.log.on_room(caught_up.set)
        while len(state) < 2:
            await asyncio.sleep(0)
        assert state == [False, False]
        assert not caught_up.is_set()
        assert isinstance((await everything(follower))[-1], Done)

    on_bench(Scripted(one=[chatty]), test)


def test_a_count_from_before_the_output_is_a_placeholder_and_the_output_is_estimated():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        await everything(follower)
        assert [row[:5] for row in await bench.attempts()] == [("one", "partial", 7, 100, 1)]

    begun = [
        Attempted("one", ""),
        Used(Usage(uncached_in=7, out_text=1)),
        PartStarted(0, Text("")),
        Delta(0, "x" * 400),
    ]
    on_bench(Scripted(one=[says(begun, [Failed(Cut("cut"))])]), test)


def test_a_count_that_no_call_can_have_is_not_believed():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        assert isinstance((await everything(follower))[-1], Done)
        assert [row[:5] for row in await bench.attempts()] == [("one", "ok", 100, 2, 1)]

    on_bench(Scripted(one=[says(answer(usage=Usage(uncached_in=2**70, out_text=2**70)))]), test)


def test_a_providers_wildest_words_are_kept_in_the_ledger_as_text():
    async def test(bench: Bench) -> None:
        _, follower = bench.start()
        await everything(follower)
        [row] = await bench.attempts()
        assert (row[1], row[5]) == ("failed", "\ufffd" + "x" * 99)

    on_bench(Scripted(one=[raises(Refused("no\0", status=400, code="\0" + "x" * 1000))]), test)


def test_what_the_store_refuses_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture):
    async def test(bench: Bench) -> None:
        commit = bench.runs._ledger.commit
        handed = []

        async def refusing(*records: Any) -> None:
            handed.append(records)
            if len(handed) > 1:
                raise BadRequest("a value is larger than the store can hold, or is not text")
            await commit(*records)

        bench.runs._ledger.commit = refusing  # type: ignore[method-assign]
        _, follower = bench.start()
        assert isinstance((await everything(follower))[-1], Done)
        assert "the store refuses" in caplog.text

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize("refused", [BadRequest("not text"), Conflict("there already")])
def test_of_what_the_store_refuses_at_least_nothing_is_left_open(refused, caplog):
    async def test(bench: Bench) -> None:
        commit = bench.runs._ledger.commit

        async def refusing(*records: Any) -> None:
            if any(isinstance(record, MessageAdded) and record.role == "assistant" for record in records):
                raise refused
            await commit(*records)

        bench.runs._ledger.commit = refusing  # type: ignore[method-assign]
        _, follower = bench.start(transactions=True)
        assert isinstance((await everything(follower))[-1], Done)
        assert await bench.statuses() == ["completed"]
        assert [row[1] for row in await bench.attempts()] == ["ok"]
        assert await bench.db.read("SELECT id FROM outbox") == await bench.db.read("SELECT id FROM attempts")
        assert await bench.db.read("SELECT role FROM messages") == [("user",)]
        assert refused.message in caplog.text
        assert bench.runs.settling.waiting == []

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_cannot_be_sent_is_no_attempt_and_says_nothing_about_the_provider():
    async def refuses(target: Target, key: str, plan: Plan, line: Line) -> None:
        raise BadRequest("no such thing", param="x")

    async def test(bench: Bench) -> None:
        for _ in range(6):  # more often than a circuit bears
            run, follower = bench.start()
            [end] = await everything(follower)
            assert isinstance(end.error, BadRequest)
            assert run.attempts == 0
        assert await bench.attempts() == []
        assert await bench.statuses() == ["failed"] * 6

    on_bench(refuses, test)  # type: ignore[arg-type]


def test_another_target_that_cannot_be_sent_it_does_not_hide_why_the_first_one_failed():
    async def one_fails(target: Target, key: str, plan: Plan, line: Line) -> None:
        if target.provider == "one":
            await line.leaving()
            raise Refused("broken", status=500)
        raise BadRequest("this format takes no audio", param="messages.content")

    async def test(bench: Bench) -> None:
        run, follower = bench.start(Target("one", "m", "v"), Target("two", "m", "v"))
        [end] = await everything(follower)
        assert (end.error.message, end.error.status) == ("broken", 500)
        assert run.attempts == 3
        assert {row[0] for row in await bench.attempts()} == {"one"}

    on_bench(one_fails, test)  # type: ignore[arg-type]
