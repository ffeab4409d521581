"""When each API key was used last: written once a minute for all keys together, never while a request waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..access.identify import Identify
from ..core.errors import MidstreamError
from ..store.keys import Keys
from .supervisor import Supervisor

EVERY = 60.0


class LastUsed:
    def __init__(self, identify: Identify, keys: Keys) -> None:
        self._identify = identify
        self._keys = keys

    def keep(self, supervisor: Supervisor) -> asyncio.Task[None]:
        return supervisor.keep("last use of keys", self.write, first=EVERY)

    async def write(self) -> float:
        """What is not written yet. Seconds until the next time."""
        used, self._identify.used = self._identify.used, {}
        if used:
            try:
                await self._keys.touch(used)
            except BaseException:
                self._identify.used = {**used, **self._identify.used}
                raise
        return EVERY

    async def close(self) -> None:
        """Writes the last, if that is possible."""
        with suppress(MidstreamError):
            await self.write()
