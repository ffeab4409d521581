"""The journal of tool calls: each is a row before it runs, so that a run that was cut knows what has happened.

    queued -> running -> ok | failed | timeout | in_doubt | denied

A call that was stopped by its run's cancellation ends as failed with the error CANCELLED; one of those may be begun
again, every other end stands. Also the rounds: what a model said when it asked for tools."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, replace

from ..core.agents import Effect
from ..core.ids import new_id
from ..core.json_words import too_deep
from ..core.parts import Message
from ..core.toolbox import IN_DOUBT, ToolAnswer
from .database import Database, Statement
from .ledger import CallsLeft, storable
from .owned import Owned
from .reading import Accounts

CallStatus: TypeAlias = Literal["queued", "running", "ok", "failed", "timeout", "in_doubt", "denied"]

#: As Database.write.
Write: TypeAlias = Callable[[Sequence[Statement]], Awaitable[None]]

#: Why a call ended that its run gave up.
CANCELLED = "cancelled"
PAGE = 100


class CallRow(Struct, frozen=True):
    """run_id: "" = called through the API, outside of a run. round: from 1. place: in its round, from 0.
    arguments: JSON text of an object, mapped ones left out (or whatever the model wrote, when it is no object).
    result: JSON text of a core ToolAnswer."""

    id: str
    org_id: str
    run_id: str
    round: int
    place: int
    call_id: str
    tool_id: str
    name: str
    kind: str
    effect: Effect
    arguments: bytes
    status: CallStatus
    result: bytes | None = None
    error: str | None = None
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None

    COLUMNS = (
        "id, org_id, run_id, round, place, call_id, tool_id, name, kind, effect, arguments, status, result, error, "
        "created_at, started_at, ended_at"
    )

    @property
    def ended(self) -> bool:
        return self.status not in ("queued", "running")

    def answer(self) -> ToolAnswer | None:
        """What the tool gave, None while it has not ended."""
        if self.result is None:
            return None
        try:
            answer = _answer.decode(self.result)
        except RecursionError:  # written before what is kept had a bound
            return ToolAnswer("ok" if self.status == "ok" else "failed", _UNREADABLE, error=self.error or "")
        return replace(answer, value=None) if too_deep(answer.value) else answer


class CallQueued(Struct, frozen=True):
    """What is known of a call before it runs (CallRow). call_id, name: `storable`, for they are a model's words."""

    id: str
    run_id: str
    round: int
    place: int
    call_id: str
    tool_id: str
    name: str
    kind: str
    effect: Effect
    arguments: bytes


class CallEnded(Struct, frozen=True):
    id: str
    answer: ToolAnswer


_answer = msgspec.json.Decoder(ToolAnswer)
_message = msgspec.json.Decoder(Message)
_encode = msgspec.json.Encoder().encode
_UNREADABLE = "[what the tool gave is nested too deeply to be read]"
_GIVEN_UP = ToolAnswer("failed", "the run ended before this call did", error=CANCELLED)

_COLUMNS = CallRow.COLUMNS
_QUEUE = """
INSERT INTO tool_calls (id, run_id, round, place, call_id, tool_id, name, kind, effect, arguments, org_id, created_at,
    status, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING"""
_BEGIN = """
UPDATE tool_calls SET status = 'running', started_at = $3, ended_at = NULL, error = NULL, result = NULL
WHERE id = $1 AND org_id = $2 AND (status IN ('queued', 'running') OR (status = 'failed' AND error = 'cancelled'))"""
_END = """
UPDATE tool_calls SET status = $3, result = $4, error = $5, ended_at = $6
WHERE id = $1 AND org_id = $2 AND (status IN ('queued', 'running') OR (status = 'failed' AND error = 'cancelled'))"""
# The index of runs leaves out calls outside of one, and is used only where that is said.
_OF_RUN = f"""
SELECT {_COLUMNS} FROM tool_calls WHERE run_id = $1 AND run_id <> '' AND org_id = $2 ORDER BY round, place"""
_OF_ROUND = f"""
SELECT {_COLUMNS} FROM tool_calls
WHERE run_id = $1 AND run_id <> '' AND round = $2 AND org_id = $3 ORDER BY place"""
_ONE = f"SELECT {_COLUMNS} FROM tool_calls WHERE id = $1 AND org_id = $2"
_PAGE = f"""
SELECT {_COLUMNS} FROM tool_calls WHERE org_id = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3))
ORDER BY created_at, id LIMIT $4"""
_PAGE_OF_RUN = f"""
SELECT {_COLUMNS} FROM tool_calls
WHERE run_id = $5 AND org_id = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3))
ORDER BY created_at, id LIMIT $4"""
_KEEP_ROUND = """
INSERT INTO rounds (run_id, number, org_id, reply, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (run_id, number) DO NOTHING"""
_ROUNDS = "SELECT reply FROM rounds WHERE run_id = $1 AND org_id = $2 ORDER BY number"


