"""Monty: an interpreter of a subset of Python without any way to the host, in worker processes of its own.

Imported late: the library takes a tenth of a second to load."""

from __future__ import annotations

from pydantic_monty import AsyncMonty, CollectString, MontyCrashedError, MontyError

from ..core.errors import Busy
from ._sandboxes import MAX_OUTPUT, MEMORY, PLACES, Ran


class MontySandbox:
    """Each program has a process of its own, so that nothing of one is there for the next."""

    def __init__(self) -> None:
        self._pool: AsyncMonty | None = None

    async def run(self, code: str, seconds: float) -> Ran:
        printed = CollectString(max_bytes=MAX_OUTPUT)
        pool = await self._open()
        try:
            session = pool.checkout(
                limits={"max_feed_duration_secs": seconds, "max_memory": MEMORY, "max_recursion_depth": 500},
            )
            async with session as worker:
                value = await worker.feed_run(code, print_callback=printed)
        except MontyCrashedError:
            return Ran(printed.output, error="the interpreter crashed and was stopped")
        except MontyError as error:
            text = str(error)
            return Ran(printed.output, error=text, timed_out=text.startswith("TimeoutError: feed time limit"))
        except TimeoutError:
            raise Busy("all sandboxes are in use") from None
        return Ran(printed.output, value)

    async def _open(self) -> AsyncMonty:
        if self._pool is None:
            pool = AsyncMonty(min_processes=0, max_processes=PLACES, checkout_timeout=20.0, max_checkouts_per_worker=1)
            self._pool = pool
            await pool.__aenter__()
        return self._pool

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)
