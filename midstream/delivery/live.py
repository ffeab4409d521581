"""Live channels: whoever has a channel's token hears what is said in it, in order, from the message after the last one
that was heard.

A message's number is the moment at which it got its place in its channel, in microseconds since 1970, or one more than
the number before it. So numbers rise within a channel also when the server has started anew, and a listener that comes
back with the last one that it heard is told no message twice. What is said of a turn that goes on is kept in memory;
how a turn ended is in the store, and found there by a server that has just started.

Of several servers each hears what the others say (`hear`), under the number that it has there, unless something later
was said here before. Where two have spoken at about the same time, a number that was heard at one says at another only
about when that was: who comes back with it is told so, and every end from some time before it on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

#: Seconds that messages are kept for those who come late.
KEEP_SECONDS = 3600.0
#: Of each channel: messages in memory, and their bytes. Bytes of all channels together.
KEPT, KEPT_BYTES, ALL_BYTES = 2048, 1024 * 1024, 64 * 1024 * 1024
#: How far a listener may fall behind before it is sent away. One message is told however large it is.
BEHIND, BEHIND_BYTES = 2048, 4 * 1024 * 1024
#: Ends of turns that the store is asked for, the newest ones.
ENDS = 500
#: Microseconds by which what servers say at about the same time may stand in another order elsewhere: the time that
#: it takes to get there, and what their clocks differ by.
ABOUT = 10_000_000
#: Channels that are known at once: above it, those that nobody listens to are forgotten, the longest silent first.
CHANNELS = 10_000

Name: TypeAlias = tuple[str, str]
#: (org, channel, after which number) -> the newest ENDS ends of turns in the store, oldest first. Raises StoreDown.
Ends: TypeAlias = Callable[[str, str, int], Awaitable[Sequence["Said"]]]
#: Told its number, a message says how it reads: JSON text.
Body: TypeAlias = Callable[[int], bytes]
#: Told of what was said here: (org, channel), message.
Relay: TypeAlias = Callable[[Name, "Said"], None]


class Said(Struct, frozen=True):
    """One message. number: rising within its channel. body: JSON text. kept: the store has it as well.
    first: its number at the server that said it, 0 = said here. source: that server, "" = this one."""

    number: int
    body: bytes
    kept: bool = False
    first: int = 0
    source: str = ""

    @property
    def own(self) -> int:
        """Its number where it was said."""
        return self.first or self.number


class Held:
    """A place in a channel whose message is told later: what is said after it waits for that."""

    __slots__ = ("body", "number", "open")

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self.body = body
        self.open = True


class _Channel:
    """told: the number of the last message that was told. since: what was said after this number is all here.
    waiting: messages behind a place that is held, that one first."""

    __slots__ = ("kept", "kept_bytes", "last", "listeners", "relay", "since", "told", "waiting")

    def __init__(self, now: int, since: int, relay: Callable[[Said], None]) -> None:
        self.relay = relay
        self.kept: deque[Said] = deque()
        self.kept_bytes = 0
        self.listeners: set[Listener] = set()
        self.last = self.told = now
        self.since = since
        self.waiting: deque[Held | Said] = deque()

    def next(self, now: int) -> int:
        self.last = max(self.last + 1, now)
        return self.last

    def flush(self) -> int:
        """By how many bytes what is kept has grown."""
        before = self.kept_bytes
        while self.waiting:
            one = self.waiting[0]
            if isinstance(one, Held):
                if one.open:
                    break
                one = Said(one.number, one.body, kept=True)
            self.waiting.popleft()
            if one.body:
                self._tell(one)
        return self.kept_bytes - before

    def _tell(self, said: Said) -> None:
        self.told = said.number
        self.kept.append(said)
        self.kept_bytes += len(said.body)
        while len(self.kept) > KEPT or (self.kept_bytes > KEPT_BYTES and len(self.kept) > 1):
            self.drop()
        for listener in self.listeners:
            listener.tell(said)
        if not said.first:
            self.relay(said)

    def mixed(self, after: int) -> bool:
        """Have several servers spoken at about the time of that number, which was heard at one of them?"""
        near = [one for one in self.kept if abs(one.own - after) < ABOUT]
        sources = {one.source for one in near}
        if near and not any(after in (one.number, one.own) for one in near):
            # What was heard has not come here yet: it goes on from what has, if that is all another server's.
            return "" in sources or len(sources) > 1 or after < near[-1].own
        return len(sources) > 1

    def drop(self) -> None:
        """Forgets the oldest message; it is missed only when the store does not have it."""
        oldest = self.kept.popleft()
        self.kept_bytes -= len(oldest.body)
        if not oldest.kept:
            self.since = oldest.number

    def forget(self, before: int) -> int:
        """What is older than this number. By how many bytes what is kept has shrunk."""
        size = self.kept_bytes
        while self.kept and self.kept[0].number < before:
            self.drop()
        return size - self.kept_bytes

    @property
    def needed(self) -> bool:
        return bool(self.listeners or self.kept or self.waiting)


class Listener:
    """One connection's place in a channel. after: the number that it came with; ends_after: it is told ends from there
    on. gap: of what was said after that, some
    is lost. behind: it was too slow, so the rest is not told any more. left: it is not there any more. shut: it may
    not hear the rest. lost: something was said that is not here."""

    def __init__(self, after: int = 0, ends_after: int = 0) -> None:
        self._after = after
        self._ends_after = ends_after
        self._past: deque[Said] = deque()
        self._heard: deque[Said] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        #: Numbers of what it was given out of the store: another server's word of it may still come.
        self._given: set[int] = set()
        self.gap = self.behind = self.left = self.shut = self.lost = False

    def tell(self, said: Said) -> None:
        after = self._ends_after if said.kept else self._after
        if said.first and (said.first <= after or said.first == self._after or said.first in self._given):
            return  # it has heard this where it was said, or from the store
        if self._heard and (len(self._heard) >= BEHIND or self._bytes + len(said.body) > BEHIND_BYTES):
            self.behind = True
        if not self.behind:
            self._heard.append(said)
            self._bytes += len(said.body)
        self._news.set()

    def before(self, past: Iterable[Said], given: Iterable[int] = ()) -> None:
        """What was said before it came: it is not behind because of that. given: numbers of what is from the store."""
        self._past.extend(past)
        self._given.update(given)
        self._news.set()

    @property
    def heard(self) -> list[int]:
        """Numbers of what it has been told and not taken yet."""
        return [said.own for said in self._heard]

    def leave(self) -> None:
        self.left = True
        self._news.set()

    def shut_out(self) -> None:
        self.shut = True
        self._news.set()

    def lose(self) -> None:
        self.lost = True
        self._news.set()

    async def next(self) -> Said | None:
        """The next message; None when there is none any more: it has left, is shut out, is behind or has lost one."""
        while not (self.left or self.shut or self.lost):
            if self._past:
                return self._past.popleft()
            if self._heard:
                said = self._heard.popleft()
                self._bytes -= len(said.body)
                return said
            if self.behind:
                break
            self._news.clear()
            await self._news.wait()
        return None


class Hub:
    """All channels of this process. clock: unix seconds. ends: what the store has of a channel. relay, several: set by
    who tells other servers, and where there may be any."""

    def __init__(self, clock: Callable[[], float], ends: Ends) -> None:
        self._clock = clock
        self._ends = ends
        self.relay: Relay = lambda name, said: None
        self.several = False
        self._channels: dict[Name, _Channel] = {}
        self._bytes = 0
        #: What was said before this, in a channel that is not known any more, may be lost.
        self._since = self._now()

    def _now(self) -> int:
        return round(self._clock() * 1_000_000)

    def _channel(self, name: Name, before: int | None = None) -> _Channel:
        """before: a number that is about to be said in it."""
        found = self._channels.get(name)
        if found is None:
            if len(self._channels) >= CHANNELS:
                self._forget()
            now = self._now() if before is None else min(self._now(), before - 1)
            found = _Channel(now, min(self._since, now), lambda said: self.relay(name, said))
            self._channels[name] = found
        return found

    def last(self, org: str, channel: str) -> int:
        """A number that comes before everything that has not been said yet."""
        found = self._channels.get((org, channel))
        return found.last if found is not None else self._now()

    def say(self, org: str, channel: str, body: Body) -> None:
        found = self._channel((org, channel))
        number = found.next(self._now())
        found.waiting.append(Said(number, body(number)))
        self._flush(found)

    def hear(self, org: str, channel: str, first: int, body: Body, *, kept: bool, source: str) -> None:
        """Another server, `source`, has said this under the number `first`."""
        found = self._channel((org, channel), first)
        number = first if first > found.last else found.next(self._now())
        found.last = number
        found.waiting.append(Said(number, body(number), kept, first, source))
        self._flush(found)

    def missed(self) -> None:
        """What other servers have said until now may be missing here: those who listen have to come back, and are then
        told that there may be holes, and how turns ended."""
        now = self._now()
        self._since = max(self._since, now)
        for one in self._channels.values():
            one.since = max(one.last, now)
            for listener in one.listeners:
                listener.lose()

    def hold(self, org: str, channel: str, body: Body) -> Held:
        """A place for a message that the store has before it is told; until `tell` or `drop` all that comes after it
        waits."""
        found = self._channel((org, channel))
        number = found.next(self._now())
        held = Held(number, body(number))
        found.waiting.append(held)
        return held

    def tell(self, org: str, channel: str, held: Held) -> None:
        held.open = False
        self._flush(self._channel((org, channel)))

    def drop(self, org: str, channel: str, held: Held) -> None:
        """It is not told after all. Idempotent, also after it was told."""
        if held.open:
            held.body = b""
            self.tell(org, channel, held)

    async def join(self, org: str, channel: str, after: int | None = None) -> Listener:
        """after: the number of the last message heard; None: everything that is kept. Raises StoreDown."""
        found = self._channel((org, channel))
        self._bytes -= found.forget(self._old())
        gap = after is not None and after < found.since
        unsure = after is not None and self.several and (gap or found.mixed(after))
        # Another server's end that comes only now may stand before what was heard here.
        listener = Listener(after or 0, (after or 0) - (ABOUT if self.several else 0))
        # From here on it is told what is said, also what the store has by now and is about to be told here.
        found.listeners.add(listener)
        begin = (after or 0) - (ABOUT if unsure else 0)
        past = {one.number: one for one in found.kept if one.number > (after or 0) or (one.kept and one.own > begin)}
        try:
            ends = await self._ends(org, channel, max(begin, 0))
        except BaseException:
            self.leave(org, channel, listener)
            raise
        here = {one.own for one in found.kept}.union(listener.heard)
        here.update(one.number for one in found.waiting if isinstance(one, Held))
        here.update(one.own for one in found.waiting if isinstance(one, Said))
        given = {one.number: one for one in ends if one.number not in here}
        past |= given
        listener.gap = gap or unsure or len(ends) >= ENDS
        listener.before((past[number] for number in sorted(past)), given)
        return listener

    def leave(self, org: str, channel: str, listener: Listener) -> None:
        found = self._channels.get((org, channel))
        if found is not None:
            found.listeners.discard(listener)
            if not found.needed:
                self._remove((org, channel))

    def sweep(self) -> None:
        """Forgets what is too old, and channels that nobody needs."""
        old = self._old()
        for name, one in list(self._channels.items()):
            self._bytes -= one.forget(old)
            if not one.needed:
                self._remove(name)

    def _old(self) -> int:
        return self._now() - round(KEEP_SECONDS * 1_000_000)

    def _flush(self, channel: _Channel) -> None:
        self._bytes += channel.flush()
        if self._bytes > ALL_BYTES:
            self._shrink()

    def _shrink(self) -> None:
        """What is kept for late ones, of the channels that were silent longest, until half of it is gone."""
        for one in sorted(self._channels.values(), key=lambda one: one.told):
            self._bytes -= one.forget(one.last + 1)
            if self._bytes <= ALL_BYTES // 2:
                break

    def _forget(self) -> None:
        """Channels without listeners, the longest silent first, until half of all are gone."""
        quiet = [name for name, one in self._channels.items() if not one.listeners and not one.waiting]
        quiet.sort(key=lambda name: self._channels[name].told)
        for name in quiet[: max(1, CHANNELS // 2)]:
            self._remove(name)

    def _remove(self, name: Name) -> None:
        gone = self._channels.pop(name)
        self._bytes -= gone.kept_bytes
        lost = next((said.number for said in reversed(gone.kept) if not said.kept), gone.since)
        self._since = max(self._since, lost)