class ToolCalls(Owned):
    """One org's journal. Every statement may be committed twice and changes the store once.
    write: in place of the database's own, for whoever has more to write with it."""

    def __init__(self, db: Database, org_id: str, clock: Callable[[], float], write: Write | None = None) -> None:
        super().__init__(db, org_id, clock)
        self._write = write or db.write

    def through(self, write: Write) -> ToolCalls:
        """The same journal, written in this way."""
        return ToolCalls(self._db, self._org, self._clock, write)

    async def queue(self, calls: Iterable[CallQueued], running: Container[str] = (), again: Sequence[str] = ()) -> None:
        """All of them or none. One that stands at the same place of the same run already is left as it is, unless it is
        to be begun again. running: ids of those that begin at once; again: of those among the ones that stand there."""
        now, org = self._clock(), self._org
        await self._write([_queued(call, org, now, call.id in running) for call in calls] + self._begun(again, now))

    async def begin(self, *ids: str) -> None:
        """To be called right before the tool runs."""
        await self._write(self._begun(ids, self._clock()))

    def _begun(self, ids: Iterable[str], now: float) -> list[Statement]:
        return [(_BEGIN, (id, self._org, now)) for id in ids]

    async def end(self, *ends: CallEnded) -> None:
        """Nothing happens to calls that have ended."""
        await self._write([self.ended(one) for one in ends])

    def ended(self, one: CallEnded) -> Statement:
        """For whoever writes it with something else."""
        answer = one.answer
        result = msgspec.json.encode(answer)
        return _END, (one.id, self._org, answer.status, result, storable(answer.error) or None, self._clock())

    async def of_run(self, run_id: str) -> list[CallRow]:
        """In the order of rounds and places."""
        return [CallRow(*row) for row in await self._db.look_up(_OF_RUN, run_id, self._org)]

    async def of_round(self, run_id: str, round: int) -> dict[int, CallRow]:
        """By place."""
        rows = [CallRow(*row) for row in await self._db.look_up(_OF_ROUND, run_id, round, self._org)]
        return {row.place: row for row in rows}

    async def one(self, id: str) -> CallRow:
        return CallRow(*await self._found("tool call", _ONE, id))

    async def page(self, *, after: str | None = None, limit: int = PAGE, run_id: str | None = None) -> list[CallRow]:
        """Oldest first. run_id: only that run's; "" = those outside of a run. Raises errors.NotFound."""
        place: tuple[float, str] = (0.0, "")
        if after is not None:
            row = await self.one(after)
            place = (row.created_at, row.id)
        if run_id:
            await Accounts(self._db, self._org).run(run_id)
        if run_id is None:
            rows = await self._db.read(_PAGE, self._org, *place, limit)
        else:
            rows = await self._db.read(_PAGE_OF_RUN, self._org, *place, limit, run_id)
        return [CallRow(*row) for row in rows]

    # rounds

    def round_kept(self, run_id: str, number: int, reply: Message) -> Statement:
        """To be committed before the round's tools run, or with the row that says that they do: what they answer to is
        then known to whoever goes on with the run."""
        return _KEEP_ROUND, (run_id, number, self._org, msgspec.json.encode(reply), self._clock())

    async def rounds(self, run_id: str) -> list[Message]:
        """What the model said in each round that asked for tools, in order."""
        return [_message.decode(row[0]) for row in await self._db.look_up(_ROUNDS, run_id, self._org)]


def left_behind(run_id: str, org_id: str, at: float) -> tuple[CallsLeft, CallsLeft]:
    """How the calls end that a run has not waited for, to be committed with its end: an unsafe one that was begun is in
    doubt, the others may be begun again if the run goes on elsewhere. at: unix seconds."""
    return (
        CallsLeft(run_id, org_id, at, "in_doubt", IN_DOUBT.error, _encode(IN_DOUBT)),
        CallsLeft(run_id, org_id, at, "failed", CANCELLED, _encode(_GIVEN_UP)),
    )


def _queued(call: CallQueued, org_id: str, now: float, running: bool) -> Statement:
    return _QUEUE, (*astuple(call), org_id, now, "running" if running else "queued", now if running else None)


def new_call_id() -> str:
    return new_id("call_")
