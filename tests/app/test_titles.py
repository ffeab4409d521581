from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from midstream.app.clock import Clock
from midstream.app.deliver import ends_of
from midstream.app.titles import Title
from midstream.core.account import TurnAccount
from midstream.core.turn import Prompt
from midstream.delivery.live import Hub, Listener, Said
from midstream.metering.turns import after_turn
from midstream.store import open_store
from midstream.store.ledger import MessageAdded
from midstream.store.outbox import OutboxRow
from midstream.store.threads import ThreadStore

TURN = TurnAccount("msg_1", "org_a", "agt_1", "run_1", 1.0, asked="I am Ada", answered="Hi Ada", title="I am Ada")


def row(turn: TurnAccount) -> OutboxRow:
    [added] = after_turn(turn, 0.0, ("title",))
    return OutboxRow(added.id, added.org_id, added.topic, added.payload, 0.0, 1)


def titled(
    folder: Path, *renamed: str, while_asked: str = "", said: str = "Ada says hello", deleted: str = ""
) -> tuple[str, int]:
    """The title after the topic's work, and how often the model was asked. deleted: when the question was."""

    async def run() -> tuple[str, int]:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        prompts = []

        async def ask(turn: TurnAccount, prompt: Prompt) -> str:
            prompts.append(prompt)
            if while_asked:
                await threads.rename(thread.id, while_asked)
            if deleted == "while":
                await threads.delete_message(thread.id, TURN.id)
            return said

        try:
            threads: ThreadStore = store.org("org_a").threads
            thread = await threads.found_or_made("agt_1", "t1", "t1", "I am Ada")
            for title in renamed:
                await threads.rename(thread.id, title)
            await store.ledger.commit(MessageAdded(TURN.id, "org_a", None, 0, "user", b"{}", 1.0, thread.id))
            if deleted == "before":
                await threads.delete_message(thread.id, TURN.id)
            turn = replace(TURN, conversation=thread.id)
            hub = Hub(Clock().wall, ends_of(store.db, Clock().wall))
            await store.db.write(list(await Title(store, ask, hub, Clock()).handle(row(turn))))
            return (await threads.thread(thread.id)).title or "", len(prompts)
        finally:
            await store.close()

    return asyncio.run(run())


def test_a_conversation_is_named_by_the_model(tmp_path):
    assert titled(tmp_path) == ("Ada says hello", 1)


def test_what_a_user_has_named_stays_and_the_model_is_not_asked(tmp_path):
    assert titled(tmp_path, "Mine") == ("Mine", 0)


def test_what_a_user_names_while_the_model_thinks_stays(tmp_path):
    assert titled(tmp_path, while_asked="Mine") == ("Mine", 1)


def test_a_message_that_is_deleted_after_its_turn_gives_no_title(tmp_path):
    assert titled(tmp_path, deleted="before") == ("I am Ada", 0)


def test_a_message_that_is_deleted_while_the_model_thinks_gives_no_title(tmp_path):
    assert titled(tmp_path, deleted="while") == ("I am Ada", 1)


def test_a_title_is_stored_as_both_databases_take_it(tmp_path):
    assert titled(tmp_path, said="Ada\0 says \ud83d hello") == ("Ada\N{REPLACEMENT CHARACTER} says ? hello", 1)


def test_a_model_that_names_nothing_changes_nothing(tmp_path):
    assert titled(tmp_path, said="\n") == ("I am Ada", 1)


def heard(folder: Path, *, while_asked: str = "", **more: str) -> tuple[str, list[Said]]:
    """The title, and what the thread's channel tells who listens, and who comes after the server is gone."""

    async def run() -> tuple[str, list[Said]]:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        clock = Clock()

        async def ask(turn: TurnAccount, prompt: Prompt) -> str:
            if while_asked:
                await threads.rename(thread.id, while_asked)
            return "Ada says hello"

        def hub() -> Hub:
            return Hub(clock.wall, ends_of(store.db, clock.wall))

        async def told(where: Hub) -> list[Said]:
            listener = await where.join("org_a", "t1")
            return [one async for one in _all(listener)]

        try:
            threads: ThreadStore = store.org("org_a").threads
            thread = await threads.found_or_made("agt_1", "t1", "t1", "I am Ada")
            turn = replace(TURN, conversation=thread.id, thread="t1", **{"type": "chatbot", **more})
            here = hub()
            title = Title(store, ask, here, clock)
            for _ in range(2):  # a server that died before it knew that it was done does it again
                await store.db.write(list(await title.handle(row(turn))))
            here.say("org_a", "t1", lambda number: b"next")
            at_once = await told(here)
            assert at_once.pop().body == b"next"  # nothing waits for it any more
            later = await told(hub())
            assert [one.body for one in later] == [one.body for one in at_once]
            return (await threads.thread(thread.id)).title or "", later
        finally:
            await store.close()

    return asyncio.run(run())


async def _all(listener: Listener) -> AsyncIterator[Said]:
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.05):
                said = await listener.next()
            assert said is not None
            yield said


def test_a_chatbots_thread_hears_the_title_once(tmp_path):
    title, [said] = heard(tmp_path)
    message = msgspec.json.decode(said.body)
    assert title == message["data"].pop("title") == "Ada says hello"
    assert message["data"].pop("conversation_id").startswith("conv_")
    assert message == {"id": said.number, "event": "title", "message_id": "msg_1", "data": {}}


def test_no_title_is_told_that_the_conversation_does_not_have(tmp_path):
    assert heard(tmp_path, while_asked="Mine") == ("Mine", [])


def test_threads_of_other_agents_have_no_channel(tmp_path):
    assert heard(tmp_path, type="chat") == ("Ada says hello", [])
