"""What agents' turns and their model calls came to: raw rows, and their sums by five minutes and by day.

A sum takes in a raw row once: in the transaction that writes the row, from the row itself, while it is not marked as
rolled. So sums equal the raw rows whatever the order, and however often a turn's account is delivered."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.account import TurnAccount
from .database import Database, DialectName, Row, Statement, Value
from .exact import plain
from .ledger import storable
from .reading import LAST, Question, Scope, missing

MetricsGroup: TypeAlias = Literal["org", "agent", "version", "model", "service", "key", "thread", "user"]
Order: TypeAlias = Literal["begun", "arrived"]
Span: TypeAlias = Literal[300, 86400]
SPANS: tuple[Span, ...] = get_args(Span)

#: The next number is this transaction's until its end: rows of a later one have a higher one. It stands before ARRIVAL.
ARRIVES = "UPDATE arrivals SET last = last + 1"
ARRIVAL = "(SELECT last FROM arrivals)"
_RAW = f"""
INSERT INTO metrics_raw_data (id, org_id, agent_id, version_id, user_id, thread_id, service, model, key_id, run_id,
    success, failure, attempts, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, latency_ms,
    detail, created_at, arrival)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, {ARRIVAL})
ON CONFLICT (id) DO NOTHING"""
_COUNTS = (
    "turns", "failures", "attempts", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_nano",
    "latency_ms",
)  # fmt: skip
_COUNTED = "attempts, input_tokens, output_tokens, cached_tokens, reasoning_tokens, latency_ms, cost_nano"
_ADDED = ", ".join(f"{name} = metrics_rollups.{name} + excluded.{name}" for name in _COUNTS)
_ROLL = f"""
INSERT INTO metrics_rollups (org_id, span, start, agent_id, version_id, service, model, key_id, turns, failures,
    {_COUNTED})
SELECT org_id, CAST($2 AS BIGINT), CAST($3 AS BIGINT), agent_id, version_id, service, model, key_id, 1,
    CASE WHEN success THEN 0 ELSE 1 END, {_COUNTED}
