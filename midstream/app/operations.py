"""What operators and orchestrators ask: alive, ready, which version, and (with the operator's key) how much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from .. import __version__
from ..core.errors import MethodNotAllowed, MidstreamError
from ..core.web import Reply, Route
from ..metering.metrics import Metrics

#: What a server says that it is.
NAME = "midstream"
OPEN = frozenset({"/healthz", "/readyz", "/v1/version"})
METRICS = "/metrics"
ROUTES = (
    Route("GET", "/healthz", "health", "The process answers (no key needed)"),
    Route("GET", "/readyz", "ready", "Requests can be served: 200, else 503 with the reason (no key needed)"),
    Route("GET", "/v1/version", "version", "Name and version (no key needed)"),
    Route("GET", METRICS, "metrics", "Counts of all orgs for Prometheus; needs the operator's admin key"),
)


class Operations:
    """ready: None when requests can be served, else why not."""

    def __init__(self, ready: Callable[[], Awaitable[str | None]], metrics: Metrics) -> None:
        self._ready = ready
        self._metrics = metrics

    def knows(self, path: str) -> bool:
        return path in OPEN or path == METRICS

    def is_open(self, path: str) -> bool:
        """May be asked without a key."""
        return path in OPEN

    async def answer(self, method: str, path: str) -> Reply:
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed.of(method, ("GET",))
        if path == "/v1/version":
            return Reply(msgspec.json.encode({"name": NAME, "version": __version__}))
        if path == METRICS:
            return Reply(self._metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
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
