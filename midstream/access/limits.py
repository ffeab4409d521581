"""Who is let in: by scope, by what an API key may ask in a minute and an org may have under way. Counted in memory, in
this process."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..core.errors import LimitReached
from ..core.web import Caller
from .scopes import require

MINUTE = 60.0
#: Keys whose minutes are remembered; more than that, and those that have been quiet are forgotten.
KEYS = 10_000


class Minute:
    """A sliding minute: what came in this minute, and of the minute before as much as has not slid out yet. The first
    minute admits the limit exactly, however many ask at once; a burst at the end of one minute counts in the next."""

    __slots__ = ("_before", "_began", "_count")

    def __init__(self, now: float) -> None:
        self._began = now
        self._before = self._count = 0

    def take(self, limit: int, now: float) -> float:
        """0: it is admitted and counted. Else the seconds after which one will be, if nobody else comes."""
        since = now - self._began
        if since >= MINUTE:
            following = since < 2 * MINUTE
            self._before = self._count if following else 0
            self._began = self._began + MINUTE if following else now
            self._count = 0
            since = now - self._began
        if int(self._before * (1 - since / MINUTE)) + self._count < limit:
            self._count += 1
            return 0.0
        room = limit - self._count
        if room > 0:
            seconds = MINUTE * (1 - room / self._before) - since
        else:
            seconds = MINUTE - since + MINUTE * (1 - limit / self._count)
        return max(seconds, 0.001)

    def quiet(self, now: float) -> bool:
        """Nothing that came counts any more."""
        return now >= self._began + 2 * MINUTE


class Limits:
    """org_in_flight: requests that one org may have under way. steady: seconds that never jump."""

    def __init__(self, org_in_flight: int, steady: Callable[[], float]) -> None:
        self._most = org_in_flight
        self._steady = steady
        self._in_flight: dict[str, int] = {}
        self._minutes: dict[str, Minute] = {}

    def enter(self, caller: Caller, scope: str) -> None:
        """Counts a request that needs this scope, and is under way until `leave`. Raises Forbidden, LimitReached: then
        there is nothing to leave."""
        require(caller, scope)
        in_flight = self._in_flight.get(caller.org, 0)
        if in_flight >= self._most:
            raise LimitReached(f"{self._most} requests of this org are under way: no more at once", retry_after=1.0)
        if caller.requests_per_minute:
            self._count(caller)
        self._in_flight[caller.org] = in_flight + 1

    def leave(self, caller: Caller) -> None:
        in_flight = self._in_flight[caller.org] - 1
        if in_flight:
            self._in_flight[caller.org] = in_flight
        else:
            del self._in_flight[caller.org]

    def _count(self, caller: Caller) -> None:
        now, limit = self._steady(), caller.requests_per_minute
        minute = self._minutes.get(caller.key_id)
        if minute is None:
            if len(self._minutes) >= KEYS:
                self._minutes = {id: one for id, one in self._minutes.items() if not one.quiet(now)}
            minute = self._minutes[caller.key_id] = Minute(now)
        seconds = minute.take(limit, now)
        if seconds:
            raise LimitReached(
                f"this API key may make {limit} requests a minute", retry_after=float(max(1, math.ceil(seconds)))
            )
