"""PostgreSQL for tests: the server that MIDSTREAM_TEST_POSTGRES_URL names (a URL whose user may create databases), or
a private one made from the system's own programs and gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

#: Survives the death of every process, not of the machine: that is what tests kill.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
    "autovacuum_naptime": "1h",
}


def binaries() -> Path | None:
    """The newest installed server's programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and (initdb := shutil.which("initdb")):
        found = [Path(initdb).resolve().parent]
    return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, default=None)


class Server:
    """A running server. can_restart: it is ours to stop and start."""

    can_restart = False

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{database}").geturl()

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        name = urlsplit(url).path.removeprefix("/")
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new one, gone afterwards."""
        url = self.create()
        yield url
        self.drop(url)

    def sql(self, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self._url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())


class PrivateServer(Server):
    """Can be stopped, killed and started again on the same port."""

    can_restart = True

    def __init__(self, programs: Path, directory: Path, port: int) -> None:
        super().__init__(f"postgresql://midstream@127.0.0.1:{port}/postgres")
        self._programs = programs
        self._directory = directory
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = [f"-c{name}={value}" for name, value in _OPTIONS.items()]
        command = [str(self._programs / "postgres"), "-D", str(self._directory), f"-p{self._port}", *options]
        self._process = subprocess.Popen(command, **_unprivileged())
        ready = [str(self._programs / "pg_isready"), "-q", "-h127.0.0.1", f"-p{self._port}"]
        deadline = time.monotonic() + 20
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the private PostgreSQL does not start")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT ends sessions and stops; SIGQUIT dies as in a crash."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def freeze(self, number: int = signal.SIGSTOP) -> None:
        """It stands still: connections stay open and nothing is answered. SIGCONT lets it go on."""
        assert self._process is not None
        pid = self._process.pid
        sessions = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, sessions)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


def _unprivileged() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    quiet: dict[str, object] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    if os.geteuid() != 0:
        return quiet
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {**quiet, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def private_postgres() -> Iterator[PrivateServer]:
    """A running server. Skips whoever needs it when this machine has no PostgreSQL programs."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL programs on this machine")
    root = Path(tempfile.mkdtemp(prefix="midstream-pg-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    directory = root / "data"
    directory.mkdir(mode=0o700)
    as_user = _unprivileged()
    if "user" in as_user:
        root.chmod(0o755)
        os.chown(directory, int(str(as_user["user"])), int(str(as_user["group"])))
    server = PrivateServer(programs, directory, _free_port())
    try:
        make = [str(programs / "initdb"), "-D", str(directory), "-U", "midstream", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*make, "--locale=C", "--no-sync"], check=True, **_unprivileged())
        server.start()
        yield server
        server.stop()
    finally:
        process = server._process
        if process is not None and process.poll() is None:
            server.stop(signal.SIGQUIT)
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """The given server, else a private one."""
    if given := os.environ.get("MIDSTREAM_TEST_POSTGRES_URL"):
        yield Server(given)
        return
    with private_postgres() as server:
        yield server


#: Of the database and the role that use it: what an operator does, and how it is undone.
REFUSALS = {
    "revoked": ("REVOKE CONNECT ON DATABASE {0} FROM {1}", "GRANT CONNECT ON DATABASE {0} TO {1}"),
    "no connections": ("ALTER DATABASE {0} ALLOW_CONNECTIONS false", "ALTER DATABASE {0} ALLOW_CONNECTIONS true"),
    "no more of them": ("ALTER ROLE {1} CONNECTION LIMIT 0", "ALTER ROLE {1} CONNECTION LIMIT -1"),
    "no login": ("ALTER ROLE {1} NOLOGIN", "ALTER ROLE {1} LOGIN"),
}


@contextlib.contextmanager
def owned_by_a_role(server: Server, url: str) -> Iterator[tuple[str, str, str]]:
    """The database as an ordinary role owns it, who alone may connect: its URL, its name, the role's."""
    name = urlsplit(url).path[1:]
    role = f"role_{name}"
    for sql in (
        "CREATE ROLE {1} LOGIN PASSWORD 'x'", "ALTER DATABASE {0} OWNER TO {1}",
        "REVOKE CONNECT ON DATABASE {0} FROM PUBLIC",
    ):  # fmt: skip
        server.sql(sql.format(name, role))
    try:
        parts = urlsplit(url)
        yield parts._replace(netloc=f"{role}:x@{parts.hostname}:{parts.port or 5432}").geturl(), name, role
    finally:
        server.drop(url)
        server.sql(f"DROP ROLE {role}")
