"""Conversations of agents that were asked by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .agent_things import published
from .asgi import Here, here

PATH = "/api/v1/conversation"


async def ask(app: Here, method: str, path: str, body: Any = None) -> Any:
    reply = await app.ask(method, PATH + path, body, content_type="application/json")
    assert reply.status == 200, reply.body
    return reply.json


async def caller(app: Here) -> str:
    """An agent that asks another one on its own thread whenever its user names that."""
    friend = await published(app, "friend")
    named = {"agent_id": friend["id"], "description": "knows", "thread": "shared"}
    return str((await published(app, "caller", connected_agents={"friend": named}))["id"])


@pytest.mark.parametrize("gone", ["deleted", "reset"])
def test_what_was_asked_on_the_thread_of_a_conversation_goes_with_it(tmp_path: Path, gone: str):
    async def test(app: Here) -> None:
        agent = await caller(app)
        id = (await ask(app, "POST", "", {"message": "ask friend", "agentId": agent, "stream": False}))[
            "conversationId"
        ]
        [asked] = [one for one in (await ask(app, "GET", "/chat-history"))["data"] if one["id"] != id]
        assert len((await ask(app, "GET", f"/{asked['id']}"))["messages"]) == 2
        if gone == "deleted":
            await ask(app, "DELETE", f"/{id}")
            assert (await ask(app, "GET", "/chat-history"))["data"] == []
            assert (await ask(app, "GET", "/search?q=friend"))["data"] == []
        else:
            await ask(app, "POST", f"/{id}/reset")
            assert (await ask(app, "GET", f"/{asked['id']}"))["messages"] == []
            await ask(app, "POST", "", {"message": "ask friend", "conversationId": id, "stream": False})
            assert len((await ask(app, "GET", f"/{asked['id']}"))["messages"]) == 2

    here(tmp_path, test)
