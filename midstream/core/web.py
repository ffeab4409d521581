"""An HTTP request and reply as faces see them: no server library, no sockets."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Caller(Struct, frozen=True):
    """Who asks. org: everything is scoped to it. scopes: words of access.scopes; admin: the operator's key, or one
    with that scope. requests_per_minute: 0 = any number."""

    org: str
    key_id: str
    scopes: frozenset[str] = frozenset()
    admin: bool = False
    requests_per_minute: int = 0


class Request(Struct):
    """body: empty until its sender has been identified.
    headers: lower-case names; the last of a repeated header counts. params: the named pieces of the route's path."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    params: Mapping[str, str]
    id: str
    body: bytes = b""


class Reply(Struct, frozen=True):
    """A complete answer. headers besides content-length, which the edge adds."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class Route(Struct, frozen=True):
    """path: literal, with `{name}` for one segment and `{name:rest}` for the remainder up to a literal suffix.
    task: what the route asks for. scope: of access.scopes, which whoever asks needs."""

    method: str
    path: str
    task: str
    summary: str
    scope: str = "chat"
