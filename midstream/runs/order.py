"""What a run shall do and keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import MidstreamError
from ..core.events import Event
from ..core.parts import Message, Native
from ..core.serving import Target, Work
from ..core.turn import Turn
from ..core.usage import Usage
from ..store.database import Statement
from ..store.ledger import ConversationTouched, Record
from ..store.rows import AttemptRow

#: No run makes more.
MAX_ATTEMPTS = 10_000


class Clock(Protocol):
    """wall: unix seconds. steady: seconds that never jump."""

    def wall(self) -> float: ...
    def steady(self) -> float: ...


class Spent(Struct, frozen=True):
    """What a run has spent before: number of its last attempt, tokens, decimal USD (None = not known). Of several runs:
    these together. priced: decimal USD of those attempts that have a price (None = of none). began: unix seconds at
    which it did (0 = it had not)."""

    attempts: int = 0
    usage: Usage = Usage()
    cost: str | None = "0"
    priced: str | None = None
    began: float = 0.0


def spent_by(rows: Sequence[AttemptRow]) -> Spent:
    last = {row.run_id: row.number for row in sorted(rows, key=lambda row: row.number)}
    spent = together(*(Spent(0, row.usage, row.cost, row.cost) for row in rows))
    return replace(spent, attempts=sum(last.values()))


def together(*spent: Spent) -> Spent:
    priced = [one.priced for one in spent if one.priced is not None]
    costs = [one.cost for one in spent if one.cost is not None]
    return Spent(
        sum(one.attempts for one in spent),
        sum((one.usage for one in spent), Usage()),
        _sum(costs) if len(costs) == len(spent) else None,
        _sum(priced) if priced else None,
    )


def _sum(costs: Sequence[str]) -> str:
    return f"{sum(map(Decimal, costs), Decimal(0)):f}"


class Act(Struct, frozen=True):
    """What a run does instead of one model call: an agent's turn. beginning: more records of its start, durable before
    the work begins. closing: more records of its end, given its terminal event, in the same transaction. over: awaited
    once everything is settled, whatever happened. agent, version, thread: who acts where. parent: the run that called
    this one. run: the run's id ("" = a new one). again: that run was cut and goes on;
    before: what it had spent by then. job: whose run it is. accounted: the metrics count it."""

    work: Work
    beginning: tuple[Record, ...] = ()
    closing: Callable[[Event], Sequence[Record | Statement]] = lambda end: ()
    over: Callable[[], Awaitable[None]] | None = None
    agent: str = ""
    version: str = ""
    thread: str = ""
    parent: str | None = None
    run: str = ""
    again: bool = False
    before: Spent = Spent()
    job: str = ""
    accounted: bool = False


def as_it_is(error: MidstreamError) -> MidstreamError:
    return error


class Order(Struct, frozen=True):
    """What a run shall do. keep: what the turn adds to its conversation and the answer to it are stored. seq: number
    of the first of these messages.
    parent: the message that the first one follows, where branches are in use: the conversation then goes on from here.
    since: as in store.ledger.ConversationMoved.
    words: what is said in a message that is kept in the caller's own words, for who searches the conversation.
    size: bytes of the body that the turn came in, where there may be nothing else to estimate its tokens by.
    transactions: each attempt's account is put into the outbox as well.
    told: how the error that the run ends with is told."""

    org: str
    key_id: str
    face: str
    request_id: str
    turn: Turn
    targets: tuple[Target, ...]
    history: tuple[Message, ...] = ()
    conversation: str | None = None
    keep: bool = False
    seq: int = 0
    parent: str | None = None
    since: int = -1
    words: Callable[[Native], str] = lambda said: ""
    size: int = 0
    transactions: bool = False
    act: Act | None = None
    told: Callable[[MidstreamError], MidstreamError] = as_it_is


def touched(order: Order, conversation: str, seq: int, now: float) -> ConversationTouched:
    """seq: number of the last message, unless it is one of an act, whose own records say where it stands; -1 = none."""
    return ConversationTouched(conversation, order.org, now, seq if order.act is None else -1, order.since)
