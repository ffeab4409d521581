"""The owner of the work: one task per run that makes the attempts, settles each in the ledger and closes the log.

A caller that hangs up, resumes, polls or asks for JSON instead of a stream only reads this log differently; what was
spent is recorded whoever is still listening."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import TypeVar

from ..core.errors import BadRequest, Bug, Busy, Cancelled, MidstreamError, OurError, StoreDown, forget_frames
from ..core.estimates import tokens_asked
from ..core.events import Answer, Done, Event, Failed
from ..core.ids import new_id
from ..core.serving import FREE, Complete, Completed, Observer, Price, Target
from ..core.turn import Plan, Turn
from ..core.usage import Usage
from ..store.database import Statement
from ..store.ledger import (
    AttemptSettled,
    AttemptStarted,
    Ledger,
    OutboxAdded,
    Record,
)
from ..store.presence import Presence
from .attempt import Attempt
from .health import Circuit, Health
from .log import EventLog
from .order import Clock, Order, Spent
from .records import RunRecords, status_of
from .route import Next, Route
from .settling import Settling
from .transactions import transaction

logger = logging.getLogger("midstream.runs")
_Came = TypeVar("_Came")

#: What is still to be told when the store is back, though what it led to has failed.
_OUTLASTS = (AttemptSettled, OutboxAdded, tuple)
#: No call that is answered has this: one that never left, or that was refused, costs nothing, whatever its model would.
_NOTHING = Usage()
#: What is told of a call however its run ends.
_CALLS = (AttemptStarted, AttemptSettled, OutboxAdded)


class Run:
    """One piece of work and its log. attempts: how many upstream calls it has made so far.
    upstream_seconds: how long it has waited for them. begun: its task has taken its first step. unwanted: it was
    told to stop. ended: all that is left is to settle, so it cannot be stopped any more. detached: it goes on when
    nobody follows its log. lost: why it is not this server's any more."""

    __slots__ = (
        "attempts", "begun", "detached", "ended", "id", "log", "lost", "order", "task", "unwanted", "upstream_seconds",
        "why",
    )  # fmt: skip

    def __init__(self, order: Order, detached: bool = False) -> None:
        self.id = (order.act is not None and order.act.run) or new_id("run_")
        self.order = order
        self.log = EventLog(keep=detached)
        self.detached = detached
        self.lost: MidstreamError | None = None
        self.attempts = 0
        self.begun = self.unwanted = self.ended = False
        self.upstream_seconds = 0.0
        self.why: MidstreamError | None = None
        self.task: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """What was asked is let go of. Work that knows this run as its desk would hold on to itself, with all that its
        model was shown."""
        del self.order

    def cancel(self, why: MidstreamError | None = None) -> None:
        """Stops the work: the upstream call is cut at once, what was spent is settled. Idempotent.
        why: what its followers are told."""
        self.unwanted = True
        self.why = self.why or why
        if self.task is not None and self.begun and not self.ended:
            self.task.cancel()

    def lose(self) -> None:
        """Another server has ended it, or goes on with it: what this one does of it does not count any more."""
        self.cancel(self.taken())

    def taken(self) -> MidstreamError:
        """The same, where it need not be stopped. What is told of it."""
        told = "the server had lost its database for so long that another one has ended this"
        self.lost = OurError(told, code="interrupted", retry_after=1.0)
        return self.lost


