"""Live channels: whoever has a channel's token hears what is said on it, from the message after the last one heard."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from ..core.errors import Unauthenticated

#: Messages of a channel that are kept for those who come late, seconds that they are kept, and how far a listener may
#: fall behind before it is sent away.
KEPT, KEEP_SECONDS, BEHIND = 256, 600.0, 512
#: Channels that nobody listens to and that hold no message are forgotten; above this many the oldest are.
CHANNELS = 10_000

Name = tuple[str, str]


class Said(Struct, frozen=True):
    """One message. number: rising by one within its channel, from 1. body: JSON text. at: steady seconds."""

    number: int
    body: bytes
    at: float


class _Channel:
    __slots__ = ("kept", "listeners", "number")

    def __init__(self) -> None:
        self.kept: deque[Said] = deque(maxlen=KEPT)
        self.listeners: set[Listener] = set()
        self.number = 0


class Listener:
    """One connection's place in a channel. missed: it fell so far behind that the rest is not told any more."""

    def __init__(self, heard: deque[Said]) -> None:
        self._heard = heard
        self._news = asyncio.Event()
        self.missed = False

    def tell(self, said: Said) -> None:
        if len(self._heard) >= BEHIND:
            self.missed = True
        else:
            self._heard.append(said)
        self._news.set()

    async def next(self) -> Said | None:
        """The next message; None when this listener has missed some, after those that it had."""
        while not self._heard:
            if self.missed:
                return None
            self._news.clear()
            await self._news.wait()
        return self._heard.popleft()


class Hub:
    """All channels of this process. steady: seconds that never jump."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._channels: dict[Name, _Channel] = {}

    def publish(self, org: str, channel: str, body: bytes) -> int:
        """How many hear it now. body: JSON text."""
        found = self._channels.get((org, channel))
        if found is None:
            if len(self._channels) >= CHANNELS:
                self._forget()
            found = self._channels[org, channel] = _Channel()
        found.number += 1
        said = Said(found.number, body, self._steady())
        found.kept.append(said)
        for listener in found.listeners:
            listener.tell(said)
        return len(found.listeners)

    def listen(self, org: str, channel: str, after: int = 0) -> Listener:
        """after: the number of the last message heard; what is kept since then comes first."""
        found = self._channels.setdefault((org, channel), _Channel())
        since = self._steady() - KEEP_SECONDS
        listener = Listener(deque(one for one in found.kept if one.number > after and one.at >= since))
        found.listeners.add(listener)
        return listener

    def leave(self, org: str, channel: str, listener: Listener) -> None:
        found = self._channels.get((org, channel))
        if found is not None:
            found.listeners.discard(listener)
            if not found.listeners and not found.kept:
                del self._channels[org, channel]

    def _forget(self) -> None:
        """Channels without listeners, those that were silent longest first, until half are gone."""
        quiet = [name for name, one in self._channels.items() if not one.listeners]
        quiet.sort(key=lambda name: self._channels[name].kept[-1].at if self._channels[name].kept else 0.0)
        for name in quiet[: max(1, CHANNELS // 2)]:
            del self._channels[name]


class Token(Struct, frozen=True):
    """What a token stands for. until: unix seconds."""

    org: str
    channel: str
    until: float


def token(key: bytes, org: str, channel: str, until: float) -> str:
    """Opens one channel of one org until then. key: the server's own."""
    said = msgspec.json.encode(Token(org, channel, until))
    return base64.urlsafe_b64encode(_mac(key, said) + said).decode().rstrip("=")


def read_token(key: bytes, text: str, now: float) -> Token:
    """Raises Unauthenticated."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if hmac.compare_digest(raw[:32], _mac(key, raw[32:])):
            found = msgspec.json.decode(raw[32:], type=Token)
            if now < found.until:
                return found
    except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError):
        pass
    raise Unauthenticated("the token is unknown or expired", code="invalid_token")


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"live|" + said, hashlib.sha256).digest()
