"""A run with work in it: several model calls, their accounts, and one end."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from midstream.core.errors import Bug, Busy, Cancelled, Cut, MidstreamError, Refused, StoreDown, TimedOut, Unreachable
from midstream.core.events import Attempted, Concluded, Done, Event, Failed, Opened
from midstream.core.outcome import Outcome
from midstream.core.parts import Message, Text, text_of
from midstream.core.serving import Completed, Desk, Target
from midstream.core.turn import Prompt, Turn
from midstream.core.usage import Usage
from midstream.runs import settling
from midstream.runs.order import Act, Spent, spent_by
from midstream.store.ledger import OutboxAdded, Record
from midstream.store.reading import Accounts

from .scripted import Bench, Scripted, answer, everything, on_bench, raises, says

TARGETS = (Target("one", "m", "v"),)
DOWN = Refused("down", status=503)


def turn() -> Turn:
    return Turn("own", {}, lambda fields: Prompt(()), model="m", stream=True)


def noted(topic: str) -> OutboxAdded:
    return OutboxAdded(f"out_{topic}", "org_default", topic, b"{}", 1.0, 1.0)


def spoken(completed: Completed) -> str:
    return text_of(completed.answer.choices[0].parts)


async def twice(desk: Desk) -> None:
    desk.log(Opened("conv_1", "msg_1"))
    first = await desk.complete(turn(), TARGETS)
    second = await desk.complete(turn(), TARGETS)
    desk.log(Concluded(Outcome(f"{spoken(first)}, {spoken(second)}", usage=desk.usage, cost=desk.cost)))


async def topics(bench: Bench) -> list[str]:
    return [row[0] for row in await bench.db.read("SELECT topic FROM outbox ORDER BY created_at, id")]


def test_each_model_call_is_an_attempt_and_only_the_run_has_an_end():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(act=Act(twice, agent="agt_1", version="ver_1"))
        events = await everything(follower)
        assert [type(event) for event in events if isinstance(event, Opened | Attempted | Concluded | Done)] == [
            Opened, Attempted, Attempted, Concluded, Done,
        ]  # fmt: skip
        assert events[-2].outcome == Outcome("hello, hello", usage=Usage(uncached_in=6, out_text=4), cost="1.0")
        assert [row[:4] for row in await bench.attempts()] == [("one", "ok", 3, 2)] * 2
        assert await bench.db.read("SELECT status, agent_id, version_id FROM runs") == [("completed", "agt_1", "ver_1")]

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_begins_it_is_durable_before_it_works_and_what_closes_it_goes_with_its_end():
    async def test(bench: Bench) -> None:
        seen: list[Any] = []

        async def work(desk: Desk) -> None:
            seen.append(await topics(bench))

        def closing(end: Event) -> list[Record]:
            seen.append(type(end))
            return [noted("closing")]

        async def over() -> None:
            seen.append(await bench.statuses())

        _, follower = bench.start(act=Act(work, (noted("beginning"),), closing, over))
        await everything(follower)
        await asyncio.sleep(0.01)
        assert seen == [["beginning"], Done, ["completed"]]
        assert await topics(bench) == ["beginning", "closing"]

    on_bench(Scripted(one=[says(answer())]), test)


def test_each_call_has_its_own_retries_and_tells_what_failed_first():
    async def test(bench: Bench) -> None:
        told: list[str] = []

        async def work(desk: Desk) -> None:
            told.append((await desk.complete(turn(), TARGETS)).first_error)
            told.append((await desk.complete(turn(), TARGETS)).first_error)

        _, follower = bench.start(act=Act(work))
        await everything(follower)
        assert told == ["down", ""]
        assert [row[1] for row in await bench.attempts()] == ["failed", "ok", "ok"]

    on_bench(Scripted(one=[raises(DOWN), says(answer())]), test)


def test_a_call_that_fails_raises_in_the_work_and_ends_the_run_once():
    async def test(bench: Bench) -> None:
        _, follower = bench.start(act=Act(twice))
        events = await everything(follower)
        assert isinstance(events[-1], Failed)
        assert events[-1].error.status == 400
        assert await bench.statuses() == ["failed"]
        assert [row[1] for row in await bench.attempts()] == ["ok", "failed"]

    on_bench(Scripted(one=[says(answer()), raises(Refused("no", status=400))]), test)


def test_a_call_that_breaks_off_after_output_raises_too():
    async def test(bench: Bench) -> None:
        kept: list[str] = []

        async def work(desk: Desk) -> None:
            try:
                await desk.complete(turn(), TARGETS)
            except Cut:
                kept.append(text_of(desk.partial.choices[0].parts))
                raise

        _, follower = bench.start(act=Act(work))
        events = await everything(follower)
        assert isinstance(events[-1], Failed)
        assert sum(isinstance(event, Failed) for event in events) == 1
        assert kept == ["hello"]
        assert [row[1] for row in await bench.attempts()] == ["partial"]

    on_bench(Scripted(one=[says([*answer()[:-1], Failed(Cut("cut"))])]), test)


def test_a_quiet_call_is_billed_and_not_told():
    async def test(bench: Bench) -> None:
        async def work(desk: Desk) -> None:
            await desk.complete(turn(), TARGETS, quiet=True)

        _, follower = bench.start(act=Act(work))
        assert [type(event) for event in await everything(follower)] == [Done]
        assert len(await bench.attempts()) == 1

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize("wanted", [True, False])
def test_each_account_is_in_the_outbox_exactly_where_it_is_wanted(wanted: bool):
    async def test(bench: Bench) -> None:
        _, follower = bench.start(act=Act(twice, agent="agt_1", thread="t"), transactions=wanted)
        await everything(follower)
        rows = await bench.db.read("SELECT id, payload FROM outbox ORDER BY id")
        attempts = await bench.db.read("SELECT id FROM attempts ORDER BY id")
        assert [(id,) for id, _ in rows] == (attempts if wanted else [])
        for id, payload in rows:
            envelope = msgspec.json.decode(payload)
            assert (envelope["pattern"], envelope["id"]) == ("transaction", id)
            data = envelope["data"]
            assert (data["agent_id"], data["thread_id"], data["input_tokens"], data["cost"]) == ("agt_1", "t", 3, "0.5")

    on_bench(Scripted(one=[says(answer())]), test)


def test_who_is_cancelled_is_settled_and_over():
    async def test(bench: Bench) -> None:
        ends: list[Any] = []
        began = asyncio.Event()

        async def work(desk: Desk) -> None:
            began.set()
            await asyncio.Event().wait()

        async def over() -> None:
            ends.append("over")

        def closing(end: Event) -> list[Record]:
            assert isinstance(end, Failed)
            ends.append(type(end.error))
            return []

        run, follower = bench.start(act=Act(work, (), closing, over))
        await began.wait()
        run.cancel()
        await everything(follower)
        await asyncio.sleep(0.01)
        assert ends == [Cancelled, "over"]
        assert await bench.statuses() == ["cancelled"]

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize("bugs", [1, 2])
def test_a_bug_in_what_closes_it_ends_it_with_that_bug_and_leaves_nothing_open(
    bugs: int, caplog: pytest.LogCaptureFixture
):
    async def test(bench: Bench) -> None:
        ends: list[Event] = []

        def closing(end: Event) -> list[Record]:
            ends.append(end)
            if len(ends) <= bugs:
                raise ZeroDivisionError
            return [noted("closed")]

        _, follower = bench.start(act=Act(twice, (), closing))
        end = (await everything(follower))[-1]
        assert isinstance(end, Failed)
        assert isinstance(end.error, Bug)
        assert end.error.bug_id in caplog.text
        assert [isinstance(one, Failed) for one in ends] == [False, True]
        assert await bench.statuses() == ["failed"]
        assert [row[1] for row in await bench.attempts()] == ["ok", "ok"]
        assert await topics(bench) == (["closed"] if bugs == 1 else [])

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_call_whose_end_finds_the_store_away_is_settled_with_the_runs_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settling, "SETTLE_AGAIN", 0.005)

    async def test(bench: Bench) -> None:
        commit, commits = bench.runs._ledger.commit, 0

        async def failing(*records: Record) -> None:
            nonlocal commits
            commits += 1
            if commits == 3:  # after the beginning and the attempt: what the call came to
                raise StoreDown
            await commit(*records)

        bench.runs._ledger.commit = failing  # type: ignore[method-assign]
        _, follower = bench.start(act=Act(twice, agent="agt_1"), transactions=True)
        events = await everything(follower)
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, StoreDown)
        while bench.runs.settling.waiting:
            await asyncio.sleep(0.002)
        assert [row[:4] for row in await bench.attempts()] == [("one", "ok", 3, 2)]
        assert await bench.db.read("SELECT id FROM outbox") == await bench.db.read("SELECT id FROM attempts")

    on_bench(Scripted(one=[says(answer())]), test)


KEPT = (
    "INSERT INTO outbox (id, org_id, topic, payload, created_at, available_at) "
    "VALUES ($1, 'org_default', $1, '', $2, 1) ON CONFLICT (id) DO NOTHING"
)


def kept(topic: str, at: float) -> tuple[str, tuple[Any, ...]]:
    return KEPT, (topic, at)


class Commits:
    """What each commit held: the names of its records, the topics of its statements. fails: which ones."""

    def __init__(self, bench: Bench, *fails: int) -> None:
        self.made: list[list[str]] = []
        self._fails = fails
        self._commit = bench.runs._ledger.commit
        bench.runs._ledger.commit = self  # type: ignore[method-assign, assignment]

    async def __call__(self, *records: Any) -> None:
        self.made.append([one[1][0] if type(one) is tuple else type(one).__name__ for one in records])
        if len(self.made) in self._fails:
            raise StoreDown
        await self._commit(*records)


async def a_round(desk: Desk) -> None:
    await desk.complete(turn(), TARGETS)
    desk.hold(kept("reply", 1.0))
    await desk.write([kept("calls", 2.0)])
    desk.hold(kept("result", 3.0))
    await desk.complete(turn(), TARGETS)


def test_what_a_call_came_to_goes_with_what_is_written_next_and_the_last_with_the_end():
    async def test(bench: Bench) -> None:
        commits = Commits(bench)
        _, follower = bench.start(act=Act(a_round))
        await everything(follower)
        assert commits.made == [
            ["RunStarted", "MessageAdded"],
            ["AttemptStarted"],
            ["AttemptSettled", "reply", "calls"],
            ["result", "AttemptStarted"],
            ["AttemptSettled", "RunEnded"],
        ]
        assert await topics(bench) == ["reply", "calls", "result"]

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize(("failing", "left"), [(3, ["reply"]), (4, ["reply", "calls", "result"])])
def test_what_has_happened_outlasts_a_store_that_is_away_and_what_was_to_begin_does_not(
    monkeypatch: pytest.MonkeyPatch, failing: int, left: list[str]
):
    monkeypatch.setattr(settling, "SETTLE_AGAIN", 0.005)

    async def test(bench: Bench) -> None:
        Commits(bench, failing)
        _, follower = bench.start(act=Act(a_round))
        assert isinstance((await everything(follower))[-1], Failed)
        while bench.runs.settling.waiting:
            await asyncio.sleep(0.002)
        assert await topics(bench) == left
        assert [row[1] for row in await bench.attempts()] == ["ok"]
        assert await bench.statuses() == ["failed"]

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_is_held_is_written_before_a_pause_between_two_tries():
    async def test(bench: Bench) -> None:
        commits = Commits(bench)
        bench.runs._jitter = lambda: 1.0
        seen: list[list[str]] = []

        async def work(desk: Desk) -> None:
            desk.hold(kept("held", 1.0))
            asyncio.get_running_loop().call_later(0.1, lambda: seen.append(commits.made[-1]))
            await desk.complete(turn(), TARGETS)

        _, follower = bench.start(act=Act(work))
        await everything(follower)
        assert commits.made[1:] == [
            ["held", "AttemptStarted"],
            ["AttemptSettled"],
            ["AttemptStarted"],
            commits.made[-1],
        ]
        assert seen == [["AttemptSettled"]]

    on_bench(Scripted(one=[raises(DOWN), says(answer())]), test)


def test_who_writes_when_the_run_has_ended_repeats_nothing_of_its_end():
    async def test(bench: Bench) -> None:
        commits, late = Commits(bench), []

        async def straggle(desk: Desk) -> None:
            while await bench.statuses() != ["completed"]:
                await asyncio.sleep(0.001)
            await desk.write([kept("late", 1.0)])

        async def work(desk: Desk) -> None:
            late.append(asyncio.create_task(straggle(desk)))

        _, follower = bench.start(act=Act(work))
        await everything(follower)
        await late[0]
        assert commits.made[-2:] == [["RunEnded"], ["late"]]

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_run_that_goes_on_counts_on_from_what_it_had_spent():
    async def test(bench: Bench) -> None:
        before = Spent(2, Usage(uncached_in=10, out_text=1), "0.25")
        _, follower = bench.start(act=Act(twice, run="run_before", again=True, before=before))
        events = await everything(follower)
        assert events[-2].outcome == Outcome("hello, hello", usage=Usage(uncached_in=16, out_text=5), cost="1.25")
        assert await bench.db.read("SELECT number FROM attempts ORDER BY seq") == [(3,), (4,)]

    on_bench(Scripted(one=[says(answer())]), test)


def test_each_call_is_estimated_by_what_it_is_asked_with_itself():
    async def test(bench: Bench) -> None:
        async def work(desk: Desk) -> None:
            for size in (400, 40_000):
                one = turn()
                one.put_prompt(Prompt((Message("user", (Text("x" * size),)),)))
                await desk.complete(one, TARGETS)

        await everything(bench.start(act=Act(work))[1])
        first, second = [row[2] for row in await bench.attempts()]
        assert 100 <= first < 120
        assert 10_000 <= second < 10_020
        assert await bench.db.read("SELECT estimate_in FROM attempts ORDER BY seq") == [(first,), (second,)]

    on_bench(Scripted(one=[says(answer(usage=None))]), test)


@pytest.mark.parametrize("error", [DOWN, Unreachable("no"), TimedOut("", phase="connect")])
def test_a_call_that_never_left_or_was_refused_costs_nothing_whatever_its_model_would(error: MidstreamError):
    async def test(bench: Bench) -> None:
        async def work(desk: Desk) -> None:
            await desk.complete(turn(), (Target("unpriced", "m", "v"), *TARGETS))
            desk.log(Concluded(Outcome("", cost=desk.cost)))

        _, follower = bench.start(act=Act(work), transactions=True)
        assert (await everything(follower))[-2].outcome.cost == "0.500000000"
        [*failed, answered] = await bench.db.read("SELECT status, cost FROM attempts ORDER BY seq")
        assert failed
        assert set(failed) == {("failed", "0.000000000")}
        assert answered == ("ok", "0.5")
        [used] = await Accounts(bench.db, "org_default").usage(group_by="org")
        assert (used.unpriced, used.cost) == (0, "0.5")

    on_bench(Scripted(one=[says(answer())], unpriced=[raises(error)]), test)


def test_what_was_answered_or_may_have_been_worked_on_by_a_model_without_a_price_is_not_free():
    async def test(bench: Bench) -> None:
        for steps in (raises(Cut("cut")), says(answer(usage=Usage())), says(answer(usage=None))):
            bench.complete.script(unpriced=[steps])
            await everything(bench.start(Target("unpriced", "m", "v"))[1])
        assert {row[0] for row in await bench.db.read("SELECT cost FROM attempts")} == {None}

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_a_run_has_spent_is_known_as_far_as_there_are_prices():
    async def test(bench: Bench) -> None:
        seen: list[tuple[str | None, str | None]] = []

        async def work(desk: Desk) -> None:
            for provider in ("unpriced", "one", "unpriced"):
                seen.append((desk.cost, desk.priced))
                await desk.complete(turn(), (Target(provider, "m", "v"),))
            seen.append((desk.cost, desk.priced))

        _, follower = bench.start(act=Act(work, run="run_before"))
        await everything(follower)
        assert seen == [("0", None), (None, None), (None, "0.5"), (None, "0.5")]
        rows = await Accounts(bench.db, "org_default").attempts(run_id="run_before")
        before = spent_by(rows)
        assert (before.attempts, before.cost, before.priced) == (3, None, "0.5")
        await bench.db.write([("UPDATE runs SET status = 'failed', error_code = 'interrupted'", ())])
        seen.clear()
        _, follower = bench.start(act=Act(work, run="run_before", again=True, before=before))
        await everything(follower)
        assert seen == [(None, "0.5"), (None, "0.5"), (None, "1.0"), (None, "1.0")]

    on_bench(Scripted(one=[says(answer())], unpriced=[says(answer())]), test)


def test_a_run_knows_when_it_began_also_in_its_next_life():
    async def test(bench: Bench) -> None:
        seen: list[float] = []

        async def looks(desk: Desk) -> None:
            seen.append(desk.began)

        _, follower = bench.start(act=Act(looks, run="run_before"))
        await everything(follower)
        [(began,)] = await bench.db.read("SELECT created_at FROM runs")
        await bench.db.write([("UPDATE runs SET status = 'failed', error_code = 'interrupted'", ())])
        _, follower = bench.start(act=Act(looks, run="run_before", again=True, before=Spent(began=began)))
        await everything(follower)
        _, follower = bench.start(act=Act(looks, run="run_other"))
        await everything(follower)
        assert seen[:2] == [began, began] != seen[2:]

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_run_that_its_worker_had_left_goes_on_under_its_own_id():
    async def test(bench: Bench) -> None:
        async def nothing(desk: Desk) -> None:
            pass

        _, follower = bench.start(act=Act(nothing, run="run_before"))
        await everything(follower)
        await bench.db.write([("UPDATE runs SET status = 'failed', error_code = 'interrupted'", ())])
        run, follower = bench.start(act=Act(nothing, run="run_before", again=True))
        await everything(follower)
        assert run.id == "run_before"
        assert await bench.db.read("SELECT id, status, error_code FROM runs") == [("run_before", "completed", None)]

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_was_said_so_far_is_never_a_quiet_calls():
    async def test(bench: Bench) -> None:
        seen: list[str] = []

        async def work(desk: Desk) -> None:
            await desk.complete(turn(), TARGETS)
            await desk.complete(turn(), TARGETS, quiet=True)
            seen.append(text_of(desk.partial.choices[0].parts))
            raise Refused("no", status=400)

        _, follower = bench.start(act=Act(work))
        await everything(follower)
        assert seen == ["shown"]

    on_bench(Scripted(one=[says(answer("shown")), says(answer("quiet"))]), test)


def test_what_an_order_holds_is_given_back_when_its_run_may_not_begin_and_the_drain_waits_for_that():
    async def test(bench: Bench) -> None:
        given_back = False

        async def over() -> None:
            nonlocal given_back
            await asyncio.sleep(0.05)
            given_back = True

        await bench.runs.drain(0)
        with pytest.raises(Busy):
            bench.start(act=Act(twice, over=over))
        await bench.runs.drain(0)
        assert given_back

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_run_that_is_stopped_before_its_first_step_ends_for_the_reason_that_it_is_stopped_for():
    async def test(bench: Bench) -> None:
        ends: list[Event] = []
        _, follower = bench.start(act=Act(twice, closing=lambda end: ends.append(end) or []))
        bench.runs.cancel_all()
        end = (await everything(follower))[-1]
        assert ends == [end]
        assert isinstance(end, Failed)
        assert isinstance(end.error, Busy)

    on_bench(Scripted(one=[says(answer())]), test)


def test_what_a_run_holds_is_given_back_before_its_end_is_told():
    """Whoever hears the end may ask for the conversation's next turn at once."""

    async def test(bench: Bench) -> None:
        given_back = False

        async def over() -> None:
            nonlocal given_back
            await asyncio.sleep(0.02)
            given_back = True

        for _ in range(2):
            given_back = False
            run, follower = bench.start(act=Act(twice, over=over))
            while not isinstance((await follower.take())[-1], Done):
                pass
            assert given_back
            await bench.runs.ended(run)

    on_bench(Scripted(one=[says(answer())]), test)


