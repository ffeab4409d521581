from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from midstream.app.remember import Remember, thread_of
from midstream.core.account import TurnAccount
from midstream.core.errors import NotFound
from midstream.core.parts import text_of
from midstream.core.turn import Prompt
from midstream.metering.turns import after_turn
from midstream.store import open_store
from midstream.store.ledger import ConversationAdded, MessageAdded
from midstream.store.outbox import OutboxRow

TURN = TurnAccount(
    "msg_1", "org_a", "agt_1", "run_1", 1.0, thread="t1", conversation="conv_1", asked="I am Ada", answered="Hi Ada"
)
#: What is stored of the turns.
SAID = (
    ConversationAdded("conv_1", "org_a", 1.0, agent_id="agt_1", thread_id="t1", sub_thread_id="t1"),
    MessageAdded("msg_1", "org_a", None, 0, "user", b"{}", 1.0, "conv_1", parent_id=""),
    MessageAdded("msg_2", "org_a", None, 2, "user", b"{}", 1.0, "conv_1", parent_id="msg_1"),
)


class Model:
    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.prompts: list[Prompt] = []

    async def ask(self, turn: TurnAccount, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        return self.answers.pop(0)

    async def instructions(self, turn: TurnAccount) -> str:
        return f"Words of {turn.agent}."


def row(turn: TurnAccount) -> OutboxRow:
    [added] = after_turn(turn, 0.0, ("memory",))
    return OutboxRow(added.id, added.org_id, added.topic, added.payload, 0.0, 1)


def remembered(folder: Path, model: Model, *turns: TurnAccount) -> str | None:
    async def run() -> str | None:
        store = await open_store(f"sqlite:///{folder}/midstream.db", worker="test")
        try:
            await store.ledger.commit(*SAID)
            remember = Remember(store, model.ask, model.instructions, lambda: 7.0)
            for turn in turns:
                await store.db.write(list(await remember.handle(row(turn))))
            found = await store.memories("org_a").get("agt_1", "t1")
            return None if found is None else found.text
        finally:
            await store.close()

    return asyncio.run(run())


def test_what_a_turn_said_is_remembered_and_the_next_goes_on_from_it(tmp_path):
    model = Model("The user is Ada.", "The user is Ada. She has a dog.")
    second = replace(TURN, id="msg_2", asked="I have a dog", answered="Nice")
    assert remembered(tmp_path, model, TURN, second) == "The user is Ada. She has a dog."
    first, then = (text_of(prompt.messages[1].parts) for prompt in model.prompts)
    assert "User: I am Ada\n\nAssistant: Hi Ada" in first
    assert "Memory so far:\nThe user is Ada." in then
    assert "Words of agt_1." in text_of(model.prompts[0].messages[0].parts)


def test_nothing_new_writes_nothing_and_nothing_said_asks_nobody(tmp_path):
    model = Model("NOTHING")
    assert remembered(tmp_path, model, TURN, replace(TURN, asked="", answered=""), replace(TURN, thread="")) is None
    assert len(model.prompts) == 1


@pytest.mark.parametrize("known", [None, "The user is Eda."])
@pytest.mark.parametrize("how", ["put", "forget", "forget_all"])
def test_what_a_person_has_done_while_a_model_was_asked_what_to_remember_stands(tmp_path, how, known):
    async def run() -> None:
        store = await open_store(f"sqlite:///{tmp_path}/midstream.db", worker="test")
        mine = store.memories("org_a")

        class Slow(Model):
            async def ask(self, turn: TurnAccount, prompt: Prompt) -> str:
                if how == "put" and not self.prompts:
                    await mine.put("agt_1", "t1", "The user is Ada.")
                elif not self.prompts:
                    with suppress(NotFound):
                        await getattr(mine, how)("agt_1", *(("t1",) if how == "forget" else ()))
                return await super().ask(turn, prompt)

        model = Slow("She has a dog.", "The user is Ada. She has a dog.")
        remember = Remember(store, model.ask, model.instructions, lambda: 7.0)
        try:
            await store.ledger.commit(*SAID, *after_turn(TURN, 0.0, ("memory",)))
            if known is not None:
                await mine.put("agt_1", "t1", known)
            while rows := await store.outbox.take("memory", 9):
                for row in rows:
                    await store.outbox.done([row], await remember.handle(row))
            found = await mine.get("agt_1", "t1")
        finally:
            await store.close()
        if how == "put":
            assert found is not None
            assert found.text == "The user is Ada. She has a dog."
            assert "Memory so far:\nThe user is Ada." in text_of(model.prompts[1].messages[1].parts)
        else:
            assert (found, len(model.prompts)) == (None, 1)

    asyncio.run(run())


def test_a_turn_from_before_its_thread_was_forgotten_asks_nobody(tmp_path):
    async def run() -> None:
        store, model = await open_store(f"sqlite:///{tmp_path}/midstream.db", worker="test"), Model()
        try:
            await store.ledger.commit(*SAID)
            await store.memories("org_a").forget_all("agt_1")
            assert await Remember(store, model.ask, model.instructions, lambda: 7.0).handle(row(TURN)) == ()
        finally:
            await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("message", ["msg_1", "msg_9"])
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_message_that_is_deleted_after_its_turn_is_not_remembered(tmp_path, message, when):
    async def run() -> None:
        store = await open_store(f"sqlite:///{tmp_path}/midstream.db", worker="test")
        threads = store.org("org_a").threads

        class Slow(Model):
            async def ask(self, turn: TurnAccount, prompt: Prompt) -> str:
                await threads.delete_message("conv_1", message)
                return await super().ask(turn, prompt)

        model = Slow("The user is Ada.")
        remember = Remember(store, model.ask, model.instructions, lambda: 7.0)
        try:
            answer = MessageAdded("msg_9", "org_a", None, 1, "assistant", b"{}", 1.0, "conv_1", parent_id="msg_1")
            await store.ledger.commit(*SAID, answer)
            if when == "before":
                await threads.delete_message("conv_1", message)
            await store.db.write(list(await remember.handle(row(replace(TURN, answer="msg_9")))))
            assert await store.memories("org_a").get("agt_1", "t1") is None
            assert len(model.prompts) == (when == "while")
        finally:
            await store.close()

    asyncio.run(run())


def test_turns_of_one_thread_share_a_lane():
    assert thread_of(row(TURN)) == thread_of(row(replace(TURN, id="msg_2", asked="x")))
    assert thread_of(row(TURN)) != thread_of(row(replace(TURN, thread="t2")))
