"""The topic "interrupted": an agent's turn that ended with its server is counted, and rung for, as every other is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ..core.account import TurnAccount
from ..core.errors import NotFound
from ..metering.alerts import alarms_of, raised
from ..metering.turns import after_turn
from ..runs.order import MAX_ATTEMPTS, spent_by
from ..store import Store
from ..store.database import Statement
from ..store.interrupted import interrupted_turn, run_in
from ..store.ledger import statement
from ..store.outbox import OutboxRow
from ..store.rows import AttemptRow, MessageDetail


class Interrupted:
    """now: unix seconds."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        try:
            account = await self._account(row.org_id, run_in(row.id))
        except NotFound:  # it has come to another end, which has told of itself
            return ()
        now = self._now()
        told = (*after_turn(account, now), *raised(account.run, account.org, alarms_of(account), now))
        return [statement(one) for one in told]

    async def _account(self, org: str, run: str) -> TurnAccount:
        turn, store = await interrupted_turn(self._store.db, org, run), self._store.org(org)
        own = await store.attempts(run_id=run, limit=MAX_ATTEMPTS)
        attempts = [*own, *await store.attempts_below(run)]
        spent = spent_by(attempts)
        detail = MessageDetail() if turn.detail is None else msgspec.json.decode(turn.detail, type=MessageDetail)
        return TurnAccount(
            id=turn.message or run,
            org=org,
            agent=turn.agent_id,
            run=run,
            created_at=turn.created_at,
            version=turn.version_id,
            user=detail.user,
            thread=turn.thread_id,
            sub_thread=turn.sub_thread_id,
            conversation=turn.conversation_id,
            key=turn.key_id,
            request=turn.request_id,
            face=turn.face,
            service=own[-1].provider if own else "",
            model=own[-1].model if own else "",
            success=False,
            failure=turn.failure,
            failure_message=turn.failure_message,
            attempts=spent.attempts,
            usage=spent.usage,
            cost=spent.cost,
            # As long as it is known to have lived: when it died nobody has seen.
            latency_ms=round((max(turn.called_at, *map(_last_of, attempts), turn.created_at) - turn.created_at) * 1000),
        )


def _last_of(attempt: AttemptRow) -> float:
    """The last that is known of it. Whoever finds one left behind ends it then."""
    return attempt.started_at if attempt.status == "unknown" else attempt.ended_at or attempt.started_at
