"""Threads of chatbots have a live channel of their name: it hears how each turn ended, whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core.dialect import Say
from ..core.events import Event, Failed
from ..core.outcome import Outcome
from ..core.turn import Turn
from ..delivery.live import Held, Hub
from ..store.ledger import Record
from .deliver import MAX_NAME, channel_of, delivery_of, failure, live_record, live_said
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

        def both(end: Event, outcome: Outcome | None) -> Sequence[Record] | None:
            records = also(end, outcome)
            return None if records is None else [*records, *self._records(end, outcome)]

        return both

    def _records(self, end: Event, outcome: Outcome | None) -> Sequence[Record]:
        thread, face, turn = self._thread, self._face, self._turn
        if not 0 < len(thread.thread) <= MAX_NAME or _hears_it_anyway(turn, thread.thread):
            return ()
        if isinstance(end, Failed):
            body = live_said("error", thread.message, failure(face, end.error, thread.message))
        else:
            assert outcome is not None
            assert isinstance(face, AgentFace)
            reply = face.write_outcome(turn, outcome, Say(thread.message, int(self._now()), turn.model))
            body = live_said("done", thread.message, reply)
        self._held = self._hub.hold(thread.org, thread.thread, body)
        id = "dlv_" + self._run.removeprefix("run_")
        return [live_record(id, thread.org, thread.thread, self._held)]

    def over(self) -> None:
        """Everything about the turn is settled."""
        if self._held is not None:
            self._hub.tell(self._thread.org, self._thread.thread, self._held)


def _hears_it_anyway(turn: Turn, channel: str) -> bool:
    delivery = delivery_of(turn)
    return delivery.kind == "live" and channel_of(delivery) == channel
