"""Turns that are answered later: accepted and durable at once, worked off beside the requests, delivered elsewhere.

What works a job off is the same code that answers a request; only its reader is another one."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ..core.agents import Delivery
from ..core.dialect import Say
from ..core.errors import Bug, Busy, Conflict, MidstreamError, OurError, StoreDown
from ..core.events import Event, Failed
from ..core.ids import new_id
from ..core.outcome import Outcome
from ..core.turn import Turn
from ..core.web import Caller, Reply, Request
from ..runs.order import Order
from ..runs.run import Run, Runs
from ..store import Store
from ..store.database import Statement
from ..store.jobs import TRIES, Job, JobKind, Jobs, JobStatus
from ..store.ledger import JobEnded, Record
from ..store.secrets import SealingKey
from .agent_turns import AgentTurns
from .batch_ends import BatchEnds
from .clock import Clock
from .deliver import Deliver, checked, delivery_of, failure
from .faces import AgentFace, Face
from .places import Standing
from .supervisor import Supervisor
from .threads import conversation_of

logger = logging.getLogger("midstream.jobs")
#: Of a request, what a face may look at when it is read again.
KEPT_HEADERS = frozenset({"x-midstream-strict", "traceparent"})
#: Jobs that one process works off at the same time, and seconds between looks for those of others that have died.
AT_ONCE, LOOK_EVERY = 128, 5.0
#: Seconds between looks for what live channels need not keep any more.
SWEEP_EVERY = 60.0
#: Of these, items of batches at most, of one org's, and other turns of one org: a turn does not wait until a long batch
#: is over, nor until another org's turns are. So many of an org's may wait for their conversations besides.
OF_BATCHES, OF_ONE_ORGS_BATCHES, OF_ONE_ORG = 48, 24, 32
#: Seconds until a job is tried again that the store was away from.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Asked(Struct, frozen=True):
    """A request as it is kept. headers: those that mean something to a face. paid: its point is spent already, else it
    is when it begins. channel: that hears of its end as its thread's, "" = none."""

    face: str
    task: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    request_id: str
    body: Raw
    paid: bool = True
    channel: str = ""


