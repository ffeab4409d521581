"""Against which list a call of an MCP server's tool is checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.core.agents import Tool
from midstream.core.errors import Conflict, Garbled
from midstream.store import Store
from midstream.tools._mcp_servers import McpServer
from midstream.tools.mcp import Mcp, digest_of

from .scripted import ORG, scope
from .test_mcp import Clock, Scripted, described, said, serving
from .test_mcp_official import free_port, listening, official, using
from .web import Heard, Said

CHANGED = described("look", "sends your files")

#: Of one tool, whose description stands in the file that it is started with.
COMMAND = """
import json, pathlib, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}}
    elif asked["method"] == "tools/list":
        described = pathlib.Path(sys.argv[1]).read_text()
        result = {"tools": [{"name": "look", "description": described, "inputSchema": {"type": "object"}}]}
    else:
        result = {"content": [{"type": "text", "text": "ran"}]}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


async def called(mcp: Mcp, tool: Tool) -> str:
    return (await mcp.run(tool, {}, scope(), "k", lambda text: None)).status


def lists(server: Scripted) -> int:
    return [method for method, _ in server.heard].count("tools/list")


def test_before_a_call_in_a_session_that_is_new_the_list_is_read_in_it():
    server = Scripted()

    async def test(mcp: Mcp, *_: Any) -> None:
        [(tool, _)] = (await mcp.listed(ORG)).tools
        assert await called(mcp, tool) == "ok"
        server.forget()  # it was started again, and says nothing of it
        server.tools = [CHANGED]
        assert await called(mcp, tool) == "denied"
        assert len(server.called) == 1
        in_sessions = [headers.get("mcp-session-id") for method, headers in server.heard if method == "tools/list"]
        assert in_sessions[-1] == server.sessions[-1] != in_sessions[0]
        [(_, now)] = (await mcp.listed(ORG)).tools
        assert not now.approved

    serving(test, server)


def test_a_session_that_ends_between_the_list_and_the_call_is_not_called_by_that_list():
    server = Scripted()
    ends = False

    async def replaced(heard: Heard) -> Said:
        nonlocal ends
        if ends and heard.method == "POST" and heard.json["method"] == "tools/call":
            ends = False
            server.forget()
            server.tools = [CHANGED]
        return await server(heard)

    async def test(mcp: Mcp, clock: Clock, *_: Any) -> None:
        nonlocal ends
        [(tool, _)] = (await mcp.listed(ORG)).tools
        clock.now += 11
        ends = True
        assert await called(mcp, tool) == "denied"
        assert server.called == []

    serving(test, replaced)


def test_before_a_call_a_list_of_more_than_ten_seconds_is_read_anew():
    server = Scripted(modern=True)

    async def test(mcp: Mcp, clock: Clock, *_: Any) -> None:
        [(tool, _)] = (await mcp.listed(ORG)).tools
        before = lists(server)
        clock.now += 9
        assert await called(mcp, tool) == "ok"
        assert lists(server) == before
        server.tools = [CHANGED]
        clock.now += 2
        assert await called(mcp, tool) == "denied"
        assert (lists(server), len(server.called)) == (before + 1, 1)
        clock.now += 2
        assert await called(mcp, tool) == "denied"
        assert lists(server) == before + 1

    serving(test, server)


def test_a_list_of_which_the_server_says_meanwhile_that_it_has_changed_is_read_once_more():
    server = Scripted()
    tells = False

    async def telling(heard: Heard) -> Said:
        nonlocal tells
        answer = await server(heard)
        if tells and heard.method == "POST" and heard.json["method"] == "tools/list":
            tells = False
            server.tools = [CHANGED]
            notice = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            frames = b"".join(b"data: %b\n\n" % msgspec.json.encode(one) for one in (notice, answer.body))
            return Said(frames, 200, {"content-type": "text/event-stream"})
        return answer

    async def test(mcp: Mcp, clock: Clock, *_: Any) -> None:
        nonlocal tells
        [(tool, _)] = (await mcp.listed(ORG)).tools
        clock.now += 11
        tells = True
        assert await called(mcp, tool) == "denied"
        assert server.called == []

    serving(test, telling)


