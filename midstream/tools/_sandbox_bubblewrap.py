"""Bubblewrap: full CPython in namespaces of its own. It sees an interpreter and the system's libraries (read-only) and
an empty /tmp; no network, no other process, no environment; user 65534 without any capability; resource limits."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import sys
from pathlib import Path

from ..core.errors import Busy
from ._sandboxes import MAX_OUTPUT, MEMORY, PLACES, Ran

NOBODY = 65534
TMP, PROCESSES, FILES = 16 * 1024 * 1024, 32, 64
#: Seconds that starting may take on top.
START = 5.0
#: The one place that a program may write to, in its own memory.
_OWN = "/tmp"  # noqa: S108

# What runs in the sandbox before the program, which comes by its input. A real root must become somebody else first:
# to root, the limit of processes does not apply.
_FIRST = """
import os, resource, sys
cpu, memory, files, size, processes, nobody = map(int, sys.argv[1:])
for what, most in (("CPU", cpu), ("AS", memory), ("NOFILE", files), ("FSIZE", size), ("NPROC", processes), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + what), (most, most))
if os.getuid() == 0:
    os.setgroups([]); os.setgid(nobody); os.setuid(nobody)
sys.argv = ["main.py"]
code = compile(sys.stdin.read(), "main.py", "exec")
sys.stdin = open(os.devnull)
exec(code, {"__name__": "__main__"})
"""


class BubblewrapSandbox:
    """Raises ValueError when this machine has no bwrap."""

    def __init__(self) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise ValueError("the sandbox bubblewrap needs the program bwrap, which is not installed")
        self._program = program
        self._places = asyncio.Semaphore(PLACES)

    async def run(self, code: str, seconds: float) -> Ran:
        async with self._places:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command(seconds),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={},
                    start_new_session=True,
                )
            except OSError as error:
                raise Busy(f"the sandbox cannot be started: {error.strerror}") from None
            try:
                return await self._watched(process, code.encode("utf-8", "replace"), seconds)
            finally:
                await _end(process)

    async def _watched(self, process: asyncio.subprocess.Process, code: bytes, seconds: float) -> Ran:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = _Taken(MAX_OUTPUT), _Taken(MAX_OUTPUT)
        late = False
        reading = asyncio.gather(
            _write(process.stdin, code), output.take(process.stdout), errors.take(process.stderr), process.wait()
        )
        try:
            async with asyncio.timeout(seconds + START):
                await reading
        except TimeoutError:
            late = True
        except _TooMuch:
            return Ran(output.text, error=f"the program printed more than {MAX_OUTPUT} bytes and was stopped")
        code_of_end = process.returncode
        late = late or code_of_end in (-signal.SIGXCPU, 128 + signal.SIGXCPU, 128 + signal.SIGKILL)
        if late:
            return Ran(output.text, error=f"the program was stopped after {seconds:g} seconds", timed_out=True)
        if code_of_end and errors.text.startswith("bwrap: "):
            raise Busy(f"the sandbox cannot be started: {errors.text[:300].strip()}")
        if code_of_end:
            return Ran(output.text, error=errors.text.strip() or f"the program ended with {code_of_end}")
        return Ran(output.text + (f"\n{errors.text}" if errors.text else ""))

    def _command(self, seconds: float) -> list[str]:
        python = os.path.realpath(sys.base_prefix)
        root = os.geteuid() == 0
        user = (
            ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            if root
            else ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
        )
        seen = [word for path in ("/usr/lib", "/lib", "/lib64", "/usr/lib64") for word in ("--ro-bind-try", path, path)]
        # Folders that bwrap makes by itself are closed to all but their owner, who runs nothing here.
        folders = [str(path) for path in reversed(Path(python).parents) if str(path) not in ("/", "/usr")]
        seen += [word for path in folders for word in ("--perms", "0755", "--dir", path)]
        limits = (math.ceil(seconds), MEMORY * 2, FILES, TMP, PROCESSES, NOBODY)
        return [
            self._program, *user, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox",
            *seen, "--ro-bind", python, python, "--proc", "/proc", "--dev", "/dev",
            "--size", str(TMP), "--tmpfs", _OWN, "--remount-ro", "/", "--chdir", _OWN,
            os.path.join(python, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"),
            "-I", "-X", "utf8", "-c", _FIRST, *map(str, limits),
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing outlives its call."""


class _TooMuch(Exception):
    pass


class _Taken:
    """What a program prints, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    @property
    def text(self) -> str:
        return bytes(self._data[: self._limit]).decode("utf-8", "replace")

    async def take(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(65536):
            self._data += data
            if len(self._data) > self._limit:
                raise _TooMuch


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """bwrap's end is the end of everything in its process namespace."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    transport = process._transport  # type: ignore[attr-defined]
    transport.close()  # before the wait: what it has printed and nobody reads would hold its end up
    await process.wait()
