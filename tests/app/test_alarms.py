from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.app.alarms import Bell, Telling
from midstream.core.errors import LimitReached
from midstream.core.ids import new_id
from midstream.delivery.webhook import Webhooks
from midstream.metering.alerts import Alarm, raised
from midstream.store import Store, open_store
from midstream.store.deliveries import Deliveries, OrgDeliveries
from midstream.store.outbox import OutboxRow

ERROR = Alarm("Error", "agt_1", "upstream_error", "it broke", 1.0)


class Time:
    now = 1000.0

    def wall(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now


class Rig:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.time = Time()
        deliveries = Deliveries(store.db, self.time.wall)
        self.telling = Telling(
            store, Webhooks(deliveries, None, b"k" * 32, self.time.wall, random.random), self.time.wall
        )  # type: ignore[arg-type]

    async def alert(self, type: str, **more: Any) -> str:
        body = {"name": "a", "type": type, "webhook": {"url": "http://here.test/"}, **more}
        return (await self.store.org("org_a").nouns.create("alert", "a", msgspec.json.encode(body))).id

    async def happens(self, *alarms: Alarm, id: str = "", write: bool = True) -> None:
        [added] = raised(id or new_id("run_"), "org_a", alarms, self.time.now)
        row = OutboxRow(added.id, added.org_id, added.topic, added.payload, 0.0, 1)
        caused = list(await self.telling.handle(row))
        if write:
            await self.store.db.write(caused)

    async def told(self) -> list[dict[str, Any]]:
        return [
            msgspec.json.decode(row.payload)
            for row in await OrgDeliveries(self.store.db, "org_a", self.time.wall).list()
        ]

    async def rung(self) -> list[OutboxRow]:
        return await self.store.outbox.take("alert", 100)


def rigged(folder: Path, do: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        store.seal_with(b"k" * 32)
        try:
            await do(Rig(store))
        finally:
            await store.close()

    asyncio.run(run())


def test_an_alert_is_told_of_its_type_and_its_agents_alone(tmp_path):
    async def do(rig: Rig) -> None:
        every = await rig.alert("Error", name="every")
        await rig.alert("Variable")
        await rig.alert("Error", agent_ids=["agt_2"])
        await rig.happens(ERROR)
        [told] = await rig.told()
        assert (told["alert_id"], told["name"], told["type"], told["agent_id"]) == (every, "every", "Error", "agt_1")
        assert told["message"] == "it broke"

    rigged(tmp_path, do)


def test_the_same_is_told_once_in_a_window_and_something_else_at_once(tmp_path):
    async def do(rig: Rig) -> None:
        await rig.alert("Error", window_seconds=60)
        for _ in range(3):
            await rig.happens(ERROR)
        await rig.happens(msgspec.structs.replace(ERROR, what="other"))
        await rig.happens(msgspec.structs.replace(ERROR, agent="agt_2"))
        assert len(await rig.told()) == 3
        rig.time.now += 61
        await rig.happens(ERROR)
        assert len(await rig.told()) == 4

    rigged(tmp_path, do)


def test_a_row_that_is_done_again_tells_what_it_had_claimed_and_tells_it_once(tmp_path):
    async def do(rig: Rig) -> None:
        await rig.alert("Error", window_seconds=60)
        await rig.happens(ERROR, id="run_1", write=False)  # its server died before it was written
        for _ in range(2):
            await rig.happens(ERROR, id="run_1")
        assert len(await rig.told()) == 1
        rig.time.now += 61
        await rig.happens(ERROR, id="run_1")
        assert len(await rig.told()) == 1

    rigged(tmp_path, do)


def test_without_a_window_every_occasion_is_told(tmp_path):
    async def do(rig: Rig) -> None:
        await rig.alert("Error", window_seconds=0)
        for _ in range(3):
            await rig.happens(ERROR)
        assert len(await rig.told()) == 3

    rigged(tmp_path, do)


class Meanwhile:
    """A database of which something is changed before its so many-th read."""

    def __init__(self, db: Any, left: int, change: Callable[[], Awaitable[None]]) -> None:
        self._db = db
        self._left = left
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def read(self, *asked: Any) -> Any:
        await self._one_less()
        return await self._db.read(*asked)

    async def look_up(self, *asked: Any) -> Any:
        await self._one_less()
        return await self._db.look_up(*asked)

    async def _one_less(self) -> None:
        self._left -= 1
        if not self._left:
            await self._change()


@pytest.mark.parametrize("given", [True, False])
def test_what_was_sealed_for_one_address_never_goes_to_another(tmp_path, given: bool):
    """given: the move brings headers of its own."""

    def at(host: str) -> bytes:
        return msgspec.json.encode(
            {"name": "a", "type": "Error", "window_seconds": 0, "webhook": {"url": f"http://{host}.test/"}}
        )

    async def do(rig: Rig) -> None:
        nouns, db = rig.store.org("org_a").nouns, rig.store.db
        row = await nouns.create("alert", "a", at("one"), secret='{"x":"1"}')

        async def move() -> None:
            await nouns.change(row, "a", at("two"), secret='{"x":"2"}' if given else None, moved=True)

        rig.store.db = Meanwhile(db, 2, move)  # type: ignore[assignment]
        await rig.happens(ERROR)
        rig.store.db = db
        if (await nouns.get("alert", row.id)).body == row.body:
            await move()
        await rig.happens(ERROR)
        rows = await OrgDeliveries(db, "org_a", rig.time.wall).list()
        hooks = [hook for row in rows if (hook := rig.telling._webhooks.opened(row)) is not None]
        assert {hook.url: hook.headers for hook in hooks} == {
            "http://one.test/": {"x": "1"}, "http://two.test/": {"x": "2"} if given else {},
        }  # fmt: skip

    rigged(tmp_path, do)


def test_two_servers_that_refuse_in_the_same_window_of_points_ring_once(tmp_path):
    async def do(rig: Rig) -> None:
        bells = [Bell(rig.store, rig.time) for _ in range(2)]
        await rig.alert("metrix_limit_reached", window_seconds=0)
        for kind, since, rung in (("agent", 1, 1), ("agent", 2, 1), ("thread", 1, 1)):
            error = LimitReached("no points left", code="metrix_limit_reached", retry_after=30.0)
            error.limit, error.since = {"limit_type": kind, "current_usage": 5, "limit_value": 5}, since
            for bell in bells:
                await bell.limit_reached("org_a", "agt_1", "t1", error)
            assert len(await rig.rung()) == rung
            rig.time.now += 31

    rigged(tmp_path, do)


def test_a_limit_rings_once_in_its_window_and_a_dislike_once_for_its_message(tmp_path):
    async def do(rig: Rig) -> None:
        bell = Bell(rig.store, rig.time)
        error = LimitReached("no points left", code="metrix_limit_reached", retry_after=30.0)
        error.limit = {"limit_type": "agent", "current_usage": 5, "limit_value": 5}
        for thread in ("t1", "t2", "t1"):
            await bell.limit_reached("org_a", "agt_1", thread, error)
        assert len(await rig.rung()) == 1
        error.since = 31_000  # another window
        rig.time.now += 31
        await bell.limit_reached("org_a", "agt_1", "t1", error)
        assert len(await rig.rung()) == 1
        for _ in range(2):
            await bell.disliked("org_a", "agt_1", "t1", "msg_1")
        [row] = await rig.rung()
        assert b"thumbsdown" in row.payload

    rigged(tmp_path, do)
