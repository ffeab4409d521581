"""One HTTP exchange over ASGI: reading the body within its limit, replying, streaming with backpressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..core.dialect import AnswerWriter
from ..core.errors import Cancelled, TooLarge
from ..core.events import Attempted, Done, Event, Failed, Opened
from ..core.web import Reply
from ..runs.log import Follower
from .direct import Direct
from .headers import Headers

Message = MutableMapping[str, Any]
#: Until then nothing is sent, so that an early failure is a real HTTP status; then 200 and a first ping.
HOLD_SECONDS = 10.0
PING_SECONDS = 15.0
#: How exactly a silent stream keeps to them.
LOOK_SECONDS = 0.5

NO_CONTENT = 204
_ENDS = (Done, Failed)
Pairs = Iterable[tuple[str, str]]


class Exchange:
    """sent: something has gone out, so an error can no longer be a status. early: that is a stream's head, because its
    turn waited for others; there is nothing in it yet. began: steady seconds."""

    __slots__ = (
        "_direct", "_ping", "_pulse", "_receive", "_send", "_type", "always", "began", "early", "gone", "headers",
        "scope", "sent",
    )  # fmt: skip

    def __init__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        began: float,
        pulse: Pulse,
    ) -> None:
        self.scope = scope
        self.headers = Headers(scope["headers"])
        self._direct: Direct | None = scope.get("extensions", {}).pop("midstream.direct", None)
        self._receive = receive
        self._send = send
        self._pulse = pulse
        self._type = ""
        self._ping = b""
        self.sent = self.early = False
        self.began = began
        self.gone: asyncio.Task[None] | None = None
        #: Headers of every answer (request id, CORS).
        self.always: list[tuple[bytes, bytes]] = []

    async def body(self, limit: int) -> bytes:
        """Raises TooLarge, and Cancelled when the client goes away in the middle."""
        if int(self.headers.get("content-length", "0")) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise Cancelled("the client went away")
            if len(body) > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            return body
        pieces, size = [body], len(body)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Cancelled("the client went away")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
        return b"".join(pieces)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """callback is called once if the client goes away before its answer is complete."""
        register = self.scope.get("extensions", {}).get("midstream.gone")
        if register is not None:
            register(callback)
        else:  # another ASGI server: ask it
            self.over()
            self.gone = asyncio.get_running_loop().create_task(self._watch(callback))

    async def _watch(self, callback: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()

    def over(self) -> None:
        if self.gone is not None:
            self.gone.cancel()

    async def reply(self, reply: Reply) -> None:
        self.sent = True
        about = (
            (b"content-type", reply.content_type.encode()),
            (b"content-length", b"%d" % len(reply.body)),
        )
        headers = [
            *self.always,
            *(about if reply.status != NO_CONTENT else ()),  # RFC 9110 §8.6: that has none, not one of no length
            *[(name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers],
        ]
        if self._direct is not None:
            self._direct.reply(reply.status, headers, reply.body)
            return
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": reply.body})

    def streams(self, content_type: str, ping: bytes) -> None:
        """Its answer will be a stream; ping is what keeps it alive while it is silent."""
        self._type, self._ping = content_type, ping
        if self._direct is not None and not self._direct.streams:
            self._direct = None

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """app.turnstile.Waiting: a stream is kept alive, which may begin its answer. Raises Cancelled when the client
        goes away."""
        loop = asyncio.get_running_loop()
        alive = loop.create_task(self._keep_alive()) if self._type else None
        waits = True

        def gone() -> None:
            if waits:
                limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as limit:
                self.on_gone(gone)
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise Cancelled("the client went away") from None
        finally:
            waits = False
            if alive is not None:
                alive.cancel()

    async def _keep_alive(self) -> None:
        if not self.sent:
            await asyncio.sleep(HOLD_SECONDS)
            self.early = True
            await self._start(())  # of the run nothing is known yet
        while True:
            await self._chunk(self._ping)
            await asyncio.sleep(PING_SECONDS)

    async def stream(
        self, writer: AnswerWriter, follower: Follower, headers: Callable[[Attempted | None], Pairs]
    ) -> None:
        """Writes a run's events as they come. Raises the error of a run that fails before its first output, where that
        can still be a status."""
        lane = _Lane(follower, writer, self._direct)
        self._pulse.join(lane)
        try:
            if self.early:
                self.early = False
                await self._chunk(self._ping)  # its own silence begins now
            events, said = await _first(follower, writer, begun=self.sent)
            if not self.sent:
                await self._start(headers(_attempted(events)))
            if self._direct is not None:
                follower.deliver = lane.deliver
            while not (events and type(events[-1]) in _ENDS):
                if events:
                    await self._chunk(said, lane)
                elif lane.due:
                    await self._chunk(self._ping, lane)
                else:
                    break
                del events, said  # not held while there is nothing to do
                events = await follower.take()
                said = writer.write(events)
            await self.end(said)
        finally:
            follower.deliver = None
            self._pulse.leave(lane)
            if self._direct is not None:
                self._direct.leave()  # an error that cuts the stream does not cut what was said before it

    async def _start(self, headers: Pairs) -> None:
        self.sent = True
        pairs = [
            *self.always,
            (b"content-type", self._type.encode()),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *((name.encode(), value.encode("latin-1", "replace")) for name, value in headers),
        ]
        if self._direct is not None:
            self._direct.start(pairs)
        else:
            await self._send({"type": "http.response.start", "status": 200, "headers": pairs})

    async def _chunk(self, data: bytes, lane: _Lane | None = None) -> None:
        if not data:
            return
        if self._direct is not None:
            await self._direct.room()
            self._direct.chunk(data)
        else:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        if lane is not None:
            lane.reset()

    async def end(self, data: bytes) -> None:
        """data: the last piece of a stream."""
        if self._direct is not None:
            await self._direct.room()
            self._direct.end(data)
        else:
            await self._send({"type": "http.response.body", "body": data, "more_body": False})


async def _first(follower: Follower, writer: AnswerWriter, *, begun: bool) -> tuple[list[Event], bytes]:
    """The first events that are not about the beginning of an agent's turn alone, and what is said of all so far.
    Raises the error of a run that fails before anything is said, unless the stream has begun: else it can still be a
    status."""
    said, message = b"", ""
    while True:
        events = await follower.take()
        rest = events
        if events and isinstance(events[0], Opened):
            message = events[0].message
            said, rest = writer.write(events[:1]), events[1:]
        if rest and isinstance(rest[0], Failed) and not said and not begun:
            rest[0].error.message_id = message
            raise rest[0].error
        said += writer.write(rest)
        if said or rest or not events:
            return events, said


def _attempted(events: list[Event]) -> Attempted | None:
    return next((event for event in events if isinstance(event, Attempted)), None)


class _Lane:
    """A follower's way to its client: events become bytes on their way in the call that logged them. Wakes a follower
    that has waited too long: after HOLD_SECONDS first, then every PING_SECONDS of silence."""

    __slots__ = ("_after", "_direct", "_follower", "_last", "_loop", "_next", "_writer", "due")

    def __init__(self, follower: Follower, writer: AnswerWriter, direct: Direct | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._follower = follower
        self._writer = writer
        self._direct = direct
        self._last = self._loop.time()
        self._after = HOLD_SECONDS
        self._next = self._last + HOLD_SECONDS
        self.due = False

    def deliver(self, events: Sequence[Event]) -> bool:
        """False: its client is behind."""
        direct = self._direct
        if direct is None or direct.is_behind:
            return False
        data = self._writer.write(events)
        if data:
            direct.chunk(data)
            self._last = self._loop.time()
            self.due = False
        return True

    def reset(self) -> None:
        self._last = self._loop.time()
        self.due = False

    def look(self, now: float) -> None:
        """Called now and then, with the loop's time."""
        if now < self._next:
            return
        silent = now - self._last
        if silent >= self._after:
            self.due = True
            self._follower.wake()
            silent = 0.0
        self._after = PING_SECONDS
        self._next = now + PING_SECONDS - silent


class Pulse:
    """Looks at all streams every LOOK_SECONDS. A timer of its own weighs 0.7 kB for each stream."""

    __slots__ = ("_lanes", "_timer")

    def __init__(self) -> None:
        self._lanes: set[_Lane] = set()
        self._timer: asyncio.TimerHandle | None = None

    def join(self, lane: _Lane) -> None:
        self._lanes.add(lane)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def leave(self, lane: _Lane) -> None:
        self._lanes.discard(lane)

    def _look(self) -> None:
        self._timer = None
        if self._lanes:
            loop = asyncio.get_running_loop()
            now = loop.time()
            for lane in tuple(self._lanes):
                lane.look(now)
            self._timer = loop.call_later(LOOK_SECONDS, self._look)
