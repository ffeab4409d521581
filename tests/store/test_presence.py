from __future__ import annotations

import asyncio
import time

import pytest

from midstream.core.errors import StoreDown
from midstream.store import Store, open_store, recovery
from midstream.store.ledger import Ledger
from midstream.store.presence import DOUBT

from .turns import begin, end, run_started, with_store


async def silent(store: Store, seconds: float = recovery.SILENCE + 1) -> None:
    """It was not heard for so long."""
    store.presence._heard -= seconds
    await store.db.write(
        [("UPDATE workers SET seen_at = seen_at - $2 WHERE id = $1", (store.worker, seconds))]
    )  # fmt: skip


def test_who_was_silent_for_too_long_is_in_doubt_until_it_is_heard_and_knows_what_is_lost(
    postgres_url: str,
) -> None:
    async def work(store: Store) -> None:
        presence, missed = store.presence, 0

        async def count() -> None:
            nonlocal missed
            assert presence.in_doubt
            missed += 1
            if missed == 1:
                raise StoreDown

        presence.missed = count
        await silent(store, DOUBT - 2)
        assert not presence.in_doubt
        await presence.beat()
        assert missed == 0
        await silent(store)
        assert presence.in_doubt
        with pytest.raises(StoreDown):  # what is lost is not known yet
            await presence.beat()
        assert presence.in_doubt
        await presence.beat()
        assert (presence.in_doubt, missed) == (False, 2)
        await presence.beat()
        assert missed == 2

    with_store(postgres_url, work)


def test_the_only_server_of_a_file_is_never_in_doubt(sqlite_url: str) -> None:
    async def work(store: Store) -> None:
        store.presence._heard -= 1e6
        assert not store.presence.in_doubt

    with_store(sqlite_url, work)


@pytest.mark.parametrize("failed", [False, True])
def test_who_was_not_heard_itself_judges_nobody_until_all_could_be_heard_again(postgres_url: str, failed: bool) -> None:
    """It may have stood still together with the others, or the database with all of them."""

    async def run() -> None:
        judge, other = [await open_store(postgres_url, worker="w") for _ in range(2)]

        async def beats(times: int) -> None:
            for _ in range(times):
                await judge.presence.beat()
                await judge.presence.look_after()

        await beats(recovery.WATCHED + 1)
        await other.ledger.commit(*begin())
        await silent(other)
        write = judge.db.write
        if failed:

            async def away(statements: object) -> None:
                raise StoreDown

            judge.db.write = away  # type: ignore[method-assign]
            with pytest.raises(StoreDown):
                await judge.presence.beat()
            judge.db.write = write  # type: ignore[method-assign]
        else:
            await silent(judge)
        await beats(recovery.WATCHED)
        assert [run.status for run in await judge.all_orgs().runs()] == ["running"]
        await beats(1)
        assert [run.status for run in await judge.all_orgs().runs()] == ["failed"]
        await judge.close()
        await other.close()

    asyncio.run(run())


def test_what_others_have_ended_or_go_on_with_is_told_from_what_is_still_its_own(postgres_url: str) -> None:
    async def work(store: Store) -> None:
        for name in ("mine", "ended", "elsewhere"):
            await store.ledger.commit(*begin(name))
        await store.ledger.commit(*end("ended"))
        await Ledger(store.db, "w_other").commit(run_started("others"))
        await store.db.write([("UPDATE runs SET worker = 'w_other' WHERE id = 'run_elsewhere'", ())])
        asked = ["run_mine", "run_ended", "run_elsewhere", "run_not_written_yet"]
        assert sorted(await store.presence.taken_over(asked)) == ["run_elsewhere", "run_ended"]

    with_store(postgres_url, work)


def test_who_slept_with_its_machine_is_in_doubt_as_soon_as_it_goes_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks of the loop and of the heartbeats stand still in a machine that sleeps; one of its does not."""
    seen, real = list[int](), time.clock_gettime

    def asleep(clock: int) -> float:
        seen.append(clock)
        return real(clock) + DOUBT + 1

    async def work(store: Store) -> None:
        assert not store.presence.in_doubt
        monkeypatch.setattr(time, "clock_gettime", asleep)
        assert store.presence.in_doubt
        monkeypatch.undo()

    with_store(postgres_url, work)
    assert seen == [time.CLOCK_BOOTTIME]


@pytest.mark.parametrize("judged", [False, True])
def test_who_slept_with_its_machine_learns_by_its_next_heartbeat_what_others_have_ended(
    postgres_url: str, judged: bool
) -> None:
    """Its own clock stood still as well; only the database knows how long it was silent."""

    async def run() -> None:
        sleeper, other = [await open_store(postgres_url, worker="w") for _ in range(2)]
        presence, lost, down = sleeper.presence, list[str](), 1

        async def missed() -> None:
            nonlocal down
            assert presence.in_doubt
            if down:
                down -= 1
                raise StoreDown
            lost.extend(await presence.taken_over(["run_one"]))

        presence.missed = missed
        await sleeper.ledger.commit(*begin("one"))
        await presence.beat()
        asleep = recovery.SILENCE + 1
        await other.db.write([("UPDATE workers SET seen_at = seen_at - $2 WHERE id = $1", (sleeper.worker, asleep))])
        if judged:
            await recovery.recover(other.db)
        assert not presence.in_doubt
        with pytest.raises(StoreDown):  # what is lost is not known yet
            await presence.beat()
        assert presence.in_doubt
        await presence.beat()
        assert (lost, presence.in_doubt) == (["run_one"] if judged else [], False)
        await recovery.recover(other.db)
        await presence.beat()
        assert len(lost) == judged
        assert [row.status for row in await other.all_orgs().runs()] == ["failed" if judged else "running"]
        await sleeper.close()
        await other.close()

    asyncio.run(run())