class Runs:
    """Starts runs and knows those that are under way. answered: told of each answer before its end is logged.
    presence: of this server among others."""

    def __init__(
        self,
        ledger: Ledger,
        complete: Complete,
        price: Price,
        clock: Clock,
        jitter: Callable[[], float],
        observer: Observer,
        presence: Presence,
        answered: Callable[[Order, Answer], None] = lambda order, answer: None,
    ) -> None:
        self._observer = observer
        self._answered = answered
        self._ledger = ledger
        self._complete = complete
        self._price = price
        self._clock = clock
        self._jitter = jitter
        self._health = Health(clock.steady)
        self._active: dict[Run, asyncio.Task[None]] = {}
        self._giving_back: set[asyncio.Future[None]] = set()
        self.settling = Settling(ledger)
        self.draining = False
        self.presence = presence
        presence.missed = self._missed

    @property
    def active(self) -> int:
        return len(self._active)

    def start(self, order: Order, *, detached: bool = False, within: bool = False) -> Run:
        """The run owns the work from here on. detached: as in Run. within: another run that is under way cannot end
        without it.

        Raises errors.Busy while the server drains, unless it is within one; what the order holds is then given back."""
        if self.draining and not within:
            if order.act is not None and order.act.over is not None:
                self._giving_back.add(asyncio.ensure_future(order.act.over()))
            raise Busy("the server is shutting down", retry_after=5.0)
        run = Run(order, detached)
        if not detached:
            run.log.deserted = run.cancel
        task = asyncio.get_running_loop().create_task(self._own(run))
        self._active[run] = run.task = task
        return run

    async def drain(self, seconds: float) -> None:
        """Takes no new run but within one. Those under way get `seconds` to end, then they are cancelled and
        settled."""
        self.draining = True
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=seconds)
        self.cancel_all()
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=5.0)
        if last := [*self.settling.waiting, *self._giving_back]:
            await asyncio.wait(last, timeout=5.0)

    def cancel_all(self) -> None:
        """The server ends now, and takes no new run."""
        self.draining = True
        for run in list(self._active):
            run.cancel(Busy("the server is shutting down", retry_after=5.0))

    async def _missed(self) -> None:
        """This server was silent for so long that others may have ended what it has under way."""
        under_way = {run.id: run for run in self._active}
        if under_way:
            for id in await self.presence.taken_over([*under_way]):
                under_way[id].lose()

    async def _own(self, run: Run) -> None:
        end: Event | None = None
        over = run.order.act.over if run.order.act is not None else None
        try:
            owner = _Owner(self, run)
            end = await owner.do()
            if isinstance(end, Failed):
                forget_frames(end.error)
            if over is not None and owner.settled:  # who is told the end may ask for more of the same at once
                first, over = over, None
                await first()
        finally:  # whatever happens, nobody is left waiting for this log, nor takes its silence for an end
            del self._active[run]
            run.log.append([end or Failed(_bug(run))])
            run.log.close()
            run.forget()
            try:
                if over is not None:
                    await over()
            finally:
                run.task = None

    async def ended(self, run: Run) -> None:
        """Returns when everything about the run is settled."""
        if run.task is not None:
            await asyncio.wait([run.task])

    def unsettled(self, conversation: str) -> bool:
        """The end of one of its turns is still to be written, so what is stored of it is not all."""
        return self.settling.unsettled(conversation)


