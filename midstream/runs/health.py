"""What is known of each (provider, key, model): cooldown, breaker, retry budget (RELIABILITY.md §5.2, 5.10)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..core.errors import MidstreamError, Refused, Unauthenticated, UpstreamError
from ..core.serving import Target

logger = logging.getLogger("midstream.runs")

OPEN_AFTER = 5
#: Or this share of at least `WINDOW_CALLS` calls failed within `WINDOW_SECONDS`.
OPEN_SHARE, WINDOW_CALLS, WINDOW_SECONDS = 0.5, 20, 30.0
PROBE_AFTER = 15.0
#: A key that the provider refuses is left alone this long.
KEY_REST = 300.0
#: What a provider says of a key: not known, without money, not allowed to do this.
OF_KEYS = frozenset({401, 402, 403})
DEFAULT_COOLDOWN = 1.0
MAX_COOLDOWN = 60.0
#: Models are named by callers, so there is no end to them: the circuit that was made first is forgotten.
CIRCUITS = 10_000


def refuses_key(error: MidstreamError) -> bool:
    """Is it the key that the provider does not take? Some say so with another status."""
    return isinstance(error, Refused) and (error.status in OF_KEYS or error.code == Unauthenticated.code)


class Circuit:
    """One (provider, key, model). Closed: calls pass. Open: none until `PROBE_AFTER`, then one probe decides, by the
    first sign that the provider is there.
    key_refused: the last call was refused because of its key. logged: the trouble that the log has told of."""

    __slots__ = ("_calls", "_failed_in_a_row", "_opened_at", "_probing", "key_refused", "logged", "not_before")

    def __init__(self) -> None:
        self.logged = ""
        self.not_before = 0.0
        self.key_refused = False
        self._opened_at: float | None = None
        self._probing = False
        self._failed_in_a_row = 0
        self._calls: deque[tuple[float, bool]] = deque(maxlen=256)

    def ready_in(self, now: float) -> float:
        """Seconds until a call may be tried; 0 = now."""
        wait = max(0.0, self.not_before - now)
        if self._opened_at is not None:
            wait = max(wait, PROBE_AFTER if self._probing else self._opened_at + PROBE_AFTER - now)
        return wait

    def begin(self) -> bool:
        """True: this call is the probe. It ends in succeed, fail or abandon."""
        if self._opened_at is None or self._probing:
            return False
        self._probing = True
        return True

    def abandon(self) -> None:
        """The probe ended without a word about the provider: another call may be the probe."""
        self._probing = False

    def answered(self) -> None:
        """The provider is there, whatever becomes of what it has begun to say: nobody waits for the probe's end."""
        self._opened_at = None
        self._probing = False

    def succeed(self, now: float) -> None:
        self.answered()
        self.key_refused = False
        self._failed_in_a_row = 0
        self._calls.append((now, True))

    def fail(self, error: MidstreamError, now: float) -> None:
        self._probing = False
        if not isinstance(error, UpstreamError) or error.staged:
            return  # a caller's mistake or wish, however often it is made, says nothing about the provider
        status = error.status if isinstance(error, Refused) else 0
        self.key_refused = refuses_key(error)
        if self.key_refused or (status and (status == 429 or not error.retryable)):
            self.answered()
        if status == 429:  # busy, not broken
            self.not_before = now + min(error.retry_after or DEFAULT_COOLDOWN, MAX_COOLDOWN)
            return
        if self.key_refused:
            self.not_before = now + KEY_REST
            return
        if status and not error.retryable:
            return  # the request was at fault
        self._failed_in_a_row += 1
        self._calls.append((now, False))
        if self._opened_at is not None or self._failed_in_a_row >= OPEN_AFTER or self._mostly_failing(now):
            self._opened_at = now

    @property
    def trouble(self) -> str:
        """Why no call passes: key | open; "" = calls pass."""
        return "key" if self.key_refused else "open" if self._opened_at is not None else ""

    def _mostly_failing(self, now: float) -> bool:
        recent = [ok for at, ok in self._calls if now - at <= WINDOW_SECONDS]
        return len(recent) >= WINDOW_CALLS and recent.count(False) >= OPEN_SHARE * len(recent)


class Health:
    """The circuits by (provider, key, model), and how many calls and retries run per provider."""

    RETRY_SHARE, RETRY_MIN = 0.2, 3

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._circuits: dict[tuple[str, str, str], Circuit] = {}
        self._in_flight: dict[str, int] = {}
        self._retrying: dict[str, int] = {}

    def circuit(self, provider: str, key: str, model: str) -> Circuit:
        name = (provider, key, model)
        circuit = self._circuits.get(name)
        if circuit is None:
            if len(self._circuits) >= CIRCUITS:
                del self._circuits[next(iter(self._circuits))]
            circuit = self._circuits[name] = Circuit()
        return circuit

    def record(self, circuit: Circuit, target: Target, key: str, error: MidstreamError | None) -> None:
        """What a call has come to: None = an answer. The log is told once of each trouble and of its end; keys that
        were lent for a call, and what becomes of calls with them, are the affair of who lent them."""
        if error is None:
            circuit.succeed(self.clock())
        else:
            circuit.fail(error, self.clock())
        if circuit.trouble == circuit.logged or not key.isdecimal():
            return
        circuit.logged = circuit.trouble
        if error is None:
            logger.info("provider %r answers at model %r again", target.provider, target.model)
        elif circuit.key_refused:
            said = "provider %r refuses its key %d at model %r (status %d): it is left alone for %g s"
            logger.warning(said, target.provider, int(key) + 1, target.model, error.status, KEY_REST)
        elif circuit.trouble:
            said = "provider %r fails at model %r (%s): it is asked again every %g s"
            logger.warning(said, target.provider, target.model, error.code, PROBE_AFTER)

    def enter(self, provider: str, retry: bool) -> None:
        self._in_flight[provider] = self._in_flight.get(provider, 0) + 1
        if retry:
            self._retrying[provider] = self._retrying.get(provider, 0) + 1

    def leave(self, provider: str, retry: bool) -> None:
        self._in_flight[provider] -= 1
        if retry:
            self._retrying[provider] -= 1

    def may_retry(self, provider: str) -> bool:
        """Keeps a failing provider from being hit by many times its load."""
        allowed = max(self.RETRY_MIN, self.RETRY_SHARE * self._in_flight.get(provider, 0))
        return self._retrying.get(provider, 0) < allowed