FROM metrics_raw_data WHERE id = $1 AND NOT rolled
ON CONFLICT (org_id, span, start, agent_id, version_id, service, model, key_id) DO UPDATE SET {_ADDED}"""
_ROLLED = "UPDATE metrics_raw_data SET rolled = TRUE WHERE id = $1 AND NOT rolled"
_TRANSACTION = f"""
INSERT INTO model_transactions (id, org_id, run_id, agent_id, thread_id, key_id, service, model, status, input_tokens,
    output_tokens, cached_tokens, reasoning_tokens, cost, created_at, arrival)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, {ARRIVAL}) ON CONFLICT (id) DO NOTHING"""


def nano(cost: str | None) -> int:
    """Billionths of a dollar; 0 when the cost is not known."""
    return int((Decimal(cost) * 10**9).to_integral_value()) if cost else 0


def turn_counted(turn: TurnAccount) -> list[Statement]:
    """Adds a turn to the raw rows and, once, to their sums."""
    usage = turn.usage
    row = (
        turn.run, turn.org, turn.agent, turn.version, _text(turn.user), _text(turn.thread), _text(turn.service),
        _text(turn.model), turn.key, turn.run, turn.success, _text(turn.failure) or None, turn.attempts,
        usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.out_reasoning, nano(turn.cost),
        turn.latency_ms, _detail(turn), turn.created_at,
    )  # fmt: skip
    rolls: list[Statement] = [(_ROLL, (turn.run, span, _start(turn.created_at, span))) for span in SPANS]
    return [(ARRIVES, ()), (_RAW, row), *rolls, (_ROLLED, (turn.run,))]


def _start(at: float, span: int) -> int:
    return int(at // span) * span


def _text(value: str) -> str:
    return storable(value) or ""


def _detail(turn: TurnAccount) -> bytes:
    shown: dict[str, Any] = {
        "steps_ms": turn.steps_ms,
        "parameters": turn.parameters,
        "tools": turn.tools,
        "rounds": turn.rounds,
        "failure_message": turn.failure_message,
        "fallback": turn.fallback,
        "first_error": turn.first_error,
        "missing": turn.missing,
        "dropped": turn.dropped,
        "blocked": turn.blocked,
        "cost": turn.cost,
        "message_id": turn.id,
        "face": turn.face,
        "sub_thread_id": turn.sub_thread,
        "conversation_id": turn.conversation,
        "request_id": turn.request,
    }
    return msgspec.json.encode(shown)


class Transaction(Struct, frozen=True):
    """One model call, as published under the topic "transaction". cost: decimal USD, None = not known.
    agent_id, thread_id: None outside of agents."""

    id: str
    org_id: str
    run_id: str
    agent_id: str | None
    thread_id: str | None
    key_id: str
    service: str
    model: str
    status: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost: str | None
    created_at: float

    COLUMNS = (
        "id, org_id, run_id, agent_id, thread_id, key_id, service, model, status, input_tokens, output_tokens, "
        "cached_tokens, reasoning_tokens, cost, created_at"
    )


def transaction_added(one: Transaction) -> list[Statement]:
    """One row per attempt, however often it is told."""
    values = msgspec.structs.asdict(one)
    for name in ("thread_id", "service", "model"):
        values[name] = storable(values[name])
    return [(ARRIVES, ()), (_TRANSACTION, tuple(values.values()))]


# what is read back


class MetricsRow(Struct, frozen=True):
    """Sums over the turns of a group (None: those that have no such thing). start: of their bucket, unix seconds, None
    without buckets. cost: decimal USD of turns whose cost is known. latency_ms: of all turns together."""

    cost: str
    group: str | None
    start: int | None
    turns: int
    failures: int
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    latency_ms: int


class TurnRow(Struct, frozen=True):
    """One turn. detail: JSON text, see `_detail`."""

    id: str
    org_id: str
    agent_id: str
    version_id: str
    user_id: str
    thread_id: str
    service: str
    model: str
    key_id: str
    run_id: str
    success: bool
    failure: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_nano: int
    latency_ms: int
    detail: bytes
    created_at: float

    COLUMNS = (
        "id, org_id, agent_id, version_id, user_id, thread_id, service, model, key_id, run_id, success, failure, "
        "attempts, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_nano, latency_ms, detail, "
        "created_at"
    )


_GROUPS: dict[MetricsGroup, str] = {
    "org": "org_id", "agent": "agent_id", "version": "version_id", "model": "model", "service": "service",
    "key": "key_id", "thread": "thread_id", "user": "user_id",
}  # fmt: skip
#: Groups that the sums do not know: there would be as many of them as turns.
FINE: tuple[MetricsGroup, ...] = ("thread", "user")
_START: dict[DialectName, str] = {
    "sqlite": "CAST(began / @span AS INTEGER) * @span",
    "postgres": "CAST(floor(began / @span) * @span AS BIGINT)",
}
_CHOSEN = "@scope AND (CAST($2 AS TEXT) = '' OR agent_id = $2)"
_KEYS = "org_id, agent_id, version_id, service, model, key_id"
_FROM_RAW = f"""
SELECT @keys, created_at AS began, 1 AS turns, CASE WHEN success THEN 0 ELSE 1 END AS failures, {_COUNTED}
FROM metrics_raw_data WHERE {_CHOSEN}
    AND created_at >= CAST(@first AS DOUBLE PRECISION) AND created_at < CAST(@end AS DOUBLE PRECISION)"""
_FROM_SUMS = f"""
SELECT {_KEYS}, start AS began, turns, failures, {_COUNTED} FROM metrics_rollups WHERE {_CHOSEN} AND span = @rows
    AND start >= CAST(CAST(@first AS DOUBLE PRECISION) AS BIGINT)
    AND start < CAST(CAST(@end AS DOUBLE PRECISION) AS BIGINT)"""


def _between(sql: str, first: str, end: str) -> str:
    return sql.replace("@first", first).replace("@end", end)


#: Turns begun between the edges $3 to $8, see `_edges`: each is in one part.
_PARTS = " UNION ALL ".join(
    (
        _between(_FROM_RAW, "$3", "$4"),
        _between(_FROM_SUMS.replace("@rows", "300"), "$4", "$5"),
        _between(_FROM_SUMS.replace("@rows", "86400"), "$5", "$6"),
        _between(_FROM_SUMS.replace("@rows", "300"), "$6", "$7"),
        _between(_FROM_RAW, "$7", "$8"),
    )
).replace("@keys", _KEYS)
_SUMS = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in ("turns", "failures", *_COUNTED.split(", ")[:-1]))
_SUMMED = f"""
SELECT CAST(sum(cost_nano) AS BIGINT), NULLIF(@group, ''), @start, {_SUMS}
FROM (@parts) AS begun GROUP BY 2, 3 ORDER BY 3, 2"""
#: By what a list is ordered; rows of one transaction, and those begun at once, by their ids.
_ORDERS: dict[Order, str] = {"begun": "created_at", "arrived": "arrival"}
#: Found by the index of its order: with a sign before it a column is looked up in none.
_BEGAN: dict[Order, str] = {"begun": "created_at", "arrived": "+created_at"}
_PAGE = """
SELECT @columns FROM @table
WHERE @scope AND @began >= $2 AND @began < $3 AND (CAST($4 AS TEXT) = '' OR agent_id = $4)
    AND (@order, id) > ($5, $6) ORDER BY @order, id LIMIT $7"""
_PLACE = "SELECT @order FROM @table WHERE @scope AND id = $2"


class _List:
    """Rows of a table in each order, and the place of one in it."""

    def __init__(self, table: str, columns: str) -> None:
        page, place = (text.replace("@table", table).replace("@columns", columns) for text in (_PAGE, _PLACE))
        self.pages = {
            order: Question(page.replace("@order", column).replace("@began", _BEGAN[order]))
            for order, column in _ORDERS.items()
        }
        self.places = {order: Question(place.replace("@order", column)) for order, column in _ORDERS.items()}


_TURNS = _List("metrics_raw_data", TurnRow.COLUMNS)
_TRANSACTIONS = _List("model_transactions", Transaction.COLUMNS)


def _sums(group: MetricsGroup, span: Span | None, dialect: DialectName) -> Question:
    start = "CAST(NULL AS BIGINT)" if span is None else _START[dialect].replace("@span", f"{span}")
    parts = _between(_FROM_RAW, "$3", "$4").replace("@keys", "@group") if group in FINE else _PARTS
    asked = _SUMMED.replace("@parts", parts).replace("@start", start)
    return Question(asked.replace("@group", _GROUPS[group]))


_SUMS_BY: dict[tuple[str, str, int | None], Question] = {
    (dialect, group, span): _sums(group, span, dialect)
    for dialect in get_args(DialectName)
    for group in get_args(MetricsGroup)
    for span in (None, *SPANS)
}


class Period(Struct, frozen=True):
    """Of what is asked for: begun in [since, until), unix seconds, by an agent ("" = all)."""

    since: float = 0.0
    until: float = float(LAST)
    agent: str = ""


def _edges(period: Period, span: Span | None) -> tuple[float, ...]:
    """Where a period is cut so that as much of it as can be is read from the sums: its beginning, that of its first
    whole five minutes and of its first whole day, the ends of its last ones, its end. A part that it has not is empty.
    span: of the buckets asked for; five minutes are not read from days."""
    since, until = period.since, period.until
    fine, coarse = SPANS
    first, last = -_start(-since, fine), _start(until, fine)
    if first >= last:
        return since, until, until, until, until, until
    whole, end = -_start(-first, coarse), _start(last, coarse)
    if span == fine or whole >= end:
        whole = end = last
    return tuple(map(float, (since, first, whole, end, last, until)))


class Metrics:
    """scope: one org, or None for the operator's view of all."""

    def __init__(self, db: Database, scope: Scope) -> None:
        self._db = db
        self._scope = scope

    async def sums(self, group: MetricsGroup, span: Span | None, period: Period) -> list[MetricsRow]:
        """By bucket, then by group: of the raw rows of the period, also where it cuts a bucket."""
        question = _SUMS_BY[self._db.dialect, group, span]
        edges = (period.since, period.until) if group in FINE else _edges(period, span)
        rows = await question.read(self._db, self._scope, period.agent, *edges)
        return [MetricsRow(plain(Decimal(nanos).scaleb(-9)), *row) for nanos, *row in rows]

    async def turns(
        self, period: Period, *, order: Order = "begun", after: str | None = None, limit: int = 100
    ) -> list[TurnRow]:
        """Oldest first. Raises errors.NotFound for `after`."""
        rows = await self._page(_TURNS, "turn", period, order, after, limit)
        return [replace(made, success=bool(made.success)) for made in (TurnRow(*row) for row in rows)]

    async def transactions(
        self, period: Period, *, order: Order = "begun", after: str | None = None, limit: int = 100
    ) -> list[Transaction]:
        """Oldest first. Raises errors.NotFound for `after`."""
        rows = await self._page(_TRANSACTIONS, "transaction", period, order, after, limit)
        return [Transaction(*row) for row in rows]

    async def _page(
        self, listed: _List, what: str, period: Period, order: Order, after: str | None, limit: int
    ) -> list[Row]:
        place: Value = -1
        if after is not None:
            rows = await listed.places[order].look_up(self._db, self._scope, after)
            if not rows:
                raise missing(what, after)
            place = rows[0][0]
            if order == "begun":  # what is to be passed over is not even looked at
                period = replace(period, since=max(period.since, place))
        asked = msgspec.structs.astuple(period)
        return await listed.pages[order].read(self._db, self._scope, *asked, place, after or "", limit)
