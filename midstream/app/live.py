"""`/v1/live`: WebSockets that hear what is said in a live channel, and the tokens that open them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ..access.identify import OPERATOR
from ..core.errors import (
    BadRequest,
    Forbidden,
    LimitReached,
    MidstreamError,
    NotFound,
    Unauthenticated,
    forget_frames,
)
from ..core.ids import new_id
from ..delivery.live import Hub, Listener
from ..delivery.live_tokens import Token, read_token
from ..store.keys import Keys
from .clock import Clock
from .operations import plain_error
from .protocol import LIVE
from .query_names import check_names
from .supervisor import Supervisor

#: Seconds: of silence before listeners are told that the server is there, and that a connection may last.
PING_SECONDS, LONGEST = 20.0, 3600.0
#: Seconds between looks whether the keys that have opened something still do.
LOOK_SECONDS = 2.0
#: Close codes: come back with a new token; come back with the last id, and read faster. What is refused has the
#: refusal's status on top of this.
TIME_IS_UP, TOO_SLOW, REFUSED = 4001, 4008, 4000
#: The same as when the server stops.
COME_BACK = 1012
#: Bytes of a close frame's reason (RFC 6455 §5.5).
REASON = 123
#: What may stand in the address.
KNOWN = ("token", "channel", "after")
#: The largest number that a message may have; above it, other languages' numbers are not exact.
LAST = 2**53 - 1

_PING = '{"event":"ping"}'

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class LiveChannels:
    """The ASGI application behind WebSockets. keys: of all orgs. key: of the server; it signs the tokens. most:
    connections of one org."""

    def __init__(self, hub: Hub, keys: Keys, key: bytes, clock: Clock, most: int, supervisor: Supervisor) -> None:
        self._hub = hub
        self._keys = keys
        self._key = key
        self._clock = clock
        self._most = most
        self._supervisor = supervisor
        self._open: Counter[str] = Counter()
        #: Those who listen, by the key that their token comes from.
        self._listeners: dict[str, set[Listener]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        request_id = new_id("req_")
        headers = [(b"x-request-id", request_id.encode())]
        await receive()  # it has connected
        try:
            token, after = self._admitted(scope)
            await self._check(token)
            self._enter(token.org)
        except MidstreamError as error:
            await _refuse(scope, send, error, request_id, headers)
            forget_frames(error)
            return
        try:
            try:
                listener = await self._hub.join(token.org, token.channel, after)
            except MidstreamError as error:
                await _refuse(scope, send, error, request_id, headers)
                return
            self._look_after(token.key_id, listener)
            try:
                await send({"type": "websocket.accept", "headers": headers})
                await self._connected(listener, token.channel, receive, send)
            finally:
                self._let_go(token.key_id, listener)
                self._hub.leave(token.org, token.channel, listener)
        finally:
            self._leave(token.org)

    def _admitted(self, scope: Message) -> tuple[Token, int | None]:
        """Raises NotFound, Unauthenticated, Forbidden, BadRequest."""
        if scope["path"] != LIVE:
            raise NotFound(f"no such path: {scope['path']}", code="unknown_path")
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = {name: value for name, value in asked if value}
        bearer = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
        given = bearer[7:].strip() if bearer[:7].lower() == "bearer " else query.get("token", "")
        token = read_token(self._key, given, self._clock.wall())
        check_names((name for name, _ in asked), [*KNOWN])  # any of them may have been meant as `after`
        if query.get("channel", token.channel) != token.channel:
            raise Forbidden("this token opens another channel", param="channel")
        after = query.get("after")
        if after is None:
            return token, None
        if not (after.isascii() and after.isdecimal() and len(after) <= len(str(LAST)) and int(after) <= LAST):
            raise BadRequest("after: must be the id of a message of this channel", param="after")
        return token, int(after)

    async def _check(self, token: Token) -> None:
        """Raises Unauthenticated when the key that made the token is not valid any more; StoreDown."""
        if token.key_id != OPERATOR and not await self._keys.valid([token.key_id]):
            raise Unauthenticated("the API key that made this token is revoked or expired", code="invalid_token")

    def _look_after(self, key_id: str, listener: Listener) -> None:
        """From now on it is sent away soon after its key."""
        if key_id == OPERATOR:  # that key lasts as long as the server
            return
        self._listeners.setdefault(key_id, set()).add(listener)
        if self._looking is None:
            self._looking = self._supervisor.keep("keys of listeners", self._look, first=LOOK_SECONDS)

    def _let_go(self, key_id: str, listener: Listener) -> None:
        of_key = self._listeners.get(key_id, set())
        of_key.discard(listener)
        if not of_key:
            self._listeners.pop(key_id, None)
        if not self._listeners and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> float:
        asked = list(self._listeners)
        valid = await self._keys.valid(asked)
        for id in asked:
            if id not in valid:
                for listener in self._listeners.get(id, ()):
                    listener.shut_out()
        return LOOK_SECONDS

    def _enter(self, org: str) -> None:
        if self._open[org] >= self._most:
            raise LimitReached(f"{self._most} live connections of this org are open: no more at once", retry_after=5.0)
        self._open[org] += 1

    def _leave(self, org: str) -> None:
        self._open[org] -= 1
        if not self._open[org]:
            del self._open[org]

    async def _connected(self, listener: Listener, channel: str, receive: Receive, send: Send) -> None:
        gone = asyncio.get_running_loop().create_task(_gone(listener, receive))
        try:
            await send(_text(msgspec.json.encode({"event": "ready", "channel": channel}).decode()))
            if listener.gap:
                await send(_text('{"event":"gap"}'))
            in_time = await self._tell(listener, send)
            if not in_time:
                await send(_close(TIME_IS_UP, "come back with a new token"))
            elif listener.shut:
                await send(_close(REFUSED + 401, "invalid_token: the API key of this token is revoked or expired"))
            elif listener.lost:
                await send(_close(COME_BACK, "what other servers say was not heard here for a while"))
            elif not listener.left:
                await send(_close(TOO_SLOW, "too far behind"))
        finally:
            gone.cancel()

    async def _tell(self, listener: Listener, send: Send) -> bool:
        """Until the listener has left, is shut out or too slow; False: until its time was up."""
        until = self._clock.steady() + LONGEST
        while self._clock.steady() < until:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    said = await listener.next()
            except TimeoutError:
                await send(_text(_PING))
                continue
            if said is None:
                return True
            await send(_text(said.body.decode()))
        return False


async def _gone(listener: Listener, receive: Receive) -> None:
    """What a listener says means nothing, until it leaves."""
    while (await receive())["type"] != "websocket.disconnect":
        pass
    listener.leave()


def _text(body: str) -> Message:
    return {"type": "websocket.send", "text": body}


def _close(code: int, reason: str) -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


async def _refuse(
    scope: Message, send: Send, error: MidstreamError, request_id: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """As a reply to the request for an upgrade, so that there is no connection yet. Pages are not shown such a reply by
    their browser, so for them the connection is opened only to be closed with a code that says the same; browsers,
    and hardly anybody else, say where they come from."""
    if any(name == b"origin" for name, _ in scope["headers"]):
        await send({"type": "websocket.accept", "headers": headers})
        reason = f"{error.code}: {error.message}".encode()[:REASON].decode(errors="ignore")
        await send(_close(REFUSED + error.status, reason))
        return
    more = [(b"retry-after", b"%d" % max(1, ceil(error.retry_after)))] if error.retry_after else []
    start = {
        "type": "websocket.http.response.start",
        "status": error.status,
        "headers": [*headers, *more, (b"content-type", b"application/json")],
    }
    await send(start)
    await send({"type": "websocket.http.response.body", "body": plain_error(error, request_id)})
