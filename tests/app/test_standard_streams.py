"""The commands where a supervisor has closed standard input, output or error, and what is no text in a terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

HERE = str(Path(__file__).resolve().parents[2])
COMMAND = (sys.executable, "-c", "from midstream.app.cli import main; main()")
#: How a shell starts what follows it without some of the three.
CLOSED = {"input": "<&-", "output": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-"}
SECONDS = 20


def environ() -> dict[str, str]:
    ours = {name: text for name, text in os.environ.items() if not name.startswith("MIDSTREAM_")}
    return {**ours, "PYTHONPATH": HERE}


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """That nobody listens on."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_for(port: int) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)


@pytest.mark.parametrize("which", CLOSED)
def test_the_server_starts_and_stops_without_a_standard_stream(port: int, which: str) -> None:
    """What is opened next would have its number: a socket, which is not closed then, or the database, which is written
    into."""
    shell = f'exec "$@" {CLOSED[which]}'
    process = subprocess.Popen(
        ["/bin/sh", "-c", shell, "sh", *COMMAND, "serve", "--port", str(port)],
        env=environ(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(port)
        own = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert not [one for one in own if "socket" in one or "midstream" in one or "event" in one], own
        process.send_signal(signal.SIGINT)
        assert (process.wait(SECONDS), process.stderr and b"Traceback" in process.stderr.read()) == (0, False)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def chat(port: int, end: str, *words: bytes, given: bytes = b"") -> tuple[int, bytes]:
    """Status and what is said on standard error. Nobody is there to be asked."""
    url = f"http://127.0.0.1:{port}"
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {end}', "sh", *COMMAND, "chat", "--url", url, *words],
        env={**environ(), "MIDSTREAM_ADMIN_KEY": "x"}, input=given, capture_output=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_without_an_input_there_is_nothing_to_ask(port: int) -> None:
    assert chat(port, "<&-") == (0, b"")


def test_what_is_no_text_is_refused_in_one_line(port: int) -> None:
    for status, said in (chat(port, "", b"caf\xe9"), chat(port, "", given=b"caf\xe9\n")):
        assert (status, said) == (1, b"Error: '\\udce9' cannot be written as utf-8: is it text in this encoding?\n")
