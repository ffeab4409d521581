"""What operators and orchestrators ask: alive, ready, which version. Open to everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from .. import __version__
from ..core.errors import MethodNotAllowed, MidstreamError
from ..core.web import Reply

PATHS = frozenset({"/healthz", "/readyz", "/v1/version"})


class Operations:
    """ready: None when requests can be served, else why not."""

    def __init__(self, ready: Callable[[], Awaitable[str | None]]) -> None:
        self._ready = ready

    def knows(self, path: str) -> bool:
        return path in PATHS

    async def answer(self, method: str, path: str) -> Reply:
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"{method} is not offered here; allowed: GET")
        if path == "/v1/version":
            return Reply(msgspec.json.encode({"name": "midstream", "version": __version__}))
        if path == "/healthz":
            return Reply(b'{"status":"ok"}')
        reason = await self._ready()
        if reason is None:
            return Reply(b'{"status":"ready"}')
        body = msgspec.json.encode({"status": "not ready", "reason": reason})
        return Reply(body, 503, (("retry-after", "1"),))


def plain_error(error: MidstreamError, request_id: str) -> bytes:
    """An error outside of any face's grammar."""
    value = {"code": error.code, "message": error.message, "param": error.param, "request_id": request_id}
    return msgspec.json.encode({"error": value})
