from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midstream.app.forgetting import DAY, forgetting
from midstream.core.ids import from_uuid
from midstream.store.orgs import DEFAULT_ORG

from .agent_things import published
from .asgi import Here, here


class Later:
    """A clock that is so many days ahead."""

    def __init__(self, clock: object, days: float) -> None:
        self._clock = clock
        self._days = days

    def wall(self) -> float:
        return self._clock.wall() + self._days * DAY  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("days", "kept"), [(2, True), (0.5, False)])
def test_what_was_said_is_let_go_of_after_its_days_and_its_cost_is_not(tmp_path: Path, days: float, kept: bool):
    async def test(app: Here) -> None:
        id = (await app.chat("hi", conversation={}).end()).headers["x-conversation-id"]
        store = app.services.store
        await forgetting(store, Later(app.services.clock, 1), days)()  # type: ignore[arg-type]
        assert [one.id for one in await store.org(DEFAULT_ORG).threads.threads()] == ([id] if kept else [])
        assert len(await store.all_orgs().attempts()) == 1

    here(tmp_path, test)


@pytest.mark.parametrize("again", [False, True])
def test_a_conversation_in_which_a_turn_goes_on_is_not_let_go_of(tmp_path: Path, again: bool):
    """again: an answer of an agent anew; else a turn without an agent."""

    async def test(app: Here) -> None:
        store, slowly, path = app.services.store, "say 9 words pace 50", "/api/v1/conversation"
        asked: dict[str, Any] = {}
        if again:
            agent = (await published(app, "a"))["id"]
            asked = {"message": slowly, "agentId": agent, "stream": False}
            told = (await app.ask("POST", path, asked, content_type="application/json")).json
            id = from_uuid("conv_", told["conversationId"])
            asked = {"conversationId": told["conversationId"], "regenerateMessageId": told["messageId"]}
        else:
            id = (await app.chat("hi", conversation={}).end()).headers["x-conversation-id"]
        await store.db.write([("UPDATE conversations SET updated_at = 1", ())])
        turn = app.begin("POST", path, asked, content_type="application/json") if again else None
        late = turn or app.chat(slowly, conversation=id, stream=True)
        await late.until(lambda reply: b"word1" in reply.body)
        await forgetting(store, app.services.clock, 1)()
        assert b"word9" in (await late.end()).body
        assert [one.id for one in await store.org(DEFAULT_ORG).threads.threads()] == [id]
        said = await store.org(DEFAULT_ORG).threads.all_messages(id)
        assert sorted(one.role for one in said) == ["assistant"] * 2 + ["user"] * (1 if again else 2)

    here(tmp_path, test)