class JobRunner:
    """seal: what was asked may hold a caller's own key, so requests are kept sealed. accept puts a turn into the
    queue; what `keep` begins works the queue off."""

    def __init__(
        self, store: Store, seal: SealingKey, faces: dict[str, Face], agents: AgentTurns, runs: Runs, deliver: Deliver,
        batches: BatchEnds, clock: Clock,
    ) -> None:  # fmt: skip
        self._jobs = Jobs(store.db, store.worker, clock.wall)
        self._seal = seal
        self._faces = faces
        self._agents = agents
        self._runs = runs
        self._deliver = deliver
        self._batches = batches
        self._clock = clock
        self._news = asyncio.Event()
        self._at_work: dict[asyncio.Task[None], _Try] = {}
        #: Of this process, though nobody works on them any more: the store was away when they should have ended, or
        #: nobody could even tell that they have failed.
        self._left: deque[_Try] = deque()

    async def accept(self, caller: Caller, turn: Turn, face: Face, task: str, request: Request) -> Reply:
        """The answer goes elsewhere, later; what was asked is durable on return. Raises what would refuse the turn
        before any work: an unknown agent, a limit."""
        assert isinstance(face, AgentFace)
        checked(delivery_of(turn))
        id = new_id("msg_")
        new = conversation_of(id)
        loaded = await self._agents.admit(caller, turn, new)
        line = await self._agents.line(caller, turn, loaded, new)
        channel = await self._agents.channel(caller, turn, loaded, new)
        job = self.job(id, caller, face, task, request, kind="turn", channel=channel)
        await self.add([replace(job, line=line)])
        return Reply(face.write_accepted(turn, id))

    def job(
        self, id: str, caller: Caller, face: Face, task: str, request: Request, *, kind: JobKind, channel: str,
        batch: str | None = None, paid: bool = True,
    ) -> Job:  # fmt: skip
        """A job of a turn that begins a conversation, not in the queue yet. channel, paid: as in Asked."""
        asked = Asked(
            face.NAME, task, request.path, dict(request.params),
            {name: value for name, value in request.headers.items() if name in KEPT_HEADERS}, request.id,
            Raw(request.body), paid, channel,
        )  # fmt: skip
        now = self._clock.wall()
        sealed = self._seal.seal(msgspec.json.encode(asked), caller.org, id)
        return Job(
            id, caller.org, caller.key_id, kind, batch, new_id("run_"), sealed, None, now, now, line=conversation_of(id)
        )

    async def add(self, jobs: Sequence[Job], also: Sequence[Any] = ()) -> None:
        """Several at once, with the statements that belong to them."""
        await self._jobs.add(jobs, also)
        self._news.set()

    def keep(self, supervisor: Supervisor) -> tuple[asyncio.Task[None], ...]:
        """Works the queue off. The first one cancelled, it takes no more; what is under way belongs to its runs."""
        keep = supervisor.keep
        return (
            keep("later turns", self._take, vital=True),
            keep("turns left behind", self._look_after),
            keep("ends of batches", self._sweep_batches),
            keep("live channels", self._sweep_channels),
        )

    async def _take(self) -> float:
        self._news.clear()
        self._begin(await self._jobs.take(self._free(), self._turns(), OF_ONE_ORG))
        items = Counter(one.job.org_id for one in self._at_work.values() if one.job.kind == "batch")
        free = min(self._free(), OF_BATCHES - items.total())
        self._begin(await self._jobs.take_items(free, items, OF_ONE_ORGS_BATCHES))
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await self._news.wait()
        return 0.0

    def _free(self) -> int:
        """Places. One that only waits for its conversation has none."""
        return AT_ONCE - sum(not one.waits for one in self._at_work.values())

    def _turns(self) -> Counter[str]:
        """Under way, by org."""
        turns, waiting = Counter[str](), Counter[str]()
        for one in self._at_work.values():
            if one.job.kind == "turn":
                (waiting if one.waits else turns)[one.job.org_id] += 1
        for org, number in waiting.items():
            turns[org] += max(0, number - OF_ONE_ORG)
        return turns

    async def _look_after(self) -> float:
        """Of this server and of others."""
        await self._settle_left()
        await self._jobs.requeue()
        self._news.set()  # what a server that died had taken is taken at once
        return LOOK_EVERY

    async def _sweep_batches(self) -> float:
        await self._batches.sweep()
        return LOOK_EVERY

    async def _sweep_channels(self) -> float:
        await self._deliver.sweep()
        return SWEEP_EVERY

    def _begin(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._start(_Try(job))

    def _start(self, one: _Try) -> None:
        task = asyncio.get_running_loop().create_task(self._work(one))
        self._at_work[task] = one
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        one = self._at_work.pop(task)
        self._news.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoreDown):
            logger.warning("the store is away: the end of %s waits", one.job.id)
        elif error is not None:
            self._broke(one, error)

    def _broke(self, one: _Try, error: BaseException) -> None:
        """A bug ends a job as it ends a run. Who waits is told of it; if that is what fails, it ends without."""
        bug = Bug(new_id("bug_"))
        logger.error("bug %s in %s\n%s", bug.bug_id, one.job.id, "".join(traceback.format_exception(error)))
        if one.run is not None:
            return
        before, one.bug = one.bug, bug
        if before is None:
            self._start(one)
        else:
            self._left.append(one)

    async def _settle_left(self) -> None:
        """Others wait behind them. One that fails comes last the next time, so that it holds up no other."""
        for _ in range(len(self._left)):
            one = self._left.popleft()
            try:
                await self._settle(one)
            except BaseException:
                self._left.append(one)
                raise

    async def _settle(self, one: _Try) -> None:
        if one.bug is None:
            await self._jobs.let_go(one.job)
        else:
            await self._jobs.end(one.job.id, "failed", _bare(one.job, one.bug), self._given_up(one.job, one.bug))

    async def _work(self, one: _Try) -> None:
        job = one.job
        try:
            asked = msgspec.json.decode(self._seal.open(job.request, job.org_id, job.id), type=Asked)
        except StoreDown as error:  # sealed with another key of the server: nobody knows where its answer should go
            await self._ended(one, _bare(job, error), self._given_up(job, error))
            await self._batches.ended(job)
            return
        face, one.channel = self._faces[asked.face], asked.channel
        request = Request("POST", asked.path, {}, asked.headers, asked.params, asked.request_id, bytes(asked.body))
        delivery = Delivery()
        try:
            turn = face.read(asked.task, request)
            delivery = delivery_of(turn)
            run = await self._begun(one, asked, turn, face, request)
        except MidstreamError as error:
            await self._failed(one, face, delivery, error)
            return
        if run is not None:
            say = Say(job.id, int(self._clock.wall()), turn.model)
            self._deliver.follow(job, turn, run, face.writer(turn, say))
            await self._followed(one, delivery, run)

    async def _begun(self, one: _Try, asked: Asked, turn: Turn, face: Face, request: Request) -> Run | None:
        """None: it may not begin yet, or not here."""
        job, caller = one.job, Caller(one.job.org_id, one.job.key_id)
        if one.bug is not None:
            raise one.bug
        if job.tries > TRIES:
            raise OurError("this message was given up: each time it was begun, it was cut", code="interrupted")
        if not asked.paid and job.tries == 1:
            if wait := await self._agents.wait(caller, turn, conversation_of(job.id)):
                await self._jobs.put_off(job, self._clock.wall() + wait)
                return None
            # Whoever lets go of it now leaves it as one that was begun before, so that its point is not spent again.
            job = one.job = replace(job, tries=2)
        ending = _Ending(one, face, turn, self._jobs, self._deliver, self._runs, self._clock)
        order = await self._order(one, caller, turn, face, request, ending)
        one.run = self._runs.start(ending.of(order), detached=True) if order is not None else None
        return one.run

    async def _followed(self, one: _Try, delivery: Delivery, run: Run) -> None:
        try:
            await self._runs.ended(run)
            if not one.put_off:
                self._deliver.ended(one.job, delivery)
                await self._batches.ended(one.job)
        finally:
            self._deliver.over(one.job)

    async def _order(
        self, one: _Try, caller: Caller, turn: Turn, face: Face, request: Request, ending: _Ending
    ) -> Order | None:
        """Once the job has its turn in its conversation: one that only waited for it was not tried. None: another
        server has taken it meanwhile, because it had not heard of this one for so long."""
        assert turn.agent is not None
        job = one.job
        # Its run may have begun on a server that died, or that let go of it.
        order = partial(
            self._agents.order, caller, face=face, request=request, message=job.id, run=job.run_id, again=True,
            also=ending, standing=Standing(job.place),
        )  # fmt: skip
        turn.agent = replace(turn.agent, wait=False)
        try:
            return await order(turn)
        except Conflict as error:
            if error.code != "conversation_busy":
                raise
        turn.agent = replace(turn.agent, wait=True)
        with suppress(StoreDown):
            await self._jobs.waits(job)
        one.waits = True
        self._news.set()  # another one may have its place
        try:
            ready, mine = await order(turn), True
        finally:
            one.waits = False
        with suppress(StoreDown):  # its run will be told as well
            mine = await self._jobs.begins(job)
        if not mine and ready.act is not None and ready.act.over is not None:
            await ready.act.over()
        return ready if mine else None

    async def _failed(self, one: _Try, face: Face, delivery: Delivery, error: MidstreamError) -> None:
        """A failure goes where the answer would have gone; that this server ends, or the store is away, is none."""
        if self._runs.draining and isinstance(error, Busy):
            await self._let_go(one)
        elif isinstance(error, StoreDown):
            await self._let_go(one, again_at(one.job, self._clock.wall()))
        else:
            await self._refused(one, delivery, failure(face, error, one.job.id), self._given_up(one.job, error))

    async def _let_go(self, one: _Try, until: float | None = None) -> None:
        try:
            await self._jobs.let_go(one.job, until)
        except StoreDown:
            self._left.append(one)

    def _given_up(self, job: Job, error: MidstreamError) -> list[Statement]:
        """For a turn that was begun and cut before."""
        return self._jobs.given_up(job, {"code": error.code, "message": error.message})

    async def _refused(self, one: _Try, delivery: Delivery, payload: bytes, also: Sequence[Statement]) -> None:
        """The end of a job that has no run to end with."""
        job = one.job
        try:
            records = self._deliver.records(
                job, delivery, payload, self._clock.wall(), failed=True, thread=one.channel
            )  # fmt: skip
            await self._ended(one, payload, [*records, *also])
            self._deliver.ended(job, delivery)
            await self._batches.ended(job)
        finally:
            self._deliver.over(job)

    async def _ended(self, one: _Try, payload: bytes, records: Sequence[Record | Statement]) -> None:
        try:
            await self._jobs.end(one.job.id, "failed", payload, records)
        except StoreDown:
            self._left.append(one)
            raise


