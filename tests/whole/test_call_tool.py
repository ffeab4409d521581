"""Tools called without an agent, on a real server, from a server made with MCP's official SDK."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp_types import CallToolResult

from .agents_at import Agents
from .serving import Serving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    command = msgspec.json.encode([sys.executable, "-m", "tests.tools.mcp_server", "stdio"]).decode()
    toml = f'[mcp.servers.official]\ncommand = {command}\nenv = {{ PYTHONPATH = "{ROOT}" }}\n'
    with Serving(tmp_path_factory.mktemp("call-tool"), toml) as serving:
        yield Agents(serving)


def called(agents: Agents, name: str, **arguments: Any) -> tuple[Any, CallToolResult]:
    """The reply, and what the official SDK reads in it."""
    reply = agents.post("/mcp/v1/tools/call-tool", {"name": name, "arguments": arguments})
    return reply, CallToolResult.model_validate({"content": reply["content"], "isError": reply["isError"]})


def test_what_an_mcp_tool_gives_comes_out_as_mcp_writes_it(agents: Agents):
    reply, read = called(agents, "parts")
    assert reply["content"] == [
        {"type": "text", "text": "some of everything"},
        {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"},
        {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"},
        {
            "type": "resource",
            "resource": {"uri": "file:///book.pdf", "mimeType": "application/pdf", "blob": "JVBERi0="},
        },
    ]
    assert "media" not in reply
    assert [type(block).__name__ for block in read.content] == [
        "TextContent", "ImageContent", "AudioContent", "EmbeddedResource",
    ]  # fmt: skip


def test_a_picture_alone_is_no_text_and_a_failure_is_one(agents: Agents):
    reply, _ = called(agents, "picture")
    assert [block["type"] for block in reply["content"]] == ["image"]
    reply, read = called(agents, "fail")
    assert read.is_error
    assert reply["content"] == [{"type": "text", "text": "Error executing tool fail"}]
    reply, _ = called(agents, "add", a=2, b=3)
    assert (reply["content"], reply["value"]) == ([{"type": "text", "text": "5"}], {"result": 5})
