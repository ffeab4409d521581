"""Every call of a tool goes through here: read, checked, journalled, bounded, and answered in the order of the calls.

What a second execution of the same call means is its tool's effect. After a process has died, `call` is asked again
for the same run and round: what has ended is answered from the journal, pure and idempotent calls run again with the
same key, and an unsafe one that was begun and not ended is in doubt: told, never repeated."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from ..core.agents import Tool
from ..core.errors import Bug, MidstreamError, StoreDown, forget_frames
from ..core.ids import new_id
from ..core.json_schema import SHORT_WORK, Unfinished
from ..core.parts import ToolCall
from ..core.toolbox import IN_DOUBT, ToolAnswer, ToolScope
from ..store.ledger import storable
from ..store.tool_calls import CANCELLED, CallEnded, CallQueued, CallRow, ToolCalls, new_call_id
from ._answers import bounded, failed
from ._arguments import Refused, complete, read

logger = logging.getLogger("midstream.tools")

#: Calls of one round, notes of one call, characters of a note.
MAX_CALLS, MAX_NOTES, MAX_NOTE = 128, 200, 2000
#: Seconds between tries to write down how a call ended, and those that a stopped tool has to let go.
PATIENCE, GRACE = (0.05, 0.25, 1.0), 5.0

Note: TypeAlias = Callable[[str], None]


class Kind(Protocol):
    """One kind of tool. May raise MidstreamError: its message is told to the model."""

    async def run(self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Note) -> ToolAnswer:
        """key: the same for every execution of this call, for services that know idempotency keys.
        note: says something while the tool still runs."""


class _Call:
    """One call on its way. stood: the journal knew it before. running: the journal says that it runs. begun: the tool
    itself was started here. settled: the journal has its end, or its run holds it. places: what it holds of `gates`,
    all of which it needs to run."""

    def __init__(self, call: ToolCall, queued: CallQueued) -> None:
        self.call = call
        self.queued = queued
        self.tool = _UNKNOWN
        self.kind: Kind | None = None
        self.arguments: dict[str, Any] = {}
        self.answer: ToolAnswer | None = None
        self.stood = self.running = self.begun = self.settled = False
        self.gates: Sequence[asyncio.Semaphore] = ()
        self.places: list[asyncio.Semaphore] = []

    async def take_places(self) -> None:
        for gate in self.gates[len(self.places) :]:
            await gate.acquire()
            self.places.append(gate)

    def let_go(self, _: object = None) -> None:
        while self.places:
            self.places.pop().release()

    @property
    def key(self) -> str:
        queued = self.queued
        return f"{queued.run_id}:{queued.round}:{queued.place}" if queued.run_id else queued.id


class Tools:
    """Implements core.toolbox.Toolbox. kinds: by kind of tool, built-in ones by their name.
    journal: of an org. steady: seconds that never jump. timeout: of a tool that says none, seconds.
    per_org: calls of one org that run at the same time in this process; agents that call each other are not counted,
    for they wait for what is."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        journal: Callable[[str], ToolCalls],
        steady: Callable[[], float],
        timeout: float = 45.0,
        per_org: int = 64,
    ) -> None:
        self._kinds = kinds
        self._journal = journal
        self._steady = steady
        self._timeout = timeout
        self._per_org = per_org
        self._orgs: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    async def call(
        self, round: int, calls: Sequence[ToolCall], tools: Sequence[Tool], scope: ToolScope
    ) -> list[ToolAnswer]:
        journal = self._journal(scope.org)
        if scope.write is not None:
            journal = journal.through(scope.write)
        known = {tool.name: tool for tool in reversed(tools)}
        here = [await self._read(round, place, call, known, scope) for place, call in enumerate(calls)]
        running: list[asyncio.Task[None]] = []
        with self._gate(scope.org) as gate:
            try:
                if scope.run and scope.again:
                    earlier = await journal.of_round(scope.run, round)
                    for one in here:
                        _recall(one, earlier.get(one.queued.place))
                await _queue(journal, here, (asyncio.Semaphore(max(1, scope.parallel)), gate))
                running = [self._started(one, here, journal, scope) for one in here if not one.settled]
                if running:
                    await asyncio.wait(running)
            except asyncio.CancelledError:
                await _give_up(journal, here, running)
                raise
            finally:
                if not running:
                    for one in here:
                        one.let_go()
        errors = [error for task in running if (error := task.exception()) is not None]
        if errors:
            raise errors[0]
        return [one.answer for one in here if one.answer is not None]

    def _started(self, one: _Call, here: Sequence[_Call], journal: ToolCalls, scope: ToolScope) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._settle(one, here, journal, scope))
        task.add_done_callback(one.let_go)  # also of one that was cancelled before its first step
        return task

    async def _read(self, round: int, place: int, call: ToolCall, known: Mapping[str, Tool], scope: ToolScope) -> _Call:
        """A call that cannot be made is answered here; it is journalled all the same."""
        tool = known.get(call.name, _UNKNOWN)
        written = call.arguments.encode("utf-8", "replace") or b"{}"
        id, name = storable(call.id) or "", storable(call.name) or ""
        queued = CallQueued(new_call_id(), scope.run, round, place, id, tool.id, name, tool.kind, tool.effect, written)
        one = _Call(call, queued)
        if tool is _UNKNOWN:
            names = ", ".join(sorted(known)[:50]) or "none"
            one.answer = failed(f"there is no tool {call.name}; there are: {names}", "unknown_tool")
            return one
        one.tool = tool
        one.kind = self._kinds.get(str(tool.target.get("name", "")) if tool.kind == "builtin" else tool.kind)
        try:
            if one.kind is None:
                raise Refused(f"the tool {call.name} is not offered by this server")
            if place >= MAX_CALLS:
                raise Refused(f"more than {MAX_CALLS} calls at once: ask again for this one")
            given = read(call.arguments, tool)
            one.queued = msgspec.structs.replace(queued, arguments=msgspec.json.encode(given))
            try:
                one.arguments = complete(given, tool, scope.mappable, SHORT_WORK)
            except Unfinished:  # few are: others go on meanwhile
                one.arguments = await asyncio.to_thread(complete, given, tool, scope.mappable)
        except Refused as reason:
            one.answer = failed(str(reason), "invalid_arguments")
        return one

    async def _settle(self, one: _Call, here: Sequence[_Call], journal: ToolCalls, scope: ToolScope) -> None:
        """Runs one call to its end in the journal. Raises StoreDown."""
        if one.answer is None:
            await one.take_places()
            if not one.running:
                await journal.begin(one.queued.id)
            one.begun = True
            try:
                one.answer = await self._run(one, scope)
            except StoreDown as error:
                _begun_again(one, error, journal, scope)
                raise
            one.let_go()
        one.answer = _kept(one.answer, one.tool)
        end = CallEnded(one.queued.id, one.answer)
        if scope.hold is not None and one.tool.effect != "unsafe" and all(o.settled for o in here if o is not one):
            scope.hold(journal.ended(end))  # nobody waits for another call: the run writes next
            one.settled = True
            return
        for seconds in PATIENCE:
            try:
                await journal.end(end)
                break
            except StoreDown:
                await asyncio.sleep(seconds)
        else:
            await journal.end(end)
        one.settled = True

    async def _run(self, one: _Call, scope: ToolScope) -> ToolAnswer:
        assert one.kind is not None
        began = self._steady()
        seconds = self._seconds(one.tool, scope)
        note = _Notes(one.call.id, scope)
        try:
            async with asyncio.timeout(seconds) as limit:
                answer = await one.kind.run(one.tool, one.arguments, scope, one.key, note)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            answer = failed("the tool stopped by itself", "tool_stopped")
        except TimeoutError:
            answer = _late(one.tool, seconds) if limit.expired() else failed("the tool waited too long for something")
        except MidstreamError as error:
            if isinstance(error, StoreDown) and _waits_for_store(one.tool, error):
                raise
            answer = failed(error.message, error.code)
            forget_frames(error)
        except Exception:  # boundary: a tool's failure is the model's to deal with, never the run's
            bug = Bug(new_id("bug_"))
            logger.error("bug %s in tool %s of run %s\n%s", bug.bug_id, one.tool.id, scope.run, traceback.format_exc())
            answer = failed(f"the tool failed: {bug.message}", bug.code)
        finally:
            note.over = True
        return msgspec.structs.replace(answer, ms=round((self._steady() - began) * 1000))

    def _seconds(self, tool: Tool, scope: ToolScope) -> float:
        seconds = tool.timeout_seconds or self._timeout
        if scope.deadline is not None:
            seconds = min(seconds, max(0.0, scope.deadline - asyncio.get_running_loop().time()))
        return seconds

    @contextlib.contextmanager
    def _gate(self, org: str) -> Iterator[asyncio.Semaphore]:
        """The org's places."""
        gate, users = self._orgs.setdefault(org, (asyncio.Semaphore(self._per_org), []))
        users.append(None)
        try:
            yield gate
        finally:
            users.pop()
            if not users:
                self._orgs.pop(org, None)


