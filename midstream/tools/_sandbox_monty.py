"""Monty: an interpreter of a subset of Python without any way to the host, in worker processes of its own.

Imported late: the library takes a tenth of a second to load."""

from __future__ import annotations

import asyncio
import json
import secrets

from pydantic_monty import AsyncMonty, AsyncMontySession, CollectString, MontyCrashedError, MontyError, MontySyntaxError

from ..core.errors import Busy
from ._last_statement import last_statement
from ._sandboxes import MAX_OUTPUT, MEMORY, PLACES, Ran

#: Seconds that a program's parts may take together beyond what each may.
SPARE = 1.0
#: Tells a value within bounds, before it leaves the worker. It holds on to what it calls: a program may give those
#: names to something else, and it does not know this one's.
_TELL = """
import json as {name}
def {name}(value, say={name}.dumps, plain=repr, is_a=isinstance, text=str, count=len, Any=Exception):
    if is_a(value, text) and count(value) > {limit}:
        return ["cut", value[:{limit}]]
    try:
        kind, told = "json", say(value)
    except Any:
        kind, told = "repr", plain(value)
    if count(told) > {limit}:
        kind = "cut"
    return [kind, told[:{limit}]]
"""
_TOO_LARGE = "[a value that is too large to be told]"


class MontySandbox:
    """Each program has a process of its own, so that nothing of one is there for the next."""

    def __init__(self) -> None:
        self._pool: AsyncMonty | None = None

    async def run(self, code: str, seconds: float) -> Ran:
        printed = CollectString(max_bytes=MAX_OUTPUT)
        pool = await self._open()
        late = asyncio.timeout(None)
        try:
            session = pool.checkout(
                limits={"max_feed_duration_secs": seconds, "max_memory": MEMORY, "max_recursion_depth": 500},
            )
            async with session as worker, late:
                late.reschedule(asyncio.get_running_loop().time() + seconds + SPARE)
                value = await _ran(worker, code, printed)
        except MontyCrashedError:
            return Ran(printed.output, error="the interpreter crashed and was stopped")
        except MontyError as error:
            text = str(error)
            return Ran(printed.output, error=text, timed_out=text.startswith("TimeoutError: feed time limit"))
        except TimeoutError:
            if late.expired():
                stopped = f"the program was stopped after {seconds:g} seconds"
                return Ran(printed.output, error=stopped, timed_out=True)
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


async def _ran(worker: AsyncMontySession, code: str, printed: CollectString) -> object:
    """The value of the program's last statement, if that is an expression, told within bounds. Raises MontyError."""
    start, stop = last_statement(code)
    first, last = code[:start], code[start:stop]
    if not last.strip() or not await _is_expression(worker, last):
        await worker.feed_run(f"{code}\nNone", print_callback=printed)
        return None
    name = f"_{secrets.token_hex(8)}"
    await worker.feed_run(_TELL.format(name=name, limit=MAX_OUTPUT))
    if first.strip():
        await worker.feed_run(first, print_callback=printed)
    lines = "\n" * first.count("\n")  # errors name the line that it stands in
    await worker.feed_run(f"{lines}{name}_value = ({last}\n)", print_callback=printed)
    try:
        kind, told = await worker.feed_run(f"{name}({name}_value)")
    except MontyError:
        return _TOO_LARGE
    return _read(kind, told)


async def _is_expression(worker: AsyncMontySession, code: str) -> bool:
    try:
        await worker.feed_run(f"lambda: [({code}\n)]")
    except MontySyntaxError:
        return False
    return True


def _read(kind: str, told: str) -> object:
    if kind == "json":
        try:
            return json.loads(told)
        except (ValueError, RecursionError):
            return told
    return told[:10_000] if kind == "repr" else f"{told}\n[cut here: the value is longer]"
