"""What every wire format offers, in both roles (the module `wire/<format>` is one of these)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from .errors import MidstreamError, Refused
from .events import Answer, Event
from .turn import Asked, Fields, Plan, Prompt


class Say(Struct, frozen=True):
    """What a face knows about the reply it writes. id, created: used where the provider gave none.
    model: as the caller named it, used likewise. include_usage: OpenAI Chat's stream option.
    function_call: as Turn has it. request_id: for error bodies that carry one."""

    id: str
    created: int
    model: str
    include_usage: bool = False
    function_call: bool = False
    request_id: str = ""


class AnswerReader(Protocol):
    """A provider's stream, bytes to events. Never raises on bad bytes: failures are events. Pure."""

    def feed(self, data: bytes) -> list[Event]: ...

    def finish(self) -> list[Event]:
        """The body has ended. A stream without its terminal event ends in Failed(Cut), never in an invented stop."""


class AnswerWriter(Protocol):
    """Events to the bytes of a face's stream. Events after Attempted with its own dialect are relayed by their
    native bytes; others are written anew. Every call's result is whole frames. Pure."""

    def write(self, events: Sequence[Event]) -> bytes: ...


class FaceDialect(Protocol):
    """A format as a server reads and answers it: all that a face of our own needs, as no provider speaks it."""

    @property
    def NAME(self) -> str: ...
    def read_ask(self, fields: Fields) -> Prompt: ...
    def write_answer(self, answer: Answer, say: Say) -> bytes: ...
    def answer_writer(self, say: Say) -> AnswerWriter: ...
    def write_error(self, error: MidstreamError, request_id: str) -> bytes: ...


class Dialect(FaceDialect, Protocol):
    """A module of `wire`. NAME: its name in Turn.dialect, State.issuer and Attempted.dialect."""

    # as a client asks and reads
    def write_ask(self, plan: Plan) -> Asked: ...
    def read_answer(self, body: bytes) -> Answer: ...
    def answer_reader(self) -> AnswerReader: ...
    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> Refused: ...
