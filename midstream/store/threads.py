"""Conversations as agents' turns use them: threads, branches, resets, reactions; one org's only.

A conversation's branch in use is the chain that ends in its current message."""

# ruff: noqa: S608 (only constants are put into statements: a test of the architecture sees to it)

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..core.ids import new_id
from .branches import (
    Line,
    Node,
    beginning_of,
    chain_of,
    depth_of,
    head_of,
    hidden_in,
    last_of,
    leading,
    number_behind,
    parents_of,
)
from .database import Statement, with_clock, with_place
from .given import GivenBefore
from .memories import forgotten
from .owned import Owned
from .reading import LAST, missing
from .rows import FoundMessage, ThreadMessage, ThreadRow
from .searching import OF_A_CALL, search_messages

Reaction: TypeAlias = Literal["like", "dislike"]

PAGE = 100
#: Most messages of one conversation that are looked through for its branches.
MANY = 10_000
#: How many messages are read when so many that were to be had were not enough, at first.
STEP = 8

_THREAD = f"""
SELECT {ThreadRow.COLUMNS} FROM conversations WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
_BY_NAME = f"""
SELECT {ThreadRow.COLUMNS} FROM conversations
WHERE org_id = $1 AND agent_id = $2 AND thread_id = $3 AND sub_thread_id = $4 AND deleted_at IS NULL"""
_MAKE = """
INSERT INTO conversations (id, org_id, agent_id, thread_id, sub_thread_id, title, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING"""
#: Conversations of agents that were asked on the thread of the conversation $4, by it or by those that it has asked:
#: not those in which a user has spoken, nor those that another living conversation has asked without it. Each of their
#: runs is followed up to the one that a user has begun.
_ASKED_FROM = f"""
WITH RECURSIVE above (asked, conversation, parent, through) AS (
    SELECT one.id, one.id, runs.parent_run_id, 0 FROM conversations AS one
    JOIN messages ON messages.conversation_id = one.id LEFT JOIN runs ON runs.id = messages.run_id
    WHERE one.org_id = $1 AND one.agent_id IN (SELECT id FROM agents WHERE org_id = $1) AND one.thread_id = $2
        AND one.sub_thread_id = $3 AND one.id <> $4 AND one.deleted_at IS NULL
    UNION SELECT above.asked, asking.conversation_id, asking.parent_run_id,
        CASE WHEN asking.conversation_id = $4 THEN 1 ELSE above.through END
    FROM above JOIN runs AS asking ON asking.id = above.parent)
SELECT {ThreadRow.COLUMNS} FROM conversations
WHERE id IN (SELECT asked FROM above WHERE through = 1)
    AND id NOT IN (SELECT asked FROM above JOIN conversations AS other ON other.id = above.conversation
        WHERE above.through = 0 AND above.parent IS NULL AND other.deleted_at IS NULL)"""
_PLACE = "SELECT seq FROM conversations WHERE id = $1 AND org_id = $2"
_THREADS = f"""
SELECT {ThreadRow.COLUMNS} FROM conversations
WHERE org_id = $1 AND deleted_at IS NULL AND seq < $2 AND (CAST($4 AS TEXT) = '' OR agent_id = $4)
    AND COALESCE(thread_id, '') NOT {OF_A_CALL}
ORDER BY seq DESC LIMIT $3"""
_BEFORE = """
WHERE conversation_id = $1 AND org_id = $2 AND seq >= $3 AND seq <= $4 AND (seq < $4 OR id < $5)
ORDER BY seq DESC, id DESC LIMIT $6"""
_DETAILED = f"SELECT {ThreadMessage.COLUMNS}, detail FROM messages {_BEFORE}"
_LAST = """
SELECT role, seq, detail IS NOT NULL FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND seq >= $3 ORDER BY seq DESC, id DESC LIMIT 1"""
_ALL_BEFORE = f"""
SELECT {ThreadMessage.COLUMNS}, detail FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND deleted_at IS NULL AND (seq < $3 OR (seq = $3 AND id < $4))
ORDER BY seq DESC, id DESC LIMIT $5"""
_ALL_AFTER = f"""
SELECT {ThreadMessage.COLUMNS}, detail FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND deleted_at IS NULL AND (seq > $3 OR (seq = $3 AND id > $4))
ORDER BY seq, id LIMIT $5"""
_ANY_DELETED = """
SELECT 1 FROM messages WHERE id IN ($1, $2) AND org_id = $3 AND conversation_id = $4 AND deleted_at IS NOT NULL"""
_SEQ = "SELECT seq FROM messages WHERE id = $1 AND org_id = $2 AND conversation_id = $3"
_DELETED = """
SELECT id, parent_id FROM messages WHERE conversation_id = $1 AND org_id = $2 AND deleted_at IS NOT NULL"""
_SHAPE = f"""
SELECT {Node.COLUMNS} FROM messages
WHERE conversation_id = $1 AND org_id = $2 AND seq >= $3 AND seq <= $5 ORDER BY seq DESC, id DESC LIMIT $4"""
_MESSAGE = f"""
SELECT {ThreadMessage.COLUMNS}, detail FROM messages
WHERE id = $1 AND org_id = $2 AND conversation_id = $3 AND deleted_at IS NULL"""
_RENAME = """
UPDATE conversations SET title = $3, updated_at = $4 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
#: Of messages that the title is made of, neither was deleted.
_NAME = """
UPDATE conversations SET title = $3 WHERE id = $1 AND org_id = $2 AND title = $4 AND deleted_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.id IN ($5, $6) AND messages.deleted_at IS NOT NULL)"""
_DELETE = "UPDATE conversations SET deleted_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_DELETE_MESSAGE = """
UPDATE messages SET deleted_at = $4 WHERE id = $1 AND org_id = $2 AND conversation_id = $3 AND deleted_at IS NULL"""
_FORGET_WORDS = "DELETE FROM message_texts WHERE message_id = $1 AND org_id = $2"
_REACT = "UPDATE messages SET reaction = $4 WHERE id = $1 AND org_id = $2 AND conversation_id = $3"
#: First, so that no message is added while the second looks for the last one.
_LEAVE = """
UPDATE conversations SET current_id = NULL, updated_at = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
#: Behind the answer that a question may still get (see `number_behind`).
_RESET = """
UPDATE conversations SET
    reset_seq = (SELECT COALESCE(max(seq + CASE WHEN role = 'user' AND detail IS NOT NULL THEN 2 ELSE 1 END), 0)
        FROM messages WHERE conversation_id = $1 AND org_id = $2)
WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"""
_SWITCH = "UPDATE conversations SET current_id = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL"
_ACCEPTED = "line = $1 AND line <> '' AND org_id = $2 AND status IN ('queued', 'running')"
_TAKE = f"""
INSERT INTO conversation_turns (conversation_id, org_id, holder, until)
SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), @clock + $4
WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE {_ACCEPTED} AND place < $5)
    AND NOT EXISTS (SELECT 1 FROM turn_tickets WHERE conversation_id = $1 AND org_id = $2 AND place < $5
        AND until >= @clock)
ON CONFLICT (conversation_id) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE conversation_turns.until < @clock OR conversation_turns.holder = excluded.holder"""
_HOLDER = "SELECT holder FROM conversation_turns WHERE conversation_id = $1 AND org_id = $2"
_GIVE_BACK = "DELETE FROM conversation_turns WHERE conversation_id = $1 AND org_id = $2 AND holder = $3"
_TICKET = """
INSERT INTO turn_tickets (holder, org_id, conversation_id, place, until)
VALUES ($1, $2, $3, @place, @clock + $4) ON CONFLICT (holder) DO NOTHING"""
_PLACE_OF = "SELECT place FROM turn_tickets WHERE holder = $1 AND org_id = $2"
_RENEW = "UPDATE turn_tickets SET until = @clock + $3 WHERE holder = $1 AND org_id = $2"
_TEAR_UP = "DELETE FROM turn_tickets WHERE holder = $1 AND org_id = $2"
#: Of servers that have died while somebody waited there.
_TEAR_UP_OLD = "DELETE FROM turn_tickets WHERE until < @clock - 3600"
_LAST_ACCEPTED = f"SELECT COALESCE(max(place), 0) FROM jobs WHERE {_ACCEPTED}"
_STILL_ACCEPTED = f"SELECT 1 FROM jobs WHERE {_ACCEPTED} AND place <= $3 LIMIT 1"
#: Behind all places.
LAST_PLACE = 2**63 - 1


class Branch(Struct, frozen=True):
    """A way through a conversation, by its last message. current: it is the one in use. length: messages on it. Deleted
    ones are not counted, and none is the last."""

    message_id: str
    created_at: float
    length: int
    current: bool


class Page(Struct, frozen=True):
    """Messages of a conversation, oldest first. more: others come before them, or behind them if those are
    asked for."""

    messages: tuple[ThreadMessage, ...]
    more: bool


def better_title(org: str, conversation: str, title: str, instead_of: str, said: tuple[str, str]) -> Statement:
    """In place of the one that was made of its first words; what a user has written stays. said: ids of the messages
    that it is made of; once one of them is deleted, nothing is changed."""
    return _NAME, (conversation, org, title, instead_of, *said)


class ThreadStore(Owned):
    """One org's conversations, as turns go on with them."""

    async def thread(self, id: str) -> ThreadRow:
        return ThreadRow(*await self._found("conversation", _THREAD, id))

    async def found_or_made(self, agent: str, thread: str, sub_thread: str, title: str = "") -> ThreadRow:
        """The one conversation of this sub-thread; of any number who ask at once, all get the same."""
        for _ in range(3):
            rows = await self._db.look_up(_BY_NAME, self._org, agent, thread, sub_thread)
            if rows:
                return ThreadRow(*rows[0])
            values = (new_id("conv_"), self._org, agent, thread, sub_thread, title, self._clock())
            await self._db.write([(_MAKE, values)])
        raise missing("thread", thread)  # deleted again and again in between

    async def threads(self, *, after: str | None = None, limit: int = PAGE, agent: str = "") -> list[ThreadRow]:
        """Newest first, from the one after `after`: what is made meanwhile moves nothing. Those that agents have with
        each other do not stand there."""
        place = LAST
        if after is not None:
            [place] = await self._found("conversation", _PLACE, after)
        return [ThreadRow(*row) for row in await self._db.read(_THREADS, self._org, place, limit, agent)]

    # messages

    async def message(self, conversation: str, id: str) -> ThreadMessage:
        return ThreadMessage(*await self._found("message", _MESSAGE, id, conversation))

    async def any_deleted(self, conversation: str, message: str, other: str) -> bool:
        """Was one of these two messages deleted?"""
        return bool(await self._db.look_up(_ANY_DELETED, message, other, self._org, conversation))

    async def line(
        self,
        thread: ThreadRow,
        limit: int,
        *,
        upto: str | None = None,
        shown: bool = False,
        seq: int = LAST,
    ) -> Line:
        """The last `limit` messages of the branch in use; upto: of the one that ends in that message ("" = nothing).
        shown: what a model is not shown of them does not count among them.
        seq: looks no further than to there, which says nothing of the number of the conversation's next message."""
        first, place = thread.reset_seq or 0, (seq + 1, "")
        rows: list[ThreadMessage] = []
        wanted, step = max(limit, 1), STEP
        while True:
            found = await self._db.read(_DETAILED, thread.id, self._org, first, *place, wanted)
            rows = [ThreadMessage(*row) for row in reversed(found)] + rows
            head = head_of(rows, thread.current_id) if upto is None else upto
            chain, complete = chain_of(rows, head)
            hidden = hidden_in(chain)
            complete = complete or len(found) < wanted
            begin, missing = 0, 0
            if not complete or len(chain) > limit:
                begin, missing = beginning_of(chain, limit, hidden if shown else None)
            if len(found) < wanted or len(rows) >= MANY or ((complete or not missing) and (not head or chain)):
                there = tuple([row for row in chain[begin:] if row.deleted_at is None])
                return Line(there, _behind(rows[-1]) if rows else first, head, hidden, begin > 0 or not complete)
            place = (rows[0].seq, rows[0].id)
            wanted, step = min(max(missing, step), MANY - len(rows)), step * 8

    async def next_number(self, thread: ThreadRow) -> int:
        """Of the next message."""
        first = thread.reset_seq or 0
        rows = await self._db.look_up(_LAST, thread.id, self._org, first)
        return number_behind(rows[0][0], rows[0][1], detailed=bool(rows[0][2])) if rows else first

    def given_before(self, thread: ThreadRow, line: Line) -> GivenBefore:
        return GivenBefore(self._db, self._org, thread, line)

    async def page(
        self, thread: ThreadRow, limit: int, *, before: str = "", after: str = "", every: bool = False
    ) -> Page:
        """The last `limit` messages of the branch in use, or the last before that one on its own branch, or the first
        behind that one. every: of every branch, with what was there before a reset. The parent of each is the nearest
        one that is there."""
        place = (await self._seq(thread.id, before or after), before or after) if before or after else (LAST, "")
        if every:
            rows = await self.all_messages(thread.id, limit=limit + 1, place=place, forward=bool(after))
        elif after:
            rows = await self._behind(thread, place, limit + 1)
        else:
            line = await self.line(thread, limit + 2, upto=before or None, seq=place[0])
            rows = [row for row in line.messages if row.id != before][-limit - 1 :]
        shown = rows[:limit] if after else rows[-limit:]
        first = 0 if every else thread.reset_seq or 0
        return Page(tuple(await self._after_what_is_there(thread.id, shown, first)), len(rows) > limit)

    async def all_messages(
        self, conversation: str, *, limit: int = MANY, place: tuple[int, str] = (LAST, ""), forward: bool = False
    ) -> list[ThreadMessage]:
        """Of every branch, in order, with what was there before a reset: the last before that place (seq, id), forward:
        the first behind it."""
        rows = await self._db.read(_ALL_AFTER if forward else _ALL_BEFORE, conversation, self._org, *place, limit)
        return [ThreadMessage(*row) for row in (rows if forward else reversed(rows))]

    async def _behind(self, thread: ThreadRow, place: tuple[int, str], limit: int) -> list[ThreadMessage]:
        """The first of the branch in use."""
        shape = await self._shape(thread.id, LAST, max(place[0], thread.reset_seq or 0))
        chain, _ = chain_of(shape, head_of(shape, thread.current_id))
        found = [one for one in chain if one.deleted_at is None and (one.seq, one.id) > place][:limit]
        if not found:
            return []
        rows = await self._db.read(_DETAILED, thread.id, self._org, found[0].seq, found[-1].seq + 1, "", LAST)
        wanted = {one.id for one in found}
        return [row for row in (ThreadMessage(*values) for values in reversed(rows)) if row.id in wanted]

    async def asked(self, thread: ThreadRow, answer: ThreadMessage) -> Node | None:
        """The nearest message of a user before that one on its branch, deleted or not: calls of tools and their results
        may stand between them."""
        shape = await self._shape(thread.id, MANY, thread.reset_seq or 0, answer.seq)
        chain, _ = chain_of(shape, answer.id)
        return next((one for one in reversed(chain[:-1]) if one.role == "user"), None)

    async def _seq(self, conversation: str, id: str) -> int:
        """Of a message, also of one that was deleted."""
        [seq] = await self._found("message", _SEQ, id, conversation)
        return int(seq)

    async def _after_what_is_there(
        self, conversation: str, rows: Sequence[ThreadMessage], first: int
    ) -> Sequence[ThreadMessage]:
        """first: number of the first message that may be a parent."""
        known = {"", *(row.id for row in rows)}
        if known.issuperset(row.parent_id for row in rows):
            return rows
        deleted: dict[str, str | None] = dict(await self._db.read(_DELETED, conversation, self._org))
        parents: dict[str, str] = {}
        if None in deleted.values() or any(row.parent_id is None for row in rows):
            parents = parents_of(await self._shape(conversation, MANY, first, rows[-1].seq))

        def nearest(row: ThreadMessage) -> str:
            id = parents.get(row.id, row.parent_id)
            while id in deleted:
                id = parents.get(id, deleted[id])
            return id or ""

        return [replace(row, parent_id=nearest(row)) for row in rows]

    async def branches(self, thread: ThreadRow) -> list[Branch]:
        """Oldest end first."""
        shape = await self._shape(thread.id, MANY, thread.reset_seq or 0)
        parents = parents_of(shape)
        there = {one.id for one in shape if one.deleted_at is None}
        current = last_of(there, parents, head_of(shape, thread.current_id))
        inner = {parents[id] for id in leading(there, parents)}
        return [
            Branch(one.id, one.created_at, depth_of(there, parents, one.id), one.id == current)
            for one in shape
            if one.id in there and (one.id not in inner or one.id == current)
        ]

    async def switch(self, thread: ThreadRow, message: str) -> str:
        """Uses the branch on which that message stands, to its newest end, whose id is returned."""
        shape = await self._shape(thread.id, MANY, thread.reset_seq or 0)
        parents = parents_of(shape)
        there = {one.id for one in shape if one.deleted_at is None}
        if message not in there:
            raise missing("message", message)
        leads = leading(there, parents)
        # In order, so the newest one is kept.
        children = {parent: child for child, parent in parents.items() if child in leads}
        while message in children:
            message = children[message]
        await self._db.write([(_SWITCH, (thread.id, self._org, message))])
        return message

    async def _shape(self, conversation: str, most: int, first: int, last: int = LAST) -> list[Node]:
        """In order; the newest, where there are more. first, last: numbers of messages."""
        rows = await self._db.read(_SHAPE, conversation, self._org, first, most, last)
        return [Node(*row) for row in reversed(rows)]

    # changes

    async def rename(self, id: str, title: str) -> ThreadRow:
        await self.thread(id)
        await self._db.write([(_RENAME, (id, self._org, title, self._clock()))])
        return await self.thread(id)

    async def delete(self, id: str) -> None:
        """It is no longer found, with what it has asked other agents on its thread, whose memory is forgotten; the rows
        stay until they are cleared away."""
        rows, now = await self._with_asked(id), self._clock()
        gone: list[Statement] = [(_DELETE, (row.id, self._org, now)) for row in rows]
        await self._db.write([*gone, *map(self._forgotten, rows)])

    async def delete_message(self, conversation: str, id: str) -> None:
        """It is no longer shown nor searched; what follows it still does."""
        await self.thread(conversation)
        await self.message(conversation, id)
        gone = (id, self._org, conversation, self._clock())
        await self._db.write([(_DELETE_MESSAGE, gone), (_FORGET_WORDS, (id, self._org))])

    async def react(self, conversation: str, id: str, reaction: Reaction | None) -> None:
        await self.thread(conversation)
        await self.message(conversation, id)
        await self._db.write([(_REACT, (id, self._org, conversation, reaction))])

    async def reset(self, id: str) -> None:
        """The model is shown nothing of what was said so far, nor of a turn that is under way, nor is another agent of
        what it was asked on this thread, and the memory of its thread is forgotten; the rows stay."""
        rows, now = await self._with_asked(id), self._clock()
        left: list[Statement] = []
        for row in rows:
            left += [(_LEAVE, (row.id, self._org, now)), (_RESET, (row.id, self._org))]
        await self._db.write([*left, *map(self._forgotten, rows)])

    async def _with_asked(self, id: str) -> list[ThreadRow]:
        """The conversation, and those of agents that it has asked on its thread."""
        row = await self.thread(id)
        thread = row.thread_id or id
        asked = await self._db.read(_ASKED_FROM, self._org, thread, row.sub_thread_id or thread, id)
        return [row, *(ThreadRow(*values) for values in asked)]

    def _forgotten(self, row: ThreadRow) -> Statement:
        return forgotten(self._org, row.id, row.agent_id or "", row.thread_id or row.id)

    # search

    async def search(self, text: str, *, after: str | None = None, limit: int = PAGE) -> list[FoundMessage]:
        """Messages that hold all words of text, newest first. Raises BadRequest when it has none."""
        return await search_messages(self._db, self._org, text, after, limit)

    # turns, where several servers share a database

    async def take_turn(self, conversation: str, holder: str, seconds: float, place: int = 0) -> bool:
        """For so long, from now, nobody else has it. False: somebody else has it now, or comes before that place: a
        turn that was accepted earlier, or one that holds a ticket."""
        values = (conversation, self._org, holder, seconds, place)
        await self._db.write([(with_clock(_TAKE, self._db.dialect), values)])
        rows = await self._db.look_up(_HOLDER, conversation, self._org)
        return bool(rows) and rows[0][0] == holder

    async def give_back(self, conversation: str, holder: str, *, ticket: bool = False) -> None:
        """The turn and, if it has waited for it, its ticket."""
        statements: list[Statement] = [(_GIVE_BACK, (conversation, self._org, holder))]
        if ticket:
            statements.append((_TEAR_UP, (holder, self._org)))
        await self._db.write(statements)

    async def ticket(self, conversation: str, holder: str, seconds: float) -> int:
        """A place behind all who wait for a turn of the conversation now, for so long unless it is renewed."""
        drawn = with_clock(with_place(_TICKET, self._db.dialect), self._db.dialect)
        old = with_clock(_TEAR_UP_OLD, self._db.dialect)
        await self._db.write([(old, ()), (drawn, (holder, self._org, conversation, seconds))])
        rows = await self._db.look_up(_PLACE_OF, holder, self._org)
        return int(rows[0][0]) if rows else LAST_PLACE

    async def renew_ticket(self, holder: str, seconds: float) -> None:
        await self._db.write([(with_clock(_RENEW, self._db.dialect), (holder, self._org, seconds))])

    async def last_accepted(self, conversation: str) -> int:
        """The place of the last turn that was accepted for later and is not over; 0 = there is none."""
        [(place,)] = await self._db.look_up(_LAST_ACCEPTED, conversation, self._org)
        return int(place)

    async def still_accepted(self, conversation: str, place: int) -> bool:
        """One of those up to that place is not over."""
        return bool(await self._db.look_up(_STILL_ACCEPTED, conversation, self._org, place))


def _behind(last: ThreadMessage) -> int:
    return number_behind(last.role, last.seq, detailed=last.detail is not None)
