"""A real server process for a test: `midstream serve` with its own data directory and configuration."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from ..price_list import put_price_list

START = "from midstream.app.cli import main; main()"
ADMIN_KEY = "ms-admin-test-0123456789abcdef"
#: Of servers that share a database.
SECRET_KEY = "5e" * 32


class Reply:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Serving:
    """Use as a context manager. toml: the configuration's text. kill(): like kill -9; start(): again, same data."""

    def __init__(self, folder: Path, toml: str = "", **environ: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.environ = environ
        (folder / "midstream.toml").write_text(toml)
        put_price_list(self.data)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Serving:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        self.port = self.port or free_port()
        kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, "serve", "--config", str(self.folder / "midstream.toml"),
                 "--data", str(self.data), "--port", str(self.port)],
                env={**kept, "MIDSTREAM_ADMIN_KEY": ADMIN_KEY, "NO_PROXY": "*", **self.environ},
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.ask("GET", "/healthz").status == 200:
                    return
            except OSError:
                pass
            assert self.process.poll() is None, f"the server has ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"the server does not answer:\n{self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def stop(self) -> int:
        """SIGINT: ends in order, at once."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def ask(self, method: str, path: str, body: Any = None, key: str = ADMIN_KEY, **headers: str) -> Reply:
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        request = urllib.request.Request(self.url + path, data, method=method)
        if data is not None:
            request.add_header("content-type", "application/json")
        if key:
            request.add_header("authorization", f"Bearer {key}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def attempts(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/v1/admin/attempts?limit=1000").json["data"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
