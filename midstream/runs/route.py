"""Which target is tried next, and after how long: a pure decision over what has happened so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from ..core.errors import Busy, MidstreamError, Refused, Unhonoured
from ..core.serving import Target
from ..core.unread import UNSENT
from .health import Health, refuses_key

TRIES_PER_TARGET = 3
BACKOFF, MAX_BACKOFF = 0.5, 8.0
#: With another target at hand nobody waits longer than this for the one that asked for patience.
PATIENCE = 2.0
MAX_RETRY_AFTER = 60.0


class Next(Struct, frozen=True):
    """Try `target` with `key` after `wait` seconds. retry: the same target has been tried before."""

    target: Target
    key: str
    wait: float
    retry: bool


class Route:
    """The ordered targets of one run. deadline: of the whole run, in the health clock's seconds. passed_over: why the
    first of them was not even asked, when another was."""

    __slots__ = ("_at", "_deadline", "_health", "_jitter", "_last", "_spent", "_targets", "_tries", "passed_over")

    def __init__(self, targets: Sequence[Target], health: Health, deadline: float, jitter: Callable[[], float]) -> None:
        self._targets = targets
        self._health = health
        self._deadline = deadline
        self._jitter = jitter
        self._at = 0
        self._tries = 0
        self._spent: frozenset[tuple[int, str]] = frozenset()
        self._last: MidstreamError | None = None
        self.passed_over: MidstreamError | None = None

    def first(self) -> Next:
        return self._choose(0.0)

    def after(self, error: MidstreamError, key: str) -> Next:
        """The next try after an attempt failed with error. Raises the error that the caller shall see."""
        self._last = error
        # Another target, model or key may take what this one refused; the same one never will.
        refused_here = refuses_key(error) or (isinstance(error, Refused) and error.status == 404)
        if not error.retryable and not refused_here:
            raise error
        target = self._targets[self._at]
        other_keys = False  # that may fare better: a server that is down is down for all of them
        if refused_here or (isinstance(error, Refused) and error.status == 429):
            self._spent |= {(self._at, key)}
            other_keys = any((self._at, name) not in self._spent for name in target.keys)
        asked = min(error.retry_after or 0.0, 1e9)
        impatient = asked > MAX_RETRY_AFTER or (asked > PATIENCE and self._at + 1 < len(self._targets))
        if refused_here:
            stay = other_keys
        else:
            stay = self._tries < TRIES_PER_TARGET and (other_keys or not impatient)
        stay = stay and (self._health.may_retry(target.provider) or refused_here)
        if stay and other_keys:
            return self._choose(0.0)
        if stay:
            self._spent = frozenset()  # every key has been refused for now: the first one that is ready again
            return self._choose(max(asked, self._backoff()))
        self._move_on()
        return self._choose(0.0)

    def passing(self, error: MidstreamError) -> Next:
        """The next try when this target cannot be asked such a thing at all: that is told only of the first one. What
        the first cannot be sent or asked for another one may take; what it would leave out is refused, not tried."""
        failed = self._last or self.passed_over
        if failed is None:
            another_may = error.code in UNSENT and not isinstance(error, Unhonoured)
            if not another_may or self._at + 1 == len(self._targets):
                raise error
            self.passed_over = error
        self._last = failed
        self._move_on()
        return self._choose(0.0)

    def _backoff(self) -> float:
        """Full jitter, doubling."""
        return self._jitter() * min(MAX_BACKOFF, BACKOFF * 2.0 ** (self._tries - 1))

    def _move_on(self) -> None:
        self._at += 1
        self._tries = 0
        self._spent = frozenset()

    def _choose(self, wait: float) -> Next:
        while self._at < len(self._targets):
            target = self._targets[self._at]
            now = self._health.clock()
            soonest, key = float("inf"), ""
            for name in target.keys:
                if not self._spent or (self._at, name) not in self._spent:
                    ready = self._health.circuit(target.provider, name, target.model).ready_in(now)
                    if ready < soonest:  # the first of equals: keys are used in the order they were configured
                        soonest, key = ready, name
            pause = max(wait, soonest)
            last = self._at + 1 == len(self._targets)
            if pause <= (wait if not last else max(wait, PATIENCE)) and now + pause < self._deadline:
                self._tries += 1
                return Next(target, key, pause, self._tries > 1)
            if self._last is None and soonest < float("inf") and (last or self._at == 0):
                refused = self._health.circuit(target.provider, key, target.model).key_refused
                why = "has refused its key a moment ago" if refused else "is failing or over its limit"
                if last:
                    message = f"the provider {target.provider!r} {why}, try again later"
                    self._last = busy = Busy(message, retry_after=max(1.0, soonest))
                    busy.refused = (target.provider, key) if refused else None
                else:
                    self.passed_over = Busy(f"{target.provider}/{target.model} was not asked: it {why}")
            self._move_on()
            wait = 0.0
        raise self._last or Busy("no target can be tried now")
