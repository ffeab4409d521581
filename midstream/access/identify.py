"""From a request's credential to its caller. Only our own keys count; no identity header is trusted."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from ..core.errors import Forbidden, Unauthenticated
from ..core.web import Caller

#: Seconds that a key looked up in the store is believed; also how soon a revocation holds on every worker.
BELIEVE = 1.0
CACHE = 10_000


class Key(Protocol):
    """A row of the store's API keys that is neither revoked nor expired."""

    @property
    def id(self) -> str: ...
    @property
    def org_id(self) -> str: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...


FindKey = Callable[[str], Awaitable[Key | None]]


class Identify:
    """admin_key: the operator's own; it works everywhere. find: a usable key by its secret, or None."""

    def __init__(self, admin_key: str, admin_org: str, find: FindKey, clock: Callable[[], float]) -> None:
        self._admin = hashlib.sha256(admin_key.encode()).digest()
        self._admin_caller = Caller(admin_org, "admin", admin=True)
        self._find = find
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}

    async def __call__(self, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Caller:
        """Raises Unauthenticated. query: where Gemini's `?key=` may stand."""
        secret = credential(headers, query)
        # By the whole digest: two secrets that share a prefix never share an identity.
        digest = hashlib.sha256(secret.encode()).digest()
        if hmac.compare_digest(digest, self._admin):
            return self._admin_caller
        known = self._known.get(digest)
        now = self._clock()
        if known is not None and known[1] > now:
            return known[0]
        key = await self._find(secret)
        if key is None:
            self._known.pop(digest, None)
            raise Unauthenticated("the API key is unknown, expired or revoked")
        caller = Caller(key.org_id, key.id, frozenset(key.scopes), "admin" in key.scopes)
        if len(self._known) >= CACHE:
            self._known.clear()
        self._known[digest] = (caller, now + BELIEVE)
        return caller

    def forget(self) -> None:
        """Every key is looked up anew (after a revocation here)."""
        self._known.clear()


def credential(headers: Mapping[str, str], query: Mapping[str, str] | None) -> str:
    """The secret of a request, from whichever place its SDK puts it. Raises Unauthenticated."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    for name in ("x-api-key", "api-key", "x-goog-api-key"):
        if headers.get(name):
            return headers[name]
    if query and query.get("key"):
        return query["key"]
    raise Unauthenticated("no API key: send it as `Authorization: Bearer ...` or `x-api-key`")


def require_admin(caller: Caller) -> None:
    if not caller.admin:
        raise Forbidden("this needs the admin key, or a key with the scope `admin`")
