"""A server made with the official SDK.  python -m tests.tools.mcp_server TRANSPORT [PORT] [json]"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    ToolAnnotations,
)

server = MCPServer("official")


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts, and says so."""
    for n in range(1, to + 1):
        await ctx.report_progress(n, to, f"at {n}")
    return "counted"


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("no luck")


@server.tool()
def picture() -> Image:
    """Gives a picture."""
    return Image(data=b"\x89PNG....", format="png")


@server.tool()
def parts() -> list[ContentBlock]:
    """Gives some of everything."""
    book = BlobResourceContents(uri="file:///book.pdf", mime_type="application/pdf", blob="JVBERi0=")
    return [
        TextContent(text="some of everything"),
        ImageContent(data="iVBORw0KGgo=", mime_type="image/png"),
        AudioContent(data="UklGRg==", mime_type="audio/wav"),
        EmbeddedResource(resource=book),
    ]


if __name__ == "__main__":
    transport, *more = sys.argv[1:]
    if transport == "stdio":
        server.run("stdio")
    elif transport == "sse":
        server.run("sse", host="127.0.0.1", port=int(more[0]))
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(more[0]), json_response="json" in more)
