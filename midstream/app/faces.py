"""The faces there are, and what each of them offers."""

from __future__ import annotations

from typing import Protocol, cast

from .. import faces
from ..core.dialect import AnswerWriter, Dialect, Say
from ..core.events import Counted, Embedded
from ..core.registry import modules_of
from ..core.turn import Turn
from ..core.web import Request, Route


class Face(Protocol):
    """A module of `faces`. ID_PREFIX: of the answers' ids. MESSAGES: the member that holds the messages.
    PING: bytes that keep a silent stream alive. MARK: a header that only its clients send ("" = none).
    KEY_IN_QUERY: its clients may send their API key as `?key=`."""

    NAME: str
    DIALECT: Dialect
    ID_PREFIX: str
    MESSAGES: str
    STREAM_TYPE: str
    PING: bytes
    MARK: str
    KEY_IN_QUERY: bool
    ROUTES: tuple[Route, ...]

    def read(self, task: str, request: Request) -> Turn: ...
    def writer(self, turn: Turn, say: Say) -> AnswerWriter: ...
    def write_result(self, turn: Turn, result: Embedded | Counted) -> bytes: ...
    def write_models(self, ids: list[str]) -> bytes: ...
    def write_model(self, id: str) -> bytes: ...


def all_faces() -> dict[str, Face]:
    return {name: cast(Face, module) for name, module in modules_of(faces).items()}
