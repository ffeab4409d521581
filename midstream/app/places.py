"""Agents' turns of one conversation, one at a time: first come, first served, among several servers too.

Turns that were accepted for later have their place in line from then on; the others get one as they come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from itertools import count
from typing import Protocol, TypeAlias

from msgspec import Struct

from ..core.errors import Busy, Conflict, StoreDown
from ..core.ids import new_id
from ..store.threads import LAST_PLACE, ThreadStore
from .supervisor import Supervisor
from .turnstile import Waiting, busy

logger = logging.getLogger("midstream.places")

#: Between servers: a turn, or a place in line, is kept for so many seconds, and kept anew after each third of them.
LEASE = 30.0
#: Seconds after which a turn is given back again that a failing store did not take.
AGAIN = 0.5
#: Seconds between looks whether those before it are done: at first, at most.
LOOK, LOOK_AT_MOST = 0.02, 0.5

#: In line: the lower, the sooner. The second number: of two that came after the same accepted turn.
Place: TypeAlias = tuple[int, int]


class Standing(Struct, frozen=True):
    """How a turn stands in line. place: that was given before, 0 = behind all who are there. waiting: entered while it
    waits. stays: also when the server ends."""

    place: int = 0
    waiting: Waiting = nullcontext
    stays: bool = False


#: Of a turn that nobody has accepted before, and nobody keeps company.
PLAIN = Standing()
#: Of a turn within another one, which is under way and cannot end without it.
WITHIN = Standing(stays=True)


class _Line:
    """Those of one conversation who are here. door: they come in one after another. waiting: their places. shut: the
    server ends, so nobody need wait."""

    def __init__(self, shut: asyncio.Event) -> None:
        self.shut = shut
        self.door = asyncio.Lock()
        self.here = 0
        self.inside = False
        self.waiting: set[Place] = set()
        self.changed = asyncio.Event()

    def stir(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class _Turn(Protocol):
    """One turn, and what it asks of the store. place: None until it has one."""

    place: Place | None

    async def draw(self, line: _Line) -> Place:
        """A place, behind all who are there now."""

    async def take(self) -> bool:
        """Nobody elsewhere is before it (without a place: nobody is there at all), nor will be until it leaves."""

    async def stay(self) -> None:
        """It goes on waiting."""

    async def leave(self) -> None: ...


class Places:
    """shared: other servers have turns of the same conversations. Its length: conversations that somebody is in or
    waits for."""

    def __init__(self, supervisor: Supervisor, *, shared: bool) -> None:
        self._supervisor = supervisor
        self._shared = shared
        self._lines: dict[tuple[str, str], _Line] = {}
        self._numbers = count(1)
        self._shut = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lines)

    def shut(self) -> None:
        """The server ends: those who wait are refused, which they would be when their turn came, but for those that
        turns under way wait for."""
        self._shut.set()
        for line in self._lines.values():
            line.stir()

    @asynccontextmanager
    async def through(
        self, store: ThreadStore, org: str, id: str, *, wait: bool = True, place: int = 0,
        waiting: Waiting = nullcontext, stays: bool = False,
    ) -> AsyncIterator[None]:  # fmt: skip
        """place, waiting, stays: as in Standing. wait False: raises Conflict instead, code conversation_busy. Raises
        Busy when the server ends before its turn comes."""
        line = self._lines.setdefault((org, id), _Line(self._shut))
        line.here += 1
        given = (place, 0) if place else None
        turn: _Turn = (
            _AmongServers(store, id, given, self._supervisor)
            if self._shared
            else _Here(store, id, given, next(self._numbers))
        )
        entered = False
        try:
            await _enter(line, turn, wait, waiting, stays)
            entered = True
            yield
        finally:
            try:
                await turn.leave()
            finally:
                if entered:
                    line.inside = False
                line.here -= 1
                line.stir()
                if not line.here:
                    del self._lines[org, id]


async def _enter(line: _Line, turn: _Turn, wait: bool, waiting: Waiting, stays: bool) -> None:
    async with line.door:
        before = [one for one in line.waiting if turn.place is None or one < turn.place]
        if not line.inside and not before and await turn.take():
            line.inside = True
            return
        if not wait:
            raise busy()
        place = turn.place or await turn.draw(line)
        line.waiting.add(place)
    try:
        async with waiting():
            await _wait(line, turn, place, stays)
    finally:
        line.waiting.discard(place)
        line.stir()


async def _wait(line: _Line, turn: _Turn, place: Place, stays: bool) -> None:
    pause = LOOK
    while True:
        if line.shut.is_set() and not stays:
            raise Busy("the server is shutting down", retry_after=5.0)
        changed = line.changed
        first = not line.inside and min(line.waiting) == place
        if first and await turn.take():
            line.inside = True
            return
        pause = min(pause * 2, LOOK_AT_MOST) if first else LOOK
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause if first else LEASE / 3):
                await changed.wait()
        await turn.stay()


class _Here:
    """Where no other server is. number: in the order of coming."""

    def __init__(self, store: ThreadStore, id: str, place: Place | None, number: int) -> None:
        self.place = place
        self._store = store
        self._id = id
        self._number = number

    async def draw(self, line: _Line) -> Place:
        """What was accepted before it, and may not have come here yet, is before it."""
        accepted = await self._store.last_accepted(self._id)
        self.place = (max([accepted, *[accepted for accepted, _ in line.waiting]]), self._number)
        return self.place

    async def take(self) -> bool:
        if self.place is None:
            return not await self._store.last_accepted(self._id)
        accepted, number = self.place
        return not number or not await self._store.still_accepted(self._id, accepted)

    async def stay(self) -> None:
        pass

    async def leave(self) -> None:
        pass


class _AmongServers:
    """Its turn, and its place while it waits, are kept in the store, as long as somebody renews them."""

    def __init__(self, store: ThreadStore, id: str, place: Place | None, supervisor: Supervisor) -> None:
        self.place = place
        self._supervisor = supervisor
        self._store = store
        self._id = id
        self._holder = new_id("turn_")
        self._keeping: asyncio.Task[None] | None = None
        #: When it got a ticket, or renewed it.
        self._ticket: float | None = None

    async def draw(self, line: _Line) -> Place:
        self._ticket = asyncio.get_running_loop().time()
        self.place = (await self._store.ticket(self._id, self._holder, LEASE), 0)
        return self.place

    async def take(self) -> bool:
        place = LAST_PLACE if self.place is None else self.place[0]
        taken = await self._store.take_turn(self._id, self._holder, LEASE, place)
        if taken:
            keep = self._supervisor.keep
            self._keeping = keep(f"the turn of {self._id}", self._keep, first=LEASE / 3, patience=LEASE)
        return taken

    async def _keep(self) -> float:
        try:
            if not await self._store.take_turn(self._id, self._holder, LEASE):
                logger.warning("a turn of %s has lost its place to another server", self._id)
        except Conflict as error:
            logger.warning("a turn of %s cannot keep its place: %s", self._id, error.message)
        return LEASE / 3

    async def stay(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._ticket is not None and now - self._ticket >= LEASE / 3:
            await self._store.renew_ticket(self._holder, LEASE)
            self._ticket = now

    async def leave(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        try:
            await self._give_back()
        except StoreDown:  # the next turn is not to wait for the end of the lease
            over = asyncio.get_running_loop().time() + LEASE

            async def give_back() -> None:
                if asyncio.get_running_loop().time() < over:
                    await self._give_back()

            self._supervisor.keep(f"the end of a turn of {self._id}", give_back, first=AGAIN)

    async def _give_back(self) -> None:
        await self._store.give_back(self._id, self._holder, ticket=self._ticket is not None)
