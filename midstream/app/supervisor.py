"""The work beside the requests, in rounds: whatever one of them ends in, the next one comes."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..core.errors import StoreDown, forget_frames
from ..core.ids import new_id

logger = logging.getLogger("midstream.supervisor")

#: Does what there is to do; it may wait for something to do. Seconds until the next one, None: it was the last.
Round: TypeAlias = Callable[[], Awaitable[float | None]]

#: Seconds until the next round after one that found the store away; after one that a bug has ended, doubled each time.
AWAY, FIRST, LONGEST = 1.0, 1.0, 60.0
#: Seconds after which work that has not come round stands still.
PATIENCE = 60.0


class Supervisor:
    """Knows all work that goes round. steady: seconds that never jump."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._kept: dict[asyncio.Task[None], _Work] = {}

    def keep(
        self, name: str, round: Round, *, first: float = 0.0, patience: float = PATIENCE, vital: bool = False
    ) -> asyncio.Task[None]:
        """From now on, until the task is cancelled. first: seconds until the first round. patience: as PATIENCE. vital:
        what the server has promised is not done without it."""
        work = _Work(name, round, self._steady, first, patience, vital)
        task = asyncio.get_running_loop().create_task(work.keep())
        self._kept[task] = work
        task.add_done_callback(self._kept.pop)
        return task

    def still(self, *, vital: bool = False) -> list[str]:
        """The names of work that stands still. vital: only where the server cannot do without."""
        return sorted({one.name for one in self._kept.values() if one.stands_still and (one.vital or not vital)})


class _Work:
    def __init__(
        self, name: str, round: Round, steady: Callable[[], float], first: float, patience: float, vital: bool
    ) -> None:
        self.name = name
        self.vital = vital
        self._round = round
        self._steady = steady
        self._first = first
        self._patience = patience
        #: When the round begins or has begun that is the next to end well.
        self._due = steady() + first
        self._pause = FIRST
        #: What ended the last round, as it stands in the log.
        self._told = ""

    @property
    def stands_still(self) -> bool:
        return self._steady() - self._due > self._patience

    async def keep(self) -> None:
        await asyncio.sleep(self._first)
        while True:
            # In a task of its own: whatever ends it, a cancellation from within as well, is seen here and ends no more.
            rounds = asyncio.get_running_loop().create_task(self._go())
            try:
                await asyncio.wait([rounds])
            finally:
                rounds.cancel()
                await asyncio.wait([rounds])
            error = asyncio.CancelledError() if rounds.cancelled() else rounds.exception()
            if error is None:
                return
            await asyncio.sleep(self._failed(error))

    async def _go(self) -> None:
        while (pause := await self._round()) is not None:
            if self._told:
                logger.info("%s: goes on", self.name)
            self._told, self._pause = "", FIRST
            self._due = self._steady() + pause
            await asyncio.sleep(pause)

    def _failed(self, error: BaseException) -> float:
        """Seconds until it is tried again. What ends one round after the other is told once."""
        told, away = self._told, isinstance(error, StoreDown)
        self._told = str(error) if away else "".join(traceback.format_exception(error))
        forget_frames(error)
        if told != self._told and away:
            logger.warning("%s: %s", self.name, self._told)
        elif told != self._told:
            logger.error("bug %s in the background: %s\n%s", new_id("bug_"), self.name, self._told)
        if away:
            return AWAY
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST)
        return pause
