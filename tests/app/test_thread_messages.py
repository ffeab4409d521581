"""What users have given in a thread stays with it, however long ago that was, and nothing else of then is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from midstream.app.threads import Thread, Threads
from midstream.core.agents import AgentAsk
from midstream.core.errors import TimedOut
from midstream.core.outcome import Outcome
from midstream.core.parts import Media, Message, Text, text_of
from midstream.store import Store
from midstream.store.ledger import MessageAdded

from .test_threads import AGENT, ORG, turn, with_threads

NOTE = Media("file", "text/plain", data="bm90ZQ==", name="a.txt")
PICTURE = Media("image", "image/png", data="AAAA")


def file(n: int) -> Media:
    return Media("file", "text/plain", data=f"{n:04}", name=f"{n}.txt")


async def opened(threads: Threads, ask: AgentAsk, history: int) -> Thread:
    """What the next turn would begin with."""
    async with threads.open(ORG, ask, AGENT, history=history) as thread:
        return thread


async def failed(store: Store, threads: Threads, ask: AgentAsk) -> str:
    async with threads.open(ORG, ask, AGENT) as thread:
        error = TimedOut("no answer", phase="total")
        await store.ledger.commit(*thread.begins("r"), *thread.failed(error, "r"))
        return thread.conversation


def counted(store: Store) -> list[int]:
    """Rows of each statement that reads messages from now on."""
    rows: list[int] = []
    for name in ("read", "look_up"):
        inner = getattr(store.db, name)

        async def reading(sql: str, *args: Any, inner: Any = inner) -> Any:
            found = await inner(sql, *args)
            if "FROM messages" in sql:
                rows.append(len(found))
            return found

        setattr(store.db, name, reading)
    return rows


@pytest.mark.parametrize("history", [1, 4, 200])
def test_files_and_documents_stay_in_sight_however_much_was_said_since(tmp_path: Path, history: int):
    async def test(store: Store, threads: Threads) -> None:
        first = AgentAsk(text="see", media=(NOTE, PICTURE), document_ids=("doc_1",), thread="t")
        id, _, _ = await turn(store, threads, first)
        for n in range(110):
            await turn(store, threads, AgentAsk(text=str(n), conversation=id))
        thread = await opened(threads, AgentAsk(text="and now?", conversation=id), history)
        assert (thread.files, thread.documents) == ((NOTE,), ("doc_1",))
        assert len(thread.history) == history

    with_threads(tmp_path, test)


def test_of_what_was_given_the_ten_newest_stay_each_once_without_what_is_asked_with_now(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id = ""
        for n in range(15):
            ask = AgentAsk(
                text="x", media=(file(n), file(n), NOTE), document_ids=(f"doc_{n}", "doc_x"), conversation=id
            )
            id, _, _ = await turn(store, threads, ask)
        for n in range(3):
            await turn(store, threads, AgentAsk(text="x", conversation=id, document_ids=(f"doc_new{n}",)))
        thread = await opened(threads, AgentAsk(text="y", conversation=id, document_ids=("doc_14",)), 4)
        assert thread.files == (*(file(n) for n in range(6, 15)), NOTE)
        kept = (*(f"doc_{n}" for n in range(8, 14)), "doc_x", "doc_new0", "doc_new1", "doc_new2")
        assert thread.documents == kept

    with_threads(tmp_path, test)


def test_a_message_that_is_replaced_or_answered_anew_has_what_was_given_before_it(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, first, _ = await turn(store, threads, AgentAsk(text="one", media=(NOTE,), document_ids=("doc_1",)))
        await turn(store, threads, AgentAsk(text="two", conversation=id))
        _, third, _ = await turn(store, threads, AgentAsk(text="three", conversation=id))
        for n in range(5):
            await turn(
                store, threads, AgentAsk(text=str(n), conversation=id, media=(file(n),), document_ids=("doc_2",))
            )
        for ask in (AgentAsk(text="three b", conversation=id, edit=third), AgentAsk(conversation=id, regenerate=third)):
            thread = await opened(threads, ask, 2)
            assert [text_of(one.parts) for one in thread.history] == ["two", "re: two"]
            assert (thread.files, thread.documents, thread.seq) == ((NOTE,), ("doc_1",), 16)
        thread = await opened(threads, AgentAsk(text="one b", conversation=id, edit=first), 2)
        assert (thread.history, thread.files, thread.documents) == ((), (), ())

    with_threads(tmp_path, test)


def test_without_a_history_and_for_a_transcript_nothing_stays(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="one", media=(NOTE,), document_ids=("doc_1",)))
        await turn(store, threads, AgentAsk(text="two", conversation=id))
        thread = await opened(threads, AgentAsk(text="three", conversation=id), 0)
        assert (thread.history, thread.files, thread.documents) == ((), (), ())
        said = (Message("user", (Text("hi"),)),)
        thread = await opened(threads, AgentAsk(messages=said, conversation=id), 2)
        assert (thread.files, thread.documents) == ((), ())

    with_threads(tmp_path, test)


def test_a_turn_reads_no_more_than_it_may_show(tmp_path: Path):
    """And of a thread that is shown whole nothing is looked for besides."""

    async def test(store: Store, threads: Threads) -> None:
        id = ""
        for n in range(30):
            id, last, _ = await turn(store, threads, AgentAsk(text=str(n), conversation=id))
        rows = counted(store)
        for ask, history, read in (
            (AgentAsk(text="x", conversation=id), 200, [60]),
            (AgentAsk(text="x", conversation=id), 60, [60]),
            (AgentAsk(text="x", conversation=id), 4, [4, 0]),
            (AgentAsk(text="x", conversation=id), 1, [1, 0]),
            (AgentAsk(conversation=id, regenerate=last), 4, [1, 1, 5, 1, 0]),
        ):  # fmt: skip
            rows.clear()
            assert len((await opened(threads, ask, history)).history) == min(history, 60)
            assert rows == read, (ask, history)

    with_threads(tmp_path, test)


def test_what_a_model_is_not_shown_takes_no_place_of_what_it_is(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="one", thread="t"))
        async with threads.open(ORG, AgentAsk(text="a bomb?", conversation=id), AGENT) as thread:
            await store.ledger.commit(*thread.begins("r"), *thread.ends(Outcome("No.", blocked="rude", rounds=0), "r"))
        await failed(store, threads, AgentAsk(text="two", conversation=id))
        thread = await opened(threads, AgentAsk(text="x", conversation=id), 3)
        assert [text_of(one.parts) for one in thread.history] == ["one", "re: one", "two"]

    with_threads(tmp_path, test)


def test_a_thread_is_named_with_its_first_answer_also_where_only_a_message_is_shown(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id = ""
        for text in ("first", "second", "third"):
            id = await failed(store, threads, AgentAsk(text=text, conversation=id))
        assert (await opened(threads, AgentAsk(text="fourth", conversation=id), 1)).unnamed == "first"
        await turn(store, threads, AgentAsk(text="fourth", conversation=id))
        for text in ("first", "fifth"):
            await failed(store, threads, AgentAsk(text=text, conversation=id))
            assert (await opened(threads, AgentAsk(text="first", conversation=id), 1)).unnamed == ""

    with_threads(tmp_path, test)


def test_a_message_of_another_face_is_answered_anew_behind_the_one_before_it_though_none_is_shown(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="one"))
        answer = (await store.org(ORG).threads.all_messages(id))[1].id
        other = MessageAdded("msg_o", ORG, None, 2, "user", b"{}", 1.0, id, "openai_chat")
        await store.ledger.commit(other)
        for history in (0, 1, 200):
            thread = await opened(threads, AgentAsk(text="b", conversation=id, edit="msg_o"), history)
            assert thread.parent == answer

    with_threads(tmp_path, test)
