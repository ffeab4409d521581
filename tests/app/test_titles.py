from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from midstream.app.titles import Title
from midstream.core.account import TurnAccount
from midstream.core.turn import Prompt
from midstream.metering.turns import after_turn
from midstream.store import open_store
from midstream.store.outbox import OutboxRow
from midstream.store.threads import ThreadStore

TURN = TurnAccount("msg_1", "org_a", "agt_1", "run_1", 1.0, asked="I am Ada", answered="Hi Ada", title="I am Ada")


def row(turn: TurnAccount) -> OutboxRow:
    [added] = after_turn(turn, 0.0, ("title",))
    return OutboxRow(added.id, added.org_id, added.topic, added.payload, 0.0, 1)


def titled(folder: Path, *renamed: str, while_asked: str = "", said: str = "Ada says hello") -> tuple[str, int]:
    """The title after the topic's work, and how often the model was asked."""

    async def run() -> tuple[str, int]:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        prompts = []

        async def ask(turn: TurnAccount, prompt: Prompt) -> str:
            prompts.append(prompt)
            if while_asked:
                await threads.rename(thread.id, while_asked)
            return said

        try:
            threads: ThreadStore = store.org("org_a").threads
            thread = await threads.found_or_made("agt_1", "t1", "t1", "I am Ada")
            for title in renamed:
                await threads.rename(thread.id, title)
            turn = replace(TURN, conversation=thread.id)
            await store.db.write(list(await Title(store, ask).handle(row(turn))))
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


def test_a_model_that_names_nothing_changes_nothing(tmp_path):
    assert titled(tmp_path, said="\n") == ("I am Ada", 1)
