"""Turns that wait for others of their conversation, as those who asked for them see it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from midstream.app import exchange

from .agent_things import published
from .asgi import Asking, Here, here
from .test_exchange import chat_body, told

PING = b": keepalive\n\n"
V1, V2, CHAT = "/api/v1/conversation", "/api/v2/model/chat/completion", "/v1/chat/completions"
FACES = pytest.mark.parametrize("path", [V1, V2, CHAT])
AGENTS = pytest.mark.parametrize("path", [V1, V2])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 0.05)
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchange, "PING_SECONDS", 0.05)


class Talk:
    """One conversation, in the words of one face. id: a UUID for version 1, a thread's name for version 2."""

    def __init__(self, app: Here, path: str, agent: str) -> None:
        self.app = app
        self.path = path
        self.id = ""
        self._agent = agent

    def asks(self, text: str, **more: Any) -> Asking:
        if self.path == V1:
            body = {"message": text, "agentId": self._agent, "conversationId": self.id or None}
        elif self.path == V2:
            body = {"user": text, "agent_id": self._agent, "thread_id": self.id, "stream": True}
        else:
            body = chat_body(text, conversation=self.id or {})
        return self.app.begin("POST", self.path, {**body, **more})

    async def stalls(self) -> Asking:
        """A turn that goes on until its client hangs up."""
        asking = self.asks("stall")
        await asking.until(lambda reply: b'"delta":' in reply.body or b"event: delta" in reply.body)
        return asking

    async def questions(self) -> list[str]:
        rows = await self.app.services.store.db.read("SELECT content FROM messages WHERE role = 'user' ORDER BY seq")
        return [str(content) for (content,) in rows]


async def talk(app: Here, path: str) -> Talk:
    """One in which something was said already."""
    made = Talk(app, path, (await published(app))["id"])
    made.id = "order-7" if path == V2 else ""
    reply = await made.asks("say 1 words", stream=False).end()
    made.id = made.id or reply.headers.get("x-conversation-id") or reply.json["conversationId"]
    return made


def failed_with(words: bytes, path: str, body: bytes) -> bool:
    last = body.replace(PING, b"")
    return words in last and (b'data: {"error":' in last if path == CHAT else told(last)[-1] == "error")


@FACES
def test_a_stream_that_waits_for_its_turn_is_kept_alive_until_it_begins(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        asking = said.asks("say 2 words")
        reply = await asking.until(lambda reply: reply.body.count(PING) >= 3)
        assert (reply.status, reply.body.replace(PING, b"")) == (200, b"")
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "x-request-id" in reply.headers
        assert "x-run-id" not in reply.headers
        first.leave()
        body = (await asking.end()).body.replace(PING, b"")
        assert b"word2" in body
        if path == V1:
            assert told(body)[0] == "conversation"
        assert body.endswith(b"data: [DONE]\n\n") if path == CHAT else told(body)[-1] == "done"

    here(tmp_path, test)


@FACES
def test_a_stream_whose_turn_comes_soon_has_all_its_headers(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "HOLD_SECONDS", 5.0)

    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        asking = said.asks("say 2 words")
        await asyncio.sleep(0.1)
        assert asking.reply.status == 0
        first.leave()
        reply = await asking.end()
        assert PING not in reply.body
        assert reply.headers["x-run-id"].startswith("run_")
        assert "x-midstream-attempts" in reply.headers

    here(tmp_path, test)


@FACES
def test_what_fails_after_the_stream_has_begun_is_told_in_it(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        asking = said.asks("fail:400")
        await asking.until(lambda reply: PING in reply.body)
        first.leave()
        reply = await asking.end()
        assert (reply.status, reply.ended) == (200, True)
        assert failed_with(b"rehears", path, reply.body)

    here(tmp_path, test)


@FACES
def test_a_turn_that_cannot_begin_any_more_says_so_in_its_stream(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        asking = said.asks("say 2 words")
        await asking.until(lambda reply: PING in reply.body)
        await app.services.store.db.write([("UPDATE conversations SET deleted_at = 1", ())])
        first.leave()
        reply = await asking.end()
        assert (reply.status, reply.ended) == (200, True)
        assert failed_with(b"no such conversation", path, reply.body)

    here(tmp_path, test)


@AGENTS
def test_what_can_be_refused_without_waiting_has_its_status_at_once(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        if path == V1:
            assert (await said.asks("hi", waitForTurn=False).end()).status == 409
            assert (await said.asks("hi", agentId="nobody").end()).status == 404
        else:
            assert (await said.asks("hi", agent_id="nobody").end()).status == 404
        assert (await said.asks("").end()).status == 400
        first.leave()
        await first.end()

    here(tmp_path, test)


@FACES
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_who_hangs_up_leaves_the_line_at_once_and_nothing_was_asked(
    tmp_path: Path, path: str, stream: bool, begun: bool
):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        asking = said.asks("never mind", stream=stream)
        await asyncio.sleep(0.15 if begun else 0.02)
        assert (PING in asking.reply.body) is (stream and begun)
        behind = said.asks("say 2 words")
        await asyncio.sleep(0.02)
        asking.leave()
        await asking.end()
        assert app.services.runs.active == 1  # the first is still under way
        first.leave()
        assert b"word2" in (await behind.end()).body
        assert [one for one in await said.questions() if "never mind" in one] == []
        assert len(await app.services.store.all_orgs().attempts()) == 3

    here(tmp_path, test)


@AGENTS
def test_a_server_that_ends_says_so_to_those_who_wait(tmp_path: Path, path: str):
    async def test(app: Here) -> None:
        said = await talk(app, path)
        first = await said.stalls()
        begun = said.asks("say 2 words")
        await begun.until(lambda reply: PING in reply.body)
        plain = said.asks("say 2 words", stream=False)
        await asyncio.sleep(0.02)
        ending = asyncio.create_task(app.process.drain(5))
        assert failed_with(b"shutting down", path, (await begun.end()).body)
        reply = await plain.end()
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert not first.reply.ended  # it has its time
        first.leave()
        await ending

    here(tmp_path, test)
