from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from midstream.access import points as module
from midstream.access.points import InProcess, Points
from midstream.core.errors import LimitReached, StoreDown
from midstream.store import open_store

ORG = "org_default"


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


USUAL = {"agent": 100, "thread": 20, "window": 60.0}


def with_points(work: Callable[[Points, Time], Awaitable[None]], **most: float) -> None:
    async def run() -> None:
        store, time = await open_store("sqlite://:memory:", worker="test"), Time()
        try:
            await work(Points(store, time, time, **USUAL | most), time)  # type: ignore[arg-type]
        finally:
            await store.close()

    asyncio.run(run())


async def passed(
    points: Points, times: int, agent: str, thread: str = "", org: str = ORG, limits: dict[str, int] | None = None
) -> int:
    """How many of so many turns at once pass."""
    done = await asyncio.gather(
        *(points.spend(org, agent, thread, limits or {}) for _ in range(times)), return_exceptions=True
    )
    refused = [one for one in done if isinstance(one, BaseException)]
    assert all(isinstance(one, LimitReached) for one in refused)
    return len(done) - len(refused)


def test_of_101_turns_of_an_agent_at_once_exactly_100_pass_and_others_are_not_touched() -> None:
    async def work(points: Points, time: Time) -> None:
        assert await passed(points, 101, "agt_1") == 100
        assert await passed(points, 1, "agt_1", org="org_other") == 1
        assert await passed(points, 1, "agt_2") == 1

    with_points(work)


def test_a_thread_has_20_points_and_what_it_is_refused_its_agent_keeps() -> None:
    async def work(points: Points, time: Time) -> None:
        assert await passed(points, 50, "agt_1", "t") == 20
        assert await passed(points, 50, "agt_1", "t2") == 20
        assert await passed(points, 1, "agt_2", "t") == 1  # a thread of the same name at another agent
        assert await passed(points, 101, "agt_1") == 60
        assert await passed(points, 5, "agt_1", "t3") == 0
        time.now += 60
        assert await passed(points, 21, "agt_1", "t3") == 20

    with_points(work)


def test_an_agents_own_limits_win_over_the_servers() -> None:
    async def work(points: Points, time: Time) -> None:
        assert await passed(points, 9, "agt_1", limits={"agent": 3}) == 3
        assert await passed(points, 9, "agt_2", "t", limits={"thread": 4}) == 4
        assert await passed(points, 9, "agt_3") == 5

    with_points(work, agent=5, thread=2)


def test_who_is_refused_is_told_what_is_used_up_and_how_long_to_wait() -> None:
    async def work(points: Points, time: Time) -> None:
        assert await passed(points, 2, "agt_1", "t") == 2
        time.now += 12
        with pytest.raises(LimitReached) as refused:
            await points.spend(ORG, "agt_1", "t", {})
        assert refused.value.retry_after == pytest.approx(18)
        assert (refused.value.status, refused.value.code) == (429, "metrix_limit_reached")
        assert refused.value.limit == {"limit_type": "thread", "current_usage": 2, "limit_value": 2}
        time.now += 18
        await points.spend(ORG, "agt_1", "t", {})

    with_points(work, thread=2, window=30)


def test_windows_that_are_over_are_forgotten() -> None:
    async def work(points: Points, time: Time) -> None:
        spending = points._spending
        assert isinstance(spending, InProcess)
        await points.spend(ORG, "a", "t", {})
        time.now += 61
        await points.spend(ORG, "b", "", {})
        assert spending._spent.keys() == {(ORG, "agent", "b")}
        await written(spending)
        assert [one.name for one in await spending._kept.kept(0)] == ["b"]

    with_points(work)


def test_many_windows_that_are_not_over_are_not_looked_through_with_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)

    async def work(points: Points, time: Time) -> None:
        spending, looks = points._spending, 0
        assert isinstance(spending, InProcess)
        drop = spending._drop

        def counted() -> None:
            nonlocal looks
            looks += 1
            drop()

        monkeypatch.setattr(spending, "_drop", counted)
        for number in range(1000):
            await points.spend(ORG, "a", f"t{number}", {"agent": 1000})
        assert len(spending._spent) == 1001
        assert looks < 10
        time.now += 59.5
        await points.spend(ORG, "b", "", {})
        time.now += 0.5
        for number in range(1500):  # what is over goes all the same
            await points.spend(ORG, "c", f"t{number}", {"agent": 1500})
        assert len(spending._spent) < 2000

    with_points(work)