def test_who_waits_for_the_whole_end_of_a_run_waits_until_what_it_holds_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
):
    """Also where its end was told before, because the store was away; nobody waits for the store in vain twice."""
    monkeypatch.setattr(settling, "SETTLE_AGAIN", 0.01)

    async def test(bench: Bench) -> None:
        given_back = asyncio.Event()

        async def away(desk: Desk) -> None:
            raise StoreDown

        async def over() -> None:
            await asyncio.sleep(0.02)
            given_back.set()

        run, follower = bench.start(act=Act(away, over=over))
        assert isinstance((await everything(follower))[-1], Failed)
        assert not given_back.is_set()
        await bench.runs.ended(run)
        assert given_back.is_set()
        assert run.task is None
        while bench.runs.settling.waiting:
            await asyncio.sleep(0.01)

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_draining_server_begins_what_a_run_that_is_under_way_cannot_end_without():
    async def test(bench: Bench) -> None:
        may = asyncio.Event()

        async def works(desk: Desk) -> None:
            await may.wait()
            _, within = bench.start(act=Act(twice), within=True)
            assert isinstance((await everything(within))[-1], Done)

        _, follower = bench.start(act=Act(works))
        draining = asyncio.create_task(bench.runs.drain(5))
        await asyncio.sleep(0.01)
        may.set()
        assert isinstance((await everything(follower))[-1], Done)
        await draining
        assert await bench.statuses() == ["completed"] * 2

    on_bench(Scripted(one=[says(answer())]), test)
