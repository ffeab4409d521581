"""MCP servers as they are configured, and the tokens that some of them ask for."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from ..core.agents import McpTransport, OAuth
from ..core.errors import Garbled, Refused
from ..core.http import Outgoing, Send, Timeouts
from ..core.masking import credentials
from ..core.secret import Secret
from ._charsets import json_of


class McpServer(Struct, frozen=True):
    """id: what approvals and tools name it by. headers: values may be secrets. trusted: the operator wrote it, so its
    address may be private, and it may be a command. transport: auto is Streamable HTTP, but the older SSE for an
    address that ends in /sse. seconds: for one exchange."""

    id: str
    name: str
    url: str = ""
    headers: dict[str, Secret | str] = {}
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    oauth: OAuth | None = None
    trusted: bool = False
    transport: McpTransport = "auto"
    seconds: float = 45.0


def plain(headers: dict[str, Secret | str]) -> dict[str, str]:
    return {name.lower(): value.reveal() if isinstance(value, Secret) else value for name, value in headers.items()}


def secrets_of(server: McpServer) -> tuple[str, ...]:
    """What it is sent, or started with, that it is not to say to anybody."""
    login = () if server.oauth is None else (server.oauth.client_secret.reveal(),)
    return (*credentials(plain(server.headers)), *credentials(server.env), *login)


class _Token(Struct):
    access_token: str
    expires_in: Any = None

    @property
    def seconds(self) -> float:
        """That it is good for. Some services write the number as text, or none."""
        try:
            seconds = float(self.expires_in)
        except (TypeError, ValueError, OverflowError):
            return 300.0
        return seconds if 0.0 <= seconds <= 1e9 else 300.0


#: A token is not used in its last seconds.
MARGIN = 30.0


class Tokens:
    """Bearer tokens by server and org, each kept until it ends. steady: seconds that never jump."""

    def __init__(self, send: Send, steady: Callable[[], float]) -> None:
        self._send = send
        self._steady = steady
        self._kept: dict[tuple[str, str, OAuth], tuple[str, float]] = {}

    async def bearer(self, org: str, server: McpServer, *, anew: bool = False) -> str:
        """Raises UpstreamError when none is given."""
        oauth = server.oauth
        assert oauth is not None
        key = (org, server.id, oauth)
        kept = self._kept.get(key)
        if kept is not None and not anew and self._steady() < kept[1]:
            return kept[0]
        token = await self._fetch(server, oauth)
        if len(self._kept) > 1000:
            self._kept.clear()
        self._kept[key] = (token.access_token, self._steady() + token.seconds - MARGIN)
        return token.access_token

    async def _fetch(self, server: McpServer, oauth: OAuth) -> _Token:
        fields = {"grant_type": "client_credentials", "resource": oauth.resource or server.url}
        if oauth.scope:
            fields["scope"] = oauth.scope
        login = f"{quote(oauth.client_id, safe='')}:{quote(oauth.client_secret.reveal(), safe='')}"
        headers = (
            ("authorization", f"Basic {base64.b64encode(login.encode()).decode()}"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        )
        body = urlencode(fields).encode()
        timeouts = Timeouts(first_byte=15.0, total=20.0)
        incoming = await self._send(Outgoing("POST", oauth.token_url, headers, body, server.trusted, timeouts))
        try:
            data = await incoming.read(1024 * 1024)
        finally:
            incoming.close()
        if incoming.status != 200:
            raise Refused(f"no token from {server.name}'s login: HTTP {incoming.status}", status=502)
        try:
            token: _Token = json_of(data, incoming.headers.get("content-type", ""), _Token)
            return token
        except msgspec.DecodeError:
            raise Garbled(f"the answer of {server.name}'s login is no token") from None
