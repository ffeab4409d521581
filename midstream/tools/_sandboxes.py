"""Where a model's Python runs: never in this process, without network and host files, within bounds."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

#: Seconds of running, bytes of memory, bytes of output, bytes of code.
SECONDS, MEMORY, MAX_OUTPUT, MAX_CODE = 10.0, 256 * 1024 * 1024, 128 * 1024, 256 * 1024
#: Programs that run at the same time on this machine.
PLACES = 4


class Ran(Struct, frozen=True):
    """output: what was printed. value: of the last expression, where the backend has it. error: why the program
    failed ("" = it did not), as Python says it. timed_out: it was stopped."""

    output: str = ""
    value: object = None
    error: str = ""
    timed_out: bool = False


class Sandbox(Protocol):
    async def run(self, code: str, seconds: float) -> Ran:
        """Raises UpstreamError or OurError when there is no sandbox to run it in."""

    async def close(self) -> None: ...
