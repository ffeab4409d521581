from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.batches import Batch, added
from midstream.store.database import Statement
from midstream.store.jobs import Job, JobKind, Jobs, OrgJobs

from .turns import ORG, with_store


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
        assert await one.next_at() == 9.0

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
        await jobs.take(1)
        await jobs.let_go("msg_1")
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
