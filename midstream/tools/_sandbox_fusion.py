"""SandboxFusion: a server of its own that runs code, which the operator's file names."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ..core.errors import Garbled, Refused
from ..core.http import Outgoing, Send, Timeouts
from ._charsets import json_of
from ._sandboxes import MAX_OUTPUT, MEMORY, Ran


class _Result(Struct):
    status: str = ""
    stdout: str | None = None
    stderr: str | None = None
    return_code: int | None = None


class _Answer(Struct):
    status: str = ""
    message: str = ""
    run_result: _Result | None = None


class FusionSandbox:
    def __init__(self, send: Send, url: str) -> None:
        self._send = send
        self._url = url.rstrip("/") + "/run_code"

    async def run(self, code: str, seconds: float) -> Ran:
        asked = {"code": code, "language": "python", "run_timeout": seconds, "memory_limit_MB": MEMORY // 1024 // 1024}
        headers = (("content-type", "application/json"), ("accept", "application/json"))
        timeouts = Timeouts(first_byte=seconds + 10, total=seconds + 15)
        body = msgspec.json.encode(asked)
        incoming = await self._send(Outgoing("POST", self._url, headers, body, True, timeouts))
        try:
            data = await incoming.read(4 * 1024 * 1024)
        finally:
            incoming.close()
        if incoming.status != 200:
            raise Refused(f"the sandbox answered with HTTP {incoming.status}", status=502)
        try:
            answer: _Answer = json_of(data, incoming.headers.get("content-type", ""), _Answer)
        except msgspec.DecodeError:
            raise Garbled("the sandbox's answer cannot be read") from None
        result = answer.run_result
        if result is None and (answer.status != "SandboxError" or not answer.message):
            raise Garbled("the sandbox's answer does not say what became of the program")
        result = result or _Result()
        output = (result.stdout or "")[:MAX_OUTPUT]
        if result.status == "TimeLimitExceeded":
            return Ran(output, error=f"the program was stopped after {seconds:g} seconds", timed_out=True)
        if answer.status != "Success" or result.return_code:
            ended = f"the program ended with {result.return_code or answer.status or 'no status'}"
            return Ran(output, error=(result.stderr or answer.message or ended)[:MAX_OUTPUT])
        return Ran(output)

    async def close(self) -> None:
        """It keeps nothing."""
