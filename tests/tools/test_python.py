"""The sandboxes: what they compute, and what a program that wants out of them gets."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import MidstreamError
from midstream.core.toolbox import ToolAnswer
from midstream.tools._last_statement import last_statement
from midstream.tools._sandbox_bubblewrap import BubblewrapSandbox
from midstream.tools._sandbox_fusion import FusionSandbox
from midstream.tools._sandboxes import MAX_OUTPUT, Ran, Sandbox
from midstream.tools.python import TOOL, Python, sandbox_of

from .scripted import scope
from .web import Heard, Said, door, web

CANARY = "canary-of-the-host-7391"
BACKENDS = ["monty", *(["bubblewrap"] if shutil.which("bwrap") else [])]


async def nobody(outgoing: Any) -> Any:
    raise AssertionError("nothing is sent")


def inside(backend: str, test: Callable[[Sandbox], Awaitable[None]]) -> None:
    async def run() -> None:
        sandbox = sandbox_of(backend, "", nobody)
        try:
            await asyncio.wait_for(test(sandbox), 60)
        finally:
            await sandbox.close()

    asyncio.run(run())


def ran(backend: str, code: str, seconds: float = 5.0) -> Ran:
    results: list[Ran] = []

    async def test(sandbox: Sandbox) -> None:
        results.append(await sandbox.run(code, seconds))

    inside(backend, test)
    return results[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_computes_and_prints(backend: str):
    done = ran(backend, "import json, math\nprint(json.dumps({'x': math.floor(2.5)}))\nprint('é')")
    assert (done.output, done.error, done.timed_out) == ('{"x": 2}\né\n', "", False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failing_program_says_why_and_what_it_printed(backend: str):
    done = ran(backend, "print('before')\n1/0")
    assert done.output == "before\n"
    assert "ZeroDivisionError" in done.error
    assert ran(backend, "x = = 1").error


ESCAPES = [
    "open(%(file)r).read()",
    "print(open('/etc/passwd').read())",
    "import os; print(os.environ); print(os.listdir('/root')); print(os.listdir('/home'))",
    "import subprocess; print(subprocess.run(['cat', %(file)r], capture_output=True).stdout)",
    "import socket; s = socket.create_connection(('127.0.0.1', %(port)d), 1); print(s)",
    "import socket; s = socket.socket(); s.settimeout(1); s.connect(('1.1.1.1', 80)); print('out')",
    "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:%(port)d').read())",
    "import os; os.symlink(%(file)r, '/tmp/x'); print(open('/tmp/x').read())",
    "print(open('/proc/1/environ').read()); print(open('/proc/self/root' + %(file)r).read())",
    "import os; [print(os.readlink('/proc/self/fd/' + n)) for n in os.listdir('/proc/self/fd')]",
    "().__class__.__base__.__subclasses__()[0].__init__.__globals__",
    "import ctypes; print(ctypes.CDLL(None).getuid())",
    "__import__('os').system('cat ' + %(file)r)",
    "import os; os.kill(%(pid)d, 9)",
    "import os; os.chroot('/tmp')",
    "import os; os.setuid(0)",
    "import os; open('/usr/lib/x', 'w').write('x')",
    "import os; print(os.listdir('/proc/%(pid)d'))",
    "import ctypes; ctypes.string_at(0)",
    "import signal, os; os.kill(1, signal.SIGKILL)",
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_program_reaches_the_host_its_files_its_network_or_its_environment(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "secret"
    file.write_text(CANARY)
    monkeypatch.setenv("MIDSTREAM_CANARY", CANARY)
    touched = set(os.listdir("/tmp"))

    async def test(sandbox: Sandbox) -> None:
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.setblocking(False)
            facts = {"file": str(file), "port": trap.getsockname()[1], "pid": os.getpid()}
            for escape in ESCAPES:
                try:
                    done = await sandbox.run(escape % facts, 3)
                except MidstreamError:
                    continue
                said = f"{done.output}{done.value}{done.error}"
                assert CANARY not in said, escape
                assert "root:" not in said, escape
            with pytest.raises(BlockingIOError):
                trap.accept()

    inside(backend, test)
    assert file.read_text() == CANARY
    assert {name for name in set(os.listdir("/tmp")) - touched if name == "x"} == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "x = 'a' * 10**10",
        "x = []\nwhile True: x.append('a' * 10**6)",
        "print('x' * 10**9)",
        "while True: print('x' * 1000)",
        "def f(): return f()\nf()",
        "10 ** 10 ** 9",
        "import os\nwhile True: os.fork()",
        "x = open('/tmp/x', 'wb')\nwhile True: x.write(b'x' * 10**6)",
        "f = [open('/dev/null') for n in range(10**6)]",
    ],
)
def test_a_greedy_program_is_stopped(backend: str, code: str):
    done = ran(backend, code, 1.0)
    assert done.error
    assert len(done.output) <= MAX_OUTPUT


def test_a_program_that_sleeps_is_stopped():
    for backend in BACKENDS[1:]:  # to Monty, time does not pass
        assert ran(backend, "import time\ntime.sleep(3600)", 0.5).timed_out


def children() -> int:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return len(file.read().split())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_that_is_cancelled_leaves_nothing_running(backend: str):
    async def test(sandbox: Sandbox) -> None:
        task = asyncio.ensure_future(sandbox.run("while True: pass", 30))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await sandbox.run("print(1)", 5)).output == "1\n"

    before = children()
    inside(backend, test)
    assert children() <= before


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_one_program_is_there_for_the_next(backend: str):
    async def test(sandbox: Sandbox) -> None:
        await sandbox.run("secret = 'kept'", 5)
        assert "NameError" in (await sandbox.run("print(secret)", 5)).error
        if backend == "bubblewrap":
            await sandbox.run("open('/tmp/kept', 'w').write('x')", 5)
            assert (await sandbox.run("import os; print(os.listdir('/tmp'))", 5)).output == "[]\n"

    inside(backend, test)


def used(sandbox: Sandbox | ValueError, code: str) -> ToolAnswer:
    def make() -> Sandbox:
        if isinstance(sandbox, ValueError):
            raise sandbox
        return sandbox

    async def run() -> ToolAnswer:
        python = Python(make)
        try:
            return await python.run(TOOL, {"code": code}, scope(), "k", lambda text: None)
        finally:
            await python.close()

    return asyncio.run(run())


def test_the_tool_tells_what_was_printed_and_the_last_value():
    answer = used(sandbox_of("monty", "", nobody), "print('a')\n{'b': [1, 2]}")
    assert (answer.status, answer.text) == ("ok", 'a\n\n{"b":[1,2]}')
    assert answer.value == {"output": "a\n", "value": {"b": [1, 2]}}
    assert used(sandbox_of("monty", "", nobody), "x = 1").text == "done, nothing was printed"
    answer = used(sandbox_of("monty", "", nobody), "print('a')\n1/0")
    assert (answer.status, answer.error) == ("failed", "python_error")
    assert used(ValueError("no bwrap here"), "1").error == "no_sandbox"
    assert used(sandbox_of("monty", "", nobody), "x" * 300_000).error == "code_too_long"


@pytest.mark.parametrize(
    "code",
    [
        "'x' * 110_000_000",
        "x = 'x' * 110_000_000\nx",
        "x = 'x' * 110_000_000; x;",
        "['y' * 1_000_000] * 100",
        "[1] * 1_000_000",
        "class A:\n  pass\na = A()\na.b = 'x' * 50_000_000\n[a]",
        "len = repr = isinstance = lambda *x: 0\n'x' * 110_000_000",
        "lambda: 'x' * 110_000_000",
        "if True:\n  'x' * 110_000_000",
    ],
)
def test_a_value_leaves_the_sandbox_within_bounds(code: str):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = ran("monty", code)
    assert done.error == ""
    assert len(msgspec.json.encode(done.value)) < MAX_OUTPUT + 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@pytest.mark.parametrize(
    "code, value",
    [
        ("6 * 7", 42), ("x = 1\nx", 1), ("x = 1; x + 1", 2), ("x = 1; x;  # so", 1), ("x = 1", None), ("", None),
        ("# 7", None), ("1, 'a'", [1, "a"]), ("{'a': (1, 2.5, None)}", {"a": [1, 2.5, None]}), ("{4}", "{4}"),
        ("10 ** 30", 10**30), ("s = '''a\n1;2'''\ns", "a\n1;2"), ("f = max\nf(\n1,\n2)\n# c\n", 2),
        ("if False: x = 1; 7", None), ("for n in [1]:\n  n\n", None), ("def f():\n  return 5\nf()", 5),
        ("x = 5 \\\n + 1\nx", 6), ("'a;b'", "a;b"), ("None", None), ("x = [n\nfor n in [1]]\nx  # y", [1]),
    ],
)  # fmt: skip
def test_the_value_is_that_of_the_last_statement_when_it_is_an_expression(code: str, value: object):
    assert ran("monty", code) == Ran("", value)


def test_each_statement_runs_once_and_errors_are_those_of_the_program():
    assert ran("monty", "print(1); print(2)").output == "1\n2\n"
    done = ran("monty", "print(1)\nraise SyntaxError('no')")
    assert (done.output, "no" in done.error) == ("1\n", True)
    assert ran("monty", "print(1)\nx = = 1").output == ""
    assert "ZeroDivisionError" in ran("monty", "x = 0\n1 / x").error
    assert ran("monty", "n = 0\nwhile n < 10 ** 9: n += 1\nn", 0.5).timed_out


@given(st.text("ab'\"\\\n;()#: =", max_size=60))
def test_the_last_statement_of_any_text_begins_somewhere_in_it(code: str):
    start, stop = last_statement(code)
    assert 0 <= start <= stop <= len(code)


def test_to_find_the_last_statement_takes_no_longer_than_the_program_is_long():
    for piece in ("'", '"""', "(", "\\\n", "a;", "\n", "''' ", "f'", "#", "\\", "'\\"):
        before = time.process_time()
        last_statement(piece * (250_000 // len(piece)))
        assert time.process_time() - before < 2.0


def test_a_sandbox_server_is_asked_and_believed_only_within_bounds():
    async def run(said: Said) -> tuple[Ran, Heard]:
        async with web(said) as there, door() as egress:
            done = await FusionSandbox(egress.send, there.url + "/").run("print(1)", 2.0)
            return done, there.heard[0]

    result = {"status": "Finished", "return_code": 0, "stdout": "1\n", "stderr": ""}
    done, heard = asyncio.run(run(Said({"status": "Success", "message": "", "run_result": result})))
    assert done == Ran("1\n")
    assert (heard.target, heard.json["code"], heard.json["language"]) == ("/run_code", "print(1)", "python")
    late = {"status": "Failed", "run_result": {"status": "TimeLimitExceeded", "stdout": None}}
    assert asyncio.run(run(Said(late)))[0].timed_out
    bad = {"status": "Failed", "run_result": {"status": "Finished", "return_code": 1, "stderr": "NameError"}}
    assert asyncio.run(run(Said(bad)))[0].error == "NameError"
    odd = {"status": "Success", "run_result": {"status": "Finished", "return_code": 3, "stdout": "x"}}
    assert asyncio.run(run(Said(odd)))[0] == Ran("x", error="the program ended with 3")
    mute = {"run_result": {"stdout": "x"}}
    assert asyncio.run(run(Said(mute)))[0] == Ran("x", error="the program ended with no status")
    broken = {"status": "SandboxError", "message": "no place"}
    assert asyncio.run(run(Said(broken)))[0].error == "no place"
    for nonsense in (
        Said(b"x"),
        Said(b'{"status":"\xe9"}'),
        Said({}, 500),
        Said({}),
        Said({"status": "Success"}),
        Said({"status": "Failed"}),
    ):
        with pytest.raises(MidstreamError):
            asyncio.run(run(nonsense))
    with pytest.raises(ValueError):
        sandbox_of("sandboxfusion", "", nobody)


def test_bubblewrap_says_when_it_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="bwrap"):
        BubblewrapSandbox()
