"""Opening a conversation for one turn of an agent: its place in line, its history, and what the turn adds to it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.agents import AgentAsk
from ..core.errors import BadRequest, MidstreamError, NotFound, StoreDown
from ..core.ids import new_id
from ..core.outcome import Outcome
from ..core.parts import Media, Message, Part, Text, text_of
from ..store import Store
from ..store.branches import Line
from ..store.ledger import ConversationAdded, ConversationMoved, MessageAdded, MessageWords, Record
from ..store.reading import missing
from ..store.rows import MessageDetail, ThreadMessage, ThreadRow
from ..store.searching import MAX_TEXT
from ..store.threads import ThreadStore
from .places import PLAIN, Places, Standing
from .supervisor import Supervisor
from .thread_messages import Read, asked_again, described, documents_of, given_before, said_by, says, title_of
from .turnstile import Turnstile

logger = logging.getLogger("midstream.threads")

#: Characters of a thread's name.
NAME = 200
#: Messages of the history, unless another number is asked for.
HISTORY = 200
#: In place of the number of a first message: the turn began before the last reset.
BEFORE = -2

_encode = msgspec.json.Encoder().encode


class Thread(Struct, frozen=True):
    """A conversation during one turn. conversation: its id, "" when nothing of the turn is kept. history: what was
    said before, oldest first, without what no model is shown. message: id of the user's message; parent: of the one it
    follows ("" = none). answer: the id that the answer will have. ask: what was asked, with the message's text where
    an earlier one is answered anew, and with the names of the thread. documents: ids of those that were attached
    before, oldest first. files: what users gave before the history begins, the newest, oldest first. since: number of
    the first message after the last reset, -1 = there was none. made: the conversation is stored with the turn's
    beginning. again: the user's message is stored already, and the conversation stands at `at` ("" = at its newest
    message) until it is answered. opening: what its user said first, shown to a model or not."""

    org: str
    conversation: str
    thread: str
    sub_thread: str
    title: str
    history: tuple[Message, ...]
    message: str
    answer: str
    parent: str
    seq: int
    ask: AgentAsk
    agent: str
    now: Callable[[], float]
    documents: tuple[str, ...] = ()
    files: tuple[Media, ...] = ()
    since: int = -1
    made: bool = False
    again: bool = False
    at: str = ""
    opening: str = ""

    @property
    def kept(self) -> bool:
        return bool(self.conversation)

    @property
    def unnamed(self) -> str:
        """Its title, when that is no more than its first words and nothing has been answered yet; a refusal is no
        answer."""
        first = next((one for one in self.history if one.role == "user"), said_by(self.ask))
        media = [part for part in first.parts if isinstance(part, Media)]
        words = title_of(self.opening or text_of(first.parts), media)
        answered = any(one.role == "assistant" for one in self.history)
        return self.title if self.kept and not answered and self.title == words else ""

    def begins(self, run: str | None = None) -> tuple[Record, ...]:
        """The records that must be durable before the model is asked. run: its id."""
        if not self.conversation:
            return ()
        now, records = self.now(), list[Record]()
        if self.made:
            records.append(
                ConversationAdded(
                    id=self.conversation,
                    org_id=self.org,
                    created_at=now,
                    title=self.title,
                    agent_id=self.agent,
                    thread_id=self.thread,
                    sub_thread_id=self.sub_thread,
                )
            )
        if self.again:
            return tuple(records)
        said, ask = said_by(self.ask), self.ask
        detail = MessageDetail(
            attachments=tuple(described(one) for one in ask.media),
            document_ids=ask.document_ids,
            variables=ask.variables,
            user=ask.user,
        )
        records.append(self._message(self.message, "user", said, self.seq, self.parent, run, detail, now))
        records += self._words(self.message, self.ask.text)
        records.append(ConversationMoved(self.conversation, self.org, self.message, now, self.seq, self.since))
        return tuple(records)

    def ends(
        self,
        outcome: Outcome,
        run: str | None = None,
        *,
        version: str = "",
        configuration: Mapping[str, Any] | None = None,
    ) -> tuple[Record, ...]:
        """The records of a turn that came to its end. configuration: what the model was asked with."""
        usage = outcome.usage
        detail = MessageDetail(
            agent_id=self.agent,
            model=outcome.model,
            service=outcome.service,
            version_id=version,
            finish_reason=outcome.stop,
            native_finish_reason=outcome.native_stop,
            iterations=outcome.rounds,
            usage={
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "cached_tokens": usage.cached_tokens,
                "reasoning_tokens": usage.out_reasoning,
            },
            cost=outcome.cost,
            tools_data=outcome.steps,
            configuration=dict(configuration or {}),
            missing=outcome.missing,
            dropped=outcome.dropped,
            fallback=outcome.fallback,
            first_error=outcome.first_error,
            blocked=outcome.blocked,
        )
        return self._answered(outcome.text, outcome.images, detail, run)

    def failed(
        self,
        error: MidstreamError,
        run: str | None = None,
        *,
        said: str = "",
        version: str = "",
        configuration: Mapping[str, Any] | None = None,
        unchecked: bool = False,
    ) -> tuple[Record, ...]:
        """The records of a turn that failed or was stopped. said: what the user has seen of an answer. unchecked: what
        was asked had not passed its guardrails yet."""
        detail = MessageDetail(
            agent_id=self.agent,
            version_id=version,
            finish_reason="error",
            configuration=dict(configuration or {}),
            error={"code": error.code, "message": error.message},
            unchecked=unchecked,
        )
        return self._answered(said, (), detail, run)

    def _answered(
        self, text: str, images: tuple[Media, ...], detail: MessageDetail, run: str | None
    ) -> tuple[Record, ...]:
        if not self.conversation:
            return ()
        now = self.now()
        parts: tuple[Part, ...] = (Text(text), *images) if text else images
        seq, at = (self.seq, self.at) if self.again else (self.seq + 1, self.message)
        return (
            self._message(self.answer, "assistant", Message("assistant", parts), seq, self.message, run, detail, now),
            *self._words(self.answer, text),
            # Whoever went on meanwhile, or chose another branch, stays there.
            ConversationMoved(self.conversation, self.org, self.answer, now, seq, self.since, at),
        )

    def _message(
        self, id: str, role: str, said: Message, seq: int, parent: str, run: str | None, detail: MessageDetail,
        now: float,
    ) -> MessageAdded:  # fmt: skip
        return MessageAdded(
            id=id,
            org_id=self.org,
            run_id=run,
            seq=seq,
            role=role,
            content=_encode(said),
            created_at=now,
            conversation_id=self.conversation,
            parent_id=parent,
            detail=_encode(detail),
        )

    def _words(self, id: str, text: str) -> list[Record]:
        return [MessageWords(id, self.org, self.conversation, text[:MAX_TEXT])] if text.strip() else []


class Threads:
    """turns: the one that turns without an agent go through as well. read: a stored message in the core language.
    unsettled: whether the end of a turn is still to be written, by the conversation's id."""

    def __init__(
        self,
        store: Store,
        turns: Turnstile,
        read: Read,
        unsettled: Callable[[str], bool],
        now: Callable[[], float],
        supervisor: Supervisor,
    ) -> None:
        self._store = store
        self._turns = turns
        self._read = read
        self._unsettled = unsettled
        self._now = now
        self._places = Places(supervisor, shared=store.db.dialect != "sqlite")

    def shut(self) -> None:
        """The server ends: turns that wait are refused."""
        self._places.shut()

    async def agent_of(self, org: str, conversation: str) -> str:
        """Whose conversation it is, for a turn that names no agent; "" = nobody's. Raises NotFound."""
        return (await self._store.org(org).threads.thread(conversation)).agent_id or ""

    async def named(self, org: str, ask: AgentAsk, new: str) -> str:
        """The thread that a turn is of, however the caller says it; "" = of none. new: as of `open`. Raises
        NotFound, BadRequest."""
        _check_names(ask)
        if _keeps_nothing(ask):
            return ""
        if ask.conversation:
            row = await self._store.org(org).threads.thread(ask.conversation)
            return row.thread_id or row.id
        return ask.thread or new

    async def line(self, org: str, ask: AgentAsk, agent: str, new: str) -> str:
        """The conversation in which a turn that is made later stands in line, "" = in none; made if it is not there
        yet. new: as of `open`. Raises BadRequest."""
        _check_names(ask)
        if _keeps_nothing(ask):
            return ""
        return ask.conversation or (await self._named(org, ask, agent) if ask.thread else new)

    async def _named(self, org: str, ask: AgentAsk, agent: str) -> str:
        sub, title = ask.sub_thread or ask.thread, title_of(ask.text, ask.media)
        return (await self._store.org(org).threads.found_or_made(agent, ask.thread, sub, title)).id

    def open(
        self, org: str, ask: AgentAsk, agent: str, *, history: int = HISTORY, message: str = "", new: str = "",
        standing: Standing = PLAIN,
    ) -> AbstractAsyncContextManager[Thread]:  # fmt: skip
        """While the context is open, no other turn of the conversation goes on. history: most messages of it.
        message: the id that was promised for the user's message ("" = a new one); a turn that goes on after its server
        died names the one that it had. new: the id of the conversation if the ask names none ("" = any); for a promised
        message it is the one that `conversation_of` says. standing: in the conversation's line.

        Raises NotFound for a conversation or message that is not there, or not the org's; Conflict, code
        conversation_busy, when another turn is under way and the ask does not wait; BadRequest; Busy when the server
        ends while it waits; StoreDown, also while the end of the last turn is still to be written."""
        _check_names(ask)
        if ask.edit and ask.regenerate:
            raise BadRequest("a message is either replaced or answered anew", code="contradictory")
        if _keeps_nothing(ask):
            return self._nothing_kept(org, ask, agent, message)
        if not ask.conversation and not ask.thread:
            return self._new(org, ask, agent, new or new_id("conv_"), history, message, standing)
        return self._existing(org, ask, agent, history, message, standing)

    @asynccontextmanager
    async def _nothing_kept(self, org: str, ask: AgentAsk, agent: str, message: str) -> AsyncIterator[Thread]:
        yield self._first(org, replace(ask, sub_thread=ask.sub_thread or ask.thread), agent, message)

    @asynccontextmanager
    async def _new(
        self, org: str, ask: AgentAsk, agent: str, id: str, history: int, message: str, standing: Standing
    ) -> AsyncIterator[Thread]:
        """A conversation that nobody else knows of yet: its thread is named as it is. The one of a promised message may
        be there already: then its server died."""
        if ask.edit or ask.regenerate:
            raise NotFound(f"no such message: {ask.edit or ask.regenerate}")
        if message and await self._begun(org, id):
            ask = replace(ask, conversation=id)
            async with self._existing(org, ask, agent, history, message, standing) as thread:
                yield thread
            return
        ask = replace(ask, conversation=id, thread=id, sub_thread=ask.sub_thread or id)
        yield self._first(org, ask, agent, message, conversation=id)

    async def _begun(self, org: str, id: str) -> bool:
        with contextlib.suppress(NotFound):
            await self._store.org(org).threads.thread(id)
            return True
        return False

    def _first(self, org: str, ask: AgentAsk, agent: str, message: str, conversation: str = "") -> Thread:
        """A turn before which nothing was said."""
        return Thread(
            org=org,
            conversation=conversation,
            thread=ask.thread,
            sub_thread=ask.sub_thread,
            title=title_of(ask.text, ask.media),
            history=(),
            message=message or new_id("msg_"),
            answer=new_id("msg_"),
            parent="",
            seq=0,
            ask=ask,
            agent=agent,
            now=self._now,
            made=bool(conversation),
        )

    @asynccontextmanager
    async def _existing(
        self, org: str, ask: AgentAsk, agent: str, history: int, message: str, standing: Standing
    ) -> AsyncIterator[Thread]:
        store = self._store.org(org).threads
        id = ask.conversation or await self._named(org, ask, agent)
        if named := ask.edit or ask.regenerate:  # nobody waits to be told that there is no such message
            await _reachable(store, await store.thread(id), named)
        wait, waiting = ask.wait, standing.waiting
        mine = self._places.through(
            store, org, id, wait=wait, place=standing.place, waiting=waiting, stays=standing.stays
        )
        async with mine, self._turns.through(org, id, wait=wait, waiting=waiting):
            if self._unsettled(id):  # its answer would be missing, and this turn would take the answer's place
                raise StoreDown
            yield await self._load(store, await store.thread(id), org, ask, agent, history, message)

    async def _load(
        self, store: ThreadStore, row: ThreadRow, org: str, ask: AgentAsk, agent: str, history: int, message: str
    ) -> Thread:
        answered = await self._answered_anew(store, row, ask, message)
        edited = await _reachable(store, row, ask.edit) if ask.edit and answered is None else None
        if edited is not None and edited.role != "user":
            raise BadRequest("only a user's message can be replaced", code="not_a_user_message")
        line = await self._line(store, row, answered or edited, history)
        thread = row.thread_id or row.id
        ask = replace(ask, conversation=row.id, thread=thread, sub_thread=row.sub_thread_id or thread)
        own, told = ask.document_ids, says("document_ids", ask)
        if answered is not None:
            ask = asked_again(ask, answered, self._read)
        first = next((one for one in line.messages if one.role == "user"), None)
        visible = line.shown()
        said = [message for one in visible for message in self._read(one.spoken())]
        documents = documents_of([*visible, answered] if answered is not None and not told else visible, own)
        files: tuple[Media, ...] = ()
        if line.more and line.messages and not ask.messages:  # a transcript is all that its turn is shown
            documents, files = await given_before(store.given_before(row, line), documents, own, self._read)
        return Thread(
            org=org,
            conversation=row.id,
            thread=thread,
            sub_thread=ask.sub_thread,
            title=row.title or "",
            history=tuple(one for one in said if one.parts),
            message=answered.id if answered is not None else message or new_id("msg_"),
            answer=new_id("msg_"),
            parent=line.head,
            seq=line.seq,
            ask=ask,
            agent=agent,
            now=self._now,
            documents=documents,
            files=files,
            since=_since(row, answered),
            again=answered is not None,
            at=message if answered is not None and answered.id == message else row.current_id or "",
            opening="".join(text_of(one.parts) for one in self._read(first.spoken())) if first else "",
        )

    async def _answered_anew(
        self, store: ThreadStore, row: ThreadRow, ask: AgentAsk, message: str
    ) -> ThreadMessage | None:
        """The stored message of the user that this turn answers: the one named, or that of the answer named."""
        if message:
            with contextlib.suppress(NotFound):
                return await store.message(row.id, message)
        if not ask.regenerate:
            return None
        found = await _reachable(store, row, ask.regenerate)
        return found if found.role == "user" else await _asked(store, row, found)

    async def _line(self, store: ThreadStore, row: ThreadRow, before: ThreadMessage | None, history: int) -> Line:
        """What was said up to where this turn begins."""
        if before is None:
            line = await store.line(row, history, shown=True)
        else:
            line = await self._line_before(store, row, before, history)
        told = not line.more or any(one.role == "assistant" and not one.says_nothing() for one in line.shown())
        if told or not 0 < history < HISTORY:
            return line
        return await self._line(store, row, before, HISTORY)  # to tell whether anything has been answered at all

    async def _line_before(self, store: ThreadStore, row: ThreadRow, before: ThreadMessage, history: int) -> Line:
        line = await store.line(row, max(history, 1) + 1, upto=before.id, shown=True, seq=before.seq)
        shown = line.messages[:-1]
        head = before.parent_id if before.parent_id is not None else (shown[-1].id if shown else "")
        return Line(shown if history else (), await store.next_number(row), head, line.hidden, line.more)


