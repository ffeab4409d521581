"""Runs of a server that was not heard for so long that others may have ended them: what is told is what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from midstream.core.errors import OurError, Refused, StoreDown
from midstream.core.events import Done, Event, Failed
from midstream.core.serving import Desk, Emit
from midstream.core.turn import Plan
from midstream.runs.log import Follower
from midstream.runs.order import Act
from midstream.store.database import Statement
from midstream.store.ledger import Record

from .scripted import Bench, Scripted, answer, everything, on_bench, raises, says


class Presence:
    """in_doubt: others may have ended runs. taken: all of them. error: the store's, when it is asked. mine: a run that
    begins again is this server's."""

    def __init__(self) -> None:
        self.in_doubt = False
        self.taken = False
        self.error: Exception | None = None
        self.renewed = 0
        self.mine, self.asked = True, ("", "")
        self.missed: Callable[[], Awaitable[None]]

    async def renew(self) -> None:
        self.renewed += 1
        if self.error is not None:
            raise self.error
        if self.in_doubt:
            await self.missed()
        self.in_doubt = False

    async def taken_over(self, runs: Sequence[str]) -> list[str]:
        return [*runs] if self.taken else []

    async def owns(self, run: str, job: str) -> bool:
        self.asked = (run, job)
        return self.mine


def present(bench: Bench) -> Presence:
    presence = Presence()
    bench.runs.presence = presence  # type: ignore[assignment]
    presence.missed = bench.runs._missed
    return presence


async def end_of(follower: Follower) -> Event:
    return (await everything(follower))[-1]


def lost(end: Event) -> bool:
    if not isinstance(end, Failed):
        return False
    assert isinstance(end.error, OurError)
    return (end.error.code, end.error.status, bool(end.error.retry_after)) == ("interrupted", 503, True)


async def interrupt(bench: Bench) -> None:
    """As another server does."""
    await bench.db.write([("UPDATE runs SET status = 'failed', error_code = 'interrupted'", ())])
    await bench.db.write([("UPDATE attempts SET status = 'unknown'", ())])


@pytest.mark.parametrize("conversation", [None, "conv_1"])
@pytest.mark.parametrize("step", [says(answer()), raises(Refused("no", status=400))])
def test_a_run_that_another_server_has_ended_is_told_so_and_nothing_of_it_is_kept(conversation: str | None, step):
    async def test(bench: Bench) -> None:
        presence = present(bench)
        presence.in_doubt = presence.taken = True
        _, follower = bench.start(conversation=conversation, transactions=True)
        while not await bench.attempts():
            await asyncio.sleep(0)
        await interrupt(bench)
        assert lost(await end_of(follower))
        assert await bench.db.read("SELECT error_code FROM runs") == [("interrupted",)]
        assert [row[1] for row in await bench.attempts()] == ["unknown"] * len(bench.complete.calls)
        assert await bench.db.read("SELECT role FROM messages") == [("user",)]

    on_bench(Scripted(one=[_waits(step)]), test)


def _waits(step):
    async def waiting(plan: Plan, emit: Emit) -> None:
        await asyncio.sleep(0.05)
        await step(plan, emit)

    return waiting


def test_a_run_that_is_still_its_own_ends_as_ever_and_nobody_asks_while_there_is_no_doubt():
    async def test(bench: Bench) -> None:
        presence = present(bench)
        for doubt, renewed in ((False, 0), (True, 1)):
            presence.in_doubt = doubt
            _, follower = bench.start(conversation="conv_1")
            assert isinstance(await end_of(follower), Done)
            assert presence.renewed == renewed
        assert await bench.statuses() == ["completed"] * 2

    on_bench(Scripted(one=[says(answer())]), test)


@pytest.mark.parametrize(("conversation", "detached", "told"), [
    ("conv_1", False, True), (None, False, False), ("conv_1", True, False),
])  # fmt: skip
def test_while_nobody_can_tell_whose_it_is_no_kept_answer_is_told_as_kept(
    conversation: str | None, detached: bool, told: bool
):
    async def test(bench: Bench) -> None:
        presence = present(bench)
        presence.in_doubt, presence.error = True, StoreDown()
        _, follower = bench.start(conversation=conversation, detached=detached)
        end = await end_of(follower)
        assert isinstance(end, Failed) is told
        if told:
            assert isinstance(end.error, StoreDown)
        while bench.runs.settling.waiting:
            await asyncio.sleep(0.01)
        assert await bench.statuses() == ["failed" if told else "completed"]
        assert [row[1] for row in await bench.attempts()] == ["ok"]

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_server_that_is_heard_again_stops_what_others_have_ended_at_once():
    async def test(bench: Bench) -> None:
        presence = present(bench)
        closed: list[Event] = []
        over = asyncio.Event()

        async def works(desk: Desk) -> None:
            desk.hold(HELD)
            await asyncio.Event().wait()

        def closing(end: Event) -> list[Record | Statement]:
            closed.append(end)
            return []

        async def ends() -> None:
            over.set()

        _, follower = bench.start(act=Act(works, (), closing, ends, run="run_mine"))
        while not await bench.statuses():
            await asyncio.sleep(0)
        presence.in_doubt = presence.taken = True
        await presence.renew()
        assert lost(await end_of(follower))
        await asyncio.wait_for(over.wait(), 5)
        assert closed == []  # its end is not this server's to write
        assert await bench.db.read("SELECT name FROM orgs WHERE id = 'org_default'") != [("held",)]
        assert await bench.statuses() == ["running"]

    on_bench(Scripted(one=[says(answer())]), test)


def test_a_run_that_goes_on_elsewhere_when_it_would_begin_again_here_does_nothing():
    async def test(bench: Bench) -> None:
        presence = present(bench)
        done: list[object] = []

        async def works(desk: Desk) -> None:
            done.append(desk)

        def closing(end: Event) -> list[Record | Statement]:
            done.append(end)
            return []

        for presence.mine in (False, True):
            act = Act(works, (), closing, run="run_later", again=True, job="msg_later")
            _, follower = bench.start(act=act, detached=True)
            assert lost(await end_of(follower)) is not presence.mine
            assert presence.asked == ("run_later", "msg_later")
            assert len(done) == (2 if presence.mine else 0)
        assert await bench.attempts() == []

    on_bench(Scripted(one=[says(answer())]), test)


HELD: Statement = ("UPDATE orgs SET name = 'held'", ())
