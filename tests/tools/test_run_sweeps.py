"""A round of three tools is cancelled, or finds the store away, at every step that it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from midstream.core.errors import StoreDown
from midstream.core.toolbox import ToolAnswer
from midstream.store import Store
from midstream.tools import _run
from midstream.tools._run import Tools

from .scripted import ORG, RUN, Scripted, call, ok, scope, tool, tools_of, with_store

CALLS = [call("look", "c0"), call("keep", "c1"), call("pay", "c2"), call("nope", "c3")]
TOOLS = [tool("look"), tool("keep", effect="idempotent"), tool("pay", effect="unsafe")]


class Till:
    """What the tools did. paid: how often money left."""

    def __init__(self) -> None:
        self.paid = 0
        self.kind = Scripted(self._run)

    async def _run(self, arguments: dict[str, Any], note: Any) -> ToolAnswer:
        name = self.kind.ran[-1][0]
        await asyncio.sleep(0)
        if name == "pay":
            self.paid += 1
        await asyncio.sleep(0)
        return ok(name)


async def settled_truthfully(store: Store, till: Till, cancelled: bool) -> None:
    """Whatever happened, the journal says so; and asking again pays at most once."""
    rows = {row.name: row for row in await store.tool_calls(ORG).of_run(RUN)}
    if cancelled:
        assert all(row.ended for row in rows.values())
    pay = rows.get("pay")
    if till.paid:
        assert pay is not None
        assert pay.status in ("ok", "in_doubt", "running")
    again = await tools_of(store, till.kind).call(1, CALLS, TOOLS, scope())
    assert till.paid <= 1
    assert [answer.status for answer in again] == ["ok", "ok", again[2].status, "failed"]
    assert again[2].status in ("ok", "in_doubt")
    assert (again[2].status == "ok") <= (till.paid == 1)
    rows = {row.name: row for row in await store.tool_calls(ORG).of_run(RUN)}
    assert [rows[name].status for name in ("look", "keep", "pay", "nope")] == [answer.status for answer in again]


def test_a_round_that_is_cancelled_at_any_step_leaves_a_true_journal_and_pays_at_most_once(tmp_path):
    statuses = set()

    def sweep(steps: int, slots: int, url: str) -> bool:
        """False: the round was over before."""
        struck = False

        async def work(store: Store) -> None:
            nonlocal struck
            till = Till()
            task = asyncio.ensure_future(tools_of(store, till.kind).call(1, CALLS, TOOLS, scope(parallel=slots)))
            for _ in range(steps):
                await asyncio.sleep(0)
            struck = task.cancel()
            if struck:
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert till.kind.now == 0
            for row in await store.tool_calls(ORG).of_run(RUN):
                statuses.add((row.name, row.status))
            await settled_truthfully(store, till, struck)

        with_store(work, url)
        return struck

    for slots in (1, 8):
        for steps in range(200):
            if not sweep(steps, slots, "sqlite://:memory:"):
                break
        else:
            pytest.fail("it never ended")
        assert steps > 8
    assert ("pay", "in_doubt") in statuses
    assert ("pay", "failed") in statuses
    assert ("look", "ok") in statuses


class Failing:
    """A store whose k-th write says that it is away. happened: it was written all the same."""

    def __init__(self, store: Store, at: int, happened: bool, times: int = 99) -> None:
        self._write, self.writes = store.db.write, 0
        self._at, self._happened, self._times = at, happened, times
        store.db.write = self.write  # type: ignore[method-assign]

    async def write(self, statements: Sequence[Any]) -> None:
        self.writes += 1
        if self._at <= self.writes < self._at + self._times:
            if self._happened:
                await self._write(statements)
            raise StoreDown
        await self._write(statements)


@pytest.mark.parametrize("happened", [False, True])
def test_a_store_that_is_away_at_any_write_is_told_and_nothing_runs_unjournalled(happened: bool):
    def sweep(at: int) -> bool:
        met = False

        async def work(store: Store) -> None:
            nonlocal met
            till, failing = Till(), Failing(store, at, happened)
            try:
                await tools_of(store, till.kind).call(1, CALLS, TOOLS, scope())
            except StoreDown:
                met = True
            assert met == (failing.writes >= at)
            failing._at = 10_000
            rows = {row.name for row in await store.tool_calls(ORG).of_run(RUN)}
            assert {name for name, _, _ in till.kind.ran} <= rows
            await settled_truthfully(store, till, False)

        with_store(work)
        return met

    patience, _run.PATIENCE = _run.PATIENCE, (0.0, 0.0)
    try:
        met = [sweep(at) for at in range(1, 12)]
    finally:
        _run.PATIENCE = patience
    assert met.index(False) >= 5
    assert not any(met[met.index(False) :])


def test_a_store_that_is_away_for_a_moment_loses_no_result():
    async def work(store: Store) -> None:
        till = Till()
        failing = Failing(store, 2, False, times=1)
        answers = await Tools({"http": till.kind}, store.tool_calls, lambda: 0.0).call(1, CALLS[2:3], TOOLS, scope())
        assert [answer.status for answer in answers] == ["ok"]
        assert failing.writes == 3  # that it runs, what it came to, the same once more
        assert [row.status for row in await store.tool_calls(ORG).of_run(RUN)] == ["ok"]

    with_store(work)
