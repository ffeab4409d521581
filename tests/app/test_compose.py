"""A whole process: what goes on in it beside the requests, and what is told when others have taken it for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.core.secret import Secret
from midstream.core.serving import Line, Target
from midstream.core.turn import Plan
from midstream.store import open_store, presence, recovery
from midstream.store.ledger import JobEnded, Ledger, RunEnded, RunStarted

from ..postgres import Server, postgres
from .asgi import Asking, Here, here
from .test_jobs import ended, later

ASK = "/api/v2/model/chat/completion"
TOPICS = {f"topic {name}" for name in ("turn", "interrupted", "transaction", "alert", "memory", "title")}
VITAL = {"heartbeat", "later turns", "webhooks", *TOPICS}
EVERYWHERE = VITAL | {"ends of batches", "last use of keys", "live channels", "outbox", "turns left behind"}
AMONG_OTHERS = {
    "dead servers", "live channels of other servers", "live channels, told to other servers", "other servers",
    "owners of models",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture
def beside(server: Server) -> Iterator[str]:
    """A database that other servers may share."""
    with server.database() as url:
        yield url


def kept(app: Here) -> dict[str, Any]:
    return {work.name: work for work in app.process.supervisor._kept.values()}


async def nothing_else(app: Here) -> None:
    """Every task of an idle process is the supervisor's, or of a round that it has begun."""
    kinds = ("_Work.keep()", "_Work._go()")
    async with asyncio.timeout(10):
        while True:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            # the test's own, which waits for this one
            left = [one for one in others if not any(kind in repr(one) for kind in kinds) and "here." not in repr(one)]
            if not left:
                return
            await asyncio.sleep(0.05)


def test_all_that_goes_on_beside_the_requests_is_kept_going(tmp_path: Path) -> None:
    async def test(app: Here) -> None:
        assert {*kept(app)} == EVERYWHERE
        assert {name for name, work in kept(app).items() if work.vital} == VITAL
        await nothing_else(app)

    here(tmp_path, test)


def test_all_that_goes_on_beside_the_requests_of_one_server_among_others_is_kept_going(
    tmp_path: Path, beside: str
) -> None:
    async def test(app: Here) -> None:
        assert {*kept(app)} == EVERYWHERE | AMONG_OTHERS
        await nothing_else(app)

    here(tmp_path, test, database_url=Secret(beside))


def test_readiness_names_what_stands_still_where_the_server_cannot_do_without_it(tmp_path: Path) -> None:
    async def test(app: Here) -> None:
        assert (await app.ask("GET", "/readyz", key="")).status == 200
        kept(app)["last use of keys"]._due -= 1e6
        assert (await app.ask("GET", "/readyz", key="")).status == 200
        assert b"\nmidstream_standing_still 1\n" in (await app.ask("GET", "/metrics")).body
        kept(app)["heartbeat"]._due -= 1e6
        reply = await app.ask("GET", "/readyz", key="")
        assert reply.status == 503
        assert reply.json["reason"] == "standing still: heartbeat"
        assert b"\nmidstream_standing_still 2\n" in (await app.ask("GET", "/metrics")).body

    here(tmp_path, test)


async def taken_for_dead(app: Here, url: str) -> None:
    """Its heartbeats have not got through for a minute, and another server has ended what it has open."""
    store = app.services.store
    store.presence._heard -= 60
    await store.db.write([("UPDATE workers SET seen_at = seen_at - 60 WHERE id = $1", (store.worker,))])
    other = await open_store(url, worker="other")
    await recovery.recover(other.db)
    await other.close()


def turn(app: Here) -> Asking:
    body = {"user": "say 3 words", "service": "midstream", "model": "rehearsal", "thread_id": "t"}
    return app.begin("POST", ASK, body, content_type="application/json")


@asynccontextmanager
async def held_up(app: Here) -> AsyncIterator[None]:
    """Model calls that begin meanwhile go on at its end."""
    runs, gate = app.services.runs, asyncio.Event()
    complete = runs._complete

    async def waits(target: Target, key: str, plan: Plan, line: Line) -> None:
        await line.leaving()
        await gate.wait()
        await complete(target, key, plan, line)

    runs._complete = waits
    try:
        yield
    finally:
        runs._complete = complete
        gate.set()


