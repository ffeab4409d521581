"""The topic "interrupted": an agent's turn that ended with its server is counted, rung for, and told in its thread's
live channel, as every other is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from ..core.account import TurnAccount
from ..core.agents import CHATBOT
from ..core.errors import NotFound, OurError
from ..delivery.live import Hub
from ..metering.alerts import alarms_of, raised
from ..metering.turns import after_turn
from ..runs.order import MAX_ATTEMPTS, spent_by
from ..store import Store
from ..store.database import Statement
from ..store.deliveries import OrgDeliveries
from ..store.interrupted import TOLD, interrupted_turn, run_in
from ..store.ledger import statement
from ..store.outbox import OutboxRow
from ..store.rows import AttemptRow, detail_in
from .deliver import can_be_named, failure, live_record, live_said, row_of
from .faces import Face


class _Type(Struct):
    """Of an agent's version, its type alone."""

    type: str = ""


class Interrupted:
    """faces: by name. now: unix seconds."""

    def __init__(self, store: Store, faces: Mapping[str, Face], hub: Hub, now: Callable[[], float]) -> None:
        self._store = store
        self._faces = faces
        self._hub = hub
        self._now = now

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        try:
            account = await self._account(row.org_id, run_in(row.id))
        except NotFound:  # it has come to another end, which has told of itself
            return ()
        if row.payload != TOLD.encode():
            await self._tell(account)
        now = self._now()
        told = (*after_turn(account, now), *raised(account.run, account.org, alarms_of(account), now))
        return [statement(one) for one in told]

    async def _tell(self, turn: TurnAccount) -> None:
        """On disk first, once. Whoever does this again finds it there."""
        org, thread, id = turn.org, turn.thread, row_of(turn.run)
        face = self._faces.get(turn.face)
        if face is None or turn.id == turn.run or not can_be_named(thread):
            return
        deliveries = OrgDeliveries(self._store.db, org, self._now)
        if not await self._is_chatbots(turn) or await deliveries.exists(id):
            return
        error = OurError(turn.failure_message, code=turn.failure)
        held = self._hub.hold(org, thread, live_said("error", turn.id, failure(face, error, turn.id)))
        try:
            await self._store.db.write([statement(live_record(id, org, thread, held))])
            self._hub.tell(org, thread, held)
        finally:
            self._hub.drop(org, thread, held)

    async def _is_chatbots(self, turn: TurnAccount) -> bool:
        try:
            version = await self._store.org(turn.org).agents.version(turn.agent, turn.version)
        except NotFound:
            return False
        return msgspec.json.decode(version.body, type=_Type).type == CHATBOT

    async def _account(self, org: str, run: str) -> TurnAccount:
        turn, store = await interrupted_turn(self._store.db, org, run), self._store.org(org)
        own = await store.attempts(run_id=run, limit=MAX_ATTEMPTS)
        attempts = [*own, *await store.attempts_below(run)]
        spent = spent_by(attempts)
        detail = detail_in(turn.detail)
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