class _Notes:
    """over: the call has ended, so that nothing is said of it any more."""

    def __init__(self, call: str, scope: ToolScope) -> None:
        self._call = call
        self._progress = scope.progress
        self._left = MAX_NOTES
        self.over = False

    def __call__(self, text: str) -> None:
        self._left -= 1
        if self._left >= 0 and not self.over:
            self._progress(self._call, text[:MAX_NOTE])


def _recall(one: _Call, row: CallRow | None) -> None:
    """What the journal says of this place already decides what happens to it now."""
    if row is None:
        return
    mine, one.stood = one.queued, True
    one.queued = msgspec.structs.replace(mine, id=row.id)
    if row.ended and row.error != CANCELLED:
        one.answer, one.settled = row.answer(), True
    if (row.call_id, row.name, row.arguments) != (mine.call_id, mine.name, mine.arguments):
        # Not the same question: its answer is not ours to give, and running it would go round the journal.
        one.answer, one.settled = failed("another call stands at this place of the run", "journal_mismatch"), True
    elif row.status == "running" and "unsafe" in (row.effect, one.tool.effect):
        one.answer = IN_DOUBT


async def _queue(journal: ToolCalls, here: Sequence[_Call], gates: Sequence[asyncio.Semaphore]) -> None:
    """All are written down; with that, as running, those that need not wait for a place. Who waits for calls of its
    own holds none of the org's: they could not get theirs."""
    for one in here:
        if one.answer is None:
            one.gates = gates[:1] if one.tool.kind == "agent" else gates
            one.running = not any(gate.locked() for gate in one.gates)
            if one.running:
                await one.take_places()  # at once
    begins = [one for one in here if one.running]
    await journal.queue(
        [one.queued for one in here],
        {one.queued.id for one in begins if not one.stood},
        [one.queued.id for one in begins if one.stood],
    )