async def under_way(app: Here, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len([one for one in await app.services.store.all_orgs().attempts() if one.status == "started"]) < count:
            await asyncio.sleep(0.01)


async def history(app: Here) -> list[tuple[str, str | None]]:
    [row] = (await app.ask("GET", "/api/v1/conversation/chat-history")).json["data"]
    messages = (await app.ask("GET", f"/api/v1/conversation/{row['id']}")).json["messages"]
    return [(one["role"], (one.get("error") or {}).get("code")) for one in messages]


@pytest.mark.parametrize("heard_again", [False, True])
def test_who_asked_is_told_what_stands_in_the_history_when_another_server_has_ended_the_turn(
    tmp_path: Path, beside: str, heard_again: bool
) -> None:
    async def test(app: Here) -> None:
        async with held_up(app):
            asked = turn(app)
            await under_way(app)
            await taken_for_dead(app, beside)
            if heard_again:  # it is stopped at once
                await app.services.store.presence.beat()
                await idle(app)
        reply = await asked.end()
        assert reply.status == 503
        assert reply.json["code"] == "interrupted"
        assert await history(app) == [("user", None), ("assistant", "interrupted")]
        kept = app.services.store.all_orgs()
        assert [(one.status, one.error_code) for one in await kept.runs()] == [("failed", "interrupted")]
        assert [one.status for one in await kept.attempts()] == ["unknown"]
        assert (await turn(app).end()).status == 200

    here(tmp_path, test, database_url=Secret(beside))


async def idle(app: Here) -> None:
    async with asyncio.timeout(5):
        while app.services.runs.active:
            await asyncio.sleep(0.01)


def test_a_stream_that_another_server_has_ended_does_not_end_well(tmp_path: Path, beside: str) -> None:
    async def test(app: Here) -> None:
        asked = app.chat("say 3 words pace 300", stream=True)
        await asked.until(lambda reply: bool(reply.pieces))
        await taken_for_dead(app, beside)
        reply = await asked.end()
        assert b"[DONE]" not in reply.body
        last = reply.body.strip().rpartition(b"data: ")[2]
        assert msgspec.json.decode(last)["error"]["code"] == "interrupted"

    here(tmp_path, test, database_url=Secret(beside))


def test_a_server_that_was_silent_and_has_lost_nothing_answers_as_ever(tmp_path: Path, beside: str) -> None:
    async def test(app: Here) -> None:
        async with held_up(app):
            asked = turn(app)
            await under_way(app)
            app.services.store.presence._heard -= 60
        assert (await asked.end()).status == 200
        assert not app.services.store.presence.in_doubt
        assert await history(app) == [("user", None), ("assistant", None)]

    here(tmp_path, test, database_url=Secret(beside))


def test_a_later_turn_that_another_server_goes_on_with_is_ended_once_and_by_that_one(
    tmp_path: Path, beside: str
) -> None:
    async def test(app: Here) -> None:
        store = app.services.store
        async with held_up(app):
            id = await later(app)
            await under_way(app)
            await taken_for_dead(app, beside)
            # as its next server takes it up
            await store.db.write([("INSERT INTO workers (id, started_at, seen_at) VALUES ('w_other', 4e9, 4e9)", ())])
            await store.db.write([("UPDATE jobs SET worker = 'w_other'", ())])
            await store.db.write([("UPDATE runs SET status = 'running', error_code = NULL, worker = 'w_other'", ())])
            await store.presence.beat()
            await idle(app)
        job = (await app.ask("GET", f"/v1/admin/jobs/{id}")).json
        assert (job["status"], job["ended_at"]) == ("running", None)
        assert [one.status for one in await store.all_orgs().runs()] == ["running"]
        assert (await app.ask("GET", "/v1/queues/q")).json["data"] == []

    here(tmp_path, test, database_url=Secret(beside))


@pytest.mark.parametrize("elsewhere", ["taken", "begun", "done"])
def test_a_later_turn_that_waited_while_another_server_took_it_is_not_made_a_second_time(
    tmp_path: Path, beside: str, elsewhere: str
) -> None:
    async def test(app: Here) -> None:
        store = app.services.store
        async with held_up(app):
            asked = turn(app)
            await under_way(app)
            id = await later(app)
            async with asyncio.timeout(10):  # it waits behind the other one
                while (await store.db.read("SELECT status, tries FROM jobs")) != [("running", 0)]:
                    await asyncio.sleep(0.01)
            await taken_for_dead(app, beside)
            await store.db.write([("INSERT INTO workers (id, started_at, seen_at) VALUES ('w_other', 4e9, 4e9)", ())])
            await store.db.write([("UPDATE jobs SET worker = 'w_other', tries = 1", ())])
            [(run,)] = await store.db.read("SELECT run_id FROM jobs")
            other = Ledger(store.db, "w_other")
            if elsewhere != "taken":
                await other.commit(RunStarted(run, "org_default", "k", "chat", "completion_v2", "", None, "req", 1.0))
            if elsewhere == "done":
                await other.commit(RunEnded(run, "completed", 2.0), JobEnded(id, "done", b'{"by": "the other"}', 2.0))
            await store.presence.beat()
        assert (await asked.end()).json["code"] == "interrupted"
        await idle(app)
        async with asyncio.timeout(10):
            while app.process.workers.jobs._at_work:
                await asyncio.sleep(0.01)
        await idle(app)
        assert [one.status for one in await store.all_orgs().attempts()] == ["unknown"]
        status = {"taken": [], "begun": [("running", "w_other")], "done": [("completed", "w_other")]}[elsewhere]
        assert await store.db.read("SELECT status, worker FROM runs WHERE id = $1", run) == status
        job = (await app.ask("GET", f"/v1/admin/jobs/{id}")).json
        assert (job["status"], job["tries"]) == ("done" if elsewhere == "done" else "running", 1)

    here(tmp_path, test, database_url=Secret(beside))


def test_doubt_begins_before_others_may_judge() -> None:
    assert presence.DOUBT < recovery.SILENCE
    assert presence.DOUBT > 2 * recovery.HEARTBEAT


def test_what_was_accepted_is_made_after_a_bug_in_taking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(app: Here) -> None:
        jobs = app.process.workers.jobs._jobs
        take, failed = jobs.take, 0

        async def broken(*asked: Any) -> Any:
            nonlocal failed
            if failed < 2:
                failed += 1
                raise ZeroDivisionError
            return await take(*asked)

        monkeypatch.setattr(jobs, "take", broken)
        assert (await ended(app, await later(app)))["status"] == "done"
        assert failed == 2

    here(tmp_path, test)
