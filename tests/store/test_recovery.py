from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from midstream.app import supervisor
from midstream.core.errors import StoreDown
from midstream.core.parts import Message
from midstream.core.serving import Priced
from midstream.core.toolbox import IN_DOUBT, ToolAnswer
from midstream.core.usage import Usage
from midstream.store import Store, interrupted, open_store, recovery
from midstream.store.database import Database, Statement
from midstream.store.jobs import Job, Jobs
from midstream.store.ledger import (
    ConversationAdded,
    ConversationMoved,
    Ledger,
    MessageAdded,
    Record,
    RunReopened,
    RunStarted,
)
from midstream.store.metrics import Period, Transaction, transaction_added
from midstream.store.rows import MessageDetail
from midstream.store.tool_calls import CANCELLED, CallEnded

from .test_tool_calls import queued
from .turns import (
    NOW,
    ORG,
    attempt_settled,
    attempt_started,
    beating,
    begin,
    end,
    ended,
    message,
    run_ended,
    run_started,
    with_store,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
_ALL_SILENT = [("UPDATE workers SET seen_at = 0", ())]


def _crash(url: str, acks: Path, lives: int, stride: int) -> int:
    """How many of the lives ended in a kill."""
    run = [sys.executable, "-m", "tests.store.crashing", url, str(acks), str(lives), str(stride)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


async def _nothing_lost_nothing_twice(store: Store, acks: Path) -> None:
    lines = [line.split() for line in acks.read_text().splitlines()]
    begun = {name for word, name in lines if word == "begun"}
    ended = {name for word, name in lines if word == "ended"}
    attempts = {row.id.removeprefix("att_"): row for row in await store.all_orgs().attempts(limit=100_000)}
    runs = {row.id.removeprefix("run_"): row for row in await store.all_orgs().runs(limit=100_000)}
    messages = {row[0] for row in await store.db.read("SELECT id FROM messages")}
    assert begun <= attempts.keys()
    assert attempts.keys() == runs.keys()
    assert {f"msg_{name}_in" for name in attempts} <= messages  # a transaction is whole or not at all
    for name, row in attempts.items():
        if name in ended or f"msg_{name}_out" in messages:
            assert (row.status, row.usage, runs[name].status) == ("ok", attempt_settled().usage, "completed")
            assert f"msg_{name}_out" in messages
        else:
            assert (row.status, runs[name].status, runs[name].error_code) == ("unknown", "failed", "interrupted")
            assert row.usage == Usage(uncached_in=17, estimated=True)
    assert sum(name not in ended for name in attempts) > 0, "no life ended in the middle of a turn"


async def _ends(store: Store) -> list[tuple[object, ...]]:
    attempts = await store.db.read("SELECT id, status, ended_at FROM attempts ORDER BY id")
    return attempts + await store.db.read("SELECT id, status, ended_at FROM runs ORDER BY id")


def _sweep(url: str, acks: Path, lives: int, stride: int) -> None:
    deaths = _crash(url, acks, lives, stride)
    assert deaths >= lives * 0.7, "most lives should end at their step"

    async def check(store: Store) -> None:
        await store.db.write(_ALL_SILENT)
        await recovery.recover(store.db)
        await _nothing_lost_nothing_twice(store, acks)
        before = await _ends(store)
        await asyncio.gather(*(recovery.recover(store.db) for _ in range(3)))
        assert await _ends(store) == before

    with_store(url, check)


def test_kill_9_between_any_two_steps_loses_nothing_on_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    _sweep(sqlite_url, tmp_path / "acks", lives=35, stride=3)


def test_kill_9_between_any_two_steps_loses_nothing_on_postgres(postgres_url: str, tmp_path: Path) -> None:
    _sweep(postgres_url, tmp_path / "acks", lives=20, stride=4)


@pytest.mark.long
def test_kill_9_at_every_step_of_many_lives(url: str, tmp_path: Path) -> None:
    _sweep(url, tmp_path / "acks", lives=100, stride=1)


def test_two_workers_recover_a_third_once(postgres_url: str) -> None:
    async def run() -> None:
        dead = await open_store(postgres_url, worker="w")
        await dead.ledger.commit(*begin("a"))
        await dead.ledger.commit(*begin("b"))
        await dead.ledger.commit(*end("b"))
        one = await open_store(postgres_url, worker="w")
        two = await open_store(postgres_url, worker="w")
        await one.ledger.commit(*begin("mine"))
        assert await _statuses(one) == {"att_a": "started", "att_b": "ok", "att_mine": "started"}
        await one.db.write([("UPDATE workers SET seen_at = seen_at - 31 WHERE id = $1", (dead.worker,))])
        await asyncio.gather(*(recovery.recover(s.db) for s in (one, two, one, two)))
        assert await _statuses(two) == {"att_a": "unknown", "att_b": "ok", "att_mine": "started"}
        # it was only asleep: what it writes now comes too late
        await dead.ledger.commit(attempt_settled("a"), run_ended("a"))
        assert (await _statuses(one))["att_a"] == "unknown"
        assert (await one.org(ORG).run("run_a")).error_code == "interrupted"
        for store in (dead, one, two):
            await store.close()

    asyncio.run(run())


def test_after_an_outage_of_the_database_nobody_counts_as_dead_for_having_been_silent(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were silent meanwhile: who comes back first, or is new, waits until the others could be heard."""
    monkeypatch.setattr(recovery, "HEARTBEAT", 0.05)

    async def run() -> None:
        living = await open_store(postgres_url, worker="w")
        away = await open_store(postgres_url, worker="w")  # its next heartbeat is some seconds off
        beats = beating(living)
        await away.ledger.commit(*begin("goes_on"))
        write, down = living.db.write, True

        async def failing(statements: Sequence[Statement]) -> None:
            if down:
                raise StoreDown
            await write(statements)

        living.db.write = failing  # type: ignore[method-assign]
        await asyncio.sleep(0.15)
        await write([("UPDATE workers SET seen_at = seen_at - 60", ())])
        down = False
        new = await open_store(postgres_url, worker="w")
        beats += beating(new)
        await asyncio.sleep(0.08)
        await away.presence.renew()
        await asyncio.sleep(0.5)
        await away.ledger.commit(*end("goes_on"))
        assert await _statuses(new) == {"att_goes_on": "ok"}
        await write([("UPDATE workers SET seen_at = seen_at - 60 WHERE id = $1", (away.worker,))])
        await away.ledger.commit(*begin("lost"))
        await asyncio.sleep(0.3)
        assert (await _statuses(new))["att_lost"] == "unknown"
        await ended(*beats)
        for store in (living, new, away):
            await store.close()

    asyncio.run(run())


async def _statuses(store: Store) -> dict[str, str]:
    return {row.id: row.status for row in await store.org(ORG).attempts()}


def test_a_silent_worker_is_forgotten_and_joins_again_with_its_next_heartbeat(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        await store.db.write(_ALL_SILENT)
        await recovery.recover(store.db)
        assert await store.db.read("SELECT id FROM workers") == []
        await store.presence.beat()
        assert await store.db.read("SELECT id FROM workers") == [(store.worker,)]

    with_store(postgres_url, work)


def test_what_a_worker_leaves_open_when_it_closes_is_ended_by_the_next(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(*begin("open"))
        await store.ledger.commit(*begin("done"))
        await store.ledger.commit(*end("done"))

    async def look(store: Store) -> None:
        assert await _statuses(store) == {"att_open": "unknown", "att_done": "ok"}

    with_store(url, leave_open)
    with_store(url, look)


def test_a_run_that_never_reached_an_attempt_is_ended_too(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(run_started("bare"))

    async def look(store: Store) -> None:
        assert (await store.org(ORG).run("run_bare")).status == "failed"

    with_store(url, leave_open)
    with_store(url, look)


def test_the_account_of_a_call_whose_server_died_is_kept_once_where_accounts_are_wanted(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(run_started("a"), replace(attempt_started("a"), accounted=True))
        await store.ledger.commit(run_started("b"), attempt_started("b"))

    async def look(store: Store) -> None:
        await recovery.recover(store.db)
        columns = "id, run_id, key_id, service, status, input_tokens, output_tokens, cost"
        rows = await store.db.read(f"SELECT {columns} FROM model_transactions")
        assert rows == [("att_a", "run_a", "key_1", "local", "unknown", 17, 0, None)]

    with_store(url, leave_open)
    with_store(url, look)


def test_who_reads_accounts_as_they_arrive_reads_that_of_a_call_whose_server_died(url: str) -> None:
    last: list[str] = []

    async def leave_open(store: Store) -> None:
        await store.ledger.commit(run_started("a"), replace(attempt_started("a"), accounted=True))
        one = Transaction("att_read", ORG, "r", None, None, "k", "s", "m", "ok", 1, 1, 0, 0, None, NOW + 1e9)
        await store.db.write(transaction_added(one))
        last.append((await store.metrics(ORG).transactions(Period(), order="arrived"))[-1].id)

    async def look(store: Store) -> None:
        await recovery.recover(store.db)
        rows = await store.metrics(ORG).transactions(Period(), order="arrived", after=last[0])
        assert [row.id for row in rows] == ["att_a"]

    with_store(url, leave_open)
    with_store(url, look)


def _a_token_each(provider: str, model: str, usage: Usage, at: float) -> Priced:
    assert (provider, usage.estimated) == ("local", True)
    return Priced(f"{usage.input_tokens / 1000:.9f}", f'{{"{model}": {at}}}') if model == "m" else Priced(None)


def test_a_call_whose_server_died_costs_what_its_prompt_is_estimated_at(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(run_started("a"), replace(attempt_started("a"), accounted=True))
        await store.ledger.commit(attempt_started("free", model="of no price"), attempt_started("ok"))
        await store.ledger.commit(replace(attempt_started("none", model="of no price"), estimate_in=0))
        await store.ledger.commit(replace(attempt_settled("ok"), cost="2"))

    async def look() -> None:
        store = await open_store(url, worker="test", price=_a_token_each)
        for _ in range(2):
            rows = {row.id: (row.cost, row.price_snapshot) for row in await store.org(ORG).attempts()}
            assert rows == {
                "att_a": ("0.017000000", f'{{"m": {NOW}}}'),
                "att_free": (None, None),
                "att_none": ("0.000000000", None),
                "att_ok": ("2", "{}"),
            }
            assert await store.db.read("SELECT id, cost FROM model_transactions") == [("att_a", "0.017000000")]
            [used] = await store.org(ORG).usage(group_by="org")
            assert (used.cost, used.unpriced) == ("2.017", 1)
            await recovery.recover(store.db, price=_a_token_each)
        await store.close()

    with_store(url, leave_open)
    asyncio.run(look())


def test_a_count_of_tokens_whose_server_died_costs_nothing(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(replace(run_started("a"), kind="count_tokens"), attempt_started("a"))

    async def look() -> None:
        store = await open_store(url, worker="test", price=_a_token_each)
        [row] = await store.org(ORG).attempts()
        assert (row.status, row.usage, row.cost, row.error_code) == ("unknown", Usage(), "0.000000000", "interrupted")
        await store.close()

    with_store(url, leave_open)
    asyncio.run(look())


class Between:
    """A database in which something happens between a recovery's look and its write."""

    def __init__(self, db: Database, happens: Callable[[], Awaitable[None]]) -> None:
        self._db = db
        self._happens = happens
        self.dialect = db.dialect
        self.read = db.read

    async def write(self, statements: Sequence[Statement]) -> None:
        await self._happens()
        await self._db.write(statements)


def test_a_call_whose_server_dies_while_another_ones_end_is_written_has_its_price_too(url: str) -> None:
    async def work(store: Store) -> None:
        add = "INSERT INTO workers (id, started_at, seen_at) VALUES ('w_other', $1, $1)"
        await store.db.write([(add, (4e9,))])
        other = Ledger(store.db, "w_other")
        begun = (
            replace(run_started("a"), agent_id="agt_1", accounted=True),
            replace(attempt_started("a"), accounted=True),
        )
        await other.commit(*begun)
        between = Between(store.db, lambda: recovery.leave(store.db, "w_other"))
        attempts, accounts = "SELECT status, cost FROM attempts", "SELECT id, cost FROM model_transactions"
        await recovery.recover(between, price=_a_token_each)  # type: ignore[arg-type]
        assert await store.db.read(attempts) == [("started", None)]
        assert (await store.org(ORG).run("run_a")).status == "running"
        assert await _to_be_accounted(store) == await store.db.read(accounts) == []
        for _ in range(2):
            await recovery.recover(store.db, price=_a_token_each)
            assert await store.db.read(attempts) == [("unknown", "0.017000000")]
            assert await store.db.read(accounts) == [("att_a", "0.017000000")]
            assert (await store.org(ORG).run("run_a")).error_code == "interrupted"
            assert await _to_be_accounted(store) == ["run_a"]

    with_store(url, work)


async def _to_be_accounted(store: Store) -> list[str]:
    rows = await store.db.read("SELECT id FROM outbox WHERE topic = 'interrupted' ORDER BY id")
    return [interrupted.run_in(id) for (id,) in rows]


def test_a_turn_that_ends_with_its_server_is_accounted_once_unless_a_job_goes_on_with_it(url: str) -> None:
    async def leave_open(store: Store) -> None:
        for name in ("counted", "job", "over"):
            await store.ledger.commit(replace(run_started(name), agent_id="agt_1", accounted=True))
        await store.ledger.commit(run_started("playground"), run_ended("over"))
        await Jobs(store.db, store.worker, lambda: NOW).add(
            [Job("msg_1", ORG, "key_1", "turn", None, "run_job", b"", None, NOW, NOW)]
        )

    async def look(store: Store) -> None:
        for _ in range(2):
            assert await _to_be_accounted(store) == ["run_counted"]
            await recovery.recover(store.db)

    with_store(url, leave_open)
    with_store(url, look)


def test_a_job_that_is_given_up_is_accounted_and_leaves_its_error_in_its_conversation(url: str) -> None:
    job = Job("msg_q_cut", ORG, "key_1", "turn", None, "run_cut", b"", None, NOW, NOW)
    said = {"code": "interrupted", "message": "given up"}

    async def leave_open(store: Store) -> None:
        run, *rest = _asked("cut", 0)
        assert isinstance(run, RunStarted)
        await store.ledger.commit(ConversationAdded(CUT, ORG, NOW), replace(run, accounted=True), *rest)
        await Jobs(store.db, store.worker, lambda: NOW).add([job])

    async def look(store: Store) -> None:
        assert await _said(store) == [("msg_q_cut", "")]
        jobs = Jobs(store.db, store.worker, lambda: NOW)
        for _ in range(2):
            await jobs.end(job.id, "failed", b"{}", jobs.given_up(job, said))
            assert await _said(store) == [("msg_q_cut", ""), ("msg_cut", "interrupted")]
            assert await _to_be_accounted(store) == ["run_cut"]

    with_store(url, leave_open)
    with_store(url, look)


def test_a_cut_turn_that_is_refused_when_it_is_made_again_ends_with_that_refusal_and_one_that_never_began_with_nothing(
    url: str,
) -> None:
    job = Job("msg_q_cut", ORG, "key_1", "turn", None, "run_cut", b"", None, NOW, NOW)
    never = replace(job, id="msg_never", run_id="run_never")
    said = {"code": "agent_paused", "message": "the agent \0 is paused"}

    async def leave_open(store: Store) -> None:
        run, *rest = _asked("cut", 0)
        assert isinstance(run, RunStarted)
        await store.ledger.commit(ConversationAdded(CUT, ORG, NOW), replace(run, accounted=True), *rest)
        await store.tool_calls(ORG).queue([queued(0, run="run_cut"), queued(1, effect="idempotent", run="run_cut")])
        await Jobs(store.db, store.worker, lambda: NOW).add([job, never])

    async def look(store: Store) -> None:
        # It goes on, and the store is away: as app.jobs leaves it.
        away = replace(run_ended("cut"), status="failed", error_code="store_unavailable")
        await store.ledger.commit(RunReopened("run_cut", ORG), away)
        await store.ledger.commit(RunReopened("run_cut", ORG))
        assert (await store.org(ORG).run("run_cut")).status == "running"
        await store.tool_calls(ORG).begin("call_run_cut_1_0", "call_run_cut_1_1")
        jobs = Jobs(store.db, store.worker, lambda: NOW)
        for one in (job, never):
            await jobs.end(one.id, "failed", b"{}", jobs.given_up(one, said))
        run = await store.org(ORG).run("run_cut")
        assert (run.status, run.error_code, run.error_message) == (
            "failed",
            "agent_paused",
            "the agent \ufffd is paused",
        )
        assert await _said(store) == [("msg_q_cut", ""), ("msg_cut", "agent_paused")]
        told = await store.db.read("SELECT id, payload FROM outbox WHERE topic = 'interrupted'")
        assert [(id, bytes(payload)) for id, payload in told] == [("interrupted:run_cut", b"told")]
        calls = await store.tool_calls(ORG).of_run("run_cut")
        assert [row.status for row in calls] == ["in_doubt", "failed"]

    with_store(url, leave_open)
    with_store(url, look)


def test_of_the_tools_that_a_dead_server_called_the_unsafe_ones_are_in_doubt_and_no_other(url: str) -> None:
    async def leave_open(store: Store) -> None:
        journal = store.tool_calls(ORG)
        await store.ledger.commit(run_started("1"), run_started("2"))
        await store.ledger.commit(run_ended("2"))
        await journal.queue([queued(0), queued(1, effect="idempotent"), queued(2), queued(3), queued(0, run="run_2")])
        await journal.begin("call_run_1_1_0", "call_run_1_1_1", "call_run_1_1_3")
        await journal.end(CallEnded("call_run_1_1_3", ToolAnswer("ok", "paid")))

    async def look(store: Store) -> None:
        journal = store.tool_calls(ORG)
        ends = [(row.status, row.error) for row in await journal.of_run("run_1")]
        assert ends == [("in_doubt", "in_doubt"), ("failed", CANCELLED), ("failed", CANCELLED), ("ok", None)]
        assert (await journal.of_run("run_1"))[0].answer() == IN_DOUBT
        assert [row.status for row in await journal.of_run("run_2")] == ["queued"]

    with_store(url, leave_open)
    with_store(url, look)


def test_marks_move_past_what_has_ended_and_stay_before_what_is_open(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        for n in range(6):
            await store.ledger.commit(*begin(str(n)))
            if n != 3:
                await store.ledger.commit(*end(str(n)))
        await store.presence.beat()
        assert await store.db.read("SELECT runs_mark, attempts_mark FROM workers") == [(3, 3)]
        await store.ledger.commit(*end("3"))
        await store.ledger.commit(run_started("late"), attempt_started("later"))
        await store.ledger.commit(run_ended("late"))
        await store.presence.beat()
        assert await store.db.read("SELECT runs_mark, attempts_mark FROM workers") == [(7, 6)]

    async def look(store: Store) -> None:
        assert (await _statuses(store))["att_later"] == "unknown"

    with_store(sqlite_url, work)
    with_store(sqlite_url, look)


def test_the_heartbeat_goes_on_after_the_store_was_away(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "HEARTBEAT", 0.01)
    monkeypatch.setattr(supervisor, "AWAY", 0.01)

    async def work(store: Store) -> None:
        beats = beating(store)
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # nobody else may write
        await asyncio.sleep(0.3)
        other.execute("ROLLBACK")
        other.close()
        await store.ledger.commit(*begin("1"))
        await store.ledger.commit(*end("1"))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if await store.db.read("SELECT runs_mark FROM workers") == [(1,)]:
                break
        else:
            raise AssertionError("the heartbeat has stopped")
        await ended(*beats)

    with_store(sqlite_url, work)


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
def test_the_heartbeat_goes_on_whatever_has_kept_one_from_getting_through(
    url: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(recovery, "HEARTBEAT", 0.01)
    monkeypatch.setattr(supervisor, "AWAY", 0.01)
    monkeypatch.setattr(supervisor, "FIRST", 0.01)

    async def work(store: Store) -> None:
        write, failed = store.db.write, 0

        async def failing(statements: Sequence[Statement]) -> None:
            nonlocal failed
            if failed < 3:
                failed += 1
                raise error
            await write(statements)

        store.db.write = failing  # type: ignore[method-assign]
        await write([("UPDATE workers SET seen_at = 1, runs_mark = -1", ())])
        beats = beating(store)
        heard = "SELECT CASE WHEN runs_mark = 0 OR seen_at > 1 THEN 1 ELSE 0 END FROM workers"
        async with asyncio.timeout(5):
            while await store.db.read(heard) != [(1,)]:
                await asyncio.sleep(0.01)
        assert failed == 3
        await ended(*beats)

    with_store(url, work)


def test_a_bug_in_looking_after_the_dead_does_not_keep_a_server_from_being_heard(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "HEARTBEAT", 0.01)

    async def broken(*args: object) -> None:
        raise ZeroDivisionError

    async def work(store: Store) -> None:
        monkeypatch.setattr(recovery, "recover", broken)
        beats = beating(store)
        for _ in range(3):
            await store.db.write([("UPDATE workers SET seen_at = 1", ())])
            async with asyncio.timeout(5):
                while await store.db.read("SELECT 1 FROM workers WHERE seen_at > 1") == []:
                    await asyncio.sleep(0.01)
        await ended(*beats)

    with_store(postgres_url, work)


CUT = "conv_cut"


def _asked(run: str, seq: int, *, conversation: str = CUT, detail: bytes | None = b"{}") -> list[Record]:
    """A turn's question, the message of which has the run's name."""
    id = f"msg_q_{run}"
    return [
        run_started(run, conversation=conversation),
        replace(message(f"q_{run}", seq, run=run, conversation=conversation), parent_id="", detail=detail),
        ConversationMoved(conversation, ORG, id, NOW),
    ]


async def _said(store: Store, conversation: str = CUT) -> list[tuple[str, str]]:
    threads = store.org(ORG).threads
    line = await threads.line(await threads.thread(conversation), 10)
    return [
        (one.id, msgspec.json.decode(one.detail, type=MessageDetail).error.get("code", ""))
        for one in line.messages
        if one.detail is not None
    ]


def test_a_turn_that_was_cut_is_kept_with_its_error_in_its_conversation_once(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(ConversationAdded(CUT, ORG, NOW), *_asked("cut", 0))

    async def look(store: Store) -> None:
        for _ in range(2):
            await recovery.recover(store.db)
            assert await _said(store) == [("msg_q_cut", ""), ("msg_cut", "interrupted")]
        row = (await store.org(ORG).threads.line(await store.org(ORG).threads.thread(CUT), 1)).messages[0]
        assert (row.seq, row.parent_id, row.run_id, row.spoken()) == (
            1,
            "msg_q_cut",
            "run_cut",
            Message("assistant", ()),
        )
        # its worker was only asleep: what it says now comes too late
        await store.ledger.commit(replace(message("cut", 1, conversation=CUT), role="assistant", parent_id="msg_q_cut"))
        assert await _said(store) == [("msg_q_cut", ""), ("msg_cut", "interrupted")]

    with_store(url, leave_open)
    with_store(url, look)


def test_no_error_is_added_where_the_turn_goes_on_or_the_conversation_was_reset(url: str) -> None:
    names = ("job", "reset", "plain")

    async def leave_open(store: Store) -> None:
        for name in names:
            conversation = f"conv_{name}"
            detail = None if name == "plain" else b"{}"
            await store.ledger.commit(
                ConversationAdded(conversation, ORG, NOW), *_asked(name, 0, conversation=conversation, detail=detail)
            )
        jobs = Jobs(store.db, store.worker, lambda: NOW)
        await jobs.add([Job("msg_q_job", ORG, "key_1", "turn", None, "run_job", b"", None, NOW, NOW)])
        assert len(await jobs.take(1)) == 1
        await store.org(ORG).threads.reset("conv_reset")

    async def look(store: Store) -> None:
        await recovery.recover(store.db)
        assert {row.status for row in await store.org(ORG).runs()} == {"failed"}
        found = await store.db.read("SELECT id FROM messages WHERE role = 'assistant'")
        assert found == []

    with_store(url, leave_open)
    with_store(url, look)


def test_a_turn_that_was_cut_has_its_error_before_what_another_server_went_on_with(url: str) -> None:
    async def leave_open(store: Store) -> None:
        await store.ledger.commit(ConversationAdded(CUT, ORG, NOW), *_asked("cut", 0))
        run, question, moved = _asked("next", 2)
        assert isinstance(question, MessageAdded)
        answer = replace(message("next", 3, conversation=CUT), role="assistant", parent_id="msg_q_next", detail=b"{}")
        # the question is answered anew as well: that is a branch of its own
        again = replace(answer, id="msg_again", seq=4, parent_id="msg_q_cut")
        await store.ledger.commit(
            run, replace(question, parent_id="msg_q_cut"), moved, run_ended("next"), answer, again,
            ConversationMoved(CUT, ORG, "msg_next", NOW),
        )  # fmt: skip
        assert await _said(store) == [("msg_q_cut", ""), ("msg_q_next", ""), ("msg_next", "")]

    async def look(store: Store) -> None:
        threads = store.org(ORG).threads
        for _ in range(2):
            await recovery.recover(store.db)
            errors = ["", "interrupted", "", ""]
            names = ["msg_q_cut", "msg_cut", "msg_q_next", "msg_next"]
            assert await _said(store) == list(zip(names, errors, strict=True))
            rows = await threads.all_messages(CUT)
            assert [(row.id, row.seq) for row in rows] == [(id, n) for n, id in enumerate([*names, "msg_again"])]
            assert rows[-1].parent_id == "msg_q_cut"
            assert (await threads.thread(CUT)).current_id == "msg_next"

    with_store(url, leave_open)
    with_store(url, look)


def test_of_a_turns_calls_the_last_that_is_known_is_told_and_not_when_they_were_found(url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin("a"))
        runs = [("UPDATE runs SET status = 'failed', agent_id = 'agt_1', error_code = 'x', error_message = 'x'", ())]
        await store.db.write(runs)
        assert (await interrupted.interrupted_turn(store.db, ORG, "run_a")).called_at == NOW
        call = """
            INSERT INTO tool_calls (id, org_id, run_id, round, place, call_id, tool_id, name, kind, effect, arguments,
                status, created_at, started_at, ended_at)
            VALUES ($1, $2, 'run_a', 1, $3, 'c', '', 't', 'http', 'pure', $4, $5, $6, $7, $8)"""
        left = (
            ("queued", NOW + 1, None, None),
            ("failed", NOW + 2, NOW + 3, NOW + 30),
            ("ok", NOW + 1, NOW + 2, NOW + 5),
        )
        for place, (status, *times) in enumerate(left):
            await store.db.write([(call, (f"call_{place}", ORG, place, b"{}", status, *times))])
            told = (await interrupted.interrupted_turn(store.db, ORG, "run_a")).called_at
            assert told == (NOW + 1, NOW + 3, NOW + 5)[place]

    with_store(url, work)
