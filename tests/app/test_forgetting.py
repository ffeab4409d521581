from __future__ import annotations

from pathlib import Path

import pytest

from midstream.app.forgetting import DAY, forgetting
from midstream.store.orgs import DEFAULT_ORG

from .asgi import Here, here


class Later:
    """A clock that is so many days ahead."""

    def __init__(self, clock: object, days: float) -> None:
        self._clock = clock
        self._days = days

    def wall(self) -> float:
        return self._clock.wall() + self._days * DAY  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("days", "kept"), [(2, True), (0.5, False)])
def test_what_was_said_is_let_go_of_after_its_days_and_its_cost_is_not(tmp_path: Path, days: float, kept: bool):
    async def test(app: Here) -> None:
        id = (await app.chat("hi", conversation={}).end()).headers["x-conversation-id"]
        store = app.services.store
        await forgetting(store, Later(app.services.clock, 1), days)()  # type: ignore[arg-type]
        assert [one.id for one in await store.org(DEFAULT_ORG).threads.threads()] == ([id] if kept else [])
        assert len(await store.all_orgs().attempts()) == 1

    here(tmp_path, test)
