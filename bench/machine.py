"""What the kernel says about processes and cores. Linux only."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGESIZE") // 1024


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def rss_mb(pids: list[int]) -> float:
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return round(pages * PAGE_KB / 1024, 1)


class Core:
    """Busy and stolen seconds of one core since the object was made."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.started = time.monotonic()
        self.busy0, self.steal0 = self._read()

    def _read(self) -> tuple[float, float]:
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith(f"cpu{self.number} "):
                user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
                return (user + nice + system + irq + softirq) / TICKS, steal / TICKS
        return 0.0, 0.0

    def foreign_pct(self, own_seconds: float) -> tuple[float, float]:
        """(per cent of the core that others used, per cent that the hypervisor took)."""
        busy, steal = self._read()
        elapsed = max(time.monotonic() - self.started, 1e-9)
        others = max(busy - self.busy0 - own_seconds, 0.0)
        return round(100 * others / elapsed, 1), round(100 * (steal - self.steal0) / elapsed, 1)


def raise_file_limit() -> None:
    """1,000 streams are 2,000 sockets of a gateway; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def launch(
    command: list[str],
    core: int,
    log: Path | None = None,
    env: dict[str, str] | None = None,
    folder: Path | None = None,
    user: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """A process on this core, as this (uid, gid); what it says goes to the log."""
    out = log.open("wb") if log else None
    try:
        # this program has no threads: a function between fork and exec is safe
        start = _pinned(core, user)
        return subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=out, preexec_fn=start)  # noqa: PLW1509
    finally:
        if out:
            out.close()


def _pinned(core: int, user: tuple[int, int] | None) -> Callable[[], None]:

    def apply() -> None:
        os.sched_setaffinity(0, {core})
        if user:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])

    return apply


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def get(port: int, path: str, headers: dict[str, str] | None = None, timeout: float = 20) -> tuple[int, bytes]:
    """(status, body). Raises OSError when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as e:
        raise OSError(str(e)) from e
    finally:
        connection.close()


def wait_idle(pids: list[int], most: float) -> None:
    """Until the processes use less than 3 % of a core, for at most so many seconds."""
    until = time.monotonic() + most
    while time.monotonic() < until:
        before = cpu_seconds(pids)
        time.sleep(0.4)
        if cpu_seconds(pids) - before < 0.4 * 0.03 + 1 / TICKS:
            return


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end it and the children that it had."""
    members = family(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(6)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in members[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
