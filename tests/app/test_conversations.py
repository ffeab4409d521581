from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from midstream.store.orgs import DEFAULT_ORG

from .asgi import MODEL, Asking, Here, here


async def say(app: Here, text: str, conversation: Any, **more: Any) -> Any:
    return await app.chat(text, conversation=conversation, **more).end()


async def rows(app: Here, id: str) -> list[tuple[str, int]]:
    return [(row.role, row.seq) for row in await app.services.store.org(DEFAULT_ORG).threads.all_messages(id)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_is_made_named_and_gone_on_with(tmp_path: Path, stream: bool):
    async def test(app: Here) -> None:
        first = await say(app, "say 2 words", {}, stream=stream)
        id = first.headers["x-conversation-id"]
        assert id.startswith("conv_")
        second = await say(app, "hi", id)
        assert second.headers["x-conversation-id"] == id
        assert second.json["conversation"] == {"id": id, "title": "say 2 words"}
        assert second.json["usage"]["prompt_tokens"] == 3 + 2 + 1  # the history was before the model
        assert await rows(app, id) == [("user", 0), ("assistant", 1), ("user", 2), ("assistant", 3)]

    here(tmp_path, test)


def test_without_a_conversation_none_is_made_and_none_is_named(tmp_path: Path):
    async def test(app: Here) -> None:
        reply = await app.chat("hi").end()
        assert "x-conversation-id" not in reply.headers
        assert "conversation" not in reply.json

    here(tmp_path, test)


def test_a_conversation_that_is_not_here_or_not_yours_is_a_404_and_nothing_is_asked(tmp_path: Path):
    async def test(app: Here) -> None:
        id = (await say(app, "mine", {})).headers["x-conversation-id"]
        org = await app.services.store.all_orgs().create_org("other")
        _, key = await app.services.store.keys.create(org.id, "other")
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        attempts = len(await app.services.store.all_orgs().attempts())
        for conversation, who in ((id, key), ("conv_nobody", key), ("x" * 1000, key)):
            reply = await app.ask("POST", "/v1/chat/completions", {**body, "conversation": conversation}, key=who)
            assert reply.status == 404
        assert len(await app.services.store.all_orgs().attempts()) == attempts
        assert not app.services.conversations.turns

    here(tmp_path, test)


def test_two_turns_at_once_are_one_after_the_other(tmp_path: Path):
    async def test(app: Here) -> None:
        id = (await say(app, "first", {})).headers["x-conversation-id"]
        asked = [app.chat(f"turn {number} say 2 words", conversation=id) for number in range(6)]
        replies = [await one.end() for one in asked]
        assert [reply.status for reply in replies] == [200] * 6
        assert [seq for _, seq in await rows(app, id)] == list(range(14))
        assert [role for role, _ in await rows(app, id)] == ["user", "assistant"] * 7
        assert not app.services.conversations.turns

    here(tmp_path, test)


def test_different_conversations_do_not_wait_for_each_other(tmp_path: Path):
    async def test(app: Here) -> None:
        stalled, other = [(await say(app, "first", {})).headers["x-conversation-id"] for _ in range(2)]
        asking = await stall(app, stalled)
        assert (await say(app, "hi", other)).status == 200
        asking.leave()
        await asking.end()

    here(tmp_path, test)


async def stall(app: Here, id: str) -> Asking:
    asking = app.chat("stall", conversation=id, stream=True)
    await asking.until(lambda reply: bool(reply.body))
    return asking


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_leaves_the_conversation_free_and_its_turn_in_place(tmp_path: Path, stream: bool):
    async def test(app: Here) -> None:
        id = (await say(app, "first", {})).headers["x-conversation-id"]
        asking = app.chat("stall", conversation=id, stream=stream)
        while not app.services.runs.active:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        waiting = app.chat("next", conversation=id)
        await asyncio.sleep(0.02)
        assert not waiting.reply.status
        asking.leave()
        assert (await waiting.end()).status == 200
        await asking.end()
        assert await rows(app, id) == [(role, seq) for seq, role in enumerate(["user", "assistant"] * 3)]

    here(tmp_path, test)


@pytest.mark.parametrize("how", ["the request", "the request's stream", "the server"])
def test_what_shall_not_be_kept_is_not_kept_as_a_title_either(tmp_path: Path, how: str):
    async def test(app: Here) -> None:
        more = {} if how == "the server" else {"store": False, "stream": how.endswith("stream")}
        id = (await say(app, "keep me not", {}, **more)).headers["x-conversation-id"]
        assert await rows(app, id) == []
        row = await app.services.store.org(DEFAULT_ORG).threads.thread(id)
        assert not row.title

    here(tmp_path, test, store="none" if how == "the server" else "all")


@pytest.mark.parametrize("store, named, unnamed", [("all", 2, 2), ("named", 2, 0), ("none", 0, 0)])
def test_the_server_says_what_is_kept_when_the_caller_does_not(tmp_path: Path, store: str, named: int, unnamed: int):
    async def test(app: Here) -> None:
        for conversation, kept in (({}, named), (None, unnamed)):
            reply = await say(app, "hi", conversation)
            run = reply.headers["x-run-id"]
            assert len(await app.services.store.org(DEFAULT_ORG).run_messages(run)) == kept

    here(tmp_path, test, store=store)
