"""A private PostgreSQL for one run: its own data directory and port, only on loopback, durable as by default."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from pathlib import Path

from install import Missing, postgres_programs
from machine import free_port, launch, stop
from targets import WORK


class Postgres:
    """Runs on the gateway's core: its CPU counts as the gateway's. Raises Missing when it does not start."""

    def __init__(self, core: int) -> None:
        self.data = WORK / "pg"
        self.port = free_port()
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        user = self._owner()
        programs = postgres_programs()
        log = WORK / "log-postgres.txt"
        init = [
            str(programs / "initdb"),
            "-D",
            str(self.data),
            "-U",
            "bench",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        if launch(init, core, log, folder=Path("/"), user=user).wait():
            raise Missing("initdb failed, see work/log-postgres.txt")
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=128MB", "jit=off")
        command = [str(programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        command += [word for setting in settings for word in ("-c", setting)]
        self.process = launch(command, core, log, folder=Path("/"), user=user)
        self._wait()
        self.url = f"postgresql://bench@127.0.0.1:{self.port}/postgres"

    def _owner(self) -> tuple[int, int] | None:
        """The server refuses to run as root. Gives the data directory to its user."""
        if os.geteuid():
            return None
        try:
            entry = pwd.getpwnam("postgres")
        except KeyError:
            entry = pwd.getpwnam("nobody")
        os.chown(self.data, entry.pw_uid, entry.pw_gid)
        return entry.pw_uid, entry.pw_gid

    def _wait(self) -> None:
        status = self.data / "postmaster.pid"
        for _ in range(300):
            if status.exists() and status.read_text().rstrip().endswith("ready"):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise Missing("PostgreSQL did not start, see work/log-postgres.txt")

    def stop(self) -> None:
        stop(self.process)
        shutil.rmtree(self.data, ignore_errors=True)
