"""The event log of one run: written by its owner, read by any number of followers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..core.events import Done, Event, Failed

#: A follower that is this many bytes behind makes the owner stop reading from the provider.
MAX_BEHIND = 128 * 1024
_ENDS = (Done, Failed)


class Follower:
    """One reader's place in the log. Events it has taken are forgotten unless the log keeps them.

    deliver: while `take` waits and nobody else follows, events that do not end the log are handed to it at once, in
    the call that logged them, instead of waking the waiting task: a chunk then costs no turn of the event loop.
    False: it takes none of them now (its client is behind), so the task is woken for them.

    patient: it can do nothing with a part, so a `take` that waits is not woken before the end, or before it would be
    too far behind."""

    __slots__ = ("_behind", "_events", "_left", "_log", "_loop", "_taken", "_waiter", "deliver", "patient")

    def __init__(self, log: EventLog, events: list[Event]) -> None:
        self._log = log
        self._events = events
        self._behind = self._taken = 0
        self._left = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self.deliver: Callable[[Sequence[Event]], bool] | None = None
        self.patient = False

    async def take(self) -> list[Event]:
        """All events since the last take, waiting for some. Empty when the log is closed, and after `wake` or
        `leave`. Whoever takes again has dealt with what it took: until then that counts as what it is behind."""
        if self._taken:
            was_full = self._behind > MAX_BEHIND
            self._behind -= self._taken
            self._taken = 0
            if was_full:
                self._log.room()
        if not self._events and not self._log.closed and not self._left:
            self._waiter = self._loop.create_future()
            self._log.waits(self)
            try:
                await self._waiter
            finally:
                self._log.straight = None
                self._waiter = None
        events, self._events = self._events, []
        self._taken = self._behind
        return events

    def wake(self) -> None:
        """Makes a waiting `take` return now."""
        if self._waiter is not None and not self._waiter.done():
            self._log.straight = None  # what comes before the task runs is for its take
            self._waiter.set_result(None)

    def leave(self) -> None:
        """Nothing more comes; a `take` that waits returns now, so that nobody waits for ever. Idempotent."""
        self._left = True
        self.wake()
        self._log.leave(self)

    def push(self, events: Sequence[Event], size: int) -> bool:
        self._events.extend(events)
        self._behind += size
        room = self._behind <= MAX_BEHIND
        if not (self.patient and room) or type(events[-1]) in _ENDS:
            self.wake()
        return room

    @property
    def is_behind(self) -> bool:
        return self._behind > MAX_BEHIND


class Ear:
    """A reader that never waits and is never behind: `hear` is called with events in the call that logs them, so it
    has heard everything when the run settles. It must not raise."""

    __slots__ = ("_hear",)
    is_behind = False

    def __init__(self, hear: Callable[[Sequence[Event]], None]) -> None:
        self._hear = hear

    def push(self, events: Sequence[Event], size: int) -> bool:
        self._hear(events)
        return True

    def wake(self) -> None:
        pass


class EventLog:
    """keep: hold every event for followers who come later or resume; else only until each follower took it.
    deserted: called when the last follower leaves before the log is closed.
    straight: the `deliver` of the only follower, while it waits."""

    __slots__ = ("_followers", "_kept", "_resume", "closed", "deserted", "straight")

    def __init__(self, keep: bool = False) -> None:
        self._followers: list[Follower | Ear] = []
        self._kept: list[Event] | None = [] if keep else None
        self._resume: Callable[[], None] | None = None
        self.closed = False
        self.deserted: Callable[[], None] | None = None
        self.straight: Callable[[Sequence[Event]], bool] | None = None

    def follow(self, after: int = 0) -> Follower:
        """A reader from event number `after` on (numbers count from 0; only a kept log has a past)."""
        follower = Follower(self, self._kept[after:] if self._kept is not None else [])
        self._followers.append(follower)
        self.straight = None
        return follower

    def attach(self, hear: Callable[[Sequence[Event]], None]) -> None:
        """hear: told of all events from now on, the last one included, see Ear."""
        self._followers.append(Ear(hear))
        self.straight = None

    def waits(self, follower: Follower) -> None:
        """It has taken everything and waits for more."""
        self.straight = follower.deliver if len(self._followers) == 1 else None

    def append(self, events: Sequence[Event], size: int = 0) -> bool:
        """size: bytes they came in. False: some follower is behind, call again only after `on_room`."""
        if not events:
            return not any(follower.is_behind for follower in self._followers)
        if self._kept is not None:
            self._kept.extend(events)
        if self.straight is not None and type(events[-1]) not in _ENDS and self.straight(events):
            return True
        room = True
        for follower in self._followers:
            room = follower.push(events, size) and room
        return room

    def on_room(self, resume: Callable[[], None]) -> None:
        """resume is called when every follower has caught up after append said False."""
        self._resume = resume

    def room(self) -> None:
        if self._resume is not None and not any(follower.is_behind for follower in self._followers):
            self._resume()

    def leave(self, follower: Follower) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
            if not self._followers and not self.closed and self.deserted is not None:
                self.deserted()
            elif follower.is_behind:
                self.room()

    def close(self) -> None:
        self.closed = True
        self._resume = self.deserted = None  # a finished log holds on to nobody, so that it can be freed at once
        for follower in self._followers:
            follower.wake()
