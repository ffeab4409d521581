"""Opening a stored conversation for one turn: its history, its order, what the turn adds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from ..agent.history import continued, joined
from ..core.errors import BadRequest, StoreDown
from ..core.parts import Foreign, Message, Native, State, ToolCall, ToolResult, spoken, text_of
from ..core.turn import Turn
from ..core.unread import of_before
from ..core.web import Caller
from ..store import Store
from .faces import Face
from .turnstile import Turnstile, Waiting

TITLE = 60
HISTORY = 1000


class Opened(Struct, frozen=True):
    """A conversation during one turn. seq: number that the turn's first message gets. parent: the message that it
    follows where that is not the newest one; None: it is. since: number of the first message after the last reset, -1
    = there was none."""

    id: str | None = None
    title: str = ""
    history: tuple[Message, ...] = ()
    seq: int = 0
    parent: str | None = None
    since: int = -1


_NOTHING = nullcontext(Opened())


class Conversations:
    """One turn of a conversation at a time; the others wait their turn. unsettled: whether the end of a turn is still
    to be written, by the conversation's id. turns: those of agents go through the same one."""

    def __init__(
        self,
        store: Store,
        faces: Mapping[str, Face],
        unsettled: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._unsettled = unsettled
        self._by_dialect = {face.NAME: face for face in faces.values()}
        self.turns = Turnstile()

    def open(
        self, caller: Caller, turn: Turn, keep: bool, waiting: Waiting = nullcontext
    ) -> AbstractAsyncContextManager[Opened]:
        """keep: what is said is stored. waiting: entered while it waits. Raises NotFound for a conversation that is not
        this org's, StoreDown for one whose last turn is still to be written."""
        return _NOTHING if turn.conversation is None else self._open(caller, turn, keep, waiting)

    @asynccontextmanager
    async def _open(self, caller: Caller, turn: Turn, keep: bool, waiting: Waiting) -> AsyncIterator[Opened]:
        if not turn.conversation:
            yield await self._create(caller, _title(turn) if keep else "")
            return
        async with self.turns.through(caller.org, turn.conversation, waiting=waiting):
            yield await self._load(caller, turn.conversation, turn)

    async def _create(self, caller: Caller, title: str) -> Opened:
        return Opened(await self._store.org(caller.org).create_conversation(title=title), title)

    async def _load(self, caller: Caller, id: str, turn: Turn) -> Opened:
        threads = self._store.org(caller.org).threads
        conversation = await threads.thread(id)
        if self._unsettled(id):  # its answer would be missing, and this turn would take the answer's place
            raise StoreDown
        line = await threads.line(conversation, HISTORY)
        history: list[Message] = []
        for row in line.shown():
            history.extend(of_before(self.read(row.spoken())))
        parent = line.head if conversation.current_id is not None or conversation.reset_seq is not None else None
        since = -1 if conversation.reset_seq is None else conversation.reset_seq
        return Opened(id, conversation.title or "", _continued(history, turn), line.seq, parent, since)

    def read(self, said: Message | Native) -> tuple[Message, ...]:
        """A stored message in the core language; a caller's own words are read in their dialect."""
        if isinstance(said, Message):
            return (said,)
        face = self._by_dialect[said.dialect]
        try:
            return face.DIALECT.read_ask({face.MESSAGES: Raw(b"[" + said.raw + b"]")}).messages
        except BadRequest:  # a provider of its dialect has taken it, and gets it again
            return (Message("user", (Foreign("message", State(said.dialect, None)),), native=said),)

    def words(self, said: Native) -> str:
        """All that is said in a message of a caller: each of its parts is a text by itself."""
        return "\n".join(spoken((part,)) for message in self.read(said) for part in message.parts)


def _continued(history: list[Message], turn: Turn) -> tuple[Message, ...]:
    """A history with calls has them answered, by what the turn says or by words, and no result without its call (which
    may be deleted, or too long ago); most have neither."""
    if not any(type(part) in (ToolCall, ToolResult) for message in history for part in message.parts):
        return tuple(history)
    said = _said(turn)
    together = joined((*history, *said))
    before, now = together[: len(history)], together[len(history) :]
    if now != said:
        turn.put_prompt(replace(turn.prompt, messages=now))
    results = [part for message in now for part in message.parts if type(part) is ToolResult]
    return continued(before, {result.id for result in results})


def _title(turn: Turn) -> str:
    """The user's first words."""
    said = [text_of(message.parts) for message in _said(turn) if message.role == "user"]
    return said[0].strip()[:TITLE] if said else ""


def _said(turn: Turn) -> tuple[Message, ...]:
    """Nothing where only a provider of the turn's own dialect understands what is asked."""
    try:
        return turn.prompt.messages
    except BadRequest:
        return ()


def mentioned(body: bytes, opened: Opened) -> bytes:
    """A JSON reply with `conversation: {id, title}` added, when one was used."""
    if opened.id is None:
        return body
    value = msgspec.json.encode({"id": opened.id, "title": opened.title})
    return body.rstrip()[:-1] + b',"conversation":' + value + b"}"
