from __future__ import annotations

import asyncio

import pytest

from midstream.core.errors import NotFound
from midstream.store import Store
from midstream.store.jobs import Job, JobKind, Jobs, OrgJobs

from .turns import ORG, with_store


def job(id: str, at: float = 1.0, kind: JobKind = "turn", **more: str) -> Job:
    return Job(id, ORG, "key_1", kind, more.get("batch_id"), f"run_{id}", b'{"user":"hi"}', b"{}", at, at)


def test_each_job_is_taken_by_one_worker_when_it_is_due(url: str) -> None:
    async def work(store: Store) -> None:
        now = 5.0
        one, two = (Jobs(store.db, name, lambda: now) for name in ("w1", "w2"))
        await one.add([job(f"msg_{number}") for number in range(20)] + [job("msg_later", 9.0)])
        both = await asyncio.gather(one.take(50, "turn"), two.take(50, "turn"))
        taken = [taken.id for taken in both[0] + both[1]]
        assert sorted(taken) == sorted(f"msg_{number}" for number in range(20))
        assert all(one.status == "running" and one.tries == 1 for one in both[0] + both[1])
        assert await one.take(50, "turn") == []
        assert await one.next_at() == 9.0

    with_store(url, work)


def test_the_first_end_of_a_job_is_the_one_that_counts(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        await jobs.add([job("msg_1")])
        await jobs.take(1, "turn")
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
            await jobs.take(1, "turn")
        await mine.requeue()
        assert [(one.id, one.tries) for one in await mine.take(9, "turn")] == [("msg_dead", 2)]

    with_store(url, work)


def test_a_job_that_is_let_go_is_due_again_as_if_it_had_not_been_tried(url: str) -> None:
    async def work(store: Store) -> None:
        jobs = Jobs(store.db, "w1", lambda: 5.0)
        await jobs.add([job("msg_1")])
        await jobs.take(1, "turn")
        await jobs.let_go("msg_1")
        assert [one.tries for one in await jobs.take(1, "turn")] == [1]

    with_store(url, work)


def test_a_job_that_is_put_off_takes_what_is_queued_of_its_batch_with_it(url: str) -> None:
    async def work(store: Store) -> None:
        now = 5.0
        jobs = Jobs(store.db, "w1", lambda: now)
        items = [job(f"msg_{number}", 1.0 + number / 10, "batch", batch_id="batch_1") for number in range(4)]
        await jobs.add([*items, job("msg_other", 2.0, "batch", batch_id="batch_2")])
        first, second = await jobs.take(2, "batch")
        await jobs.put_off(second, 9.0)
        assert [one.id for one in await jobs.take(9, "batch")] == ["msg_other"]
        now = 9.0
        later = await jobs.take(9, "batch")
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
        await jobs.add([job(f"msg_{number}", kind="batch") for number in range(9)] + [job("msg_turn", 2.0)])
        assert [one.id for one in await jobs.take(4, "turn")] == ["msg_turn"]
        assert len(await jobs.take(4, "batch")) == 4
        assert await jobs.take(0, "batch") == await jobs.take(-3, "batch") == []

    with_store(url, work)
