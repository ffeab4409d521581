"""What a server that died left behind: its attempts become `unknown`, with their accounts, its runs `failed`, and of
the tools that they called the unsafe ones `in_doubt`, each exactly once. A turn's question that nobody will answer any
more is answered by that error, and the turn is accounted like those that ended in order.

The updates only touch rows that have not ended, so two servers that do this at once, and a worker that was only
asleep and settles later, leave one terminal state: the first."""

from __future__ import annotations

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ..core.parts import Message
from ..core.serving import FREE, Priced
from ..core.usage import Usage
from .database import Database, DialectName, Statement, with_clock
from .interrupted import INTERRUPTED, PREFIX, TOLD
from .ledger import CALLS_LEFT, storable
from .metrics import ARRIVAL, ARRIVES
from .rows import MessageDetail
from .tool_calls import left_behind

#: Seconds: how often a worker says that it lives, and how long it may be silent before it counts as dead.
HEARTBEAT, SILENCE = 10.0, 30.0
#: Heartbeats in a row that must have got through before a worker judges others by their silence: when it was the
#: database that was away, all have been silent, and each gets the time to be heard again.
WATCHED = 3

_encode = msgspec.json.Encoder().encode

#: What tokens of a provider's model cost at a time, unix seconds.
Estimate: TypeAlias = Callable[[str, str, Usage, float], Priced]


def unpriced(provider: str, model: str, usage: Usage, at: float) -> Priced:
    return Priced(None)


#: Of a row's worker; $1: seconds that it may be silent.
_DEAD = """
    NOT EXISTS (SELECT 1 FROM workers
        WHERE workers.id = {0}.worker AND workers.seen_at > 0 AND workers.seen_at > @clock - $1)"""
_OPEN_ATTEMPTS = "attempts.status = 'started' AND" + _DEAD.format("attempts")
#: With an attempt that is not priced yet, which began or whose worker died a moment ago, it waits for the next look.
_PRICED = """
    NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.run_id = runs.id AND attempts.status = 'started') AND"""
_OPEN_RUNS = "runs.status = 'running' AND" + _PRICED + _DEAD.format("runs")
_OPEN = (
    """
SELECT attempts.id, attempts.provider, attempts.model, attempts.estimate_in, attempts.started_at, runs.kind
FROM attempts LEFT JOIN runs ON runs.id = attempts.run_id WHERE """
    + _OPEN_ATTEMPTS
)
#: One that was read, and nothing that has come since: it would have no price.
_ATTEMPT = (
    """
UPDATE attempts SET status = 'unknown', estimated = $5, uncached_in = $6, cost = $3, price_snapshot = $4,
    ended_at = @clock, error_code = 'interrupted', error_message = 'the server stopped before the answer was recorded'
WHERE attempts.id = $2 AND """
    + _OPEN_ATTEMPTS
)
#: What those who began such attempts can publish no more.
_ACCOUNT = f"""
INSERT INTO model_transactions (id, org_id, run_id, agent_id, thread_id, key_id, service, model, status, input_tokens,
    output_tokens, cached_tokens, reasoning_tokens, cost, created_at, arrival)
SELECT attempts.id, attempts.org_id, attempts.run_id, runs.agent_id, conversations.thread_id, attempts.key_id,
    attempts.provider, attempts.model, 'unknown', attempts.uncached_in, 0, 0, 0, attempts.cost, @clock, {ARRIVAL}
FROM attempts JOIN runs ON runs.id = attempts.run_id LEFT JOIN conversations ON conversations.id = runs.conversation_id
WHERE attempts.id = $1 AND attempts.accounted AND attempts.status = 'unknown' ON CONFLICT (id) DO NOTHING"""
_ONCE = " ON CONFLICT (id) DO NOTHING"
_CUT = MessageDetail(
    finish_reason="error", error={"code": "interrupted", "message": "the server stopped while this was running"}
)
_RUNS = (
    """
UPDATE runs SET status = 'failed', ended_at = @clock, error_code = 'interrupted',
    error_message = 'the server stopped while this was running'
WHERE """
    + _OPEN_RUNS
)
_GOES_ON = "EXISTS (SELECT 1 FROM jobs WHERE jobs.run_id = runs.id AND jobs.status IN ('queued', 'running'))"
#: Turns of agents that are still to be accounted: see app.interrupted.
_TURNS = f"""
INSERT INTO outbox (id, org_id, topic, payload, created_at, available_at)
SELECT '{PREFIX}' || runs.id, runs.org_id, '{INTERRUPTED}', @nothing, @clock, @clock
FROM runs WHERE runs.accounted AND NOT {_GOES_ON} AND """
#: Of a run whose job fails without it: what its caller was told.
_FAILED = """
UPDATE runs SET status = 'failed', ended_at = COALESCE(ended_at, @clock), error_code = $2, error_message = $3
WHERE runs.id = $1 AND status IN ('running', 'failed')"""
#: The end of a failed turn in its conversation, as app.threads has it, under the id that the answer would have had. Not
#: of a turn that a job goes on with, or after which the conversation was reset.
_ANSWERS = f"""
INSERT INTO messages (id, org_id, conversation_id, run_id, seq, role, dialect, content, created_at, parent_id, detail)
SELECT 'msg_' || substr(runs.id, 5), runs.org_id, runs.conversation_id, runs.id, said.seq + 1, 'assistant', '',
    @content, @clock, said.id, @detail
FROM runs CROSS JOIN conversations CROSS JOIN messages AS said
WHERE conversations.id = runs.conversation_id AND conversations.org_id = runs.org_id
    AND said.conversation_id = runs.conversation_id AND said.run_id = runs.id
    AND said.role = 'user' AND said.detail IS NOT NULL AND said.seq >= COALESCE(conversations.reset_seq, 0)
    AND NOT {_GOES_ON}
    AND """
