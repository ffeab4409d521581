"""Where FastAPI answers beside the faces' routes, and how it comes to that: to load it takes as long as to load all
else, and no model's caller needs it. So it is loaded in a thread once the server is ready; who asks sooner waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from ..core.errors import MidstreamError

WriteError = Callable[[MidstreamError, str], bytes]
Application = Callable[[Any, Any, Any], Awaitable[None]]

MCP_TOOLS, QUEUES, HISTORY, BATCHES = "/mcp/v1/tools", "/v1/queues", "/api/v1/conversation", "/api/v2/model/batch"


class Nouns(Struct, frozen=True):
    """Paths below `prefix` that no face's route has are answered by `application`."""

    prefix: str
    application: Application
    write_error: WriteError


class Later:
    """Applications by their prefix. build: makes them all, in another thread."""

    def __init__(self, build: Callable[[], Mapping[str, Application]]) -> None:
        self._build = build
        self._built: asyncio.Future[Mapping[str, Application]] | None = None

    def begin(self) -> asyncio.Future[Mapping[str, Application]]:
        if self._built is None:
            self._built = asyncio.get_running_loop().run_in_executor(None, self._build)
        return self._built

    def of(self, prefix: str) -> Application:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            applications = await asyncio.shield(self.begin())  # one who goes away does not take it from the others
            await applications[prefix](scope, receive, send)

        return application
