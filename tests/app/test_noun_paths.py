"""What FastAPI answers is there for whoever asks, whenever they ask, and costs the start nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from midstream.app.noun_paths import Application, Later


def test_a_server_starts_without_fastapi_and_pydantic():
    told = "import sys, midstream.app.server; print([name for name in ('fastapi', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Building:
    """Applications that note by what name they were asked. They are made in another thread, when `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.made = 0
        self.asked: list[str] = []

    def build(self) -> Mapping[str, Application]:
        self.go.wait(5)
        self.made += 1
        return {"/a": self.named("/a"), "/b": self.named("/b")}

    def named(self, name: str) -> Application:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(name)

        return application


def test_who_asks_before_they_are_made_waits_and_they_are_made_once():
    async def test() -> None:
        building = Building()
        later = Later(building.build)
        asking = [asyncio.ensure_future(later.of(prefix)({}, None, None)) for prefix in ("/a", "/b", "/a")]
        await asyncio.sleep(0.01)
        assert building.asked == []
        building.go.set()
        await asyncio.gather(*asking)
        await later.of("/b")({}, None, None)
        assert (building.made, building.asked) == (1, ["/a", "/b", "/a", "/b"])

    asyncio.run(test())


def test_who_goes_away_while_they_are_made_leaves_them_to_the_others():
    async def test() -> None:
        building = Building()
        later = Later(building.build)
        gone, stays = (asyncio.ensure_future(later.of("/a")({}, None, None)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        building.go.set()
        await stays
        assert gone.cancelled()
        assert building.asked == ["/a"]

    asyncio.run(test())
