"""How rooms are handed to each other: targets, and the functions that runs are given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from .events import Answer, Counted, Embedded, Event
from .http import Timeouts
from .turn import Plan, Turn
from .usage import Inner, Usage


class Target(Struct, frozen=True):
    """One way to get an answer: a configured provider, the model's name there, and the keys that may be used.
    keys: labels, never the secrets. family: the vendor, by which prices are looked up.
    max_tokens: sent where the service demands a limit and the caller gave none."""

    provider: str
    model: str
    family: str
    keys: tuple[str, ...] = ("0",)
    timeouts: Timeouts = Timeouts()
    max_tokens: int = 4096


Emit = Callable[[Sequence[Event], int], bool]


class Line(Protocol):
    """The run's end of one exchange with a provider."""

    async def leaving(self) -> None:
        """Awaited once, right before anything leaves for the provider: the attempt is in the ledger on return.
        What fails before it was no attempt."""

    def emit(self, events: Sequence[Event], size: int) -> bool:
        """Takes events as they arrive, and the number of bytes they came in. False: the reader is behind, stop
        reading until the function given to `opened` is called."""

    def opened(self, resume: Callable[[], None]) -> None: ...


class Complete(Protocol):
    """One exchange with a provider: events go to `line`, the last is Done or Failed.
    Raises errors.UpstreamError when it fails before any event, CallerError when the plan cannot be sent."""

    def __call__(self, target: Target, key: str, plan: Plan, line: Line) -> Awaitable[None]: ...


class Priced(Struct, frozen=True):
    """cost: decimal USD as text, exact to 1e-9; None when the model has no known price.
    snapshot: the prices it was made with, JSON text."""

    cost: str | None
    snapshot: str = ""


#: Of a call that no service charges for: one that counts tokens, that was refused, or that was never made.
FREE = Priced("0.000000000")


class Price(Protocol):
    """at: unix seconds of the call. tier: by which the service says it bills. billed, inner: as core.events.Used."""

    def __call__(
        self,
        target: Target,
        usage: Usage,
        at: float,
        tier: str = "",
        billed: str = "",
        inner: Sequence[Inner] = (),
    ) -> Priced: ...


class Observer(Protocol):
    """Told of what happened, for metrics; must be quick."""

    def run_ended(self, face: str, kind: str, status: str) -> None: ...
    def attempt_settled(self, target: Target, status: str, usage: Usage, seconds: float) -> None: ...


class Completed(Struct, frozen=True):
    """One model call of a run, after its retries and fallbacks. target: who answered. first_error: what the first
    attempt failed with when it was not the one that answered, or why the first target was not asked; "" otherwise.
    dropped: parameters left out. result: what it gave, where that is no answer."""

    answer: Answer
    target: Target
    first_error: str = ""
    dropped: tuple[str, ...] = ()
    result: Embedded | Counted | None = None


class Desk(Protocol):
    """A run as the work inside it sees it: model calls and the log. began: unix seconds, of its first life where it was
    cut. usage: of all attempts so far, failed ones too. cost: decimal USD of them, None once one has no known price;
    priced: of those that have one, None while none has. asked: whom each of them went to, in order, but for those that
    an earlier life of the run has made."""

    @property
    def run_id(self) -> str: ...
    @property
    def began(self) -> float: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def cost(self) -> str | None: ...
    @property
    def priced(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def asked(self) -> Sequence[Target]: ...
    @property
    def partial(self) -> Answer:
        """What the last model call that was not quiet has said so far, also when it was cut."""

    async def complete(self, turn: Turn, targets: Sequence[Target], *, quiet: bool = False) -> Completed:
        """Logs the answer's events as they come, but for its Done. What the call came to is held: see `write`.
        quiet: logs none of them (a check, a summary). Raises the error of the last attempt."""

    def hold(self, *statements: Any) -> None:
        """Statements of the store that are durable with the next that the run writes: before its next model call
        leaves, or with its end."""

    async def write(self, statements: Sequence[Any] = ()) -> None:
        """What is held and these are durable on return, in one transaction. Whoever waits for anything but the run's
        own calls writes before: what is held is not to be lost while nothing happens."""

    def log(self, *events: Event) -> None: ...


#: What a run does instead of one model call. Its end is logged by the run: Done when it returns, Failed when it raises.
Work: TypeAlias = Callable[[Desk], Awaitable[None]]
