"""What is said to an MCP server, in the revision that it speaks: 2026-07-28 (every request stands alone) or the
handshake of 2025-11-25 and before."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from .. import __version__
from ..core.errors import Garbled, Refused
from ..core.json_words import too_deep
from ..wire.jsonrpc import Call, Fault, Notice, Result
from ._mcp_links import HTTP_FAULT, Heard, Link

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
#: Revisions whose handshake may be answered to ours.
OLDER = frozenset({HANDSHAKE, "2025-06-18", "2025-03-26", "2024-11-05"})
UNSUPPORTED_VERSION = -32022
MAX_PAGES, MAX_TOOLS = 50, 1000

_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "midstream", "version": __version__}
_SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class McpSession:
    """One conversation with a server. modern: its requests stand alone, so that nothing is lost when it ends.
    heard: told of everything that the server says beside its answers."""

    def __init__(self, link: Link, heard: Heard) -> None:
        self.link = link
        self._heard = heard
        self.modern = False
        self._version = HANDSHAKE
        self._ids = itertools.count(1)

    async def open(self, *, discover: bool) -> None:
        """discover: ask first whether it speaks the newest revision. Raises UpstreamError."""
        if discover:
            self.modern = True
            answer = await self._ask("server/discover", {})
            if isinstance(answer, Result) and MODERN in _strings(answer.value, "supportedVersions"):
                return
            self.modern = False
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": _CLIENT}
        answer = await self._ask("initialize", params, first=True)
        if isinstance(answer, Fault):
            if answer.code == UNSUPPORTED_VERSION and MODERN in _strings(answer.data, "supported"):
                self.modern = True
                return
            raise _refusal(answer)
        version = answer.value.get("protocolVersion") if isinstance(answer.value, dict) else None
        if version not in OLDER:
            raise Garbled(f"the MCP server speaks a revision that is not known: {str(version)[:40]}")
        self._version = str(version)
        await self.link.tell(Notice("notifications/initialized"), self._headers("notifications/initialized"))

    async def tools(self) -> list[dict[str, Any]]:
        """As the server describes them: {name, description, inputSchema, ...}. Raises UpstreamError."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            answer = await self._ask("tools/list", params)
            if isinstance(answer, Fault):
                raise _refusal(answer)
            value = answer.value if isinstance(answer.value, dict) else {}
            listed = value.get("tools")
            if not isinstance(listed, list):
                raise Garbled("the MCP server's list of tools is none")
            if too_deep(listed):
                raise Garbled("the MCP server's list of tools is nested too deeply")
            found += [one for one in listed if isinstance(one, dict) and isinstance(one.get("name"), str)]
            cursor = value.get("nextCursor")
            if not isinstance(cursor, str) or not cursor or len(found) >= MAX_TOOLS:
                return found[:MAX_TOOLS]
            params = {"cursor": cursor}
        return found

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        schema: Mapping[str, Any],
        note: Callable[[str], None],
        seconds: float | None = None,
    ) -> Result | Fault:
        """schema: the tool's, for arguments that it wants as headers too. seconds: that the call may take."""
        params = {"name": name, "arguments": arguments}
        headers = {"mcp-name": _header(name), **_mirrored(schema, arguments)} if self.modern else {}
        return await self._ask("tools/call", params, headers, note, seconds=seconds)

    async def _ask(
        self,
        method: str,
        params: dict[str, Any],
        headers: Mapping[str, str] | None = None,
        note: Callable[[str], None] | None = None,
        *,
        first: bool = False,
        seconds: float | None = None,
    ) -> Result | Fault:
        id = next(self._ids)
        meta: dict[str, Any] = {}
        if note is not None:
            meta["progressToken"] = id
        if self.modern:
            meta |= {f"{_META}protocolVersion": MODERN, f"{_META}clientInfo": _CLIENT, f"{_META}clientCapabilities": {}}
        if meta:
            params = {**params, "_meta": meta}

        def heard(notice: Notice) -> None:
            self._heard(notice)
            if notice.method == "notifications/progress" and notice.params.get("progressToken") == id and note:
                note(_progress(notice.params))

        sent = {} if first else {**self._headers(method), **(headers or {})}
        return await self.link.ask(Call(id, method, params), sent, heard, seconds)

    def _headers(self, method: str) -> dict[str, str]:
        if self.modern:
            return {"mcp-protocol-version": MODERN, "mcp-method": method}
        return {"mcp-protocol-version": self._version}


def _progress(params: Mapping[str, Any]) -> str:
    done, total, message = params.get("progress"), params.get("total"), params.get("message")
    counted = f"{done}/{total}" if isinstance(total, int | float) else f"{done}"
    return f"{message} ({counted})" if isinstance(message, str) and message else counted


def _refusal(fault: Fault) -> Refused:
    word = "" if fault.code == HTTP_FAULT else f" ({fault.code})"
    return Refused(f"the MCP server refused{word}: {fault.message[:500]}", status=502, code="mcp_refused")


def _strings(value: Any, name: str) -> list[str]:
    found = value.get(name) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _mirrored(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Arguments that their schema marks with x-mcp-header are sent as Mcp-Param-… headers as well."""
    headers: dict[str, str] = {}
    properties = schema.get("properties")
    for name, below in properties.items() if isinstance(properties, Mapping) else ():
        value = arguments.get(name)
        if not isinstance(below, Mapping) or value is None:
            continue
        word = below.get("x-mcp-header")
        if isinstance(word, str) and _TOKEN.fullmatch(word) and isinstance(value, str | int | float):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            headers[f"mcp-param-{word.lower()}"] = _header(text)
        if isinstance(value, Mapping):
            headers |= _mirrored(below, value)
    return headers


def _header(text: str) -> str:
    """Text as a header may hold it; anything else in base64 between marks (MCP 2026-07-28)."""
    if _SAFE.fullmatch(text) and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="