async def _give_up(journal: ToolCalls, here: Sequence[_Call], running: Sequence[asyncio.Task[None]]) -> None:
    """The run was cancelled: tools are stopped, and what is known of each is written down."""
    for task in running:
        task.cancel()
    if running:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(running, timeout=GRACE)
    ends = []
    for one in here:
        if one.settled:
            continue
        answer = one.answer
        if answer is None and one.begun and one.tool.effect == "unsafe":
            answer = IN_DOUBT
        elif answer is None:
            answer = failed("the run was cancelled", CANCELLED)
        ends.append(CallEnded(one.queued.id, _kept(answer, one.tool)))
    with contextlib.suppress(StoreDown):  # they stay queued and running, which is no lie either
        await journal.end(*ends)
    for task in running:
        if task.done() and not task.cancelled():
            task.exception()  # seen: the cancellation is what its caller is told


def _waits_for_store(tool: Tool, error: StoreDown) -> bool:
    """That our store is away is no answer of a tool's that can be asked again when it is back: the run ends so, and may
    go on then. Of a call that could not be told from one that was made, it is all that anybody will know."""
    return tool.kind == "agent" or tool.effect != "unsafe" or error.harmless


def _begun_again(one: _Call, error: StoreDown, journal: ToolCalls, scope: ToolScope) -> None:
    """Whoever goes on with the run makes the call: also an unsafe one, where nothing was done."""
    if error.harmless and scope.hold is not None:
        one.answer, one.settled = failed("the run was cancelled", CANCELLED), True
        scope.hold(journal.ended(CallEnded(one.queued.id, one.answer)))


def _kept(answer: ToolAnswer, tool: Tool) -> ToolAnswer:
    """What an agent has drawn was paid for, and the user gets it: all of it."""
    return bounded(answer, all_media=tool.kind == "agent")


def _late(tool: Tool, seconds: float) -> ToolAnswer:
    doubt = "; it may have been done all the same" if tool.effect == "unsafe" else ""
    return failed(f"the tool {tool.name} did not answer within {seconds:g} seconds{doubt}", "tool_timeout", "timeout")


#: Stands in for a tool that does not exist: nothing is done, so nothing can be done twice.
_UNKNOWN = Tool(id="", name="", kind="builtin", effect="pure")
