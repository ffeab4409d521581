"""Ends: a server told to stop, clients that do not read, clients that are gone."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path

import msgspec
import pytest

from .serving import ADMIN_KEY, Serving
from .test_chat import chunk
from .test_edge import OK, get, say, statuses
from .test_faults import descriptors, resident
from .upstream import Asked, Said, Upstream, stream

REHEARSAL = "midstream/rehearsal"
TOML = """
[server]
lame_duck_seconds = {lame}
drain_seconds = {drain}
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
"""


def opened(serving: Serving, text: str, model: str = REHEARSAL) -> socket.socket:
    """A stream that has been asked for."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # what kernels hold is not the server's memory
    connection.settimeout(40)
    connection.connect(("127.0.0.1", serving.port))
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (ADMIN_KEY.encode(), len(body), body)
    )
    return connection


def rest(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionError:
        pass
    return received


def begun(connection: socket.socket) -> bytes:
    received = b""
    while b'"content":"' not in received:
        data = connection.recv(1 << 16)
        assert data, received
        received += data
    return received


def refuses(serving: Serving) -> None:
    """Soon it takes no connections any more."""
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        try:
            socket.create_connection(("127.0.0.1", serving.port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)


def process_of(serving: Serving) -> subprocess.Popen[bytes]:
    assert serving.process is not None
    return serving.process


def test_a_server_told_to_stop_lets_work_end_and_takes_none(tmp_path: Path):
    with Serving(tmp_path, TOML.format(lame=2.0, drain=20, url="http://127.0.0.1:9")) as serving:
        assert statuses(say(serving, get("/readyz"))) == [200]
        with (
            opened(serving, "say 60 words pace 100") as running,
            socket.create_connection(("127.0.0.1", serving.port), timeout=10) as kept,
        ):
            received = begun(running)
            process_of(serving).send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 2
            while statuses(say(serving, get("/readyz"))) != [503]:
                assert time.monotonic() < deadline
            assert statuses(say(serving, OK)) == [200], "it is alive all the while"
            refuses(serving)
            kept.sendall(get("/v1/models", key=ADMIN_KEY))
            rest(kept)
            received += rest(running)
        assert b"data: [DONE]" in received
        assert received.endswith(b"0\r\n\r\n")
        assert process_of(serving).wait(10) == 0
    assert "Traceback" not in serving.log()


def test_work_that_does_not_end_in_its_time_ends_in_an_error_of_its_face(tmp_path: Path):
    with Serving(tmp_path, TOML.format(lame=0, drain=0.5, url="http://127.0.0.1:9")) as serving:
        with opened(serving, "say 9000 words pace 50") as running:
            received = begun(running)
            process_of(serving).send_signal(signal.SIGTERM)
            received += rest(running)
        assert b'data: {"error":' in received
        assert b"[DONE]" not in received
        assert received.endswith(b"0\r\n\r\n")
        assert process_of(serving).wait(10) == 0
        serving.start()
        [attempt] = serving.attempts()
        assert attempt["status"] == "partial"


def test_a_second_signal_ends_it_at_once(tmp_path: Path):
    with Serving(tmp_path, TOML.format(lame=60, drain=60, url="http://127.0.0.1:9")) as serving:
        with opened(serving, "say 9000 words pace 50") as running:
            begun(running)
            process_of(serving).send_signal(signal.SIGTERM)
            while statuses(say(serving, get("/readyz"))) != [503]:  # two signals on their way at once are one
                time.sleep(0.02)
            process_of(serving).send_signal(signal.SIGTERM)
            assert process_of(serving).wait(20) == 0
            assert b"[DONE]" not in rest(running)
        serving.start()
        assert [attempt["status"] for attempt in serving.attempts()] == ["partial"]


def test_a_second_signal_ends_the_wait_for_work_too(tmp_path: Path):
    toml = TOML.format(lame=0, drain=60, url="http://127.0.0.1:9")
    with Serving(tmp_path, toml) as serving, opened(serving, "say 9000 words pace 50") as running:
        begun(running)
        process_of(serving).send_signal(signal.SIGTERM)
        refuses(serving)
        process_of(serving).send_signal(signal.SIGTERM)
        assert process_of(serving).wait(20) == 0


def test_a_silent_connection_does_not_hold_up_the_end(tmp_path: Path):
    with (
        Serving(tmp_path, TOML.format(lame=0, drain=60, url="http://127.0.0.1:9")) as serving,
        socket.create_connection(("127.0.0.1", serving.port)),
        socket.create_connection(("127.0.0.1", serving.port)) as half,
    ):
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        process_of(serving).send_signal(signal.SIGTERM)
        assert process_of(serving).wait(15) == 0


def _flood(megabytes: int) -> Said:
    piece = chunk("x" * 65_000)
    return stream(chunk("begin"), *([piece] * (megabytes * 1_000_000 // len(piece))), chunk(None, "stop"),
                  b"data: [DONE]\n\n")  # fmt: skip


def _memory_under_slow_readers(tmp_path: Path, clients: int, megabytes: int) -> None:
    with Upstream(lambda asked: _flood(megabytes)) as upstream:
        toml = TOML.format(lame=0, drain=1, url=upstream.url)
        with Serving(tmp_path, toml) as serving, contextlib.ExitStack() as stack:
            pid = process_of(serving).pid
            say(serving, OK)
            assert statuses(say(serving, OK.replace(b"/healthz", b"/docs"))) == [200]  # all is loaded
            before, fds = resident(pid), descriptors(pid)
            crowd = [stack.enter_context(opened(serving, "hi", "up/m")) for _ in range(clients)]
            deadline = time.monotonic() + 15
            while len(upstream.asked) < clients and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(2.0)
            grown = resident(pid) - before
            assert grown < clients * 4_096, f"{grown} kB for {clients}"
            took = []
            for _ in range(20):
                began = time.monotonic()
                assert statuses(say(serving, OK)) == [200]
                took.append(time.monotonic() - began)
            assert statistics.median(took) < 0.5, took
            assert not any(asked.gone.is_set() for asked in upstream.asked)
            for connection in crowd:
                connection.close()
            deadline = time.monotonic() + 10
            while descriptors(pid) > fds + 4 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert descriptors(pid) <= fds + 4
            while any(row["status"] == "started" for row in serving.attempts()) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert {row["status"] for row in serving.attempts()} == {"partial"}


def test_clients_that_do_not_read_cost_little_and_hold_up_nobody(tmp_path: Path):
    _memory_under_slow_readers(tmp_path, 12, 20)


@pytest.mark.long
def test_many_clients_that_do_not_read_cost_little_and_hold_up_nobody(tmp_path: Path):
    _memory_under_slow_readers(tmp_path, 64, 200)


@pytest.mark.long
def test_a_client_that_does_not_read_is_cut_after_its_time(tmp_path: Path):
    with Upstream(lambda asked: _flood(30)) as upstream:
        toml = TOML.format(lame=0, drain=1, url=upstream.url)
        with Serving(tmp_path, toml) as serving, opened(serving, "hi", "up/m"):
            began = time.monotonic()
            while not (upstream.asked and upstream.asked[0].gone.is_set()):
                assert time.monotonic() - began < 50
                time.sleep(0.2)
            assert time.monotonic() - began > 20
            settled = time.monotonic() + 10
            while [row["status"] for row in serving.attempts()] != ["partial"]:
                assert time.monotonic() < settled
                time.sleep(0.05)


def test_a_slow_reader_gets_every_byte(tmp_path: Path):
    with Upstream(lambda asked: _flood(3)) as upstream, Serving(
        tmp_path, TOML.format(lame=0, drain=1, url=upstream.url)
    ) as serving, opened(serving, "hi", "up/m") as connection:  # fmt: skip
        received = bytearray()
        while not received.endswith(b"0\r\n\r\n"):
            data = connection.recv(200_000)
            assert data
            received += data
            time.sleep(0.005)
        assert received.count(b"x" * 65_000) == 3_000_000 // len(chunk("x" * 65_000))
        assert b"[DONE]" in received


@pytest.mark.parametrize("kept", [0, 1, 20, 150])
def test_a_client_that_goes_at_any_moment_leaves_nothing(tmp_path: Path, kept: int):
    """kept: bytes of the answer that it waits for before it goes."""

    def answer(asked: Asked) -> Said:
        return stream(*(chunk(f"word {number} ") for number in range(20)), 20.0, b"data: [DONE]\n\n")

    with Upstream(answer) as upstream, Serving(tmp_path, TOML.format(lame=0, drain=1, url=upstream.url)) as serving:
        pid = process_of(serving).pid
        say(serving, OK)
        fds = descriptors(pid)

        def one(number: int) -> None:
            with opened(serving, "hi", "up/m") as connection:
                received = 0
                while received < kept:
                    received += len(connection.recv(min(64, kept)))
                if number % 2:  # a reset in place of an end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        threads = [threading.Thread(target=one, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        deadline = time.monotonic() + 10
        while descriptors(pid) > fds + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors(pid) <= fds + 3
        rows = serving.attempts()
        while any(row["status"] == "started" for row in rows) and time.monotonic() < deadline:
            time.sleep(0.05)
            rows = serving.attempts()
        sent = [row for row in rows if row["status"] != "unknown"]
        assert len(sent) >= len(upstream.asked)
        assert {row["status"] for row in sent} <= {"partial"}
        assert all(row["usage"]["input_tokens"] for row in sent)
        assert not any(row["usage"]["input_tokens"] or row["usage"]["estimated"] for row in rows if row not in sent)
        assert "Traceback" not in serving.log()
        assert msgspec.json.decode(serving.ask("GET", "/healthz").body) == {"status": "ok"}
