"""`/v1/live/tokens`: the tokens that open live channels."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ..access.scopes import require
from ..core.errors import BadRequest
from ..delivery.live import Hub
from ..delivery.live_tokens import Token, write_token
from .admin_keys import WORDS
from .deliver import MAX_NAME
from .nouns import ChatCaller, json_reply
from .protocol import LIVE
from .services import Services

#: Seconds that a token opens its channel: unless something else is said, and at most.
USUAL, AT_MOST = 600, 3600

#: What the WebSocket understands: see app.live.
_QUERY = [
    {"name": name, "in": "query", "schema": {"type": "string"}, "description": said}
    for name, said in (
        ("token", "where it is not sent as a bearer"),
        ("channel", "the token's, if any is named"),
        ("after", "the last id that was heard"),
    )
]


class NewToken(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    channel: str = Field(min_length=1, max_length=MAX_NAME, pattern=WORDS)
    seconds: int = Field(USUAL, ge=1, le=AT_MOST)


def live_router(services: Services, hub: Hub, key: bytes) -> APIRouter:
    router = APIRouter(prefix=LIVE, tags=["deliveries"])

    @router.post("/tokens", summary="A token that opens one live channel for a while", status_code=201)
    async def mint(caller: ChatCaller, new: NewToken) -> Response:
        require(caller, "chat")
        until = services.clock.wall() + new.seconds
        told = {
            "token": write_token(key, Token(caller.org, new.channel, until, caller.key_id)),
            "channel": new.channel,
            "expires_at": until,
            "last_id": hub.last(caller.org, new.channel),
        }
        return json_reply(told, 201)

    @router.get(
        "",
        summary="A WebSocket that hears what is said in a live channel",
        status_code=426,
        response_description="No upgrade was asked for",
        responses={101: {"description": "It is a WebSocket now"}},
        openapi_extra={"parameters": _QUERY},
    )
    async def upgrade() -> Response:
        raise BadRequest("this is for WebSockets: ask for an upgrade", status=426, code="upgrade_required")

    return router
