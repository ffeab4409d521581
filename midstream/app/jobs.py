"""Turns that are answered later: accepted and durable at once, worked off beside the requests, delivered elsewhere.

What works a job off is the same code that answers a request; only its reader is another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ..core.agents import Delivery
from ..core.dialect import Say
from ..core.errors import Busy, Conflict, MidstreamError, OurError, StoreDown
from ..core.events import Event, Failed
from ..core.ids import new_id
from ..core.outcome import Outcome
from ..core.turn import Turn
from ..core.web import Caller, Reply, Request
from ..runs.order import Order
from ..runs.run import Runs
from ..store import Store
from ..store.database import Statement
from ..store.jobs import TRIES, Job, JobKind, Jobs
from ..store.ledger import JobEnded, Record
from ..store.secrets import SealingKey
from .agent_turns import AgentTurns
from .batch_ends import BatchEnds
from .clock import Clock
from .deliver import Deliver, checked, delivery_of, failure
from .faces import AgentFace, Face
from .places import Standing
from .threads import conversation_of

logger = logging.getLogger("midstream.jobs")
#: Of a request, what a face may look at when it is read again.
KEPT_HEADERS = frozenset({"x-midstream-strict", "traceparent"})
#: Jobs that one process works off at the same time, and seconds between looks for those of others that have died.
AT_ONCE, LOOK_EVERY = 32, 5.0
#: Seconds between looks for what live channels need not keep any more.
SWEEP_EVERY = 60.0
#: Of these, items of batches at most: a turn does not wait until a long batch is over.
OF_BATCHES = 24


class Asked(Struct, frozen=True):
    """A request as it is kept. headers: those that mean something to a face. paid: its point is spent."""

    face: str
    task: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    request_id: str
    body: Raw
    paid: bool = True


class JobRunner:
    """seal: what was asked may hold a caller's own key, so requests are kept sealed. accept puts a turn into the
    queue; run works the queue off until it is cancelled."""

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
        self._at_work: dict[asyncio.Task[None], JobKind] = {}
        #: Of this process, though nobody works on them any more: the store was away when they should have ended.
        self._left: list[Job] = []

    async def accept(self, caller: Caller, turn: Turn, face: Face, task: str, request: Request) -> Reply:
        """The answer goes elsewhere, later; what was asked is durable on return. Raises what would refuse the turn
        before any work: an unknown agent, a limit."""
        assert isinstance(face, AgentFace)
        checked(delivery_of(turn))
        job = self.job(caller, turn, face, task, request, kind="turn")
        new = conversation_of(job.id)
        loaded = await self._agents.admit(caller, turn, new)
        await self.add([replace(job, line=await self._agents.line(caller, turn, loaded, new))])
        return Reply(face.write_accepted(turn, job.id))

    def job(
        self, caller: Caller, turn: Turn, face: Face, task: str, request: Request, *, kind: JobKind,
        batch: str | None = None, paid: bool = True,
    ) -> Job:  # fmt: skip
        """A job of a turn that begins a conversation, not in the queue yet. paid: its point is spent already, else it
        is when it begins."""
        assert turn.agent is not None
        asked = Asked(
            face.NAME, task, request.path, dict(request.params),
            {name: value for name, value in request.headers.items() if name in KEPT_HEADERS}, request.id,
            Raw(request.body), paid,
        )  # fmt: skip
        id, now = new_id("msg_"), self._clock.wall()
        sealed = self._seal.seal(msgspec.json.encode(asked), caller.org, id)
        return Job(
            id, caller.org, caller.key_id, kind, batch, new_id("run_"), sealed, None, now, now, line=conversation_of(id)
        )

    async def add(self, jobs: Sequence[Job], also: Sequence[Any] = ()) -> None:
        """Several at once, with the statements that belong to them."""
        await self._jobs.add(jobs, also)
        self._news.set()

    async def run(self) -> None:
        """Works the queue off. Cancelled, it takes no more; what is under way belongs to its runs."""
        looked = swept = float("-inf")
        while True:
            try:
                if self._clock.steady() - looked >= LOOK_EVERY:
                    await self._let_go_of_left()
                    await self._jobs.requeue()
                    await self._batches.sweep()
                    looked = self._clock.steady()
                if self._clock.steady() - swept >= SWEEP_EVERY:
                    await self._deliver.sweep()
                    swept = self._clock.steady()
                self._news.clear()
                self._begin(await self._jobs.take(AT_ONCE - len(self._at_work)))
                items = sum(kind == "batch" for kind in self._at_work.values())
                self._begin(await self._jobs.take_items(min(AT_ONCE - len(self._at_work), OF_BATCHES - items)))
            except StoreDown:
                logger.warning("the store is away: jobs wait")
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _begin(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            task = asyncio.get_running_loop().create_task(self._work(job))
            self._at_work[task] = job.kind
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._at_work[task]
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a job could not be worked off: %r", error)

    async def _let_go_of_left(self) -> None:
        """Others wait behind them."""
        while self._left:
            await self._jobs.let_go(self._left[-1])
            self._left.pop()

    async def _work(self, job: Job) -> None:
        try:
            asked = msgspec.json.decode(self._seal.open(job.request, job.org_id, job.id), type=Asked)
        except StoreDown as error:  # sealed with another key of the server: nobody knows where its answer should go
            await self._lost(job, error)
            return
        face = self._faces[asked.face]
        request = Request("POST", asked.path, {}, asked.headers, asked.params, asked.request_id, bytes(asked.body))
        caller = Caller(job.org_id, job.key_id)
        delivery = Delivery()
        try:
            turn = face.read(asked.task, request)
            delivery = delivery_of(turn)
            if job.tries > TRIES:
                await self._give_up(job, face, delivery)
                return
            ending = _Ending(job, face, turn, self._deliver, self._runs, self._clock)
            if (
                not asked.paid
                and job.tries == 1
                and (wait := await self._agents.wait(caller, turn, conversation_of(job.id)))
            ):
                await self._jobs.put_off(job, self._clock.wall() + wait)
                return
            order = await self._order(job, caller, turn, face, request, ending)
            run = self._runs.start(order, detached=True)
        except MidstreamError as error:
            await self._failed(job, face, delivery, error)
            return
        say = Say(job.id, int(self._clock.wall()), turn.model)
        self._deliver.follow(job, turn, run, face.writer(turn, say))
        try:
            await self._runs.ended(run)
            if ending.put_off:
                await self._jobs.let_go(job)
            else:
                self._deliver.ended(job, delivery)
                await self._batches.ended(job)
        finally:
            self._deliver.over(job, delivery)

    async def _order(
        self, job: Job, caller: Caller, turn: Turn, face: Face, request: Request, ending: _Ending
    ) -> Order:
        """Once the job has its turn in its conversation: one that only waited for it was not tried."""
        assert turn.agent is not None
        # Its run may have begun on a server that died, or that ended in order and let go of it.
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
        ready = await order(turn)
        with suppress(StoreDown):  # its run will be told as well
            await self._jobs.begins(job)
        return ready

    async def _lost(self, job: Job, error: MidstreamError) -> None:
        payload = msgspec.json.encode({"success": False, "error": error.message, "message_id": job.id})
        await self._ended(job, "failed", payload)
        await self._batches.ended(job)

    async def _failed(self, job: Job, face: Face, delivery: Delivery, error: MidstreamError) -> None:
        """A failure goes where the answer would have gone; one that comes of this server's end is none."""
        if self._runs.draining and isinstance(error, Busy):
            await self._jobs.let_go(job)
        else:
            await self._refused(job, delivery, failure(face, error, job.id))

    async def _give_up(self, job: Job, face: Face, delivery: Delivery) -> None:
        """Its run, if it ever began, has ended with the last of them."""
        error = OurError("this message was given up: every server that worked on it has died", code="interrupted")
        told = {"code": error.code, "message": error.message}
        await self._refused(job, delivery, failure(face, error, job.id), self._jobs.given_up(job, told))

    async def _refused(self, job: Job, delivery: Delivery, payload: bytes, also: Sequence[Statement] = ()) -> None:
        """The end of a job that has no run to end with."""
        try:
            records = self._deliver.records(job, delivery, payload, self._clock.wall(), failed=True)
            await self._ended(job, "failed", payload, [*records, *also])
            self._deliver.ended(job, delivery)
            await self._batches.ended(job)
        finally:
            self._deliver.over(job, delivery)

    async def _ended(
        self,
        job: Job,
        status: Literal["done", "failed"],
        payload: bytes,
        records: Sequence[Record | Statement] = (),
    ) -> None:
        try:
            await self._jobs.end(job.id, status, payload, records)
        except StoreDown:
            self._left.append(job)
            raise


class _Ending:
    """The job's end and its delivery, in the transaction that ends its run. put_off: the server ends before the run
    does, so another one shall go on with it."""

    def __init__(self, job: Job, face: Face, turn: Turn, deliver: Deliver, runs: Runs, clock: Clock) -> None:
        self._job = job
        self._face = face
        self._turn = turn
        self._deliver = deliver
        self._runs = runs
        self._clock = clock
        self.put_off = False

    def __call__(self, end: Event, outcome: Outcome | None) -> Sequence[Record] | None:
        now, job, face = self._clock.wall(), self._job, self._face
        if isinstance(end, Failed):
            self.put_off = self._runs.draining and isinstance(end.error, Busy)
            if self.put_off:
                return None
            payload, status = failure(face, end.error, job.id), "failed"
        else:
            assert outcome is not None
            assert isinstance(face, AgentFace)
            say = Say(job.id, int(now), self._turn.model)
            payload, status = face.write_outcome(self._turn, outcome, say), "done"
        failed = status == "failed"
        delivered = self._deliver.records(job, delivery_of(self._turn), payload, now, failed=failed)
        return [JobEnded(job.id, status, payload, now), *delivered]
