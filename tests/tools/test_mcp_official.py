"""Servers that others have written, over each transport."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from midstream.egress import Egress
from midstream.store import Store, open_store
from midstream.tools._mcp_servers import McpServer
from midstream.tools.mcp import Mcp

from ..whole.npm import clean_environment, installed, node
from .scripted import ORG, scope

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = "@modelcontextprotocol/server-everything@2026.1.26"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def listening(command: list[str], port: int, **environ: str) -> Iterator[None]:
    """A server in a process, ready to be asked."""
    env = {**os.environ, **environ}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            for _ in range(600):
                if process.poll() is not None:
                    assert process.stderr is not None
                    pytest.fail(process.stderr.read().decode()[-2000:])
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield
        finally:
            process.kill()


def using(server: McpServer, test: Callable[[Mcp], Awaitable[None]]) -> None:
    async def run() -> None:
        async def servers(org: str) -> list[McpServer]:
            return [server]

        store: Store = await open_store("sqlite://:memory:", worker="test")
        egress = Egress(environ={})
        mcp = Mcp(servers, egress.send, store.approvals, time.monotonic)
        try:
            await asyncio.wait_for(test(mcp), 60)
        finally:
            await mcp.close()
            await egress.close()
            await store.close()

    asyncio.run(run())


async def everything_works(mcp: Mcp, tells: bool = True) -> None:
    listed = await mcp.listed(ORG)
    assert listed.problems == {}
    tools = {tool.name: tool for tool, _ in listed.tools}
    assert set(tools) == {"add", "count", "fail", "parts", "picture"}
    assert (tools["add"].effect, tools["count"].effect) == ("pure", "unsafe")
    assert tools["add"].description == "Adds two numbers."
    notes: list[str] = []
    added = await mcp.run(tools["add"], {"a": 2, "b": 3}, scope(), "k", notes.append)
    assert (added.status, added.text) == ("ok", "5")
    assert added.value == {"result": 5}
    counted = await mcp.run(tools["count"], {"to": 3}, scope(), "k", notes.append)
    assert counted.text == "counted"
    assert notes == ([f"at {n} ({n}/3)" for n in (1, 2, 3)] if tells else [])
    failed = await mcp.run(tools["fail"], {}, scope(), "k", notes.append)
    assert (failed.status, failed.error) == ("failed", "mcp_tool_failed")
    picture = await mcp.run(tools["picture"], {}, scope(), "k", notes.append)
    assert [(one.kind, one.mime) for one in picture.media] == [("image", "image/png")]
    wrong = await mcp.run(tools["add"], {"a": "x"}, scope(), "k", notes.append)
    assert wrong.status == "failed"


def official(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.tools.mcp_server", *words]


@pytest.mark.parametrize("words", [[], ["json"]])
def test_the_official_sdk_over_streamable_http(words: list[str]):
    port = free_port()
    server = McpServer("s1", "official", f"http://127.0.0.1:{port}/mcp", trusted=True)
    with listening(official("http", str(port), *words), port):

        async def test(mcp: Mcp) -> None:
            await everything_works(mcp, tells=not words)  # an answer in one piece has no place for progress
            [session] = [kept.session for kept in mcp._sessions.values()]
            assert session.modern

        using(server, test)


def test_the_official_sdk_over_sse():
    port = free_port()
    with listening(official("sse", str(port)), port):
        using(McpServer("s1", "official", f"http://127.0.0.1:{port}/sse", trusted=True), everything_works)


def test_the_official_sdk_over_stdio_and_nothing_of_it_is_left():
    processes = []

    async def test(mcp: Mcp) -> None:
        await everything_works(mcp)
        [session] = [kept.session for kept in mcp._sessions.values()]
        processes.append(session.link._process)

    environ = {"PYTHONPATH": str(ROOT)}
    using(McpServer("s1", "official", command=tuple(official("stdio")), env=environ, trusted=True), test)
    assert processes[0].returncode is not None


def test_a_stdio_server_that_ends_is_started_again():
    async def test(mcp: Mcp) -> None:
        [(add, _), *_] = (await mcp.listed(ORG)).tools
        for _ in range(2):
            answer = await mcp.run(add, {"a": 1, "b": 1}, scope(), "k", lambda text: None)
            assert answer.text == "2"
            [session] = [kept.session for kept in mcp._sessions.values()]
            session.link._process.kill()
            await session.link._process.wait()

    environ = {"PYTHONPATH": str(ROOT)}
    using(McpServer("s1", "official", command=tuple(official("stdio")), env=environ, trusted=True), test)


async def echoes(mcp: Mcp) -> None:
    listed = await mcp.listed(ORG)
    assert listed.problems == {}
    tools = {tool.name: tool for tool, _ in listed.tools}
    assert len(tools) >= 5
    answer = await mcp.run(tools["echo"], {"message": "hello"}, scope(), "k", lambda text: None)
    assert (answer.status, answer.text) == ("ok", "Echo: hello")
    notes: list[str] = []
    long = next(tool for name, tool in tools.items() if "long" in name.lower())
    answer = await mcp.run(long, {"duration": 1, "steps": 2}, scope(), "k", notes.append)
    assert answer.status == "ok"
    assert notes


def everything() -> list[str]:
    folder = installed(EVERYTHING)
    return [node(), str(folder / "node_modules/@modelcontextprotocol/server-everything/dist/index.js")]


@pytest.mark.long
@pytest.mark.parametrize("transport, path", [("streamableHttp", "/mcp"), ("sse", "/sse")])
def test_the_reference_server_of_npm_over_http(transport: str, path: str):
    port = free_port()
    with listening([*everything(), transport], port, PORT=str(port)):
        using(McpServer("s1", "everything", f"http://127.0.0.1:{port}{path}", trusted=True), echoes)


@pytest.mark.long
def test_the_reference_server_of_npm_over_stdio(tmp_path: Path):
    environ = clean_environment(tmp_path)
    using(McpServer("s1", "everything", command=(*everything(), "stdio"), env=environ, trusted=True), echoes)
    assert shutil.which("node")
