"""Tools over a real journal, and a kind of tool that does what its test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from midstream.core.agents import Tool
from midstream.core.parts import ToolCall
from midstream.core.toolbox import ToolAnswer, ToolScope
from midstream.store import Store, open_store
from midstream.tools._run import Note, Tools

ORG = "org_default"
RUN = "run_1"
Script = Callable[[dict[str, Any], Note], Awaitable[ToolAnswer]]


def ok(text: str = "done") -> ToolAnswer:
    return ToolAnswer("ok", text)


class Scripted:
    """A kind of tool. ran: (tool, arguments, key) in the order of their beginnings. now, most: how many run."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.ran: list[tuple[str, dict[str, Any], str]] = []
        self.now = self.most = 0

    async def run(self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Note) -> ToolAnswer:
        self.ran.append((tool.name, arguments, key))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.script is None:
                await asyncio.sleep(0)
                return ok(f"{tool.name} {msgspec.json.encode(arguments).decode()}")
            return await self.script(arguments, note)
        finally:
            self.now -= 1


def tool(name: str = "look", **more: Any) -> Tool:
    return Tool(**{"id": f"tool_{name}", "name": name, "kind": "http", "effect": "pure", **more})


def call(name: str = "look", id: str = "c1", **arguments: Any) -> ToolCall:
    return ToolCall(id, name, msgspec.json.encode(arguments).decode())


def scope(**more: Any) -> ToolScope:
    return ToolScope(**{"org": ORG, "run": RUN, **more})


def tools_of(store: Store, kind: Scripted, **more: Any) -> Tools:
    return Tools({"http": kind, "agent": kind}, store.tool_calls, time.monotonic, **more)


def with_store(work: Callable[[Store], Awaitable[None]], url: str = "sqlite://:memory:") -> None:
    async def run() -> None:
        store = await open_store(url, worker="test")
        try:
            await asyncio.wait_for(work(store), 30)
        finally:
            await store.close()

    asyncio.run(run())
