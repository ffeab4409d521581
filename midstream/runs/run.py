"""The owner of the work: one task per run that makes the attempts, settles each in the ledger and closes the log.

A caller that hangs up, resumes, polls or asks for JSON instead of a stream only reads this log differently; what was
spent is recorded whoever is still listening."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import msgspec

from ..core.errors import BadRequest, Bug, Busy, Cancelled, MidstreamError, StoreDown, forget_frames
from ..core.events import Answer, Done, Event, Failed
from ..core.ids import new_id
from ..core.parts import Message
from ..core.serving import FREE, Complete, Completed, Observer, Price, Target
from ..core.turn import Plan, Turn
from ..core.usage import Usage
from ..store.database import Statement
from ..store.ledger import (
    AttemptSettled,
    AttemptStarted,
    ConversationMoved,
    Ledger,
    MessageAdded,
    OutboxAdded,
    Record,
    RunEnded,
    RunReopened,
    RunStarted,
    RunStatus,
)
from .attempt import BYTES_PER_TOKEN, Attempt
from .health import Health
from .log import EventLog
from .order import Act, Clock, Order, Spent, touched
from .route import Next, Route
from .transactions import transaction

logger = logging.getLogger("midstream.runs")
_encode = msgspec.json.Encoder().encode

#: What is still to be told when the store is back, though what it led to has failed.
_OUTLASTS = (AttemptSettled, OutboxAdded, tuple)
#: Seconds between tries to settle while the store is away.
SETTLE_AGAIN = 1.0


class Run:
    """One piece of work and its log. attempts: how many upstream calls it has made so far.
    upstream_seconds: how long it has waited for them. begun: its task has taken its first step. unwanted: it was
    told to stop. ended: all that is left is to settle, so it cannot be stopped any more."""

    __slots__ = ("attempts", "begun", "ended", "id", "log", "order", "task", "unwanted", "upstream_seconds", "why")

    def __init__(self, order: Order, keep_log: bool = False) -> None:
        self.id = (order.act is not None and order.act.run) or new_id("run_")
        self.order = order
        self.log = EventLog(keep_log)
        self.attempts = 0
        self.begun = self.unwanted = self.ended = False
        self.upstream_seconds = 0.0
        self.why: MidstreamError | None = None
        self.task: asyncio.Task[None] | None = None

    def over(self) -> Act | None:
        """All is settled: what was asked, whose act is returned, is let go of. Work that knows this run as its desk
        would hold on to itself, with all that its model was shown."""
        act, self.task = self.order.act, None
        del self.order
        return act

    def cancel(self, why: MidstreamError | None = None) -> None:
        """Stops the work: the upstream call is cut at once, what was spent is settled. Idempotent.
        why: what its followers are told."""
        self.unwanted = True
        self.why = self.why or why
        if self.task is not None and self.begun and not self.ended:
            self.task.cancel()


class Runs:
    """Starts runs and knows those that are under way. answered: told of each answer before its end is logged."""

    def __init__(
        self,
        ledger: Ledger,
        complete: Complete,
        price: Price,
        clock: Clock,
        jitter: Callable[[], float],
        observer: Observer,
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
        #: Those who try to settle again, each with its conversation.
        self._unsettled: dict[asyncio.Task[None], str | None] = {}
        self._giving_back: set[asyncio.Future[None]] = set()
        self.draining = False

    @property
    def active(self) -> int:
        return len(self._active)

    def start(self, order: Order, *, detached: bool = False) -> Run:
        """The run owns the work from here on. detached: it goes on when nobody follows its log.

        Raises errors.Busy while the server drains; what the order holds is then given back."""
        if self.draining:
            if order.act is not None and order.act.over is not None:
                self._giving_back.add(asyncio.ensure_future(order.act.over()))
            raise Busy("the server is shutting down", retry_after=5.0)
        run = Run(order, keep_log=detached)
        if not detached:
            run.log.deserted = run.cancel
        task = asyncio.get_running_loop().create_task(self._own(run))
        self._active[run] = run.task = task
        return run

    async def drain(self, seconds: float) -> None:
        """Takes no new run; those under way get `seconds` to end, then they are cancelled and settled."""
        self.draining = True
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=seconds)
        self.cancel_all()
        if self._active:
            await asyncio.wait(list(self._active.values()), timeout=5.0)
        if last := [*self._unsettled, *self._giving_back]:
            await asyncio.wait(last, timeout=5.0)

    def cancel_all(self) -> None:
        """The server ends now, and takes no new run."""
        self.draining = True
        for run in list(self._active):
            run.cancel(Busy("the server is shutting down", retry_after=5.0))

    async def _own(self, run: Run) -> None:
        try:
            end = await _Owner(self, run).do()
            if isinstance(end, Failed):
                forget_frames(end.error)
            run.log.append([end])
        finally:  # whatever happens, nobody is left waiting for this log
            del self._active[run]
            run.log.close()
            act = run.over()
            if act is not None and act.over is not None:
                await act.over()

    async def ended(self, run: Run) -> None:
        """Returns when everything about the run is settled."""
        if run.task is not None:
            await asyncio.wait([run.task])

    def unsettled(self, conversation: str) -> bool:
        """The end of one of its turns is still to be written, so what is stored of it is not all."""
        return conversation in self._unsettled.values()

    async def settle(
        self, records: list[Record | Statement], conversation: str | None = None, *, now: bool = True
    ) -> None:
        """Durable before the caller sees the end; while the store is away (now: it has not just said so) the answer
        still goes out and settling is tried again behind it (a process that dies meanwhile leaves the attempt to the
        next start: `unknown`)."""
        try:
            if now:
                await self._ledger.commit(*records)
                return
        except StoreDown:
            pass
        except MidstreamError as error:  # waiting mends nothing, and the caller's answer does not depend on it
            logger.error("the store refuses %d records: %s", len(records), error.message)
            return
        logger.warning("the store is away: settling %d records later", len(records))
        task = asyncio.get_running_loop().create_task(self._settle_later(records))
        self._unsettled[task] = conversation
        task.add_done_callback(self._unsettled.pop)

    async def _settle_later(self, records: list[Record | Statement]) -> None:
        while True:
            await asyncio.sleep(SETTLE_AGAIN)
            try:
                await self._ledger.commit(*records)
                return
            except StoreDown:
                continue


class _Owner:
    """The steps of one run. Implements core.serving.Desk for the work inside it."""

    def __init__(self, runs: Runs, run: Run) -> None:
        self._runs = runs
        self._run = run
        self._estimate_in = run.order.size // BYTES_PER_TOKEN
        self._records: list[Record | Statement] = []
        #: Of the next message that is stored.
        self._seq, self._parent = run.order.seq, run.order.parent
        self._attempt: Attempt | None = None
        #: The last one whose events are in the run's own log.
        self._shown: Attempt | None = None
        self._tried_at = 0.0
        #: The end of the last attempt is among the records, or need not be.
        self._settled = True
        self._log = run.log
        before = run.order.act.before if run.order.act is not None else Spent()
        run.attempts = before.attempts
        self.usage = before.usage
        self.asked: list[Target] = []
        self._cost = None if before.cost is None else Decimal(before.cost)

    async def do(self) -> Event:
        """Returns the terminal event once everything about the run is settled."""
        run, order = self._run, self._run.order
        run.begun = True
        end: Event = Done()
        try:
            if run.unwanted:
                raise Cancelled("cancelled")
            self._records += self._beginning(self._runs._clock.wall())
            if order.act is None:
                attempt, _ = await self._answered(order.turn, order.targets)
                end = attempt.ended or end
            else:
                await self.write()
                await order.act.work(self)
        except asyncio.CancelledError:
            end = Failed(run.why or Cancelled("cancelled"))
        except MidstreamError as error:
            end = Failed(error)
        except Exception:  # boundary: a run never ends without its terminal event
            bug = Bug(new_id("bug_"))
            logger.error("bug %s in run %s\n%s", bug.bug_id, run.id, traceback.format_exc())
            end = Failed(bug)
        run.ended = True
        if self._attempt is not None and isinstance(end, Failed) and not self._settled:
            self._attempt.fail(end.error)
            self._settle_attempt(self._attempt)
        if isinstance(end, Failed) and (told := order.told(end.error)) is not end.error:
            end = Failed(told)
        self._end(end)
        # A caller who has waited for the store in vain does not wait for it once more.
        away = isinstance(end, Failed) and isinstance(end.error, StoreDown)
        records, self._records = self._records, []  # a tool that does not stop writes for itself alone from now on
        await self._runs.settle(records, order.conversation, now=not away)
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
            tokens = None if turn.kind == "count_tokens" else self._estimate_in
            attempt = Attempt(new_id("att_"), number, chosen, tokens, self._log, self._write_down, self._committed)
            self._settled = True  # there is nothing to settle before it is written down
            self._attempt = attempt
            if self._log is self._run.log:
                self._shown = attempt
            failure = None
            runs._health.enter(target.provider, chosen.retry)
            began = runs._clock.steady()
            try:
                await attempt.run(runs._complete, self._plan(target, turn))
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
        seen = failure or attempt.error
        if seen is None:
            circuit.succeed(runs._clock.steady())
        else:
            circuit.fail(seen, runs._clock.steady())
        if attempt.left:
            self._settle_attempt(attempt)
        return attempt, failure

    def _write_down(self, attempt: Attempt) -> Awaitable[None]:
        """The attempt is durable in the ledger before anything of it leaves."""
        self._run.attempts = attempt.number
        self.asked.append(attempt.next.target)
        self._records.append(self._attempt_started(attempt))
        self._settled = False
        return self.write()

    def _committed(self) -> None:
        """A stream's first output: no other attempt may follow."""
        if self._run.order.act is None and self._run.order.turn.stream:
            self._run.order.turn.release()

    def _plan(self, target: Target, turn: Turn) -> Plan:
        turn = turn.instead.get((target.provider, target.model), turn)
        holder = (self._run.order.org, self._run.order.conversation or self._run.id)
        return Plan(turn, target.model, turn.stream, self._run.order.history, target.max_tokens, holder)

    def _beginning(self, now: float) -> list[Record]:
        run, order, act = self._run, self._run.order, self._run.order.act
        turn = order.turn
        records: list[Record] = [
            RunStarted(
                id=run.id,
                org_id=order.org,
                key_id=order.key_id,
                kind=turn.kind,
                face=order.face,
                model=turn.model,
                conversation_id=order.conversation,
                request_id=order.request_id,
                created_at=now,
                agent_id=act.agent if act is not None else None,
                version_id=act.version if act is not None else None,
                parent_run_id=act.parent if act is not None else None,
                accounted=act is not None and act.accounted,
            )
        ]
        for role, native in turn.fresh if order.keep else ():
            records += self._message(role, native.dialect, native.raw, now)
        if act is not None:
            records += [RunReopened(run.id, order.org), *act.beginning] if act.again else act.beginning
        return records

    def _message(self, role: str, dialect: str, content: bytes, now: float) -> list[Record]:
        order, seq, parent = self._run.order, self._seq, self._parent
        self._seq += 1
        added = MessageAdded(
            id=new_id("msg_"),
            org_id=order.org,
            conversation_id=order.conversation,
            run_id=self._run.id,
            seq=seq,
            role=role,
            dialect=dialect,
            content=content,
            created_at=now,
            parent_id=parent,
        )
        if parent is None or order.conversation is None:
            return [added]
        self._parent, before = added.id, None if seq == order.seq else parent
        return [added, ConversationMoved(order.conversation, order.org, added.id, now, seq, order.since, before)]

    def _attempt_started(self, attempt: Attempt) -> Record:
        order, target = self._run.order, attempt.next.target
        self._tried_at = self._runs._clock.wall()
        return AttemptStarted(
            id=attempt.id,
            run_id=self._run.id,
            org_id=order.org,
            key_id=order.key_id,
            number=attempt.number,
            provider=target.provider,
            model=target.model,
            estimate_in=attempt.estimate_in or 0,
            started_at=self._tried_at,
            accounted=order.transactions,
        )

    def _settle_attempt(self, attempt: Attempt) -> None:
        self._settled = True
        now, error, status, usage = self._runs._clock.wall(), attempt.error, attempt.status, attempt.usage
        priced, fold = FREE, attempt.fold
        if attempt.estimate_in is not None:
            priced = self._runs._price(attempt.next.target, usage, now, fold.tier, fold.billed)
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
        if self._run.order.transactions and attempt.left:  # one that never left is nobody's account
            self._records.append(transaction(self._run.order, self._run.id, attempt, usage, cost, now))

    def _end(self, end: Event) -> None:
        run, order, now = self._run, self._run.order, self._runs._clock.wall()
        error = end.error if isinstance(end, Failed) else None
        status: RunStatus = "completed" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"
        self._records.append(
            RunEnded(
                id=run.id,
                status=status,
                error_code=error.code[:100] if error else None,
                error_message=error.message[:500] if error else None,
                ended_at=now,
            )
        )
        self._runs._observer.run_ended(order.face, order.turn.kind, status)
        if order.conversation is not None:
            self._records.append(touched(order, order.conversation, self._seq, now))
        if order.act is not None:
            self._records += order.act.closing(end)
            return
        if self._attempt is not None and self._attempt.committed:
            answer = self._attempt.fold.answer()
            self._runs._answered(order, answer)
            if not order.keep:
                return
            for choice in answer.choices[:1]:
                content = _encode(Message("assistant", choice.parts))
                self._records += self._message("assistant", "", content, now)
