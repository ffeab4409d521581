"""Conversations of agents that were asked by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midstream.app.agent_turns import AgentTurns
from midstream.core.toolbox import ToolAnswer, ToolScope

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


@pytest.mark.parametrize("gone", ["deleted", "reset"])
def test_what_a_turn_asks_whose_conversation_was_left_meanwhile_is_not_said_on_its_thread(tmp_path, monkeypatch, gone):
    asks = AgentTurns.__call__

    async def test(app: Here) -> None:
        hello = {"message": "hello", "agentId": await caller(app), "stream": False}
        id = (await ask(app, "POST", "", hello))["conversationId"]

        async def left(turns: AgentTurns, agent: str, text: str, scope: ToolScope) -> ToolAnswer:
            await (ask(app, "DELETE", f"/{id}") if gone == "deleted" else ask(app, "POST", f"/{id}/reset"))
            return await asks(turns, agent, text, scope)

        monkeypatch.setattr(AgentTurns, "__call__", left)
        told = await ask(app, "POST", "", {"message": "ask friend", "conversationId": id, "stream": False})
        assert [call["status"] for call in told["toolCalls"]] == ["ok"]
        listed = [one["id"] for one in (await ask(app, "GET", "/chat-history"))["data"]]
        assert listed == ([] if gone == "deleted" else [id])

    here(tmp_path, test)
