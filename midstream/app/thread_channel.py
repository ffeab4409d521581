"""Threads of chatbots have a live channel of their name: it hears how each turn ended, whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core.dialect import Say
from ..core.events import Event, Failed
from ..core.outcome import Outcome
from ..core.turn import Turn
from ..delivery.live import Held, Hub
from ..store.ledger import Record
from .deliver import can_be_named, channel_of, delivery_of, failure, live_record, live_said, row_of
from .faces import AgentFace, Face
from .threads import Thread
from .turn_work import Also


class ThreadChannel:
    """One turn of one thread. run: the id of its run. now: unix seconds."""

    def __init__(self, hub: Hub, face: Face, turn: Turn, thread: Thread, run: str, now: Callable[[], float]) -> None:
        self._hub = hub
        self._face = face
        self._turn = turn
        self._thread = thread
        self._run = run
        self._now = now
        self._held: Held | None = None

    def beside(self, also: Also) -> Also:
        """The records of the turn's end, and the one that the channel keeps of it."""

        def both(end: Event, outcome: Outcome | None) -> Sequence[Record]:
            return [*also(end, outcome), *self._records(end, outcome)]

        return both

    def _records(self, end: Event, outcome: Outcome | None) -> Sequence[Record]:
        thread, face, turn = self._thread, self._face, self._turn
        if not heard_in(turn, thread.thread):
            return ()
        if isinstance(end, Failed):
            body = live_said("error", thread.message, failure(face, end.error, thread.message))
        else:
            assert outcome is not None
            assert isinstance(face, AgentFace)
            reply = face.write_outcome(turn, outcome, Say(thread.message, int(self._now()), turn.model))
            body = live_said("done", thread.message, reply)
        self._held = self._hub.hold(thread.org, thread.thread, body)
        return [live_record(row_of(self._run), thread.org, thread.thread, self._held)]

    def over(self) -> None:
        """Everything about the turn is settled."""
        if self._held is not None:
            self._hub.tell(self._thread.org, self._thread.thread, self._held)


def heard_in(turn: Turn, thread: str) -> str:
    """The channel of a chatbot's thread that is told how this turn ends; "" = none, or it hears that anyway."""
    if not can_be_named(thread):
        return ""
    delivery = delivery_of(turn)
    return "" if delivery.kind == "live" and channel_of(delivery) == thread else thread