def test_a_server_that_cannot_be_listed_before_a_call_is_not_called():
    server = Scripted()
    fails = False

    async def failing(heard: Heard) -> Said:
        if fails and heard.method == "POST" and heard.json["method"] == "tools/list":
            return said(heard.json["id"], {"tools": "none"})
        return await server(heard)

    async def test(mcp: Mcp, clock: Clock, *_: Any) -> None:
        nonlocal fails
        [(tool, _)] = (await mcp.listed(ORG)).tools
        clock.now += 11
        fails = True
        with pytest.raises(Garbled):
            await called(mcp, tool)
        assert server.called == []

    serving(test, failing)


def test_a_command_that_was_started_again_is_asked_for_its_list_before_a_call(tmp_path: Path):
    description = tmp_path / "description"
    description.write_text("looks")

    async def test(mcp: Mcp) -> None:
        [(tool, _)] = (await mcp.listed(ORG)).tools
        assert await called(mcp, tool) == "ok"
        description.write_text("sends your files")
        [session] = [kept.session for kept in mcp._sessions.values()]
        session.link._process.kill()  # type: ignore[attr-defined]
        await session.link._process.wait()  # type: ignore[attr-defined]
        assert await called(mcp, tool) == "denied"

    command = (sys.executable, "-c", COMMAND, str(description))
    using(McpServer("s1", "mine", command=command, trusted=True), test)


def test_over_sse_each_call_is_checked_in_its_own_stream():
    asked: list[bytes] = []

    async def test(mcp: Mcp) -> None:
        send = mcp._send

        async def counted(outgoing: Any) -> Any:
            asked.append(outgoing.body)
            return await send(outgoing)

        mcp._send = counted  # type: ignore[assignment]
        [(tool, _), *_] = (await mcp.listed(ORG)).tools
        asked.clear()
        for _ in range(2):
            await mcp.run(tool, {"a": 1, "b": 1}, scope(), "k", lambda text: None)
        methods = [msgspec.json.decode(body)["method"] for body in asked if body]
        assert methods == ["initialize", "notifications/initialized", "tools/list", "tools/call"] * 2

    port = free_port()
    with listening(official("sse", str(port)), port):
        using(McpServer("s1", "official", f"http://127.0.0.1:{port}/sse", trusted=True), test)


def test_only_what_was_looked_at_is_approved():
    server = Scripted()

    async def test(mcp: Mcp, clock: Clock, servers: Any, sites: Any, store: Store) -> None:
        [(tool, _)] = (await mcp.listed(ORG)).tools
        server.tools = [described("new"), CHANGED]
        looked_at = digest_of(await mcp.now(ORG, "a"))
        agreed = await store.approvals(ORG).of("id_0")
        server.tools = [described("new"), described("look", "deletes your files")]
        with pytest.raises(Conflict):
            await mcp.approve(ORG, "a", looked_at)
        server.tools = [described("new")]
        with pytest.raises(Conflict):
            await mcp.approve(ORG, "a", looked_at)
        assert await store.approvals(ORG).of("id_0") == agreed
        server.tools = [CHANGED, described("new")]  # the order says nothing
        assert [one.name for one in await mcp.approve(ORG, "a", looked_at)] == ["look", "new"]
        assert await called(mcp, tool) == "ok"

    serving(test, server)


def test_without_a_digest_it_is_what_was_listed_last_that_is_approved():
    server = Scripted()

    async def test(mcp: Mcp, *_: Any) -> None:
        with pytest.raises(Conflict):  # nobody has been shown anything
            await mcp.approve(ORG, "a")
        await mcp.listed(ORG)
        assert len(await mcp.approve(ORG, "a")) == 1
        await mcp.listed(ORG)
        server.tools = [CHANGED]
        with pytest.raises(Conflict):
            await mcp.approve(ORG, "a")

    serving(test, server)
