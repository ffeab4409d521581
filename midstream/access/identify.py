"""From a request's credential to its caller. Only our own keys count; no identity header is trusted."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from math import inf

from ..core.errors import Forbidden, Unauthenticated
from ..core.web import Caller
from ..store.keys import ApiKey
from .scopes import SCOPES, require

#: Seconds that a key looked up in the store is believed; also how soon a revocation holds on every worker.
BELIEVE = 1.0
#: The key id of whoever holds the server's own admin key.
OPERATOR = "admin"
CACHE = 10_000

FindKey = Callable[[str], Awaitable[ApiKey | None]]


class Identify:
    """admin_key: the operator's own; it works everywhere. find: a key's record by its secret, or None.
    wall: unix seconds, which may jump; steady: seconds that never do. used: keys that have been looked up, and when
    last; whoever writes it down empties it."""

    def __init__(
        self, admin_key: str, admin_org: str, find: FindKey, wall: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self._admin = hashlib.sha256(admin_key.encode()).digest()
        self._admin_caller = Caller(admin_org, OPERATOR, admin=True)
        self._find = find
        self._wall = wall
        self._steady = steady
        #: With the steady time until which each is believed, and its key's end.
        self._known: dict[bytes, tuple[Caller, float, float]] = {}
        #: Counts what was forgotten: what was looked up meanwhile may be older.
        self._forgotten = 0
        self.used: dict[str, float] = {}

    async def __call__(self, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> Caller:
        """Raises Unauthenticated. query: given where `?key=` is a credential too (an address ends up in logs)."""
        secret = credential(headers, query)
        # By the whole digest: two secrets that share a prefix never share an identity.
        digest = hashlib.sha256(secret.encode()).digest()
        if hmac.compare_digest(digest, self._admin):
            return self._admin_caller
        known = self._known.get(digest)
        now, steady = self._wall(), self._steady()
        if known is not None and known[1] > steady and known[2] > now:
            return known[0]
        forgotten = self._forgotten
        key = await self._find(secret)
        if key is None or not key.valid(now):
            self._known.pop(digest, None)
            raise Unauthenticated("the API key is unknown, expired or revoked")
        self.used[key.id] = now
        scopes = key.scopes & SCOPES.keys()
        caller = Caller(key.org_id, key.id, scopes, "admin" in scopes, key.requests_per_minute or 0)
        if forgotten != self._forgotten:
            return caller
        if len(self._known) >= CACHE:
            self._known.clear()
        self._known[digest] = (caller, steady + BELIEVE, inf if key.expires_at is None else key.expires_at)
        return caller

    def forget(self) -> None:
        """Every key is looked up anew (after a revocation here)."""
        self._forgotten += 1
        self._known.clear()


def credential(headers: Mapping[str, str], query: Mapping[str, str] | None) -> str:
    """The secret of a request, from whichever place its SDK puts it. Raises Unauthenticated."""
    bearer = headers.get("authorization", "")
    if bearer[:7].lower() == "bearer " and (token := bearer[7:].strip()):
        return token
    for name in ("x-api-key", "api-key", "x-goog-api-key"):
        if headers.get(name):
            return headers[name]
    if query and query.get("key"):
        return query["key"]
    raise Unauthenticated("no API key: send it as `Authorization: Bearer ...` or `x-api-key`")


def require_admin(caller: Caller) -> None:
    if not caller.admin:
        raise Forbidden("this needs the admin key, or a key with the scope `admin`")


def require_reader(caller: Caller, method: str) -> None:
    """For all of `/v1/admin`: what changes something is an admin's; what reads may be a reader's as well."""
    if method in ("GET", "HEAD"):
        require(caller, "read", "admin")
    else:
        require_admin(caller)


def require_operator(caller: Caller) -> None:
    if caller.key_id != OPERATOR:
        raise Forbidden("this needs the operator's admin key")
