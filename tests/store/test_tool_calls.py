from __future__ import annotations

import pytest

from midstream.core.errors import NotFound
from midstream.core.parts import Message, Text, ToolCall
from midstream.core.toolbox import ToolAnswer
from midstream.store import Store, tool_calls
from midstream.store.rows import MessageDetail, detail_in
from midstream.store.tool_calls import CANCELLED, CallEnded, CallQueued, CallRow, left_behind

from .turns import NOW, ORG, run_started, with_store

DONE = ToolAnswer("ok", "sunny", value={"sky": 1}, ms=7)


def queued(place: int = 0, run: str = "run_1", round: int = 1, id: str = "", effect: str = "unsafe") -> CallQueued:
    id = id or f"call_{run}_{round}_{place}"
    return CallQueued(id, run, round, place, f"c{place}", "tool_1", "look", "http", effect, b'{"city":"Oslo"}')


def test_a_call_is_there_before_it_runs_and_says_how_it_ended(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        await journal.queue([queued()])
        [row] = await journal.of_run("run_1")
        assert (row.status, row.started_at, row.ended_at, row.result) == ("queued", None, None, None)
        await journal.begin(row.id)
        [row] = await journal.of_run("run_1")
        assert (row.status, row.ended) == ("running", False)
        assert row.started_at is not None
        await journal.end(CallEnded(row.id, DONE))
        [row] = await journal.of_run("run_1")
        assert (row.status, row.answer(), row.arguments) == ("ok", DONE, b'{"city":"Oslo"}')
        assert row.ended_at is not None

    with_store(any_url, work)


def test_the_calls_of_a_run_are_found_without_a_walk_through_all_of_the_orgs(sqlite_url: str):
    async def work(store: Store) -> None:
        for sql, args in ((tool_calls._OF_RUN, 2), (tool_calls._OF_ROUND, 3)):
            plan = await store.db.read("EXPLAIN QUERY PLAN " + sql, *["x"] * args)
            assert any("tool_calls_by_run (run_id=?" in row[3] for row in plan), plan

    with_store(sqlite_url, work)


def test_what_a_run_leaves_open_ends_with_it_and_what_never_began_may_begin_elsewhere(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        await journal.queue([queued(0), queued(1), queued(2, effect="pure"), queued(0, run="run_2")])
        await journal.begin("call_run_1_1_0", "call_run_1_1_2")
        await store.ledger.commit(*left_behind("run_1", "org_other", NOW))
        assert [row.ended for row in await journal.of_run("run_1")] == [False] * 3
        await store.ledger.commit(*left_behind("run_1", ORG, NOW))
        ends = [(row.status, row.ended_at) for row in await journal.of_run("run_1")]
        assert ends == [("in_doubt", NOW), ("failed", NOW), ("failed", NOW)]
        assert [row.status for row in await journal.of_run("run_2")] == ["queued"]
        await journal.begin("call_run_1_1_0", "call_run_1_1_1")
        assert [row.status for row in await journal.of_run("run_1")] == ["in_doubt", "running", "failed"]

    with_store(any_url, work)


def test_each_statement_may_be_committed_twice(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        for _ in range(2):
            await journal.queue([queued(0), queued(1)])
        for _ in range(2):
            await journal.begin("call_run_1_1_0")
        for answer in (DONE, ToolAnswer("failed", "late", error="late")):
            await journal.end(CallEnded("call_run_1_1_0", answer))
        await journal.begin("call_run_1_1_0")
        first, second = await journal.of_run("run_1")
        assert (first.status, first.answer(), second.status) == ("ok", DONE, "queued")

    with_store(any_url, work)


def test_a_place_of_a_run_holds_one_call(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        await journal.queue([queued()])
        await journal.queue([queued(id="call_other")])
        await journal.queue([queued(run="", id="call_a"), queued(run="", id="call_b")])
        assert [row.id for row in await journal.of_run("run_1")] == ["call_run_1_1_0"]
        assert len(await journal.page(run_id="")) == 2

    with_store(any_url, work)


def test_only_a_cancelled_call_is_begun_again(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        for place, error in enumerate((CANCELLED, "http_500")):
            await journal.queue([queued(place)])
            await journal.end(CallEnded(f"call_run_1_1_{place}", ToolAnswer("failed", "no", error=error)))
        await journal.begin("call_run_1_1_0", "call_run_1_1_1")
        assert [(row.status, row.error) for row in await journal.of_run("run_1")] == [
            ("running", None), ("failed", "http_500"),
        ]  # fmt: skip

    with_store(any_url, work)


def test_pages_are_in_order_and_another_orgs_calls_are_not_found(any_url: str):
    async def work(store: Store) -> None:
        await store.ledger.commit(run_started("1"), run_started("2", at=NOW + 1))
        journal, other = store.tool_calls(ORG), store.tool_calls("org_2")
        await journal.queue([queued(place) for place in range(5)])
        await journal.queue([queued(0, "run_2"), queued(1, "run_2")])
        ids = [row.id for row in await journal.page()]
        assert len(ids) == 7
        assert [row.id for row in await journal.page(after=ids[2], limit=2)] == ids[3:5]
        assert [row.run_id for row in await journal.page(run_id="run_2")] == ["run_2", "run_2"]
        assert await other.page() == await other.of_run("run_1") == []
        for mistake in ({"after": ids[0]}, {"run_id": "run_1"}):
            with pytest.raises(NotFound):
                await other.page(**mistake)
        with pytest.raises(NotFound):
            await other.one(ids[0])
        await other.begin(ids[0])
        await other.end(CallEnded(ids[0], DONE))
        assert (await journal.one(ids[0])).status == "queued"

    with_store(any_url, work)


def test_rounds_keep_what_the_model_said_first(any_url: str):
    async def work(store: Store) -> None:
        journal = store.tool_calls(ORG)
        said = [Message("assistant", (Text(f"{n}\0 \U0001f600"), ToolCall("c", "look", "{}"))) for n in range(2)]
        await store.db.write([journal.round_kept("run_1", 2, said[1])])
        await store.db.write([journal.round_kept("run_1", 1, said[0])])
        await store.db.write([journal.round_kept("run_1", 1, said[1])])
        assert await journal.rounds("run_1") == said
        assert await store.tool_calls("org_2").rounds("run_1") == []

    with_store(any_url, work)


@pytest.mark.parametrize("depth", [65, 900, 985, 5000])
def test_a_result_that_was_kept_before_it_had_a_bound_can_be_read(depth: int):
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    answer = CallRow(
        *["x"] * 3, 1, 0, *["x"] * 4, "pure", b"{}", "ok", b'{"status":"ok","text":"t","value":%b}' % deep
    ).answer()
    assert answer is not None
    assert (answer.status, answer.value) == ("ok", None)
    assert answer.text in ("t", "[what the tool gave is nested too deeply to be read]")


@pytest.mark.parametrize("depth", [65, 900, 985, 5000])
def test_what_is_kept_beside_a_message_can_be_read_whatever_was_nested_in_it(depth: int):
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    step = b'{"id":"c","name":"look","arguments":%b,"status":"ok"}'
    detail = detail_in(b'{"model":"m","tools_data":[%b,%b]}' % (step % b'{"city":"Oslo"}', step % deep))
    assert detail in (MessageDetail(), MessageDetail(model="m", tools_data=detail.tools_data))
    assert [step.arguments for step in detail.tools_data] in ([], [{"city": "Oslo"}, {}])
    assert detail_in(None) == detail_in(b"") == MessageDetail()