class _Try(Struct):
    """What is known of a job here. job: its tries are those that it is let go of with. channel: as in Asked. run: once
    it has begun; then the job ends as that does. put_off: that was not its end. waits: for its
    conversation. bug: nobody could work it off."""

    job: Job
    channel: str = ""
    run: Run | None = None
    put_off: bool = False
    waits: bool = False
    bug: Bug | None = None


class _Ending:
    """The job's end and its delivery, in the transaction that ends its run; or that it is let go of, when this server
    ends before the run does or the store was away: then it goes on later."""

    def __init__(
        self, one: _Try, face: Face, turn: Turn, jobs: Jobs, deliver: Deliver, runs: Runs, clock: Clock
    ) -> None:
        self._try = one
        self._face = face
        self._turn = turn
        self._jobs = jobs
        self._deliver = deliver
        self._runs = runs
        self._clock = clock

    def of(self, order: Order) -> Order:
        """The same, whose run ends so."""
        act = order.act
        assert act is not None

        def closing(end: Event) -> Sequence[Record | Statement]:
            again = self._again(end, act.before.attempts)
            return act.closing(end) if again is None else [again]

        return replace(order, act=replace(act, closing=closing))

    def _again(self, end: Event, before: int) -> Statement | None:
        """Instead of the turn's end. before: attempts of earlier tries."""
        one = self._try
        assert one.run is not None
        if not isinstance(end, Failed):
            return None
        if self._runs.draining and isinstance(end.error, Busy):
            again = self._jobs.letting_go(one.job)
        elif isinstance(end.error, StoreDown):
            # The last attempt may not have left. What has cost something counts, so that it is not made for ever.
            spent = one.run.attempts - before > 1
            again = self._jobs.letting_go(one.job, again_at(one.job, self._clock.wall()), tried=spent)
        else:
            return None
        one.put_off = True
        return again

    def __call__(self, end: Event, outcome: Outcome | None) -> Sequence[Record]:
        now, job, face = self._clock.wall(), self._try.job, self._face
        status: JobStatus = "failed" if isinstance(end, Failed) else "done"
        if isinstance(end, Failed):
            payload = failure(face, end.error, job.id)
        else:
            assert outcome is not None
            assert isinstance(face, AgentFace)
            payload = face.write_outcome(self._turn, outcome, Say(job.id, int(now), self._turn.model))
        failed = status == "failed"
        delivered = self._deliver.records(job, delivery_of(self._turn), payload, now, failed=failed)
        return [JobEnded(job.id, status, payload, now), *delivered]


def again_at(job: Job, now: float) -> float:
    """When a job is tried again that the store was away from, unix seconds: the pauses grow with how long it has been
    put off by then."""
    return now + min(max(job.available_at - job.created_at, FIRST_PAUSE), LONGEST_PAUSE)


def _bare(job: Job, error: MidstreamError) -> bytes:
    """A failure in no face's words: nobody can read what was asked."""
    return msgspec.json.encode({"success": False, "error": error.message, "message_id": job.id})
