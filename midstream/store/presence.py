"""One worker among those that share a database: it says that it lives, ends what dead ones have left, and learns what
the others have ended of its own when they could not hear it for too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from . import recovery
from .database import Database
from .recovery import SILENCE, WATCHED, Estimate

#: Seconds after its last heartbeat that a worker cannot be sure any more whether others take it for dead: what it
#: writes then may come after SILENCE.
DOUBT = SILENCE - 5.0
#: Goes on while the machine is suspended, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Of these runs, those that are no longer this worker's.
_TAKEN_OVER = """
SELECT id FROM runs WHERE id = ANY(string_to_array($1, ',')) AND (status <> 'running' OR worker <> $2)"""
_OWNS = """
SELECT 1 FROM runs WHERE id = $1 AND status = 'running' AND worker = $2
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = $3 AND (jobs.status <> 'running' OR jobs.worker <> $2))"""


async def nobody() -> None:
    """Has nothing that others could end."""


class Presence:
    """worker: its name in the ledger. price: of what dead workers left behind."""

    def __init__(self, db: Database, worker: str, price: Estimate) -> None:
        self._db = db
        self._worker = worker
        self._price = price
        #: When its last heartbeat that got through began, and how many have in a row.
        self._heard = 0.0
        self._through = 0
        #: The database says that others may have ended what it has open, and what they have is not known yet.
        self._unsure = False
        self._news = asyncio.Event()
        #: Awaited as soon as it is heard again that was not for so long that others may have ended what it has open.
        self.missed: Callable[[], Awaitable[None]] = nobody

    async def join(self) -> None:
        """Before anything else is written. Raises errors.StoreDown."""
        self._heard = self._now()
        await recovery.join(self._db, self._worker, self._price)

    @property
    def in_doubt(self) -> bool:
        """Others may have ended what it has open. On SQLite there are none."""
        return self._db.dialect == "postgres" and (self._unsure or self._now() - self._heard > DOUBT)

    async def beat(self) -> float:
        """A heartbeat. Seconds until the next one."""
        try:
            await self.renew()
        except BaseException:
            self._through = 0
            raise
        self._through += 1
        self._news.set()
        return recovery.HEARTBEAT

    async def renew(self) -> None:
        """It lives. Nobody takes it for dead from now on, and it knows what it has lost by then. Raises
        errors.StoreDown."""
        began = self._now()
        if not await recovery.still_seen(self._db, self._worker, DOUBT):
            self._unsure = True  # its own clock may have stood still, as in a machine that was suspended
            await recovery.seen(self._db, self._worker)
        if self.in_doubt:  # by now: whoever looked before it was written has judged
            self._through = 0
            await self.missed()
        self._heard, self._unsure = began, False

    async def look_after(self) -> float:
        """After each heartbeat: what dead workers left is ended. Who was not heard itself judges nobody: perhaps it was
        the database that was away."""
        await self._news.wait()
        self._news.clear()
        judges = self._through > WATCHED and not self.in_doubt
        await recovery.recover(self._db, SILENCE if judges else recovery.FOR_EVER, self._price)
        return 0.0

    async def taken_over(self, runs: Sequence[str]) -> list[str]:
        """Of these runs of its own, in progress, those that others have ended or go on with."""
        return [id for (id,) in await self._db.read(_TAKEN_OVER, ",".join(runs), self._worker)]

    async def owns(self, run: str, job: str) -> bool:
        """Whether this run of its own and the job that it is of are still, once it has begun again: others may have
        gone on with them before that. On SQLite there are none."""
        return self._db.dialect != "postgres" or bool(await self._db.look_up(_OWNS, run, self._worker, job))

    async def leave(self) -> None:
        """It ends in order. Raises errors.StoreDown."""
        await recovery.leave(self._db, self._worker)

    def _now(self) -> float:
        return time.clock_gettime(_CLOCK)
