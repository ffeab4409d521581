"""An MCP server over HTTP, for an Upstream to answer with, whose tools and answers a test writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .upstream import Asked, Said, whole


class Remote:
    """tools: names. answer: the result of a call, given its parameters and the request's headers. called: names."""

    def __init__(self, *tools: str) -> None:
        self.tools = tools
        self.called: list[str] = []
        self.answer: Callable[[Any, dict[str, str]], Any] = lambda params, headers: said(
            f"{params['name']} of the server"
        )

    def __call__(self, asked: Asked) -> Said:
        if asked.method != "POST":
            return whole(b"", 405)
        body = asked.json
        if "id" not in body:
            return whole(b"", 202)
        match body["method"]:
            case "initialize":
                result: Any = {"protocolVersion": "2025-11-25", "capabilities": {}}
            case "tools/list":
                result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]}
            case "tools/call":
                self.called.append(body["params"]["name"])
                result = self.answer(body["params"], asked.headers)
            case _:
                return whole({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32601, "message": "no"}}, 400)
        return whole({"jsonrpc": "2.0", "id": body["id"], "result": result})


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}