_MOVES = """
UPDATE conversations SET current_id = answer.id, updated_at = @clock
FROM runs CROSS JOIN messages AS answer
WHERE conversations.id = runs.conversation_id AND conversations.org_id = runs.org_id
    AND answer.conversation_id = conversations.id AND answer.run_id = runs.id
    AND answer.role = 'assistant' AND answer.parent_id = conversations.current_id
    AND """
#: Another server may have gone on from the question alone: what it was asked comes after the error, as it would have if
#: the turn had failed in order.
_FOLLOWS = """
UPDATE messages SET parent_id = answer.id
FROM runs CROSS JOIN messages AS answer
WHERE answer.id = 'msg_' || substr(runs.id, 5) AND answer.org_id = runs.org_id
    AND answer.conversation_id = runs.conversation_id AND messages.conversation_id = answer.conversation_id
    AND messages.parent_id = answer.parent_id AND messages.role <> 'assistant'
    AND """
_BYTES: dict[DialectName, str] = {"sqlite": "CAST({} AS BLOB)", "postgres": "CAST({} AS BYTEA)"}
_CALLS = CALLS_LEFT.replace("ended_at = $1", "ended_at = @clock") + " AND run_id IN (SELECT id FROM runs WHERE "
_FORGET = "DELETE FROM workers WHERE seen_at <= 0 OR seen_at <= @clock - $1"
#: Nobody is dead for being silent: only for having said that it ends (`leave`).
FOR_EVER = 1e12
#: SQLite has no index of what is open: it looks from the lowest mark on (see `_advance_marks`).
_FROM_ATTEMPTS: dict[DialectName, str] = {
    "sqlite": " AND attempts.seq > (SELECT COALESCE(min(attempts_mark), 0) FROM workers)",
    "postgres": "",
}
_FROM_RUNS: dict[DialectName, str] = {
    "sqlite": " AND runs.seq > (SELECT COALESCE(min(runs_mark), 0) FROM workers)",
    "postgres": "",
}
_SEEN = """
INSERT INTO workers (id, started_at, seen_at) VALUES ($1, @clock, @clock)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"""
#: Of one that is known, and was heard in the last $2 seconds.
_KNOWN = "id = $1 AND seen_at > @clock - $2"
_STILL_SEEN = f"UPDATE workers SET seen_at = @clock WHERE {_KNOWN}"
_WAS_SEEN = f"SELECT 1 FROM workers WHERE {_KNOWN}"
_ATTEMPTS_MARK = """
SELECT COALESCE(
    (SELECT seq - 1 FROM attempts
     WHERE status = 'started' AND seq > (SELECT attempts_mark FROM workers WHERE id = $1) ORDER BY seq LIMIT 1),
    (SELECT max(seq) FROM attempts), 0)"""
_RUNS_MARK = """
SELECT COALESCE(
    (SELECT seq - 1 FROM runs
     WHERE status = 'running' AND seq > (SELECT runs_mark FROM workers WHERE id = $1) ORDER BY seq LIMIT 1),
    (SELECT max(seq) FROM runs), 0)"""


async def join(db: Database, worker: str, price: Estimate = unpriced) -> None:
    """Registers this worker and ends what dead ones left. On SQLite every other one is dead: the directory's lock
    is held by this process. On PostgreSQL those that have ended in order are; the silent ones are watched first."""
    if db.dialect == "sqlite":
        await db.write([("UPDATE workers SET seen_at = 0", ())])
        await db.write([*await _recovery(db, price), _seen(db, worker)])
        await _advance_marks(db, worker)
    else:
        await seen(db, worker)
        await recover(db, FOR_EVER, price)


