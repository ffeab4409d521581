"""Turns that were accepted come to their end: also when the store is away for a while, and when there is a bug."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from midstream.app import jobs as jobs_module
from midstream.app import supervisor, turn_work
from midstream.core.errors import StoreDown
from midstream.store.jobs import TRIES, Job

from .agent_things import other_org, published
from .asgi import Here, here

ASK = "/api/v2/model/chat/completion"
QUEUE = {"type": "queue", "cred": {"name": "q"}}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_PAUSE", 0.01), ("LONGEST_PAUSE", 0.05), ("LOOK_EVERY", 0.02)):
        monkeypatch.setattr(jobs_module, name, seconds)


async def later(app: Here, user: str = "say 1 words", **more: Any) -> str:
    body = {"user": user, "service": "midstream", "model": "rehearsal", "thread_id": "t", "response_format": QUEUE}
    reply = await app.ask("POST", ASK, {**body, **more})
    assert reply.json["success"] is True, reply.body
    return str(reply.json["message_id"])


async def ended(app: Here, id: str) -> Any:
    for _ in range(1000):
        job = (await app.ask("GET", f"/v1/admin/jobs/{id}")).json
        if job["ended_at"]:
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(job)


async def delivered(app: Here) -> list[Any]:
    waiting = (await app.ask("GET", "/v1/queues/q")).json["data"]
    return [one["payload"] for one in waiting]


def test_a_turn_whose_beginning_the_store_is_away_from_is_made_when_it_is_back_however_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def test(app: Here) -> None:
        turns, left = app.services.agents, TRIES + 3
        order = turns.order

        async def away(*args: Any, **more: Any) -> Any:
            nonlocal left
            if left:
                left -= 1
                raise StoreDown
            return await order(*args, **more)

        monkeypatch.setattr(turns, "order", away)
        job = await ended(app, await later(app))
        assert (job["status"], job["tries"], left) == ("done", 1, 0)
        assert [one["success"] for one in await delivered(app)] == [True]

    here(tmp_path, test)


def test_what_costs_something_each_time_that_the_store_goes_away_is_not_made_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def costly(prompt: Any, ask: Any, *rest: Any) -> Any:
        await ask(prompt)
        await ask(prompt)
        raise StoreDown

    async def test(app: Here) -> None:
        monkeypatch.setattr(turn_work, "loop", costly)
        job = await ended(app, await later(app))
        assert (job["status"], job["result"]["code"]) == ("failed", "interrupted")
        attempts = (await app.ask("GET", "/v1/admin/attempts?limit=100")).json["data"]
        assert [one["status"] for one in attempts] == ["ok"] * 2 * TRIES
        monkeypatch.undo()
        assert (await ended(app, await later(app)))["status"] == "done"

    here(tmp_path, test)


def test_a_bug_before_the_turn_begins_ends_it_tells_whoever_waits_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(*args: Any, **more: Any) -> Any:
        raise ZeroDivisionError

    async def test(app: Here) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(app.services.agents, "order", broken)
            job = await ended(app, await later(app))
        assert (job["status"], job["result"]["code"]) == ("failed", "internal_error")
        [told] = await delivered(app)
        bug = told["error"].rpartition(" ")[2]
        assert bug.startswith("bug_")
        assert bug in caplog.text
        assert "ZeroDivisionError" in caplog.text
        assert (await ended(app, await later(app)))["status"] == "done"

    with caplog.at_level(logging.ERROR):
        here(tmp_path, test)


def test_of_turns_that_wait_to_be_let_go_of_one_that_fails_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervisor, "FIRST", 0.01)

    async def test(app: Here) -> None:
        runner = app.process.workers.jobs
        let_go, done = runner._jobs.let_go, []

        async def failing(job: Any, until: float | None = None) -> None:
            if job.id == "msg_bad":
                raise ZeroDivisionError
            done.append(job.id)

        monkeypatch.setattr(runner._jobs, "let_go", failing)
        one = Job("msg_bad", "org_default", "k", "turn", None, "run_1", b"", None, 0.0, 0.0)
        runner._left += [jobs_module._Try(one), jobs_module._Try(replace(one, id="msg_good"))]
        async with asyncio.timeout(5):
            while not done:
                await asyncio.sleep(0.01)
        assert [left.job.id for left in runner._left] == ["msg_bad"]
        monkeypatch.setattr(runner._jobs, "let_go", let_go)

    here(tmp_path, test)


def test_a_bug_in_telling_of_a_bug_ends_the_turn_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: Any, **more: Any) -> Any:
        raise ZeroDivisionError

    async def test(app: Here) -> None:
        agent = (await published(app))["id"]
        with monkeypatch.context() as patched:
            patched.setattr(app.services.agents, "order", broken)
            patched.setattr(jobs_module, "failure", broken)
            made = {"agent_id": agent, "batch": ["say 1 words"]}
            reply = await app.ask("POST", "/api/v2/model/batch/chat/completion", made, content_type="application/json")
            job = await ended(app, await later(app))
            assert job["status"] == "failed"
            assert "bug_" in job["result"]["error"]
            for _ in range(300):
                told = (await app.ask("GET", f"/api/v2/model/batch/{reply.json['batch_id']}")).json
                if told["status"] == "completed":
                    break
                await asyncio.sleep(0.01)
        assert [one["status"] for one in told["data"]] == ["failed"]
        assert (await ended(app, await later(app)))["status"] == "done"

    here(tmp_path, test)


async def running(app: Here, jobs: int) -> None:
    """Waits until so many are, and no more."""
    for _ in range(500):
        [(found,)] = await app.services.store.db.read("SELECT count(*) FROM jobs WHERE status = 'running'")
        if found == jobs:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{found} jobs are running, not {jobs}")


def test_an_org_whose_turns_all_stall_holds_up_no_other(tmp_path: Path):
    async def test(app: Here) -> None:
        for number in range(40):
            await later(app, "stall", thread_id=f"t{number}")
        await running(app, jobs_module.OF_ONE_ORG)
        _, key = await other_org(app)
        body = {"user": "say 1 words", "service": "midstream", "model": "rehearsal", "response_format": QUEUE}
        assert (await app.ask("POST", ASK, body, key)).json["success"] is True
        for _ in range(500):
            waiting = (await app.ask("GET", "/v1/queues/q", key=key)).json["data"]
            if waiting:
                break
            await asyncio.sleep(0.01)
        assert [one["payload"]["success"] for one in waiting] == [True]
        await app.process.drain(0)

    here(tmp_path, test)


def test_an_org_whose_batches_all_stall_holds_up_no_others_batch(tmp_path: Path):
    path, model = "/api/v2/model/batch/chat/completion", {"service": "midstream", "model": "rehearsal"}

    async def test(app: Here) -> None:
        made = {**model, "batch": ["stall"] * (jobs_module.OF_BATCHES + 1)}
        assert (await app.ask("POST", path, made, content_type="application/json")).status == 200
        await running(app, jobs_module.OF_ONE_ORGS_BATCHES)
        _, key = await other_org(app)
        made = {**model, "batch": ["say 1 words"]}
        id = (await app.ask("POST", path, made, key, content_type="application/json")).json["batch_id"]
        for _ in range(500):
            told = (await app.ask("GET", f"/api/v2/model/batch/{id}", key=key)).json
            if told["status"] == "completed":
                break
            await asyncio.sleep(0.01)
        assert [one["status"] for one in told["data"]] == ["done"]
        await app.process.drain(0)

    here(tmp_path, test)


def test_a_turn_that_only_waits_for_its_conversation_holds_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs_module, "AT_ONCE", 2)
    monkeypatch.setattr(jobs_module, "OF_ONE_ORG", 2)

    async def test(app: Here) -> None:
        body = {"user": "stall", "service": "midstream", "model": "rehearsal"}
        asked = [asyncio.create_task(app.ask("POST", ASK, {**body, "thread_id": f"t{n}"})) for n in range(2)]
        for _ in range(500):
            if len(await app.services.store.db.read("SELECT 1 FROM runs WHERE status = 'running'")) == 2:
                break
            await asyncio.sleep(0.01)
        waiting = [await later(app, thread_id=f"t{n}") for n in range(2)]
        assert (await ended(app, await later(app, thread_id="other")))["status"] == "done"
        stand = [(await app.ask("GET", f"/v1/admin/jobs/{id}")).json["status"] for id in waiting]
        assert stand == ["running", "running"]
        await app.process.drain(0)
        await asyncio.gather(*asked, return_exceptions=True)

    here(tmp_path, test)
