"""The topic "title": a new conversation is named by its agent's own model, unless its user has named it. Where a thread
has a live channel, that hears the title."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..agent.naming import named, naming
from ..core.account import TurnAccount
from ..core.agents import CHATBOT
from ..delivery.live import Hub
from ..metering.turns import account_in
from ..store import Store
from ..store.database import Statement
from ..store.deliveries import OrgDeliveries, unsaid_unless_titled
from ..store.ledger import statement, storable
from ..store.outbox import OutboxRow
from ..store.threads import better_title
from .clock import Clock
from .deliver import can_be_named, live_record, live_said
from .remember import AskModel

TITLE = "title"


class Title:
    def __init__(self, store: Store, ask: AskModel, hub: Hub, clock: Clock) -> None:
        self._store = store
        self._ask = ask
        self._hub = hub
        self._clock = clock

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        turn = account_in(row.payload)
        threads = self._store.org(turn.org).threads
        thread = await threads.thread(turn.conversation)
        if (thread.title or "") != turn.title or await threads.any_deleted(thread.id, turn.id, turn.answer):
            return ()
        title = storable(named(await self._ask(turn, naming(turn.asked, turn.answered))))
        if not title:
            return ()
        better = better_title(turn.org, turn.conversation, title, turn.title, (turn.id, turn.answer))
        if turn.type != CHATBOT or not can_be_named(turn.thread):
            return [better]
        await self._told(turn, title, better)
        return ()  # whoever does this again finds the new title

    async def _told(self, turn: TurnAccount, title: str, better: Statement) -> None:
        """In one transaction the title and what the channel keeps of it: nothing, when the user has named it."""
        data = msgspec.json.encode({"title": title, "conversation_id": turn.conversation})
        held = self._hub.hold(turn.org, turn.thread, live_said("title", turn.id, data))
        try:
            id = f"dlv_{turn.run.removeprefix('run_')}_title"
            record = live_record(id, turn.org, turn.thread, held)
            unless = unsaid_unless_titled(id, turn.org, turn.conversation, title)
            await self._store.db.write([better, statement(record), unless])
            if await OrgDeliveries(self._store.db, turn.org, self._clock.wall).exists(id):
                self._hub.tell(turn.org, turn.thread, held)
        finally:
            self._hub.drop(turn.org, turn.thread, held)
