from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from midstream.core.errors import NotFound, StoreDown
from midstream.store import Store
from midstream.store.batches import Batch, added
from midstream.store.database import Database, Row, Statement, Value
from midstream.store.jobs import _DUE, _ORGS, _TAKE, _TAKEN, TRIES, Job, JobKind, Jobs, OrgJobs
from midstream.store.ledger import JobEnded, Ledger, RunEnded, RunReopened

from .turns import ORG, attempt_settled, attempt_started, run_started, with_store


def job(id: str, at: float = 1.0, kind: JobKind = "turn", **more: str) -> Job:
    return Job(id, ORG, "key_1", kind, more.get("batch_id"), f"run_{id}", b'{"user":"hi"}', b"{}", at, at)


def batch(name: str, org: str = ORG, at: float = 1.0) -> Statement:
    return added(Batch(f"batch_{name}", org, b"{}", at))


def items(name: str, count: int, org: str = ORG, at: float = 1.0) -> tuple[list[Job], list[Statement]]:
    """A batch of so many."""
    jobs = [
        Job(f"msg_{name}_{n:04}", org, "k", "batch", f"batch_{name}", f"run_{name}_{n}", b"{}", None, at, at)
        for n in range(count)
    ]
    return jobs, [batch(name, org, at)]


def test_each_job_is_taken_by_one_worker_when_it_is_due(url: str) -> None:
    async def work(store: Store) -> None:
        now = 5.0
        one, two = (Jobs(store.db, name, lambda: now) for name in ("w1", "w2"))
        await one.add([job(f"msg_{number}") for number in range(20)] + [job("msg_later", 9.0)])
        both = await asyncio.gather(one.take(50), two.take(50))
        taken = [taken.id for taken in both[0] + both[1]]
        assert sorted(taken) == sorted(f"msg_{number}" for number in range(20))
        assert all(one.status == "running" and one.tries == 1 for one in both[0] + both[1])
        assert await one.take(50) == []

    with_store(url, work)


