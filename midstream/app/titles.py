"""The topic "title": a new conversation is named by its agent's own model, unless its user has named it."""

from __future__ import annotations

from collections.abc import Iterable

from ..agent.naming import named, naming
from ..metering.turns import account_in
from ..store import Store
from ..store.database import Statement
from ..store.outbox import OutboxRow
from ..store.threads import better_title
from .remember import AskModel

TITLE = "title"


class Title:
    def __init__(self, store: Store, ask: AskModel) -> None:
        self._store = store
        self._ask = ask

    async def handle(self, row: OutboxRow) -> Iterable[Statement]:
        turn = account_in(row.payload)
        thread = await self._store.org(turn.org).threads.thread(turn.conversation)
        if (thread.title or "") != turn.title:
            return ()
        title = named(await self._ask(turn, naming(turn.asked, turn.answered)))
        return [better_title(turn.org, turn.conversation, title, turn.title)] if title else ()
