"""Servers that are commands, and what they write besides their messages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from midstream.core.errors import MidstreamError
from midstream.store import Store
from midstream.tools import _mcp_stdio as stdio_module
from midstream.tools._mcp_links import Ears
from midstream.tools._mcp_servers import McpServer, secrets_of
from midstream.tools.mcp import Mcp
from midstream.wire.jsonrpc import Result

from .scripted import ORG, scope, with_store

SERVER = """
import json, os, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    method = asked.get("method")
    if "id" not in asked:
        continue
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
    elif method == "tools/list":
        result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}]}
    else:
        ways = asked["params"]["arguments"]
        time.sleep(ways.get("sleep", 0))
        sys.stdout.buffer.write(bytes.fromhex(ways.get("first", "")) * ways.get("times", 1))
        sys.stdout.buffer.write(b"\\n" if "first" in ways else b"")
        sys.stdout.flush()
        sys.stderr.buffer.write(bytes.fromhex(ways.get("aside", "")))
        sys.stderr.flush()
        if "last" in ways:
            sys.stdout.buffer.write(bytes.fromhex(ways["last"]))
            sys.stdout.flush()
            os._exit(1)
        if ways.get("close"):
            os.close(1)
            continue
        result = {"content": [{"type": "text", "text": str(os.getpid())}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def using(
    tmp_path: Path,
    test: Callable[[Mcp, Callable[..., Awaitable[str]]], Awaitable[None]],
    seconds: float = 10.0,
    env: dict[str, str] | None = None,
) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    command = (sys.executable, str(tmp_path / "server.py"))
    server = McpServer("s", "s", command=command, env=env or {}, trusted=True, seconds=seconds)

    async def servers(org: str) -> list[McpServer]:
        return [server]

    async def nobody(outgoing: object) -> object:
        raise AssertionError("nothing is sent")

    async def work(store: Store) -> None:
        mcp = Mcp(servers, nobody, store.approvals, lambda: 1000.0)  # type: ignore[arg-type]

        async def call(seconds: float | None = None, **arguments: object) -> str:
            """The id of the process that answers. seconds: the tool's."""
            [(tool, _)] = (await mcp.listed(ORG)).tools
            assert tool.timeout_seconds == server.seconds
            tool = replace(tool, timeout_seconds=seconds)
            return (await mcp.run(tool, arguments, scope(), "k", lambda text: None)).text

        try:
            await test(mcp, call)
        finally:
            await mcp.close()

    with_store(work)


@pytest.mark.parametrize("line", [b"DeprecationWarning: old", b"caf\xe9 \xff", b'{"jsonrpc":"1.0"}', b"[1]"])
def test_a_line_that_is_no_message_is_passed_over_and_told_in_the_log(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
):
    async def test(mcp: Mcp, call: Callable[..., Awaitable[str]]) -> None:
        assert {await call(), await call(first=line.hex()), await call()} == {await call()}

    with caplog.at_level("WARNING", "midstream.tools"):
        using(tmp_path, test)
    assert f"a line of its output is no message: {line.decode('utf-8', 'replace')}" in caplog.text


def test_no_part_of_a_secret_is_left_where_a_line_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    token = "tok-0123456789abcdef0123456789abcdefZ"
    lines = ["x" * (500 - length) + token for length in (1, 5, len(token) - 1, 500)]
    monkeypatch.setattr(stdio_module, "MAX_ANSWER", 20_000)
    torn = b"y" * 80_000 + token[:9].encode() + b"\n"

    async def test(mcp: Mcp, call: Callable[..., Awaitable[str]]) -> None:
        for line in lines:
            await call(first=line.encode().hex(), aside=f"{line}\n".encode().hex())
        await call(aside=(torn + b"and so on\n").hex())
        for length in (3, 20, len(token) - 1):
            with pytest.raises(MidstreamError, match="has ended"):
                await call(last=f"its end: {token[:length]}".encode().hex())

    with caplog.at_level("DEBUG", "midstream.tools"):
        using(tmp_path, test, env={"API_TOKEN": token})
    assert caplog.text.count("no message: xxx") == caplog.text.count("MCP server s: xxx") == 3
    assert caplog.text.count("no message: ***") == caplog.text.count("MCP server s: ***") == 1
    assert caplog.text.count("no message: its end:\n") == 3
    assert "tok" not in caplog.text


def test_a_line_that_is_too_long_fails_its_call_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stdio_module, "MAX_ANSWER", 100_000)

    async def test(mcp: Mcp, call: Callable[..., Awaitable[str]]) -> None:
        before = await call()
        with pytest.raises(MidstreamError, match="too long"):
            await call(first=b"xy".hex(), times=300_000)
        assert await call() == before

    using(tmp_path, test)


def test_a_server_that_has_closed_its_output_is_started_again(tmp_path: Path):
    async def test(mcp: Mcp, call: Callable[..., Awaitable[str]]) -> None:
        before = await call()
        with pytest.raises(MidstreamError, match="has ended"):
            await call(close=True)
        await asyncio.sleep(0)
        assert await call() not in ("", before)

    using(tmp_path, test)


def test_a_tool_has_its_own_time_and_not_its_servers(tmp_path: Path):
    async def test(mcp: Mcp, call: Callable[..., Awaitable[str]]) -> None:
        assert await call(seconds=20.0, sleep=2.5)
        with pytest.raises(MidstreamError, match="does not answer"):
            await call(sleep=4)

    using(tmp_path, test, seconds=2.0)


def test_what_a_command_is_started_with_is_secret_by_its_name():
    server = McpServer("id", "a", command=("x",), env={"API_TOKEN": "tok-123456", "LANG": "C.UTF-8"}, trusted=True)
    assert secrets_of(server) == ("tok-123456",)
    assert Ears(server).read(b'{"jsonrpc":"2.0","id":1,"result":{"env":"API_TOKEN=tok-123456"}}') == [
        Result(1, {"env": "API_TOKEN=***"})
    ]