class _Owner:
    """The steps of one run. Implements core.serving.Desk for the work inside it."""

    def __init__(self, runs: Runs, run: Run) -> None:
        self._runs = runs
        self._run = run
        self._records: list[Record | Statement] = []
        self._told = RunRecords(run)
        self._attempt: Attempt | None = None
        #: The last one whose events are in the run's own log.
        self._shown: Attempt | None = None
        self._tried_at = 0.0
        #: The end of the last attempt is among the records, or need not be; so is that of the run.
        self._settled, self._over = True, False
        #: The store has just not told whose the run is.
        self._away = False
        #: All of it is durable.
        self.settled = False
        self._log = run.log
        before = run.order.act.before if run.order.act is not None else Spent()
        self.began = before.began or runs._clock.wall()
        run.attempts = before.attempts
        self.usage = before.usage
        self.asked: list[Target] = []
        self._cost = None if before.cost is None else Decimal(before.cost)
        self._priced = None if before.priced is None else Decimal(before.priced)

    async def do(self) -> Event:
        """Returns the terminal event once everything about the run is settled, or on its way to be."""
        run, runs = self._run, self._runs
        run.begun = True
        try:
            end = await self._caught(self._work())
        except asyncio.CancelledError:
            end = Failed(run.why or (Cancelled("cancelled") if run.unwanted else _bug(run)))
        run.ended = True
        if run.lost is not None or runs.presence.in_doubt:
            end = await self._caught(self._owned(end))
        end = await self._caught(self._closed(end))
        if not self._over:  # a bug in that: so it ends in it
            end = await self._caught(self._closed(end))
        if not self._over:
            self._records.append(self._told.ended(end, runs._clock.wall()))
        runs._observer.run_ended(self._run.order.face, self._run.order.turn.kind, status_of(end))
        # A caller who has waited for the store in vain does not wait for it once more.
        away = self._away or (isinstance(end, Failed) and isinstance(end.error, StoreDown))
        records, self._records = self._records, []  # a tool that does not stop writes for itself alone from now on
        settled = await self._caught(runs.settling.settle(records, self._run.order.conversation, now=not away))
        if isinstance(settled, Failed):
            runs.settling.later(records, self._run.order.conversation)
        self.settled = settled is True
        return end

    async def _caught(self, work: Awaitable[_Came]) -> _Came | Failed:
        """What it comes to, or has failed with."""
        try:
            return await work
        except MidstreamError as error:
            return Failed(error)
        except Exception:  # boundary: a run never ends without its terminal event, nor without being settled
            return Failed(_bug(self._run))

    async def _work(self) -> Event:
        run, order = self._run, self._run.order
        if run.unwanted:
            raise run.why or Cancelled("cancelled")
        self._records += self._told.beginning(self.began)
        if order.act is None:
            attempt, _ = await self._answered(order.turn, order.targets)
            return attempt.ended or Done()
        await self.write()
        if order.act.again and not await self._runs.presence.owns(run.id, order.act.job):
            raise run.taken()
        await order.act.work(self)
        return Done()

    async def _owned(self, end: Event) -> Event:
        """Its end, unless another server has ended it before, which has to be known: what is told is what is kept."""
        run = self._run
        if run.lost is None:
            try:
                await self._runs.presence.renew()
            except StoreDown:
                self._away = True
                if self._run.order.conversation is not None and not run.detached:
                    raise
        if run.lost is not None:
            raise run.lost
        return end

    async def _closed(self, end: Event) -> Event:
        """What is to be settled of it stands among the records then. It awaits nothing, and is awaited so that what it
        raises is caught where all else is."""
        if self._attempt is not None and isinstance(end, Failed) and not self._settled:
            self._attempt.fail(end.error)
            self._settle_attempt(self._attempt)
        if isinstance(end, Failed) and (told := self._run.order.told(end.error)) is not end.error:
            end = Failed(told)
        if self._run.lost is None:
            self._records += self._end(end)
        else:
            self._records = [record for record in self._records if isinstance(record, _CALLS)]
        self._over = True
        return end

    async def _answered(self, turn: Turn, targets: Sequence[Target]) -> tuple[Attempt, MidstreamError | None]:
        """Tries until an attempt has given its answer: that one, and the error of the first that did not. Raises the
        error of the last attempt that may be made."""
        runs = self._runs
        longest = max([target.timeouts.total for target in targets], default=0.0)
        route = Route(targets, runs._health, runs._clock.steady() + longest, runs._jitter)
        chosen = route.first()
        first = route.passed_over
        while True:
            attempt, failure = await self._try(chosen, turn)
            if failure is None:
                return attempt, first
            first = first or failure
            chosen = route.after(failure, chosen.key) if attempt.left else route.passing(failure)
            forget_frames(failure)

    # core.serving.Desk

    @property
    def run_id(self) -> str:
        return self._run.id

    @property
    def attempts(self) -> int:
        return self._run.attempts

    @property
    def partial(self) -> Answer:
        """What the last model call that is logged has said so far."""
        return self._shown.fold.answer() if self._shown is not None else Answer()

    @property
    def cost(self) -> str | None:
        return None if self._cost is None else f"{self._cost:f}"

    @property
    def priced(self) -> str | None:
        return None if self._priced is None else f"{self._priced:f}"

    def log(self, *events: Event) -> None:
        self._run.log.append(events)

    async def complete(self, turn: Turn, targets: Sequence[Target], *, quiet: bool = False) -> Completed:
        self._log = EventLog() if quiet else self._run.log
        attempt, first = await self._answered(turn, targets)
        if attempt.error is not None:
            raise attempt.error
        why, fold = first.message if first is not None else "", attempt.fold
        return Completed(fold.answer(), attempt.next.target, why, attempt.dropped, fold.result)

    def hold(self, *statements: Statement) -> None:
        self._records += statements

    async def write(self, statements: Sequence[Statement] = ()) -> None:
        """When the store is away now, what has ended is settled with the run's end; what would have begun has not."""
        records, self._records = self._records, []
        try:
            if records or statements:
                await self._runs._ledger.commit(*records, *statements)
        except BaseException:
            self._records = [record for record in records if isinstance(record, _OUTLASTS)] + self._records
            raise

    async def _try(self, chosen: Next, turn: Turn) -> tuple[Attempt, MidstreamError | None]:
        """One attempt: written before the call, settled after. The error that lets another one follow, or None."""
        runs, target = self._runs, chosen.target
        circuit = runs._health.circuit(target.provider, chosen.key, target.model)
        # Before the first wait: of all who find an open circuit ready again, one alone may try it.
        probes = circuit.begin()
        try:
            if chosen.wait:
                await self.write()
                await asyncio.sleep(chosen.wait)
            number = self._run.attempts + 1
            tokens, plan = None if turn.kind == "count_tokens" else 0, self._plan(target, turn)
            leaves = partial(self._write_down, plan)
            shows = partial(self._committed, circuit)
            attempt = Attempt(new_id("att_"), number, chosen, tokens, self._log, leaves, shows)
            del leaves, shows  # it lets go of them when they are done
            self._settled = True  # there is nothing to settle before it is written down
            self._attempt = attempt
            if self._log is self._run.log:
                self._shown = attempt
            failure = None
            runs._health.enter(target.provider, chosen.retry)
            began = runs._clock.steady()
            try:
                await attempt.run(runs._complete, plan)
            except MidstreamError as error:
                failure = error
            finally:
                self._run.upstream_seconds += runs._clock.steady() - began
                runs._health.leave(target.provider, chosen.retry)
            if not attempt.left and failure is not None:
                if isinstance(failure, BadRequest):
                    return attempt, failure
                raise failure  # the request itself, or our store: no other target would help
            probes = False
        finally:
            if probes:
                circuit.abandon()
        runs._health.record(circuit, target, chosen.key, failure or attempt.error)
        if attempt.left:
            self._settle_attempt(attempt)
        return attempt, failure

    def _write_down(self, plan: Plan, attempt: Attempt) -> Awaitable[None]:
        """The attempt is durable in the ledger before anything of it leaves. By then as much of what is asked has been
        read as will be."""
        if attempt.estimate_in is not None:
            attempt.estimate_in = tokens_asked(plan.turn, plan.history, self._run.order.size)
        self._run.attempts = attempt.number
        self.asked.append(attempt.next.target)
        self._tried_at = self._runs._clock.wall()
        self._records.append(self._told.attempt_started(attempt, self._tried_at))
        self._settled = False
        return self.write()

    def _committed(self, circuit: Circuit) -> None:
        """The first output: no other attempt may follow."""
        circuit.answered()
        if self._run.order.act is None and self._run.order.turn.stream:
            self._run.order.turn.release()

    def _plan(self, target: Target, turn: Turn) -> Plan:
        turn = turn.instead.get((target.provider, target.model), turn)
        holder = (self._run.order.org, self._run.order.conversation or self._run.id)
        return Plan(turn, target.model, turn.stream, self._run.order.history, target.max_tokens, holder)

    def _settle_attempt(self, attempt: Attempt) -> None:
        self._settled = True
        now, error, status, usage = self._runs._clock.wall(), attempt.error, attempt.status, attempt.usage
        priced, fold = FREE, attempt.fold
        if attempt.estimate_in is not None and (usage != _NOTHING or fold.billed):
            priced = self._runs._price(attempt.next.target, usage, now, attempt.tier, fold.billed, fold.inner)
        if attempt.left or not isinstance(error, StoreDown):  # else the store refused even its beginning
            self._runs._observer.attempt_settled(attempt.next.target, status, usage, now - self._tried_at)
        self._spend(attempt, usage, priced.cost, now)
        self._records.append(
            AttemptSettled(
                id=attempt.id,
                status=status,
                usage=usage,
                cost=priced.cost,
                price_snapshot=priced.snapshot,
                error_code=error.code[:100] if error else None,
                error_message=error.message[:500] if error else None,
                ended_at=now,
            )
        )

    def _spend(self, attempt: Attempt, usage: Usage, cost: str | None, now: float) -> None:
        """Counts the attempt into the run's sums, and puts its account into the outbox for those who want each."""
        if self._run.order.act is not None:
            self.usage += usage
            self._cost = None if self._cost is None or cost is None else self._cost + Decimal(cost)
            if cost is not None:
                self._priced = (self._priced or 0) + Decimal(cost)
        if self._run.order.transactions and attempt.left:  # one that never left is nobody's account
            self._records.append(transaction(self._run.order, self._run.id, attempt, usage, cost, now))

    def _end(self, end: Event) -> list[Record | Statement]:
        order, now = self._run.order, self._runs._clock.wall()
        records = self._told.ending(end, now)
        if order.act is not None:
            return [*records, *order.act.closing(end)]
        if self._attempt is not None and self._attempt.committed:
            answer = self._attempt.fold.answer()
            self._runs._answered(order, answer)
            records += self._told.answered(answer, now, self._attempt.fold.dialect)
        return records


def _bug(run: Run) -> Bug:
    """Of what is being handled now."""
    bug = Bug(new_id("bug_"))
    logger.error("bug %s in run %s\n%s", bug.bug_id, run.id, traceback.format_exc())
    return bug
