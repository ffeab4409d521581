"""Requests over real connections, to the whole application and on to a provider on loopback: what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .agent_things import published
from .loopback import Client, Loopback, loopback

CHAT, V1, V2 = "/v1/chat/completions", "/api/v1/conversation", "/api/v2/model/chat/completion"
SAID = [{"role": "user", "content": "hi"}]


async def _agents(app: Loopback) -> None:
    """One of each kind, named by its slug."""
    for slug, model, more in (
        ("plain", "m", {}),
        ("refused", "refused", {}),
        ("short", "lasting", {"settings": {"seconds": 0.1}}),
        ("lasting", "lasting", {}),
        ("bot", "m", {"type": "chatbot", "memory": True, "settings": {"suggestions": True}}),
        ("guarded", "m", {"settings": {"guardrails": {"input": {"patterns": ["hi"]}}}}),
    ):
        await published(app.here, slug, slug=slug, service="up", configuration={"model": model}, **more)
    await published(app.here, "away", slug="away", service="gone", configuration={"model": "m"})
    called = {"friend": {"agent_id": (await published(app.here, "friend", slug="friend"))["id"], "description": "x"}}
    await published(app.here, "caller", slug="caller", connected_agents=called)


async def _over(app: Loopback) -> None:
    """Every turn has ended, also those that nobody waits for."""
    services = app.here.services
    while services.runs.active or await services.store.db.read("SELECT 1 FROM jobs WHERE ended_at IS NULL"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


async def _left_behind(app: Loopback, once: Callable[[], Awaitable[object]]) -> list[str]:
    """The kinds of things of ours that are there though nobody could reach them, after it was done a few times."""
    for _ in range(3):
        await once()
    await _over(app)
    gc.collect()
    gc.freeze()  # what was there before is not looked at, for good: all tests of this process would come back with it
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await once()
        await _over(app)
        gc.collect()
        return sorted({type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("midstream")})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    "body",
    [
        {"model": "up/m"},
        {"model": "up/m", "stream": True},
        {"model": "up/m", "conversation": {}},
        {"model": "up/m", "conversation": {}, "stream": True},
        {"model": "up/refused"},
        {"model": "gone/m"},
        {"model": "midstream/rehearsal"},
        {"model": 5},
    ],
)
def test_a_finished_request_leaves_nothing_that_only_the_collector_could_free(tmp_path: Path, body: dict[str, Any]):
    async def test(app: Loopback) -> None:
        client = await app.connect()
        left = await _left_behind(app, lambda: client.ask(CHAT, {"messages": SAID, **body}))
        client.close()
        assert left == []

    loopback(tmp_path, test)


#: One agent's turn each, by what becomes of it.
TURNS: dict[str, tuple[str, dict[str, Any]]] = {
    "answered": (V1, {"agentId": "plain", "message": "hi"}),
    "refused": (V1, {"agentId": "refused", "message": "hi"}),
    "cut": (V1, {"agentId": "short", "message": "hi"}),
    "remembered": (V1, {"agentId": "bot", "message": "hi"}),
    "answered in a thread": (V2, {"agent_id": "plain", "user": "hi", "thread_id": "t"}),
    "refused in a thread": (V2, {"agent_id": "refused", "user": "hi", "thread_id": "t"}),
    "without a provider": (V2, {"agent_id": "away", "user": "hi", "thread_id": "t"}),
    "cut in a thread": (V2, {"agent_id": "short", "user": "hi", "thread_id": "t"}),
    "never asked": (V2, {"agent_id": "plain", "user": "hi", "thread_id": "t", "tool_choice": "nobody"}),
    "blocked": (V2, {"agent_id": "guarded", "user": "hi", "thread_id": "t"}),
    "remembered in a thread": (V2, {"agent_id": "bot", "user": "hi", "thread_id": "t"}),
    "calling another": (V2, {"agent_id": "caller", "user": "ask friend", "thread_id": "t"}),
    "a vector": (V2, {"agent_id": "plain", "user": "hi", "configuration": {"type": "embedding"}}),
}


#: Streamed, and in the long run also not.
BOTH = [True, pytest.param(False, marks=pytest.mark.long)]


@pytest.mark.parametrize("stream", BOTH)
def test_an_agents_turn_that_has_ended_leaves_nothing_that_only_the_collector_could_free(tmp_path: Path, stream: bool):
    async def test(app: Loopback) -> None:
        await _agents(app)
        client, left = await app.connect(), {}
        for name, (path, body) in TURNS.items():
            left[name] = await _left_behind(app, partial(client.ask, path, {**body, "stream": stream}))
        client.close()
        assert left == {name: [] for name in TURNS}

    loopback(tmp_path, test)


def test_a_turn_that_is_answered_later_leaves_nothing_that_only_the_collector_could_free(tmp_path: Path):
    queue, live = {"type": "queue", "cred": {"name": "q"}}, {"type": "RTLayer", "cred": {"channel": "c"}}

    async def test(app: Loopback) -> None:
        await _agents(app)
        client, left = await app.connect(), []
        for agent in ("plain", "refused", "bot"):
            for kind in (queue, live):
                body = {"agent_id": agent, "user": "hi", "thread_id": "t", "stream": True, "response_format": kind}
                left.append(await _left_behind(app, partial(client.ask, V2, body)))
        client.close()
        assert left == [[]] * 6

    loopback(tmp_path, test)


@pytest.mark.parametrize("stream", BOTH)
def test_a_client_that_hangs_up_leaves_nothing_that_only_the_collector_could_free(tmp_path: Path, stream: bool):
    async def test(app: Loopback) -> None:
        async def hang_up(path: str, body: dict[str, Any]) -> None:
            client, asked = await app.connect(), app.provider.asked
            client.send(path, {**body, "stream": stream})
            while app.provider.asked == asked:
                await asyncio.sleep(0.005)
            if stream:
                await client.reader.readuntil(b"hi")
            client.close()
            await _over(app)

        await _agents(app)
        left = [
            await _left_behind(app, partial(hang_up, CHAT, {"model": "up/lasting", "messages": SAID})),
            await _left_behind(app, partial(hang_up, V1, {"agentId": "lasting", "message": "hi"})),
            await _left_behind(app, partial(hang_up, V2, {"agent_id": "lasting", "user": "hi", "thread_id": "t"})),
        ]
        assert left == [[], [], []]

    loopback(tmp_path, test)


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_said_in_a_thread_is_let_go_of_with_the_end_of_each_turn(tmp_path: Path, stream: bool):
    size = 1024 * 1024
    picture = "data:image/png;base64," + "A" * size

    async def held(client: Client, path: str, body: dict[str, Any]) -> int:
        await client.ask(path, body)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(4):
                assert b"hi" in await client.ask(path, {**body, "stream": stream})
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            gc.enable()

    async def test(app: Loopback) -> None:
        await _agents(app)
        client, one = await app.connect(), {"agentId": "plain", "message": "hi", "stream": False}
        begun = await client.ask(V1, {**one, "attachments": [{"type": "image", "url": picture}] * 3})
        one["conversationId"] = msgspec.json.decode(begun)["conversationId"]
        two = {"agent_id": "plain", "user": "hi", "thread_id": "t"}
        assert b"hi" in await client.ask(V2, {**two, "images": [picture] * 3})
        both = [await held(client, V1, one), await held(client, V2, two)]
        client.close()
        assert max(both) < size

    loopback(tmp_path, test)


@pytest.mark.parametrize("path", [CHAT, pytest.param("/v1/messages", marks=pytest.mark.long)])
def test_a_stream_under_way_holds_nothing_of_its_prompt(tmp_path: Path, path: str):
    prompt = 4 * 1024 * 1024

    async def streaming(app: Loopback, size: int) -> Client:
        client = await app.connect()
        asked = {"model": "up/lasting", "stream": True, "max_tokens": 9}
        client.send(path, {**asked, "messages": [{"role": "user", "content": "x" * size}]})
        await client.reader.readuntil(b"hi")
        return client

    async def test(app: Loopback) -> None:
        open_ = [await streaming(app, 10)]
        await asyncio.sleep(0.05)  # what the one before left to other threads
        gc.collect()
        tracemalloc.start()
        open_ += [await streaming(app, prompt)]
        await asyncio.sleep(0.05)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        for client in open_:
            client.close()
        assert held < prompt / 4

    loopback(tmp_path, test)
