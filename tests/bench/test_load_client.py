"""The load client of the benchmark must notice every way in which a stream can be wrong."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "bench" / "native"
CHUNKS = 10


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no C compiler")
    out = tmp_path_factory.mktemp("native") / "ldgen"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", out, NATIVE / "ldgen.c"], check=True)
    return out


def content(seq: int) -> str:
    return f'data: {{"delta":{{"content":" tok@{seq}@{time.monotonic_ns()}@"}}}}\n\n'


def stream(order: list[int], ending: str, after: str = "") -> bytes:
    body = "".join(map(content, order)) + ending + after
    return f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()


def run_against(client: Path, answer: bytes, face: str = "chat") -> dict[str, int]:
    """One request to a server that says exactly these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = str(listener.getsockname()[1])
        command = [client, "-p", port, "-c", "1", "-n", "1", "-s", "-k", str(CHUNKS), "-f", face]
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
        thread.join()
    result: dict[str, int] = json.loads(done.stdout)
    return result


ALL = list(range(1, CHUNKS + 1))
DONE = "data: [DONE]\n\n"
ENDINGS = {
    "chat": DONE,
    "anthropic": 'event: message_stop\ndata: {"type": "message_stop"}\n\n',
    "gemini": 'data: {"candidates": [{"finishReason": "STOP"}]}\r\n\r\n',
}


@pytest.mark.parametrize("face", ENDINGS)
def test_a_whole_stream_counts_with_its_own_ending(client: Path, face: str) -> None:
    assert run_against(client, stream(ALL, ENDINGS[face]), face)["answered"] == 1


@pytest.mark.parametrize("face", ENDINGS)
def test_another_dialects_ending_does_not_count(client: Path, face: str) -> None:
    others = "".join(ending for name, ending in ENDINGS.items() if name != face)
    assert run_against(client, stream(ALL, others), face)["incomplete"] == 1


@pytest.mark.parametrize(
    "order",
    [[1, 2, 3, 5, 6, 7, 8, 9, 10], [1, 2, 4, 3, 5, 6, 7, 8, 9, 10], [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], ALL[:-1], []],
    ids=["lost", "swapped", "twice", "last lost", "empty"],
)
def test_a_chunk_lost_swapped_or_repeated_is_an_error(client: Path, order: list[int]) -> None:
    result = run_against(client, stream(order, DONE))
    assert (result["answered"], result["err"]) == (0, 1)


def test_a_chunk_after_the_ending_is_an_error(client: Path) -> None:
    assert run_against(client, stream(ALL[:-1], DONE, content(CHUNKS)))["err"] == 1