def test_the_first_end_of_a_job_is_the_one_that_counts(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        await jobs.add([job("msg_1")])
        await jobs.take(1)
        await jobs.end("msg_1", "done", b"answer")
        await jobs.end("msg_1", "failed", b"late")
        kept = await OrgJobs(store.db, ORG).job("msg_1")
        assert (kept.status, kept.result, kept.ended_at) == ("done", b"answer", 5.0)

    with_store(url, work)


def test_jobs_of_a_worker_that_is_gone_are_due_again_and_those_of_a_living_one_are_not(url: str) -> None:
    async def work(store: Store) -> None:
        mine, living, dead = (Jobs(store.db, name, lambda: 5.0) for name in (store.worker, "w_alive", "w_dead"))
        sql = "INSERT INTO workers (id, started_at, seen_at) VALUES ($1, 1.0, $2)"
        await store.db.write([(sql, ("w_alive", 4.0)), (sql, ("w_dead", 0.0))])
        for jobs, id in ((mine, "msg_mine"), (living, "msg_living"), (dead, "msg_dead")):
            await jobs.add([job(id)])
            await jobs.take(1)
        await mine.requeue()
        assert [(one.id, one.tries) for one in await mine.take(9)] == [("msg_dead", 2)]

    with_store(url, work)


def test_a_job_that_is_let_go_is_due_again_as_if_it_had_not_been_tried(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        await jobs.add([job("msg_1")])
        [taken] = await jobs.take(1)
        await jobs.let_go(taken)
        assert [one.tries for one in await jobs.take(1)] == [1]

    with_store(url, work)


def test_a_job_that_is_put_off_takes_what_is_queued_of_its_batch_with_it(url: str) -> None:
    async def work(store: Store) -> None:
        now = 5.0
        jobs = Jobs(store.db, "w1", lambda: now)
        items = [job(f"msg_{number}", 1.0 + number / 10, "batch", batch_id="batch_1") for number in range(4)]
        await jobs.add(items, [batch("1")])
        first, second = await jobs.take_items(2)
        await jobs.add([job("msg_other", 2.0, "batch", batch_id="batch_2")], [batch("2")])
        await jobs.put_off(second, 9.0)
        assert [one.id for one in await jobs.take_items(9)] == ["msg_other"]
        now = 9.0
        later = await jobs.take_items(9)
        assert sorted((one.id, one.tries) for one in later) == [("msg_1", 1), ("msg_2", 1), ("msg_3", 1)]
        assert (await OrgJobs(store.db, ORG).job(first.id)).status == "running"

    with_store(url, work)


class Away:
    """A database that is away, or raises what nobody expects: from the commit that takes jobs on, which happens or not,
    or from the look that follows it. Once."""

    def __init__(self, db: Database, when: str, error: type[Exception] = StoreDown) -> None:
        self._db = db
        self._when = when
        self._error = error
        self.dialect = db.dialect
        self.read = db.read

    async def look_up(self, sql: str, *args: Value) -> list[Row]:
        if sql == _TAKEN and self._is("read back"):
            raise self._error
        return await self._db.look_up(sql, *args)

    async def write(self, statements: Sequence[Statement]) -> None:
        takes = statements[0][0] == _TAKE
        if takes and self._is("before the commit"):
            raise self._error
        await self._db.write(statements)
        if takes and self._is("after the commit"):
            raise self._error

    def _is(self, when: str) -> bool:
        struck = self._when == when
        self._when = "" if struck else self._when
        return struck


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
@pytest.mark.parametrize("when", ["before the commit", "after the commit", "read back"])
def test_jobs_that_were_taken_while_the_store_went_away_are_taken_again_as_if_not_tried(
    url: str, when: str, error: type[Exception]
) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(Away(store.db, when, error), "w1", lambda: 5.0)  # type: ignore[arg-type]
        await jobs.add([in_line("msg_1"), in_line("msg_2")])
        with pytest.raises(error):
            await jobs.take(9)
        assert [(one.id, one.tries) for one in await jobs.take(9)] == [("msg_1", 1)]
        assert await jobs.take(9) == []

        jobs = Jobs(Away(store.db, when, error), "w1", lambda: 5.0)  # type: ignore[arg-type]
        await jobs.add(*items("b", 3))
        with pytest.raises(error):
            await jobs.take_items(9)
        assert [one.tries for one in await jobs.take_items(9)] == [1, 1, 1]

    with_store(url, work)


def test_what_another_server_has_taken_meanwhile_stays_its_own(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(Away(store.db, "before the commit"), "w1", lambda: 5.0)  # type: ignore[arg-type]
        await jobs.add([job("msg_1")])
        with pytest.raises(StoreDown):
            await jobs.take(9)
        [other] = await Jobs(store.db, "w2", lambda: 5.0).take(9)
        assert await jobs.take(9) == []
        assert (await OrgJobs(store.db, ORG).job(other.id)).status == "running"

    with_store(url, work)


def test_a_job_that_is_let_go_until_later_is_not_due_before_and_letting_go_twice_changes_nothing(url: str) -> None:
    async def work(store: Store) -> None:
        now = 5.0
        jobs = Jobs(store.db, "w1", lambda: now)
        await jobs.add([job("msg_1")])
        [one] = await jobs.take(1)
        await jobs.let_go(one, 9.0)
        assert await jobs.take(1) == []
        now = 9.0
        [again] = await jobs.take(1)
        assert again.tries == 1
        await jobs.let_go(one, 9.0)  # the store had been away, and it was not known whether it had taken it
        assert (await OrgJobs(store.db, ORG).job("msg_1")).status == "running"
        await store.db.write([jobs.letting_go(again, 12.0, tried=True)])
        now = 12.0
        assert [one.tries for one in await jobs.take(1)] == [2]

    with_store(url, work)


def test_a_job_is_due_again_once_it_is_known_what_its_run_has_spent(url: str) -> None:
    async def work(store: Store) -> None:
        dead, mine = (Jobs(store.db, name, lambda: 5.0) for name in ("w_dead", store.worker))
        await dead.add([replace(job("msg_1"), run_id="run_1")])
        await dead.take(1)
        await store.ledger.commit(run_started(), attempt_started())
        await mine.requeue()
        assert await mine.take(1) == []
        await store.ledger.commit(attempt_settled())
        await mine.requeue()
        assert [one.id for one in await mine.take(1)] == ["msg_1"]

    with_store(url, work)


def test_another_orgs_job_is_as_unknown_as_one_that_never_was(url: str) -> None:
    async def work(store: Store) -> None:
        await Jobs(store.db, "w1", lambda: 5.0).add([job("msg_1", batch_id="batch_1")])
        foreign = OrgJobs(store.db, "org_b")
        said = []
        for id in ("msg_1", "msg_2"):
            with pytest.raises(NotFound) as refused:
                await foreign.job(id)
            said.append(refused.value.message.replace(id, ""))
        assert said[0] == said[1]
        assert await foreign.of_batch("batch_1") == []
        assert [one.id for one in await OrgJobs(store.db, ORG).of_batch("batch_1")] == ["msg_1"]

    with_store(url, work)


def test_each_kind_is_taken_by_itself(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        items = [job(f"msg_{number}", kind="batch", batch_id="batch_1") for number in range(9)]
        await jobs.add([*items, job("msg_turn", 2.0)], [batch("1")])
        assert [one.id for one in await jobs.take(4)] == ["msg_turn"]
        assert len(await jobs.take_items(4)) == 4
        assert await jobs.take_items(0) == await jobs.take_items(-3) == []

    with_store(url, work)


def test_a_short_batch_does_not_wait_for_a_long_one_of_another_org_or_of_its_own(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)

        async def turns(places: int, ends: int = 0) -> Counter[str]:
            """Whose items begin, when so many of those under way have ended."""
            rows = await store.db.read("SELECT id FROM jobs WHERE status = 'running' ORDER BY id LIMIT $1", ends)
            for (id,) in rows:
                await jobs.end(id, "done", b"")
            return Counter(one.id.split("_")[1] for one in await jobs.take_items(places))

        await jobs.add(*items("long", 500))
        assert await turns(24) == {"long": 24}
        await jobs.add(*items("short", 10, org="org_b", at=2.0))
        await jobs.add(*items("own", 10, at=3.0))
        assert await turns(24, 24) == {"short": 10, "own": 7, "long": 7}
        assert await turns(24, 24) == {"own": 3, "long": 21}

    with_store(url, work)


def test_of_more_batches_than_places_each_has_its_turn(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        for number in range(5):
            await jobs.add(*items(f"b{number}", 9, org=f"org_{number}", at=float(number)))
        begun = []
        for _ in range(10):
            [one] = await jobs.take_items(1)
            begun.append(one.org_id)
            await jobs.end(one.id, "done", b"")
        assert Counter(begun) == {f"org_{number}": 2 for number in range(5)}

    with_store(url, work)


def test_items_of_two_servers_are_shared_and_each_begins_once(url: str) -> None:
    async def work(store: Store) -> None:
        one, two = (Jobs(store.db, name, lambda: 5.0) for name in ("w1", "w2"))
        await one.add(*items("long", 60))
        await one.add(*items("short", 30, org="org_b", at=2.0))
        begun: list[str] = []
        for _ in range(20):
            both = await asyncio.gather(one.take_items(5), two.take_items(5))
            begun += [job.id for jobs in both for job in jobs]
        assert len(begun) == len(set(begun)) == 90

    with_store(url, work)


def in_line(id: str, line: str = "conv_1", kind: JobKind = "turn") -> Job:
    return replace(job(id, kind=kind), line=line)


async def taken(jobs: Jobs) -> list[str]:
    return sorted(one.id for one in await jobs.take(9))


def test_a_turn_begins_when_those_accepted_before_it_in_its_line_are_over(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        for id in ("msg_c", "msg_b", "msg_a"):  # not in the order of their ids
            await jobs.add([in_line(id)])
        await jobs.add([in_line("msg_other", "conv_2"), in_line("msg_none", ""), in_line("msg_none2", "")])
        assert await taken(jobs) == ["msg_c", "msg_none", "msg_none2", "msg_other"]
        assert await taken(jobs) == []
        await jobs.end("msg_c", "failed", b"")
        assert await taken(jobs) == ["msg_b"]
        await jobs.end("msg_b", "done", b"")
        assert await taken(jobs) == ["msg_a"]

    with_store(url, work)


def test_a_turn_whose_worker_died_is_made_before_those_accepted_after_it_and_they_were_not_tried(url: str) -> None:
    async def work(store: Store) -> None:
        dead, mine = (Jobs(store.db, name, lambda: 5.0) for name in ("w_dead", store.worker))
        for id in ("msg_b", "msg_a"):
            await dead.add([in_line(id)])
        assert await taken(dead) == ["msg_b"]
        assert await taken(mine) == []
        for tries in (2, 3):
            await mine.requeue()
            [again] = await mine.take(9)
            assert (again.id, again.tries) == ("msg_b", tries)
            await store.db.write([("UPDATE jobs SET worker = 'w_dead' WHERE id = 'msg_b'", ())])
        await mine.end("msg_b", "done", b"")
        [last] = await mine.take(9)
        assert (last.id, last.tries) == ("msg_a", 1)

    with_store(url, work)


def test_turns_of_one_line_that_two_servers_accept_in_turn_are_given_out_in_that_order(url: str) -> None:
    async def work(store: Store) -> None:
        both = [Jobs(store.db, name, lambda: 5.0) for name in ("w1", "w2")]
        ids = [f"msg_{number}" for number in (5, 2, 7, 0, 3, 6, 1, 4)]
        for number, id in enumerate(ids):
            await both[number % 2].add([in_line(id)])
        given: list[str] = []
        while len(given) < len(ids):
            found = [job for jobs in await asyncio.gather(*(jobs.take(9) for jobs in both)) for job in jobs]
            assert len(found) == 1
            given.append(found[0].id)
            await both[0].end(found[0].id, "done", b"")
        assert given == ids

    with_store(url, work)


def test_a_turn_waits_for_the_item_of_a_batch_that_began_its_conversation(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        item = replace(in_line("msg_item", kind="batch"), batch_id="batch_1")
        await jobs.add([item], [batch("1")])
        await jobs.add([in_line("msg_turn")])
        assert await taken(jobs) == []
        assert [one.id for one in await jobs.take_items(9)] == ["msg_item"]
        await jobs.end("msg_item", "done", b"")
        assert await taken(jobs) == ["msg_turn"]

    with_store(url, work)


def turns(org: str, count: int, at: float = 1.0, line: str = "") -> list[Job]:
    return [replace(job(f"msg_{org}_{n:03}", at + n / 1000), org_id=f"org_{org}", line=line) for n in range(count)]


async def whose(jobs: Jobs, limit: int, begun: dict[str, int] | None = None, most: int | None = None) -> dict[str, int]:
    return dict(Counter(one.org_id.removeprefix("org_") for one in await jobs.take(limit, begun, most)))


def test_one_orgs_many_turns_do_not_come_before_anothers(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        await jobs.add([*turns("many", 200), *turns("few", 3, at=2.0)])
        assert await whose(jobs, 8) == {"many": 5, "few": 3}
        await jobs.add([*turns("later", 30, at=3.0), *turns("not_due", 3, at=9.0)])
        assert await whose(jobs, 8, {"org_many": 5, "org_few": 3}) == {"later": 6, "many": 2}
        assert [one.id for one in await jobs.take(1, {"org_later": 2, "org_many": 1})] == ["msg_many_007"]

    with_store(url, work)


def test_no_org_gets_more_places_than_it_may_or_the_last_ones(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        for n, org in enumerate("abcdef"):
            await jobs.add(turns(org, 50, at=1.0 + n / 10))
            begun = dict(
                Counter(org for (org,) in await store.db.read("SELECT org_id FROM jobs WHERE status = 'running'"))
            )
            free = 32 - sum(begun.values())
            assert await whose(jobs, free, begun, 10) == {org: (10, 10, 6, 3, 2, 1)[n]}

    with_store(url, work)


def test_orgs_whose_turns_all_wait_in_line_hold_up_nobody(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        for n in range(5):
            await jobs.add(turns(f"line{n}", 9, line=f"conv_{n}"))
        assert len(await jobs.take(9)) == 5
        await jobs.add(turns("free", 1, at=4.0))
        assert await whose(jobs, 1) == {"free": 1}

    with_store(url, work)


def test_a_turn_that_only_waits_for_its_place_is_not_tried(url: str) -> None:
    async def work(store: Store) -> None:
        dead, mine = (Jobs(store.db, name, lambda: 5.0) for name in ("w_dead", store.worker))
        await dead.add([in_line("msg_1")])
        for _ in range(TRIES + 2):  # servers that die while it waits
            [one] = await dead.take(1)
            await dead.waits(one)
            await dead.waits(one)  # said twice, when the store was away
            await mine.requeue()
        [one] = await mine.take(1)
        assert one.tries == 1
        await mine.waits(one)
        await mine.begins(one)
        assert (await OrgJobs(store.db, ORG).job("msg_1")).tries == 1
        await mine.waits(one)
        await mine.let_go(one)
        assert (await OrgJobs(store.db, ORG).job("msg_1")).tries == 0

    with_store(url, work)


def test_who_has_waited_is_told_whether_the_job_is_still_its_own(url: str) -> None:
    async def work(store: Store) -> None:
        here, there = (Jobs(store.db, name, lambda: 5.0) for name in (store.worker, "w_other"))
        await here.add([in_line("msg_1")])
        [one] = await here.take(1)
        await here.waits(one)
        assert await here.begins(one)
        await there.requeue()  # to whom this worker is dead
        await store.db.write([("UPDATE jobs SET status = 'queued'", ())])
        assert not await here.begins(one)
        [theirs] = await there.take(1)
        assert not await here.begins(one)
        assert await there.begins(theirs)
        await there.end("msg_1", "done", b"{}")
        assert not await here.begins(one)
        assert (await OrgJobs(store.db, ORG).job("msg_1")).tries == theirs.tries

    with_store(url, work)


@pytest.mark.parametrize("theirs", ["waits", "runs", "has ended"])
def test_a_run_whose_job_another_worker_has_taken_does_not_go_on_here(url: str, theirs: str) -> None:
    async def work(store: Store) -> None:
        await Jobs(store.db, store.worker, lambda: 5.0).add([replace(job("msg_1"), run_id="run_1")])
        [one] = await Jobs(store.db, "w_other", lambda: 5.0).take(1)
        other = Ledger(store.db, "w_other")
        began, again = run_started(), RunReopened("run_1", ORG, one.id)
        if theirs != "waits":
            await other.commit(began, again)
        if theirs == "has ended":  # in a way that it could go on after, were it not for its job
            failed = RunEnded("run_1", "failed", 6.0, "interrupted")
            await other.commit(failed, JobEnded(one.id, "failed", b"{}", 6.0))
        await store.ledger.commit(began, again)
        status = "failed" if theirs == "has ended" else "running"
        worker = store.worker if theirs == "waits" else "w_other"  # who has begun it, if only for now
        assert await store.db.read("SELECT status, worker FROM runs") == [(status, worker)]
        if store.db.dialect == "postgres":
            assert not await store.presence.owns("run_1", one.id)
        await other.commit(began, again)
        assert await store.db.read("SELECT status, worker FROM runs") == [(status, "w_other")]

    with_store(url, work)


def test_a_run_whose_job_is_this_workers_goes_on_here_and_is_known_as_its_own(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, store.worker, lambda: 5.0)
        await jobs.add([replace(job("msg_1"), run_id="run_1")])
        [one] = await jobs.take(1)
        await Ledger(store.db, "w_dead").commit(run_started(), RunEnded("run_1", "failed", 6.0, "interrupted"))
        await store.ledger.commit(run_started(), RunReopened("run_1", ORG, one.id))
        assert await store.db.read("SELECT status, worker FROM runs") == [("running", store.worker)]
        assert await store.presence.owns("run_1", one.id)

    with_store(url, work)


def test_looking_for_who_is_before_a_turn_reads_nothing_that_is_over(url: str) -> None:
    async def work(store: Store) -> None:
        if store.db.dialect == "sqlite":
            plan = await store.db.read("EXPLAIN QUERY PLAN " + _DUE, ORG, 5.0, 9)
            assert any("jobs_in_line" in str(row) for row in plan), plan
            assert any("jobs_due_by_org" in str(row) for row in plan), plan
            plan = await store.db.read("EXPLAIN QUERY PLAN " + _ORGS, 5.0)
            assert not any("SCAN jobs" in str(row) or "SCAN one" in str(row) for row in plan), plan

    with_store(url, work)
