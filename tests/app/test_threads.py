from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from midstream.app.supervisor import Supervisor
from midstream.app.threads import Threads
from midstream.app.turnstile import Turnstile
from midstream.core.agents import AgentAsk
from midstream.core.errors import BadRequest, Conflict, NotFound, StoreDown, TimedOut
from midstream.core.outcome import Outcome, Step
from midstream.core.parts import Media, Message, Native, Text, text_of
from midstream.core.usage import Usage
from midstream.store import Store, open_store
from midstream.store.ledger import MessageAdded
from midstream.store.rows import MessageDetail
from midstream.store.threads import ThreadStore

from ..postgres import Server, postgres

ORG, AGENT = "org_default", "agt_1"


def _read(spoken: Message | Native) -> tuple[Message, ...]:
    return (spoken,) if isinstance(spoken, Message) else (Message("user", (Text("in other words"),)),)


class Time:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def threads_of(store: Store, unsettled: Callable[[str], bool] = lambda id: False) -> Threads:
    return Threads(store, Turnstile(), _read, unsettled, Time(), Supervisor(time.monotonic))


def with_threads(tmp_path: Path, test: Callable[[Store, Threads], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await open_store(f"sqlite:///{tmp_path}/m.db", worker="test")
        try:
            await asyncio.wait_for(test(store, threads_of(store)), 20)
        finally:
            await store.close()

    asyncio.run(run())


async def turn(store: Store, threads: Threads, ask: AgentAsk, answer: str | None = None) -> tuple[str, str, list[str]]:
    """(conversation, message, what the model was shown before it)."""
    async with threads.open(ORG, ask, AGENT) as thread:
        await store.ledger.commit(*thread.begins("run_1"))
        shown = [text_of(message.parts) for message in thread.history]
        await store.ledger.commit(*thread.ends(Outcome(answer or f"re: {thread.ask.text}"), "run_1"))
        return thread.conversation, thread.message, shown


async def line(store: Store, conversation: str) -> list[str]:
    org = store.org(ORG).threads
    return [
        text_of(one.spoken().parts)  # type: ignore[union-attr]
        for one in (await org.line(await org.thread(conversation), 100)).messages
    ]


def test_a_turn_without_a_thread_makes_one_and_names_it(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        async with threads.open(ORG, AgentAsk(text="Explain  pods\nnow"), AGENT) as thread:
            assert thread.thread == thread.sub_thread == thread.conversation
            await store.ledger.commit(*thread.begins("run_1"))
            row = await store.org(ORG).threads.thread(thread.conversation)
            assert (row.title, row.agent_id, row.thread_id) == ("Explain pods now", AGENT, thread.thread)
            assert row.current_id == thread.message
        _, _, shown = await turn(store, threads, AgentAsk(text="more", thread=thread.thread))
        assert shown == ["Explain  pods\nnow"]

    with_threads(tmp_path, test)


def test_two_sub_threads_of_one_thread_never_see_each_other(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        one, _, _ = await turn(store, threads, AgentAsk(text="a", thread="t", sub_thread="s1"))
        two, _, shown = await turn(store, threads, AgentAsk(text="b", thread="t", sub_thread="s2"))
        assert one != two
        assert shown == []
        _, _, shown = await turn(store, threads, AgentAsk(text="c", thread="t", sub_thread="s1"))
        assert shown == ["a", "re: a"]
        own, _, _ = await turn(store, threads, AgentAsk(text="d", thread="t"))
        same, _, shown = await turn(store, threads, AgentAsk(text="e", thread="t", sub_thread="t"))
        assert own == same
        assert shown == ["d", "re: d"]

    with_threads(tmp_path, test)


def test_a_users_message_is_stored_before_the_model_is_asked_and_the_answer_with_its_facts(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        picture = Media("image", "image/png", data="AAAA", name="a.png")
        async with threads.open(ORG, AgentAsk(text="hi", media=(picture,), user="u1"), AGENT) as thread:
            await store.ledger.commit(*thread.begins("run_1"))
            org = store.org(ORG).threads
            said = await org.message(thread.conversation, thread.message)
            assert said.spoken() == Message("user", (picture, Text("hi")))
            assert said.run_id == "run_1"
            detail = MessageDetail(attachments=({"kind": "image", "name": "a.png", "mime": "image/png"},), user="u1")
            assert _detail(said.detail) == detail
            step = Step("c1", "lookup", {"a": 1}, "ok", "found")
            outcome = Outcome(
                "hello", model="m", service="s", usage=Usage(uncached_in=3, cache_read=2, out_text=4), cost="0.01",
                steps=(step,), rounds=2, fallback=True, first_error="503",
            )  # fmt: skip
            configuration = {"model": "m", "temperature": 0.5}
            await store.ledger.commit(*thread.ends(outcome, "run_1", version="ver_1", configuration=configuration))
            answer = await org.message(thread.conversation, thread.answer)
            assert answer.parent_id == thread.message
            assert answer.seq == said.seq + 1
            found = _detail(answer.detail)
            assert found.usage["input_tokens"] == 5
            assert found.usage["cached_tokens"] == 2
            assert (found.cost, found.tools_data, found.iterations) == ("0.01", (step,), 2)
            assert (found.configuration, found.version_id) == (configuration, "ver_1")
            assert (found.fallback, found.first_error) == (True, "503")
        _, _, shown = await turn(store, threads, AgentAsk(text="x", conversation=thread.conversation))
        assert shown == ["hi", "hello"]

    with_threads(tmp_path, test)


def _detail(detail: bytes | None) -> MessageDetail:
    return msgspec.json.decode(detail or b"", type=MessageDetail)


def test_records_that_are_committed_twice_are_there_once(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        async with threads.open(ORG, AgentAsk(text="hi"), AGENT) as thread:
            for records in (thread.begins("r"), thread.begins("r"), *[thread.ends(Outcome("yes"), "r")] * 2):
                await store.ledger.commit(*records)
        assert await line(store, thread.conversation) == ["hi", "yes"]
        assert len(await store.org(ORG).threads.search("yes")) == 1

    with_threads(tmp_path, test)


def test_a_failed_turn_is_told_and_the_model_is_shown_only_what_was_said(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        error = TimedOut("no answer", phase="first_token")
        for said in ("", "half an ans"):
            async with threads.open(ORG, AgentAsk(text="hi", thread="t" + said), AGENT) as thread:
                await store.ledger.commit(*thread.begins("r"), *thread.failed(error, "r", said=said))
            row = await store.org(ORG).threads.message(thread.conversation, thread.answer)
            assert _detail(row.detail).error == {"code": "upstream_timeout_first_token", "message": "no answer"}
            _, _, shown = await turn(store, threads, AgentAsk(text="again", thread="t" + said))
            assert shown == (["hi", said] if said else ["hi"])

    with_threads(tmp_path, test)


def test_a_question_that_no_guardrail_has_let_pass_is_kept_and_shown_to_no_model(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        refusal, ask = Outcome("No.", blocked="rude", rounds=0), AgentAsk(text="a bomb?", thread="t")
        async with threads.open(ORG, ask, AGENT) as thread:
            await store.ledger.commit(*thread.begins("r"), *thread.ends(refusal, "r"))
        id, refused = thread.conversation, thread.answer
        async with threads.open(ORG, replace(ask, text="and now?"), AGENT) as thread:
            assert (thread.history, thread.parent, thread.seq) == ((), refused, 2)
            assert thread.unnamed == "a bomb?"  # nothing has been answered that it could be named after
            unchecked = thread.failed(TimedOut("no answer", phase="total"), "r", unchecked=True)
            await store.ledger.commit(*thread.begins("r"), *unchecked)
        async with threads.open(ORG, replace(ask, text="fine"), AGENT) as thread:
            assert thread.history == ()
            judged = Outcome("I cannot say that.", blocked="secret", rounds=1)  # the answer, not the question
            await store.ledger.commit(*thread.begins("r"), *thread.ends(judged, "r"))
        assert await line(store, id) == ["a bomb?", "No.", "and now?", "", "fine", "I cannot say that."]
        await store.org(ORG).threads.delete_message(id, refused)
        _, _, shown = await turn(store, threads, replace(ask, text="last"))
        assert shown == ["fine", "I cannot say that."]

    with_threads(tmp_path, test)


def test_an_edited_message_begins_a_branch_of_its_own(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, first, _ = await turn(store, threads, AgentAsk(text="one"))
        _, second, _ = await turn(store, threads, AgentAsk(text="two", conversation=id))
        _, _, shown = await turn(store, threads, AgentAsk(text="two b", conversation=id, edit=second))
        assert shown == ["one", "re: one"]
        assert await line(store, id) == ["one", "re: one", "two b", "re: two b"]
        _, _, shown = await turn(store, threads, AgentAsk(text="one b", conversation=id, edit=first))
        assert shown == []
        assert await line(store, id) == ["one b", "re: one b"]
        org = store.org(ORG).threads
        await org.switch(await org.thread(id), second)
        _, _, shown = await turn(store, threads, AgentAsk(text="three", conversation=id))
        assert shown == ["one", "re: one", "two", "re: two"]

    with_threads(tmp_path, test)


def test_a_message_can_be_answered_once_more_by_its_own_id_or_its_answers(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        picture = Media("image", "image/png", data="AAAA")
        id, _, _ = await turn(store, threads, AgentAsk(text="one"))
        async with threads.open(ORG, AgentAsk(text="two", media=(picture,), conversation=id), AGENT) as thread:
            await store.ledger.commit(*thread.begins(), *thread.ends(Outcome("an answer")))
        for named in (thread.message, thread.answer):
            async with threads.open(ORG, AgentAsk(conversation=id, regenerate=named), AGENT) as again:
                assert (again.ask.text, again.ask.media) == ("two", (picture,))
                assert again.message == thread.message
                assert [text_of(one.parts) for one in again.history] == ["one", "re: one"]
                await store.ledger.commit(*again.begins(), *again.ends(Outcome("another")))
            assert await line(store, id) == ["one", "re: one", "two", "another"]
        assert len(await store.org(ORG).threads.all_messages(id)) == 6

    with_threads(tmp_path, test)


def test_a_turn_that_goes_on_after_its_server_died_finds_its_message(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        await turn(store, threads, AgentAsk(text="one", thread="t"))
        ask = AgentAsk(text="two", thread="t")
        for _ in range(2):
            async with threads.open(ORG, ask, AGENT, message="msg_promised") as thread:
                assert thread.message == "msg_promised"
                assert [text_of(one.parts) for one in thread.history] == ["one", "re: one"]
                await store.ledger.commit(*thread.begins())
        await store.ledger.commit(*thread.ends(Outcome("done")))
        assert await line(store, thread.conversation) == ["one", "re: one", "two", "done"]

    with_threads(tmp_path, test)


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="one"))
        answer = (await store.org(ORG).threads.all_messages(id))[1].id
        for kind, ask in (
            (NotFound, AgentAsk(text="x", conversation="conv_nobody")),
            (NotFound, AgentAsk(text="x", conversation=id, edit="msg_nobody")),
            (NotFound, AgentAsk(conversation=id, regenerate="msg_nobody")),
            (NotFound, AgentAsk(regenerate="msg_nobody")),
            (BadRequest, AgentAsk(text="x", conversation=id, edit=answer)),
            (BadRequest, AgentAsk(text="x", conversation=id, edit=answer, regenerate=answer)),
            (BadRequest, AgentAsk(text="x", thread="t" * 201)),
            (BadRequest, AgentAsk(text="x", sub_thread="t" * 201)),
        ):
            with pytest.raises(kind):
                async with threads.open(ORG, ask, AGENT):
                    pass
        with pytest.raises(NotFound):
            async with threads.open("org_b", AgentAsk(text="x", conversation=id), AGENT):
                pass
        assert not threads._turns
        assert await line(store, id) == ["one", "re: one"]
        assert await threads.agent_of(ORG, id) == AGENT

    with_threads(tmp_path, test)


def test_of_a_playground_and_of_a_transcript_nothing_is_kept(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        transcript = (Message("user", (Text("hi"),)),)
        for ask in (AgentAsk(text="x", playground=True, thread="t"), AgentAsk(messages=transcript)):
            async with threads.open(ORG, ask, AGENT) as thread:
                assert thread.message.startswith("msg_")
                assert not thread.kept
                assert thread.begins() == thread.ends(Outcome("y")) == thread.failed(NotFound("z")) == ()
        assert await store.org(ORG).threads.threads() == []

    with_threads(tmp_path, test)


def test_turns_of_one_conversation_come_one_after_the_other_in_order(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="0", thread="t"))
        asks = [
            AgentAsk(text=str(n), thread="t") if n % 2 else AgentAsk(text=str(n), conversation=id) for n in range(1, 9)
        ]
        await asyncio.gather(*(turn(store, threads, ask) for ask in asks))
        said = await line(store, id)
        assert len(said) == 18
        assert all(said[at + 1] == f"re: {said[at]}" for at in range(0, 18, 2))
        assert not threads._turns

    with_threads(tmp_path, test)


def test_who_does_not_wait_is_told_that_another_turn_is_under_way(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="0"))
        async with threads.open(ORG, AgentAsk(text="1", conversation=id), AGENT):
            with pytest.raises(Conflict) as refused:
                async with threads.open(ORG, AgentAsk(text="2", conversation=id, wait=False), AGENT):
                    pass
            assert refused.value.code == "conversation_busy"
        async with threads.open(ORG, AgentAsk(text="2", conversation=id, wait=False), AGENT):
            pass

    with_threads(tmp_path, test)


def test_who_gives_up_waiting_holds_nobody(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="0"))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(threads.open(ORG, AgentAsk(text="1", conversation=id), AGENT))
            waiting = asyncio.create_task(turn(store, threads, AgentAsk(text="2", conversation=id)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        await turn(store, threads, AgentAsk(text="3", conversation=id))
        assert await line(store, id) == ["0", "re: 0", "3", "re: 3"]
        assert not threads._turns

    with_threads(tmp_path, test)


def test_while_a_turns_end_is_still_to_be_written_the_next_is_refused(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, _, _ = await turn(store, threads, AgentAsk(text="0"))
        held = threads_of(store, lambda conversation: conversation == id)
        with pytest.raises(StoreDown):
            async with held.open(ORG, AgentAsk(text="1", conversation=id), AGENT):
                pass

    with_threads(tmp_path, test)


def test_a_message_of_another_face_is_history_too_and_so_are_answers_pictures(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        async with threads.open(ORG, AgentAsk(text="0"), AGENT) as thread:
            image = Media("image", "image/png", data="AAAA")
            await store.ledger.commit(*thread.begins(), *thread.ends(Outcome("see", images=(image,))))
        other = MessageAdded("msg_o", ORG, None, 2, "user", b"{}", 1.0, thread.conversation, "openai_chat")
        await store.ledger.commit(other)
        async with threads.open(ORG, AgentAsk(text="1", conversation=thread.conversation), AGENT) as thread:
            assert [one.parts for one in thread.history] == [
                (Text("0"),), (Text("see"), image), (Text("in other words"),),
            ]  # fmt: skip
            assert (thread.parent, thread.seq) == ("msg_o", 3)

    with_threads(tmp_path, test)


@pytest.mark.parametrize("most", [1, 3, 400])
def test_the_history_is_as_long_as_it_is_asked_to_be(tmp_path: Path, most: int):
    async def test(store: Store, threads: Threads) -> None:
        id = ""
        for n in range(3):
            id, _, _ = await turn(store, threads, AgentAsk(text=str(n), conversation=id))
        async with threads.open(ORG, AgentAsk(text="x", conversation=id), AGENT, history=most) as thread:
            assert len(thread.history) == min(most, 6)

    with_threads(tmp_path, test)


# several servers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


def test_servers_that_share_a_database_take_turns_too(server: Server):
    url = server.create()

    async def run() -> None:
        stores = [await open_store(url, worker=str(n)) for n in range(2)]
        try:
            both = [threads_of(store) for store in stores]
            await turn(stores[0], both[0], AgentAsk(text="0", thread="t"))
            asks = [AgentAsk(text=str(n), thread="t") for n in range(1, 7)]
            await asyncio.gather(*(turn(stores[n % 2], both[n % 2], ask) for n, ask in enumerate(asks)))
            id = (await stores[0].org(ORG).threads.threads())[0].id
            said = await line(stores[1], id)
            assert len(said) == 14
            assert all(said[at + 1] == f"re: {said[at]}" for at in range(0, 14, 2))
            async with both[0].open(ORG, AgentAsk(text="x", conversation=id), AGENT):
                with pytest.raises(Conflict):
                    async with both[1].open(ORG, AgentAsk(text="y", conversation=id, wait=False), AGENT):
                        pass
            assert await stores[0].db.read("SELECT * FROM conversation_turns") == []
        finally:
            for store in stores:
                await store.close()

    asyncio.run(asyncio.wait_for(run(), 40))
    server.drop(url)


def test_a_message_is_answered_anew_with_the_documents_and_variables_that_it_was_asked_with(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        asked = AgentAsk(text="code?", document_ids=("doc_1",), variables={"name": "Ada"})
        id, message, _ = await turn(store, threads, asked)
        answer = (await store.org(ORG).threads.all_messages(id))[1].id
        for named in (message, answer):
            async with threads.open(ORG, AgentAsk(conversation=id, regenerate=named), AGENT) as again:
                assert (again.ask.document_ids, again.ask.variables) == (("doc_1",), {"name": "Ada"})
                assert again.documents == ("doc_1",)
        ask = AgentAsk(conversation=id, regenerate=answer, document_ids=("doc_2",), variables={"name": "Bob"})
        async with threads.open(ORG, ask, AGENT) as again:
            assert (again.ask.document_ids, again.ask.variables) == (("doc_2",), {"name": "Bob"})
            assert again.documents == ()

    with_threads(tmp_path, test)


def test_a_message_is_answered_anew_without_the_documents_and_variables_that_are_given_as_empty(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        asked = AgentAsk(text="code?", document_ids=("doc_1",), variables={"name": "Ada"})
        id, message, _ = await turn(store, threads, asked)
        for emptied, documents, variables in (
            (("document_ids",), (), {"name": "Ada"}),
            (("variables",), ("doc_1",), {}),
            (("document_ids", "variables"), (), {}),
        ):
            ask = AgentAsk(conversation=id, regenerate=message, emptied=emptied)
            async with threads.open(ORG, ask, AGENT) as again:
                assert (again.ask.document_ids, again.ask.variables) == (documents, variables), emptied
                assert again.documents == documents, emptied

    with_threads(tmp_path, test)


def test_documents_that_were_attached_stay_in_sight_with_what_follows_them(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, first, _ = await turn(store, threads, AgentAsk(text="one", document_ids=("doc_1", "doc_2")))
        await turn(store, threads, AgentAsk(text="two", conversation=id, document_ids=("doc_3",)))
        ask = AgentAsk(text="three", conversation=id, document_ids=("doc_2",))
        async with threads.open(ORG, ask, AGENT) as thread:
            assert (thread.documents, thread.ask.document_ids) == (("doc_1", "doc_3"), ("doc_2",))
        async with threads.open(ORG, ask, AGENT, history=2) as thread:
            assert thread.documents == ("doc_1", "doc_3")
        async with threads.open(ORG, ask, AGENT, history=0) as thread:
            assert thread.documents == ()
        async with threads.open(ORG, AgentAsk(text="one b", conversation=id, edit=first), AGENT) as thread:
            assert thread.documents == ()

    with_threads(tmp_path, test)


def test_a_turn_that_is_under_way_at_a_reset_belongs_to_what_was_said_before_it(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        org = store.org(ORG).threads
        for begun in (True, False):  # its question may come after the reset, too
            id, _, _ = await turn(store, threads, AgentAsk(text="one"))
            async with threads.open(ORG, AgentAsk(text="two", conversation=id), AGENT) as late:
                if begun:
                    await store.ledger.commit(*late.begins("run_1"))
                await org.reset(id)
                if not begun:
                    await store.ledger.commit(*late.begins("run_1"))
                await store.ledger.commit(*late.ends(Outcome("late"), "run_1"))
            assert await line(store, id) == []
            assert await org.branches(await org.thread(id)) == []
            _, _, shown = await turn(store, threads, AgentAsk(text="three", conversation=id))
            assert shown == []
            _, _, shown = await turn(store, threads, AgentAsk(text="four", conversation=id))
            assert shown == ["three", "re: three"]
            assert await line(store, id) == ["three", "re: three", "four", "re: four"]
            assert len(await org.all_messages(id)) == 8

    with_threads(tmp_path, test)


def test_a_turn_that_goes_on_after_a_reset_belongs_to_what_was_said_before_it(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        await turn(store, threads, AgentAsk(text="one", thread="t"))
        ask = AgentAsk(text="two", thread="t")
        async with threads.open(ORG, ask, AGENT, message="msg_promised") as cut:
            await store.ledger.commit(*cut.begins("run_1"))
        await store.org(ORG).threads.reset(cut.conversation)
        async with threads.open(ORG, ask, AGENT, message="msg_promised") as again:
            await store.ledger.commit(*again.begins("run_1"), *again.ends(Outcome("late"), "run_1"))
        _, _, shown = await turn(store, threads, AgentAsk(text="three", thread="t"))
        assert shown == []

    with_threads(tmp_path, test)


def test_a_message_from_before_a_reset_is_neither_replaced_nor_answered_anew(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        id, question, _ = await turn(store, threads, AgentAsk(text="one"))
        answer = (await store.org(ORG).threads.all_messages(id))[1].id
        await store.org(ORG).threads.reset(id)
        for ask, named in (
            (AgentAsk(conversation=id, regenerate=question), question),
            (AgentAsk(conversation=id, regenerate=answer), answer),
            (AgentAsk(text="one b", conversation=id, edit=question), question),
        ):
            with pytest.raises(NotFound, match=f"no such message: {named}"):
                async with threads.open(ORG, ask, AGENT):
                    pass
        _, later, _ = await turn(store, threads, AgentAsk(text="two", conversation=id))
        await turn(store, threads, AgentAsk(text="two b", conversation=id, edit=later))
        assert await line(store, id) == ["two b", "re: two b"]

    with_threads(tmp_path, test)


def test_a_turn_of_attachments_alone_has_the_name_or_kind_of_the_first_as_its_title(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        for name, thread, title in (("a  b.png", "", "a b.png"), (None, "", "image"), (None, "t", "image")):
            picture = Media("image", "image/png", data="AAAA", name=name)
            ask = AgentAsk(media=(picture, picture), thread=thread)
            async with threads.open(ORG, ask, AGENT) as opened:
                await store.ledger.commit(*opened.begins())
            assert (opened.title, opened.unnamed) == (title, title)
            assert (await store.org(ORG).threads.thread(opened.conversation)).title == title

    with_threads(tmp_path, test)


def test_turns_at_several_servers_are_made_first_come_first_served(server: Server):
    url = server.create()

    async def run() -> None:
        stores = [await open_store(url, worker=str(n)) for n in range(2)]
        try:
            both = [threads_of(store) for store in stores]
            await turn(stores[0], both[0], AgentAsk(text="begun", thread="t"))
            order: list[int] = []

            async def one(n: int, at: int, seconds: float) -> None:
                async with both[at].open(ORG, AgentAsk(text=str(n), thread="t"), AGENT):
                    order.append(n)
                    await asyncio.sleep(seconds)

            async with asyncio.TaskGroup() as group:
                for n, at in enumerate((0, 1, 0, 0, 1, 0, 1, 1)):
                    group.create_task(one(n, at, 0.02 if n else 1.2))
                    await asyncio.sleep(0.12)
            assert order == list(range(8))
            assert await stores[0].db.read("SELECT * FROM turn_tickets") == []
            assert await stores[0].db.read("SELECT * FROM conversation_turns") == []
        finally:
            for store in stores:
                await store.close()

    asyncio.run(asyncio.wait_for(run(), 40))
    server.drop(url)


def test_a_free_conversation_costs_one_statement_among_servers(server: Server, monkeypatch: pytest.MonkeyPatch):
    url = server.create()
    asked: list[str] = []
    monkeypatch.setattr(ThreadStore, "ticket", lambda *_: asked.append("ticket"))

    async def run() -> None:
        store = await open_store(url, worker="1")
        try:
            threads = threads_of(store)
            for text in ("one", "two"):
                await turn(store, threads, AgentAsk(text=text, thread="t"))
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(run(), 40))
    server.drop(url)
    assert asked == []


@pytest.mark.parametrize("how", ["asked", "edited", "answered anew"])
@pytest.mark.parametrize("failed", [False, True])
def test_a_turn_that_ends_late_does_not_take_the_conversation_from_the_one_that_went_on(
    tmp_path: Path, how: str, failed: bool
):
    """As when a server stood still for longer than its turn was kept for it."""

    async def test(store: Store, threads: Threads) -> None:
        id, first, _ = await turn(store, threads, AgentAsk(text="one"))
        more = {"edit": first} if how == "edited" else {"regenerate": first} if how == "answered anew" else {}
        ask = AgentAsk(text="" if "regenerate" in more else "late", conversation=id, **more)
        async with threads.open(ORG, ask, AGENT) as late:
            await store.ledger.commit(*late.begins("run_late"))
            _, _, shown = await turn(store, threads_of(store), AgentAsk(text="next", conversation=id))
            went_on = await line(store, id)
            assert went_on == [*shown, "next", "re: next"]
            error = TimedOut("too late", phase="total")
            ends = late.failed(error, "run_late") if failed else late.ends(Outcome("late answer"), "run_late")
            await store.ledger.commit(*ends)
        assert await line(store, id) == went_on
        _, _, shown = await turn(store, threads, AgentAsk(text="more", conversation=id))
        assert shown == went_on
        org = store.org(ORG).threads
        assert late.answer in {one.id for one in await org.all_messages(id)}
        await org.switch(await org.thread(id), late.answer)
        assert (await line(store, id))[-1] == ("" if failed else "late answer")

    with_threads(tmp_path, test)


def test_a_branch_that_is_chosen_while_a_turn_goes_on_stays_chosen(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        org = store.org(ORG).threads
        id, first, _ = await turn(store, threads, AgentAsk(text="one"))
        await turn(store, threads, AgentAsk(text="one b", conversation=id, edit=first))
        for ask in (AgentAsk(text="two", conversation=id), AgentAsk(conversation=id, regenerate=first)):
            async with threads.open(ORG, ask, AGENT) as thread:
                await store.ledger.commit(*thread.begins())
                chosen = (await org.thread(id)).current_id
                await org.switch(await org.thread(id), first)
                await store.ledger.commit(*thread.ends(Outcome("an answer")))
            assert await line(store, id) == ["one", "re: one"]
            assert chosen is not None
            await org.switch(await org.thread(id), chosen)

    with_threads(tmp_path, test)


def test_the_number_behind_a_question_is_its_answers_also_where_another_turn_or_a_reset_comes_between(tmp_path: Path):
    async def test(store: Store, threads: Threads) -> None:
        org = store.org(ORG).threads
        id, _, _ = await turn(store, threads, AgentAsk(text="one"))
        async with threads.open(ORG, AgentAsk(text="late", conversation=id), AGENT) as late:
            await store.ledger.commit(*late.begins())
            await turn(store, threads_of(store), AgentAsk(text="two", conversation=id))
            await store.ledger.commit(*late.ends(Outcome("late answer")))
        numbers = [one.seq for one in await org.all_messages(id)]
        assert numbers == list(range(6))
        async with threads.open(ORG, AgentAsk(text="late", conversation=id), AGENT) as late:
            await store.ledger.commit(*late.begins())
            await org.reset(id)
            await turn(store, threads_of(store), AgentAsk(text="three", conversation=id))
            await store.ledger.commit(*late.ends(Outcome("late answer")))
        assert await line(store, id) == ["three", "re: three"]
        assert [one.seq for one in await org.all_messages(id)] == list(range(10))

    with_threads(tmp_path, test)
