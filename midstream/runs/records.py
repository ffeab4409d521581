"""What the ledger is told of a run: how it begins, what it is made of, how it ends."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..core.errors import Cancelled
from ..core.events import Answer, Event, Failed
from ..core.ids import new_id
from ..core.parts import Message, Native, Part, ToolCall, spoken
from ..store.database import Statement
from ..store.ledger import (
    AttemptStarted,
    ConversationMoved,
    MessageAdded,
    MessageWords,
    Record,
    RunEnded,
    RunReopened,
    RunStarted,
    RunStatus,
)
from ..store.searching import MAX_TEXT
from .attempt import Attempt
from .order import Order, touched

#: Whose messages a search of conversations finds: instructions and results of tools are sent again and again.
SEARCHED = ("user", "assistant")

_encode = msgspec.json.Encoder().encode


class _Run(Protocol):
    id: str
    order: Order


class RunRecords:
    """Of one run, whose order it does not hold: a run lets go of that at its end."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        #: Of the next message that is stored.
        self._seq, self._parent = run.order.seq, run.order.parent

    def beginning(self, now: float) -> list[Record]:
        order, act = self._run.order, self._run.order.act
        turn = order.turn
        records: list[Record] = [
            RunStarted(
                id=self._run.id,
                org_id=order.org,
                key_id=order.key_id,
                kind=turn.kind,
                face=order.face,
                model=turn.model,
                conversation_id=order.conversation,
                request_id=order.request_id,
                created_at=now,
                agent_id=act.agent if act is not None else None,
                version_id=act.version if act is not None else None,
                parent_run_id=act.parent if act is not None else None,
                accounted=act is not None and act.accounted,
            )
        ]
        for role, native in turn.fresh if order.keep else ():
            records += self._message(role, native.dialect, native.raw, now)
        if act is not None:
            records += [RunReopened(self._run.id, order.org, act.job), *act.beginning] if act.again else act.beginning
        if order.conversation is not None and ConversationMoved not in map(type, records):
            # From here on something happens in it: nobody takes it for one that is long over.
            records.append(touched(order, order.conversation, -1, now))
        return records

    def attempt_started(self, attempt: Attempt, now: float) -> Record:
        order, target = self._run.order, attempt.next.target
        return AttemptStarted(
            id=attempt.id,
            run_id=self._run.id,
            org_id=order.org,
            key_id=order.key_id,
            number=attempt.number,
            provider=target.provider,
            model=target.model,
            estimate_in=attempt.estimate_in or 0,
            started_at=now,
            accounted=order.transactions,
        )

    def answered(self, answer: Answer, now: float, dialect: str) -> list[Record]:
        """Where the answer is kept: what the caller was shown of it. dialect: of the service's own words, which who
        speaks the same dialect is shown as they are."""
        records: list[Record] = []
        turn = self._run.order.turn
        one_call = turn.function_call and dialect != turn.dialect
        for choice in answer.choices[:1] if self._run.order.keep else ():
            said = Message("assistant", _with_one_call(choice.parts) if one_call else choice.parts)
            records += self._message("assistant", "", _encode(said), now, spoken(said.parts))
        return records

    def ending(self, end: Event, now: float) -> list[Record | Statement]:
        ended: list[Record | Statement] = [self.ended(end, now)]
        if self._run.order.conversation is not None:
            ended.append(touched(self._run.order, self._run.order.conversation, self._seq, now))
        return ended

    def ended(self, end: Event, now: float) -> RunEnded:
        error = end.error if isinstance(end, Failed) else None
        return RunEnded(
            id=self._run.id,
            status=status_of(end),
            error_code=error.code[:100] if error else None,
            error_message=error.message[:500] if error else None,
            ended_at=now,
        )

    def _message(self, role: str, dialect: str, content: bytes, now: float, words: str | None = None) -> list[Record]:
        """words: what is said in it, where that is known."""
        order, seq, parent = self._run.order, self._seq, self._parent
        self._seq += 1
        added = MessageAdded(
            id=new_id("msg_"),
            org_id=order.org,
            conversation_id=order.conversation,
            run_id=self._run.id,
            seq=seq,
            role=role,
            dialect=dialect,
            content=content,
            created_at=now,
            parent_id=parent,
        )
        if order.conversation is None:
            return [added]
        records: list[Record] = [added]
        if role in SEARCHED:
            text = order.words(Native(dialect, content)) if words is None else words
            if text.strip():
                records.append(MessageWords(added.id, order.org, order.conversation, text[:MAX_TEXT]))
        if parent is not None:
            self._parent, before = added.id, None if seq == order.seq else parent
            records.append(ConversationMoved(order.conversation, order.org, added.id, now, seq, order.since, before))
        return records


def _with_one_call(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Nobody can answer a call that nobody has seen."""
    first = next((part for part in parts if type(part) is ToolCall), None)
    return tuple(part for part in parts if type(part) is not ToolCall or part is first)


def status_of(end: Event) -> RunStatus:
    if not isinstance(end, Failed):
        return "completed"
    return "cancelled" if isinstance(end.error, Cancelled) else "failed"
