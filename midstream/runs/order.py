"""What a run shall do and keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from ..core.events import Event
from ..core.parts import Message, Native
from ..core.serving import Target, Work
from ..core.turn import Turn
from ..store.ledger import Record


class Order(Struct, frozen=True):
    """What a run shall do. messages: what the turn adds to the store, as (role, the caller's words); empty when
    content is not kept. keep_answer: store the assistant's message too. seq: number of the first message.
    work: what the run does instead of one model call (an agent's turn). beginning: more records of its start, before
    the first call leaves. closing: more records of its end, given its terminal event and in the same transaction.
    transactions: each attempt's account is put into the outbox as well. agent, version, thread: who
    acts where. parent: the run that called this one."""

    org: str
    key_id: str
    face: str
    request_id: str
    turn: Turn
    targets: tuple[Target, ...]
    history: tuple[Message, ...] = ()
    conversation: str | None = None
    messages: tuple[tuple[str, Native], ...] = ()
    keep_answer: bool = False
    seq: int = 0
    size: int = 0
    work: Work | None = None
    beginning: tuple[Record, ...] = ()
    closing: Callable[[Event], Sequence[Record]] | None = None
    transactions: bool = False
    agent: str | None = None
    version: str | None = None
    parent: str | None = None
    thread: str | None = None