async def written(spending: InProcess) -> None:
    while spending._writing:
        await asyncio.sleep(0)


def test_the_next_server_goes_on_with_the_points_that_are_left_whatever_its_steady_clock_says(tmp_path: Path) -> None:
    async def points(wall: Time, steady: float, limit: int) -> int:
        """How many pass at a server that is started for them and gone at once."""
        store = await open_store(f"sqlite:///{tmp_path}/m.db", worker="test")
        try:
            found = Points(store, lambda: steady, wall, agent=100, thread=20, window=60.0)
            await found.load()
            return await passed(found, limit, "agt_1", "t")
        finally:
            await store.close()

    async def work() -> None:
        wall = Time()
        assert await points(wall, 5000.0, 15) == 15
        wall.now += 40
        assert await points(wall, 7.0, 15) == 5
        wall.now -= 100  # a clock that was set back does not make a window longer than it is
        assert await points(wall, 900.0, 1) == 0
        wall.now += 161
        assert await points(wall, 8.0, 25) == 20

    asyncio.run(work())


@pytest.mark.parametrize("error", [StoreDown, ZeroDivisionError])
def test_points_that_could_not_be_written_down_are_with_the_next_ones_and_no_turn_is_the_worse_for_it(
    error: type[Exception],
) -> None:
    async def work(points: Points, time: Time) -> None:
        spending = points._spending
        assert isinstance(spending, InProcess)
        kept, spending._kept = spending._kept, Away(error)  # type: ignore[assignment]
        assert await passed(points, 2, "agt_1") == 2
        await written(spending)
        spending._kept = kept
        assert await passed(points, 1, "agt_2") == 1
        await written(spending)
        assert {one.name: one.used for one in await kept.kept(0)} == {"agt_1": 2, "agt_2": 1}

    with_points(work)


class Away:
    def __init__(self, error: type[Exception] = StoreDown) -> None:
        self._error = error

    async def keep(self, *args: object) -> None:
        raise self._error

    give_back = keep


def test_what_may_spend_a_share_of_the_points_leaves_the_rest_and_always_has_one():
    async def work(points: Points, time: Time) -> None:
        await points.spend(ORG, "a", "", {}, share=0.5)
        await points.spend(ORG, "a", "", {}, share=0.5)
        with pytest.raises(LimitReached) as refused:
            await points.spend(ORG, "a", "", {}, share=0.5)
        assert refused.value.retry_after == 60.0
        assert await passed(points, 9, "a") == 2
        await points.spend(ORG, "b", "", {"agent": 1}, share=0.5)

    with_points(work, agent=4)


def test_who_is_refused_is_told_of_which_window_it_is() -> None:
    async def work(points: Points, time: Time) -> None:
        async def refused() -> int:
            with pytest.raises(LimitReached) as error:
                await points.spend(ORG, "agt_1", "", {})
            return error.value.since

        assert await passed(points, 1, "agt_1") == 1
        first = await refused()
        time.now += 12
        assert (first, await refused()) == (1_000_000, first)
        time.now += 60
        assert await passed(points, 1, "agt_1") == 1
        assert await refused() == 1_072_000

    with_points(work, agent=1)


def test_points_that_were_spent_for_nothing_are_there_again_in_their_own_window_alone() -> None:
    async def work(points: Points, time: Time) -> None:
        paid = [await points.spend(ORG, "a", thread, {}) for thread in ("t", "t", "")]
        assert await passed(points, 9, "a", "t") == 0
        await points.give_back(paid[0])
        assert await passed(points, 9, "a", "t") == 1
        await points.give_back(paid[2])
        assert await passed(points, 9, "a", "t") == 0  # whose thread has none left
        assert await passed(points, 9, "a") == 1
        time.now += 60
        assert await passed(points, 3, "a") == 3
        await points.give_back(paid[1])
        assert await passed(points, 9, "a") == 0
        spending = points._spending
        assert isinstance(spending, InProcess)
        await written(spending)
        assert {one.name: one.used for one in await spending._kept.kept(0) if one.kind == "agent"} == {"a": 3}

    with_points(work, agent=3, thread=2)


def test_a_point_that_cannot_be_given_back_is_lost_and_its_turn_is_refused_for_its_own_reason() -> None:
    async def work(points: Points, time: Time) -> None:
        paid = await points.spend(ORG, "a", "t", {})
        points._spending = Away()  # type: ignore[assignment]
        await points.give_back(paid)

    with_points(work)