async def _reachable(store: ThreadStore, row: ThreadRow, id: str) -> ThreadMessage:
    """Raises NotFound, also for a message from before a reset: what follows it would be shown by itself."""
    found = await store.message(row.id, id)
    if found.seq < (row.reset_seq or 0):
        raise missing("message", id)
    return found


async def _asked(store: ThreadStore, row: ThreadRow, answer: ThreadMessage) -> ThreadMessage:
    """The user's message that this is the answer to, with or without tools between them. Raises BadRequest."""
    if answer.parent_id:  # mostly it stands right before
        with contextlib.suppress(NotFound):
            before = await store.message(row.id, answer.parent_id)
            if before.role == "user":
                return before
    asked = await store.asked(row, answer)
    if asked is None:
        raise BadRequest("no message of a user stands before it", code="not_a_user_message")
    if asked.deleted_at is not None:
        raise BadRequest("the message that it answers was deleted", code="not_a_user_message")
    return await store.message(row.id, asked.id)


def _check_names(ask: AgentAsk) -> None:
    for name, value in (("thread_id", ask.thread), ("sub_thread_id", ask.sub_thread)):
        if len(value) > NAME:
            raise BadRequest(f"{name}: longer than {NAME} characters", param=name)


def conversation_of(message: str) -> str:
    """The id of the conversation that begins with a promised message: whoever works on it makes the same one."""
    return "conv_" + message.removeprefix("msg_")


def _since(row: ThreadRow, answered: ThreadMessage | None) -> int:
    """As in Thread; a turn that goes on, of a message from before a reset, belongs to that time whatever follows."""
    since = -1 if row.reset_seq is None else row.reset_seq
    return BEFORE if answered is not None and answered.seq < since else since


def answer_of(run: str) -> str:
    """The id of the answer that a run gives: whoever ends it, there is one (see store.recovery)."""
    return "msg_" + run.removeprefix("run_")


def _keeps_nothing(ask: AgentAsk) -> bool:
    return ask.playground or bool(ask.messages and not ask.conversation and not ask.thread)
