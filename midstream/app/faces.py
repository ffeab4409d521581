"""The faces there are, and what each of them offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeGuard, cast, runtime_checkable

from msgspec import Struct

from .. import faces
from ..core.dialect import AnswerWriter, FaceDialect, Say
from ..core.events import Counted, Embedded
from ..core.outcome import Outcome
from ..core.registry import modules_of
from ..core.turn import Turn
from ..core.web import Request, Route


class Face(Protocol):
    """A module of `faces`. ID_PREFIX: of the answers' ids. MESSAGES: the member that holds the messages.
    OURS: no provider speaks it, so its 401 and 403 are about the caller's own key and nobody else's.
    TRANSACTIONS: every model call it leads to is published as a transaction event.
    PING: bytes that keep a silent stream alive. MARK: a header that only its clients send ("" = none).
    KEY_IN_QUERY: its clients may send their API key as `?key=`.
    BODY: what its bodies hold; None = what the format's own service takes."""

    NAME: str
    DIALECT: FaceDialect
    ID_PREFIX: str
    MESSAGES: str
    STREAM_TYPE: str
    PING: bytes
    MARK: str
    KEY_IN_QUERY: bool
    OURS: bool
    TRANSACTIONS: bool
    BODY: type[Struct] | None
    ROUTES: tuple[Route, ...]

    def read(self, task: str, request: Request) -> Turn: ...
    def writer(self, turn: Turn, say: Say) -> AnswerWriter: ...
    def write_result(self, turn: Turn, result: Embedded | Counted) -> bytes: ...
    def write_models(self, ids: list[str], query: Mapping[str, str]) -> bytes:
        """The page that the query asks for, where the face's lists have pages. Raises BadRequest."""

    def write_model(self, id: str) -> bytes: ...


@runtime_checkable
class AgentFace(Protocol):
    """What a face of agents' turns has besides."""

    def write_outcome(self, turn: Turn, outcome: Outcome, say: Say) -> bytes:
        """The reply in one piece."""

    def write_accepted(self, turn: Turn, id: str) -> bytes:
        """The reply to a turn whose answer goes elsewhere, later."""


def tells_outcomes(face: Face) -> TypeGuard[AgentFace]:
    """As isinstance, which looks through all of both at each call."""
    return hasattr(face, "write_outcome")


def called(face: Face, names: Iterable[str]) -> tuple[str, ...]:
    """Fields as the face's clients call them, where it has other names for some."""
    own: Mapping[str, str] = getattr(face, "CALLED", {})
    return tuple(own.get(name, name) for name in names)


def marked(faces: Mapping[str, Face], headers: Mapping[str, str]) -> Face | None:
    """The one whose clients send such headers, where several vendors have the same path."""
    return next((face for face in faces.values() if face.MARK in headers), None)


def all_faces() -> dict[str, Face]:
    return {name: cast(Face, module) for name, module in modules_of(faces).items()}
