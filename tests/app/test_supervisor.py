from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

import pytest

from midstream.app import supervisor as module
from midstream.app.supervisor import Supervisor
from midstream.core.errors import BadRequest, StoreDown

ENDS: list[BaseException] = [
    ZeroDivisionError(), StoreDown(), BadRequest("?"), asyncio.CancelledError(), MemoryError(), OSError(28, "full"),
]  # fmt: skip


class Bench:
    """Work that goes round. ends: what its next rounds end in. now: the supervisor's clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rounds = 0
        self.ends: list[BaseException] = []
        self.supervisor = Supervisor(lambda: self.now)

    async def round(self) -> float:
        self.rounds += 1
        if self.ends:
            raise self.ends.pop(0)
        return 0.001

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.001)

    async def goes_round(self) -> None:
        before = self.rounds
        await self.until(lambda: self.rounds > before + 1)


def on_bench(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(Bench())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("AWAY", 0.005), ("FIRST", 0.005), ("LONGEST", 0.04)):
        monkeypatch.setattr(module, name, seconds)


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_whatever_a_round_ends_in_the_next_one_comes(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        task = bench.supervisor.keep("work", bench.round)
        await bench.goes_round()
        bench.ends = [error] * 3
        await bench.until(lambda: not bench.ends)
        await bench.goes_round()
        assert not task.done()

    with caplog.at_level(logging.INFO, "midstream.supervisor"):
        on_bench(test)
    assert "work" in caplog.text
    assert "work: goes on" in caplog.text


def test_a_bug_is_told_once_with_its_id_and_its_traceback_and_another_one_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.keep("work", bench.round)
        bench.ends = [ZeroDivisionError(), ZeroDivisionError(), ZeroDivisionError(), KeyError("x"), KeyError("x")]
        await bench.until(lambda: not bench.ends)
        await bench.goes_round()
        bench.ends = [KeyError("x")]
        await bench.until(lambda: not bench.ends)
        await bench.goes_round()

    on_bench(test)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert ["ZeroDivisionError" in one for one in told] == [True, False, False]
    assert ["KeyError" in one for one in told] == [False, True, True]
    assert all("bug bug_" in one and "Traceback" in one for one in told)
    assert len({one.split()[1] for one in told}) == 3


def test_a_store_that_stays_away_is_told_once_for_each_time(caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.keep("work", bench.round)
        for _ in range(2):
            bench.ends = [StoreDown() for _ in range(5)]
            await bench.until(lambda: not bench.ends)
            await bench.goes_round()

    on_bench(test)
    assert [record.getMessage() for record in caplog.records] == ["work: the store is unavailable, try again"] * 2


def test_the_pauses_after_bugs_grow_up_to_a_limit_and_are_short_again_after_a_round_that_went_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST", 0.01)
    monkeypatch.setattr(module, "LONGEST", 0.3)

    async def test(bench: Bench) -> None:
        at: list[float] = []

        async def round() -> float:
            at.append(asyncio.get_running_loop().time())
            if len(at) == 8:
                return 0.0
            raise ZeroDivisionError

        bench.supervisor.keep("work", round)
        await bench.until(lambda: len(at) == 10)
        pauses = [after - before for before, after in itertools.pairwise(at)]
        for pause, least in zip(pauses, [0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.3, 0, 0.01], strict=True):
            assert pause >= least
        assert pauses[-1] < 0.3

    on_bench(test)


def test_a_store_that_is_away_is_asked_again_after_the_same_short_pause_however_long_that_lasts() -> None:
    async def test(bench: Bench) -> None:
        began = asyncio.get_running_loop().time()
        bench.ends = [StoreDown() for _ in range(20)]
        bench.supervisor.keep("work", bench.round)
        await bench.until(lambda: not bench.ends)
        assert asyncio.get_running_loop().time() - began < 20 * 0.04

    on_bench(test)


@pytest.mark.parametrize("error", [*ENDS, None], ids=lambda error: type(error).__name__)
def test_work_that_does_not_come_round_is_said_to_stand_still_until_it_does(error: BaseException | None) -> None:
    async def test(bench: Bench) -> None:
        stuck = asyncio.Event()

        async def round() -> float:
            if error is None:
                await stuck.wait()
            return await bench.round()

        bench.supervisor.keep("slow", bench.round, first=3600)
        bench.supervisor.keep("patient", round, patience=1e9)
        bench.supervisor.keep("vital", round, vital=True)
        bench.supervisor.keep("work", round)
        bench.ends = [error] * 10_000 if error is not None else []
        await asyncio.sleep(0.02)
        assert bench.supervisor.still() == []
        bench.now += module.PATIENCE + 1
        await asyncio.sleep(0.02)
        assert bench.supervisor.still() == ["vital", "work"]
        assert bench.supervisor.still(vital=True) == ["vital"]
        bench.ends = []
        stuck.set()
        await bench.until(lambda: bench.supervisor.still() == [])

    on_bench(test)


def test_a_pause_between_two_rounds_is_no_standing_still() -> None:
    async def test(bench: Bench) -> None:
        async def round() -> float:
            bench.rounds += 1
            return 3600.0

        bench.supervisor.keep("work", round)
        await bench.until(lambda: bench.rounds == 1)
        bench.now += 3600 + module.PATIENCE / 2
        assert bench.supervisor.still() == []
        bench.now += module.PATIENCE
        assert bench.supervisor.still() == ["work"]

    on_bench(test)


def test_who_cancels_it_has_ended_its_round_too_and_one_that_was_the_last_ends_it() -> None:
    async def test(bench: Bench) -> None:
        ended: list[str] = []

        async def waits() -> float:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                ended.append("waits")
            return 0.0

        async def last() -> None:
            ended.append("last")

        waiting, ending = bench.supervisor.keep("waits", waits), bench.supervisor.keep("last", last)
        await asyncio.wait([ending], timeout=5)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=5)
        assert ended == ["last", "waits"]
        bench.now += 1e9
        assert bench.supervisor.still() == []

    on_bench(test)