async def seen(db: Database, worker: str) -> None:
    """This worker lives."""
    if db.dialect == "sqlite":
        await _advance_marks(db, worker)
    else:
        await db.write([_seen(db, worker)])


async def still_seen(db: Database, worker: str, seconds: float) -> bool:
    """This worker lives, and was heard in the last so many seconds. False: others may have taken it for dead, by the
    database's clock, so nothing is written (`seen`)."""
    if db.dialect == "sqlite":
        await _advance_marks(db, worker)
        return True
    await db.write([(with_clock(_STILL_SEEN, db.dialect), (worker, seconds))])
    return bool(await db.look_up(with_clock(_WAS_SEEN, db.dialect), worker, seconds))


async def leave(db: Database, worker: str) -> None:
    """This worker ends in order: what it still has open is ended at once by the next that looks."""
    await db.write([("UPDATE workers SET seen_at = 0 WHERE id = $1", (worker,))])


async def recover(db: Database, silence: float = SILENCE, price: Estimate = unpriced) -> None:
    """Ends what workers that are not alive had begun. Idempotent; any number of workers may do it at once."""
    await db.write(await _recovery(db, price, silence))


def given_up(dialect: DialectName, run: str, error: dict[str, str]) -> list[Statement]:
    """What is written beside the end of a job that nobody goes on with, whose run was cut: it fails with this error,
    {code, message}. Nothing, when its run never began."""
    this = "runs.id = $1"
    cut = MessageDetail(finish_reason="error", error=error)
    found = [
        (_FAILED, (run, error["code"], storable(error["message"]))),
        (_TURNS.replace("@nothing", "@told") + this + _ONCE, (run,)),
        (_ANSWERS + this + _ONCE, (run, *_answer(cut))),
        (_MOVES + this, (run,)),
        (_FOLLOWS + this, (run,)),
    ]
    return [(_spoken(sql, dialect), values) for sql, values in found]


async def _recovery(db: Database, price: Estimate, silence: float = SILENCE) -> list[Statement]:
    attempts, runs = _FROM_ATTEMPTS[db.dialect], _FROM_RUNS[db.dialect]
    found: list[Statement] = []
    for id, provider, model, tokens, at, kind in await db.read(_spoken(_OPEN + attempts, db.dialect), silence):
        charged = kind != "count_tokens"
        used = Usage(uncached_in=tokens, estimated=True) if charged else Usage()
        priced = price(provider, model, used, at) if charged and tokens else FREE
        snapshot = priced.snapshot or None
        found += [
            (_ATTEMPT, (silence, id, priced.cost, snapshot, used.estimated, used.uncached_in)),
            (ARRIVES, ()),
            (_ACCOUNT, (id,)),
        ]
    found += [
        (_CALLS + _OPEN_RUNS + runs + ")", (silence, one.status, one.error, one.result))
        for one in left_behind("", "", 0.0)
    ]
    found += [
        (_TURNS + _OPEN_RUNS + runs + _ONCE, (silence,)),
        (_ANSWERS + _OPEN_RUNS + runs + _ONCE, (silence, *_answer(_CUT))),
        (_MOVES + _OPEN_RUNS + runs, (silence,)),
        (_FOLLOWS + _OPEN_RUNS + runs, (silence,)),
        (_RUNS + runs, (silence,)),
        (_FORGET, (silence,)),
    ]
    return [(_spoken(sql, db.dialect), values) for sql, values in found]


def _answer(cut: MessageDetail) -> tuple[bytes, bytes]:
    return _encode(Message("assistant", ())), _encode(cut)


def _spoken(sql: str, dialect: DialectName) -> str:
    bytes_of = _BYTES[dialect].format
    for name, value in (("@content", "$2"), ("@detail", "$3"), ("@nothing", "''"), ("@told", f"'{TOLD}'")):
        sql = sql.replace(name, bytes_of(value))
    return with_clock(sql, dialect)


def _seen(db: Database, worker: str) -> Statement:
    return with_clock(_SEEN, db.dialect), (worker,)


async def _advance_marks(db: Database, worker: str) -> None:
    """Moves the marks up to the oldest open row, so that the next start looks at few rows. The one writer of an
    SQLite file numbers its rows in the order of commits: what comes after this look has a higher number."""
    [(attempts,)] = await db.read(_ATTEMPTS_MARK, worker)
    [(runs,)] = await db.read(_RUNS_MARK, worker)
    sql = "UPDATE workers SET attempts_mark = $2, runs_mark = $3 WHERE id = $1"
    await db.write([(sql, (worker, attempts, runs))])
