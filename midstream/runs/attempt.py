"""One upstream call: holds its events back until the first visible output, folds them for the ledger, and tells those
who read them what the ledger is told of its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import astuple, replace

from ..core.errors import CallerError, Cancelled, Cut, MidstreamError, Refused, TimedOut, Unreachable, UpstreamError
from ..core.estimates import BYTES_PER_TOKEN
from ..core.events import Attempted, Done, Embedded, Event, Failed, Fold, Gave, Used, Whole, visible
from ..core.parts import Reasoning, Refusal, Text, ToolCall
from ..core.serving import Complete
from ..core.turn import Plan
from ..core.usage import Usage
from ..store.ledger import AttemptStatus
from .log import EventLog
from .route import Next

#: No call has so many tokens: a provider that says so is not believed.
MAX_TOKENS = 10**9


class Attempt:
    """Implements core.serving.Line. committed: the caller has seen output, so no other attempt may follow.
    left: it is in the ledger, its call may have gone out. ended: Done or Failed, once known.
    leave: writes it into the ledger. commits: told when it is committed.
    estimate_in: tokens of the prompt, counted by us, right when it leaves; None: whatever it is told of tokens, the
    service charges for none.
    dropped: parameters that the provider does not take."""

    __slots__ = (
        "_bounded", "_commits", "_held", "_late", "_leave", "_log", "_loop", "_rest", "_task", "_timer", "_told",
        "committed", "dropped", "ended", "estimate_in", "fold", "id", "left", "next", "number",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        number: int,
        chosen: Next,
        estimate_in: int | None,
        log: EventLog,
        leave: Callable[[Attempt], Awaitable[None]],
        commits: Callable[[], None] | None = None,
    ) -> None:
        self.id = id
        self.number = number
        self.next = chosen
        self.estimate_in = estimate_in
        self.fold = Fold()
        self.committed = False
        self.left = False
        self.dropped: tuple[str, ...] = ()
        self._told: tuple[tuple[str, str], ...] = ()
        self._leave: Callable[[Attempt], Awaitable[None]] | None = leave
        self._commits = commits
        self.ended: Done | Failed | None = None
        self._log = log
        self._held: list[Event] = []
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest = 0.0
        self._late = False
        self._bounded = False  # by its exchange, which ends by itself when its whole time is over

    async def run(self, complete: Complete, plan: Plan) -> None:
        """Returns when the answer is complete or has failed after its first visible output; raises the error of an
        attempt that failed before it."""
        timeouts = self.next.target.timeouts
        limit = timeouts.first_token if plan.stream else timeouts.total
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(limit, self._overdue)
        self._rest = timeouts.total - limit
        try:
            await complete(self.next.target, self.next.key, plan, self)
        except asyncio.CancelledError:
            if not self._late or self._task is None or self._task.uncancel():
                raise  # it is somebody else who wants an end
            phase = "total" if self.committed or not plan.stream else "first_token"
            self.fail(TimedOut(f"no complete answer in time ({phase.replace('_', ' ')})", phase=phase))
        except MidstreamError as error:
            self.fail(error)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            # An attempt that has ended holds nobody.
            self._timer = self._task = self._leave = self._commits = None
        if self.ended is None:
            self.fail(Cut("the answer ended before its end was said"))
        failure = self.error
        if isinstance(failure, UpstreamError):
            failure.told = failure.told or self._told
        if failure is not None and not self.committed:
            raise failure
        if not self.committed:  # complete, though nothing of it is visible: an empty answer is an answer
            self._commit()

    def _overdue(self) -> None:
        if self._task is not None:
            self._late = True
            self._task.cancel()

    def fail(self, error: MidstreamError) -> None:
        """The attempt has ended in this error, unless it had ended before."""
        if self.ended is None:
            self.ended = Failed(error)
            self.fold.add(self.ended)

    async def leaving(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            await leave(self)
            self.left = True

    def opened(self, resume: Callable[[], None]) -> None:
        self._log.on_room(resume)
        self._bounded = True

    def emit(self, events: Sequence[Event], size: int) -> bool:
        if self.ended is not None:
            return True
        fold = self.fold
        fold.extend(events)
        if fold.ended:  # the terminal event waits until the ledger knows
            events = self._without_end(events)
        if self.committed:
            return self._log.append(events, size)
        self._hold(events)
        return True

    def _hold(self, events: Sequence[Event]) -> None:
        """Until one of them can be seen."""
        for place, event in enumerate(events):
            if type(event) is Attempted:
                event = replace(event, number=self.number)
                self.dropped, self._told = event.dropped, event.told
            self._held.append(event)
            if visible(event):
                self._held.extend(events[place + 1 :])
                self._commit()
                return

    def _without_end(self, events: Sequence[Event]) -> Sequence[Event]:
        for place, event in enumerate(events):
            if type(event) is Failed:
                self.ended = event
                return events[:place]
            if type(event) is Done:
                self.ended = event
                return self._accounted(events[:place], event)
        return events

    def _accounted(self, events: Sequence[Event], end: Done) -> Sequence[Event]:
        """The last events, with what the ledger says of tokens where the service did not. In a frame of the service's
        own bytes nothing is said."""
        used = self.usage
        if self.estimate_in is None or (used == self.fold.usage and not self.fold.passed_over):
            return events
        told = [_telling(event, used) for event in events]
        if not self._in_one_piece:
            told.append(Used(used, None if end.native is None else b""))
        self.fold.extend([event for event in told if type(event) in _TELLING])
        return told

    def _commit(self) -> None:
        self.committed = True
        if self._rest and self._timer is not None and self.ended is None:
            # The time for the first token is over; what remains is the time for the whole.
            left = self._timer.when() - self._loop.time() + self._rest
            self._timer.cancel()
            self._timer = None if self._bounded else self._loop.call_later(left, self._overdue)
        held, self._held = self._held, []
        self._log.append(held)
        commits, self._commits = self._commits, None
        if commits is not None:
            commits()

    @property
    def error(self) -> MidstreamError | None:
        return self.ended.error if isinstance(self.ended, Failed) else None

    @property
    def _in_one_piece(self) -> bool:
        return self.fold.whole is not None or self.fold.result is not None

    @property
    def status(self) -> AttemptStatus:
        """The ledger's word: ok | partial | failed; unknown for one that was written down and then never called."""
        if not self.left:
            return "unknown"
        error = self.error
        if error is None:
            return "ok"
        return "partial" if self.committed or isinstance(error, Cancelled) else "failed"

    @property
    def tier(self) -> str:
        """By which the service says that it bills the call, "" = it does not."""
        return self.fold.tier or (self.error.tier if isinstance(self.error, UpstreamError) else "")

    @property
    def usage(self) -> Usage:
        """What the provider said, else an estimate where tokens may have been spent."""
        error = self.error
        if not self.left or self.estimate_in is None:
            return Usage()
        if isinstance(error, UpstreamError) and error.used is not None and max(astuple(error.used)) <= MAX_TOKENS:
            return error.used
        said = self.fold.usage or Usage()
        if max(astuple(said)) > MAX_TOKENS:
            said = Usage()
        # A stream often begins with a placeholder: only what is said after the output counts it.
        counted = self.fold.counted or (error is None and self._in_one_piece)
        if counted and not said.estimated and (said.output_tokens or (error is None and said.input_tokens)):
            return said
        if not self.committed and (isinstance(error, CallerError | Refused | Unreachable) or _not_connected(error)):
            return said
        prompt = 0 if said.input_tokens else self.estimate_in
        known = error is None and counted and said.output_tokens
        written = 0 if known else max(_written(self.fold) - said.output_tokens, 0)
        return replace(said, uncached_in=said.uncached_in + prompt, out_text=said.out_text + written, estimated=True)


#: Events that say how many tokens there were.
_TELLING = frozenset({Whole, Gave, Used})


def _telling(event: Event, used: Usage) -> Event:
    if type(event) is Whole:
        return replace(event, answer=replace(event.answer, usage=used))
    if type(event) is Gave and isinstance(event.result, Embedded):
        return replace(event, result=replace(event.result, usage=used))
    return event


def _not_connected(error: MidstreamError | None) -> bool:
    return isinstance(error, TimedOut) and error.phase == "connect"


def _written(fold: Fold) -> int:
    """Estimated tokens of the output so far."""
    size = 0
    for choice in fold.answer().choices:
        for part in choice.parts:
            if isinstance(part, Text | Reasoning | Refusal):
                size += len(part.text.encode())
            elif isinstance(part, ToolCall):
                size += len(part.name) + len(part.arguments.encode())
    return -(-size // BYTES_PER_TOKEN)
