"""An MCP server that the operator's file names as a command: a child process, one JSON-RPC message a line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

from ..core.errors import Cut, Garbled, MidstreamError, Unreachable
from ..wire.jsonrpc import Call, Fault, Notice, Result, write
from ._mcp_links import MAX_ANSWER, Ears, Heard, Pending
from ._mcp_servers import McpServer

logger = logging.getLogger("midstream.tools")

#: Nothing of our own environment but what a program needs to start.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "SSL_CERT_FILE")
#: Seconds that the process has to end by itself when its input is closed, and then after SIGTERM.
GRACE = 2.0


class StdioLink:
    """heard: told of what the server says while it is asked nothing."""

    def __init__(self, server: McpServer, heard: Heard) -> None:
        if not server.trusted:
            raise ValueError("only the operator's file names commands")
        self._server = server
        self._ears = Ears(server)
        self._pending = Pending(heard)
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        ended = self._process is None or self._process.returncode is not None
        return not ended and not self._tasks[0].done()

    async def open(self) -> None:
        environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._server.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**environ, **self._server.env},
                limit=MAX_ANSWER,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(f"the MCP server {self._server.name} cannot be started: {error.strerror}") from None
        loop = asyncio.get_running_loop()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._tasks = [
            loop.create_task(self._listen(self._process.stdout)),
            loop.create_task(self._overhear(self._process.stderr)),
        ]

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        error: MidstreamError = Cut(f"the MCP server {self._server.name} has ended")
        try:
            while line := await self._line(lines):
                if line.strip():
                    self._take(line)
        except MidstreamError as failure:
            error = failure
        finally:
            self._pending.fail(error)

    async def _line(self, lines: asyncio.StreamReader) -> bytes:
        """b"" at the end. One that is too long is passed over: it may have been what somebody waits for."""
        long = False
        while True:
            try:
                line = await lines.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                return b"" if long else end.partial
            except asyncio.LimitOverrunError as over:
                await lines.readexactly(over.consumed)
                if not long:
                    logger.warning("MCP server %s: a line of its output is too long", self._server.name)
                    self._pending.miss(Garbled(f"the MCP server {self._server.name} wrote a line that is too long"))
                long = True
                continue
            if not long:
                return line
            long = False

    def _take(self, line: bytes) -> None:
        try:
            messages = self._ears.read(line)
        except Garbled:  # what a library of it prints, a warning for instance, is not the server's word
            said = self._ears.line(line)
            logger.warning("MCP server %s: a line of its output is no message: %s", self._server.name, said)
            return
        for message in messages:
            answer = self._pending.take(message)
            if answer is not None:
                self._write(write(answer))

    async def _overhear(self, lines: asyncio.StreamReader) -> None:
        torn = False
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # too long, and gone; the rest of its words must be read or it stands still
                torn = True
                continue
            if not line:
                return
            if not torn:  # else it may begin within a secret
                logger.debug("MCP server %s: %s", self._server.name, self._ears.line(line))
            torn = False

    def _write(self, message: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if self._process.stdin.is_closing():
            raise Cut(f"the MCP server {self._server.name} has ended")
        self._process.stdin.write(message + b"\n")

    async def ask(
        self, call: Call, headers: dict[str, str], heard: Heard, seconds: float | None = None
    ) -> Result | Fault:
        with self._pending.expect(call.id, heard) as future:
            self._write(write(call))
            try:
                answer: Result | Fault = await asyncio.wait_for(future, seconds or self._server.seconds)
            except TimeoutError:
                self._write(write(Notice("notifications/cancelled", {"requestId": call.id})))
                raise Cut(f"the MCP server {self._server.name} does not answer") from None
            except asyncio.CancelledError:
                with contextlib.suppress(Cut):
                    self._write(write(Notice("notifications/cancelled", {"requestId": call.id})))
                raise
            return answer

    async def tell(self, notice: Notice, headers: dict[str, str]) -> None:
        self._write(write(notice))

    async def close(self) -> None:
        """The whole process group ends."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for sign in (None, signal.SIGTERM, signal.SIGKILL):
            if sign is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has started itself
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]  # a child of the process may hold its pipes
