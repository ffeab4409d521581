"""The listening side of WebSockets: uvicorn's protocol, which cuts off clients that do not read. Imported by the first
connection of this kind."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response
from websockets.server import ServerProtocol

from ..core.ids import new_id
from .protocol import STALL_SECONDS


class _Opening(ServerProtocol):
    """Its refusals, which come before the application is asked, name their request as all replies do."""

    def reject(self, status: Any, text: str) -> Response:
        response = super().reject(status, text)
        response.headers["x-request-id"] = new_id("req_")
        return response


class LiveProtocol(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Opening(max_size=self.config.ws_max_size, logger=self.conn.logger)
        self._stalled: asyncio.TimerHandle | None = None

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # A refusal was sent, which the base takes for an application that forgot to answer: an error in its log.
            self.handshake_complete = True

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._calm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def _calm(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
