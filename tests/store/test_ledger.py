from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import asdict, fields, replace

from midstream.core.errors import BadRequest
from midstream.core.usage import Usage
from midstream.store import Store, open_store
from midstream.store.ledger import (
    AttemptSettled,
    ConversationAdded,
    ConversationTouched,
    MessageAdded,
    OutboxAdded,
    Record,
    RunEnded,
    RunStarted,
)
from midstream.store.recovery import recover

from .turns import (
    NOW,
    ORG,
    attempt_settled,
    attempt_started,
    begin,
    end,
    message,
    run_ended,
    run_started,
    with_store,
)


def test_a_turn_reads_back_as_it_was_written(any_url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        [open_attempt] = await store.org(ORG).attempts()
        assert (open_attempt.status, open_attempt.cost, open_attempt.ended_at) == ("started", None, None)
        await store.ledger.commit(*end())
        [attempt] = await store.org(ORG).attempts()
        settled = attempt_settled()
        assert (attempt.status, attempt.cost, attempt.price_snapshot) == ("ok", "0.000123", "{}")
        assert (attempt.usage, attempt.estimate_in) == (settled.usage, 17)
        assert (attempt.started_at, attempt.ended_at) == (NOW, NOW + 1)
        run = await store.org(ORG).run("run_1")
        assert (run.status, run.ended_at, run.model, run.worker) == ("completed", NOW + 1, "fast", store.worker)
        assert [m.id for m in await store.org(ORG).run_messages("run_1")] == ["msg_1_in", "msg_1_out"]

    with_store(any_url, work)


def test_every_record_may_be_committed_twice(url: str) -> None:
    async def work(store: Store) -> None:
        other: list[Record] = [
            ConversationAdded(id="conv_1", org_id=ORG, created_at=NOW, title="t"),
            ConversationTouched(id="conv_1", org_id=ORG, updated_at=NOW + 5),
            OutboxAdded(id="out_1", org_id=ORG, topic="t", payload=b"p", created_at=NOW, available_at=NOW),
        ]
        for _ in range(2):
            await store.ledger.commit(*begin(), *other)
            await store.ledger.commit(*end())
        for table in ("runs", "attempts", "conversations", "outbox"):
            assert await store.db.read(f"SELECT count(*) FROM {table}") == [(1,)], table
        assert await store.db.read("SELECT count(*) FROM messages") == [(2,)]
        assert (await store.org(ORG).threads.thread("conv_1")).updated_at == NOW + 5

    with_store(url, work)


def test_a_run_may_begin_and_end_in_one_commit(url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(run_started(), run_ended())
        assert (await store.org(ORG).run("run_1")).status == "completed"

    with_store(url, work)


def test_the_first_end_stands(url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        await store.ledger.commit(*end())
        late = AttemptSettled(id="att_1", status="failed", usage=Usage(out_text=99), ended_at=NOW + 9, cost="9")
        await store.ledger.commit(late, RunEnded(id="run_1", status="failed", ended_at=NOW + 9))
        [attempt] = await store.org(ORG).attempts()
        assert (attempt.status, attempt.cost, attempt.usage.out_text) == ("ok", "0.000123", 7)
        assert (await store.org(ORG).run("run_1")).status == "completed"

    with_store(url, work)


def test_content_and_error_texts_hold_any_character(url: str) -> None:
    nasty = "a\0b\ud800c\N{SNOWMAN}"

    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        content = b'{"role":"user","parts":[],"name":"\\u0000\x00"}'
        await store.ledger.commit(
            AttemptSettled(
                id="att_1", status="failed", usage=Usage(), ended_at=NOW, error_code="c", error_message=nasty
            ),
            RunEnded(id="run_1", status="failed", ended_at=NOW, error_message=nasty),
        )
        await store.db.write([("UPDATE messages SET content = $1", (content,))])
        [attempt] = await store.org(ORG).attempts()
        assert attempt.error_message == "a\ufffdb?c\N{SNOWMAN}"
        assert (await store.org(ORG).run_messages("run_1"))[0].content == content

    with_store(url, work)


def test_a_number_too_large_for_the_store_is_the_callers_error(url: str) -> None:
    async def work(store: Store) -> None:
        await store.ledger.commit(*begin())
        with pytest.raises(BadRequest):
            await store.ledger.commit(attempt_settled(usage=Usage(out_text=2**70)))
        [attempt] = await store.org(ORG).attempts()
        assert attempt.status == "started"

    with_store(url, work)


_names = st.sampled_from(["1", "2", "3"])
_records = st.one_of(
    st.builds(run_started, _names),
    st.builds(attempt_started, _names),
    st.builds(
        lambda name, status, out: AttemptSettled(
            id=f"att_{name}", status=status, usage=Usage(out_text=out), ended_at=NOW, cost=str(Decimal(out) / 1000)
        ),
        _names,
        st.sampled_from(["ok", "failed", "partial"]),
        st.integers(0, 999),
    ),
    st.builds(
        lambda name, status: RunEnded(id=f"run_{name}", status=status, ended_at=NOW),
        _names,
        st.sampled_from(["completed", "failed", "cancelled"]),
    ),
)
_commits = st.lists(st.lists(_records, min_size=1, max_size=4), max_size=12)


def _expected(commits: list[list[Record]]) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """attempt -> (status, out_text), run -> status, once everything open has been recovered."""
    attempts: dict[str, tuple[str, int]] = {}
    runs: dict[str, str] = {}
    for record in (record for commit in commits for record in commit):
        match type(record).__name__:
            case "RunStarted":
                runs.setdefault(record.id, "running")  # type: ignore[union-attr]
            case "AttemptStarted":
                attempts.setdefault(record.id, ("started", 0))  # type: ignore[union-attr]
        if isinstance(record, AttemptSettled) and attempts.get(record.id, ("", 0))[0] == "started":
            attempts[record.id] = (record.status, record.usage.out_text)
        if isinstance(record, RunEnded) and runs.get(record.id) == "running":
            runs[record.id] = record.status
    return (
        {id: ("unknown", 0) if status == "started" else (status, out) for id, (status, out) in attempts.items()},
        {id: "failed" if status == "running" else status for id, status in runs.items()},
    )


async def _recovered_as_expected(store: Store, commits: list[list[Record]]) -> None:
    await store.db.write([("UPDATE workers SET seen_at = 0", ())])
    await recover(store.db)
    await recover(store.db)
    attempts, runs = _expected(commits)
    rows = await store.org(ORG).attempts()
    assert {row.id: (row.status, row.usage.out_text) for row in rows} == attempts
    assert {row.id: row.status for row in await store.org(ORG).runs()} == runs
    assert all(row.ended_at is not None for row in rows)


@settings(deadline=None)
@given(_commits)
def test_any_sequence_of_records_ends_every_attempt_and_run_exactly_once(commits: list[list[Record]]) -> None:
    async def run() -> None:
        store = await open_store("sqlite://:memory:", worker="test")
        for commit in commits:  # one after the other, as what belongs together is written
            await store.ledger.commit(*commit)
        await _recovered_as_expected(store, commits)
        await store.close()

    asyncio.run(run())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_commits)
def test_any_sequence_of_records_ends_once_on_postgres_too(postgres_url: str, commits: list[list[Record]]) -> None:
    async def work(store: Store) -> None:
        await store.db.write([("DELETE FROM runs", ()), ("DELETE FROM attempts", ())])
        for commit in commits:
            await store.ledger.commit(*commit)
        await _recovered_as_expected(store, commits)

    with_store(postgres_url, work)


def _optional(record: type[Struct], *always: str) -> list[dict[str, Any]]:
    """Every choice of the fields that a record may be without."""
    told: dict[str, Any] = {
        "detail": b"{}", "error_code": "c", "error_message": "m", "parent_id": "msg_0", "price_snapshot": "{}",
    }  # fmt: skip
    names = [field.name for field in fields(record) if field.default is None and field.name not in always]
    choices = [
        [name for name, on in zip(names, picked, strict=True) if on] for picked in product((0, 1), repeat=len(names))
    ]
    return [{name: told.get(name, name) for name in choice} for choice in choices]


def test_what_a_record_leaves_out_is_null_and_what_it_says_is_stored(any_url: str) -> None:
    """A record that says little has a statement of its own."""
    asked: list[tuple[str, Record, dict[str, Any]]] = []
    for at, more in enumerate(_optional(RunStarted)):
        asked.append(("runs", replace(run_started(f"a{at}"), **more), {}))
    for at, more in enumerate(_optional(MessageAdded)):
        asked.append(("messages", replace(message(f"a{at}"), **more), {}))
    for at, more in enumerate(_optional(RunEnded)):
        asked.append(("runs", replace(run_ended(f"b{at}"), **more), {"begun": run_started(f"b{at}")}))
    for at, more in enumerate(_optional(AttemptSettled, "cost")):
        asked.append(("attempts", replace(attempt_settled(f"b{at}"), **more), {"begun": attempt_started(f"b{at}")}))

    async def work(store: Store) -> None:
        for table, record, before in asked:
            await store.ledger.commit(*before.values(), record)
            told = {name: value for name, value in asdict(record).items() if name != "usage"}
            told |= asdict(record.usage) if isinstance(record, AttemptSettled) else {}
            [row] = await store.db.read(f"SELECT {', '.join(told)} FROM {table} WHERE id = $1", told["id"])
            assert dict(zip(told, row, strict=True)) == told

    with_store(any_url, work)
