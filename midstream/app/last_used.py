"""When each API key was used last: written once a minute for all keys together, never while a request waits."""

from __future__ import annotations

import asyncio
import logging

from ..access.identify import Identify
from ..core.errors import MidstreamError
from ..store.keys import Keys

logger = logging.getLogger("midstream.keys")
EVERY = 60.0


class LastUsed:
    def __init__(self, identify: Identify, keys: Keys) -> None:
        self._identify = identify
        self._keys = keys
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From now on, until `close`."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._write()

    async def _write(self) -> None:
        used, self._identify.used = self._identify.used, {}
        if not used:
            return
        try:
            await self._keys.touch(used)
        except MidstreamError as error:
            logger.warning("when keys were used last is not written: %s", error.message)
            self._identify.used = {**used, **self._identify.used}

    async def close(self) -> None:
        """Writes what is not written yet. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            await self._write()
