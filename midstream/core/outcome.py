"""How an agent's turn ended, as every face, channel and later reader is told."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from .parts import Media
from .usage import Usage

#: One set of words for all services; the service's own word is kept beside it. "pause": ask again to go on.
StopReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "error", "pause"]


class Step(Struct, frozen=True, omit_defaults=True):
    """One tool call as it is shown to callers. status: ok | failed | timeout | in_doubt | denied.
    result: what the model was told. round: from 1. ms: how long it took."""

    id: str
    name: str
    arguments: dict[str, Any]
    status: str
    result: str = ""
    error: str = ""
    round: int = 1
    ms: int = 0


class Ending(Struct, frozen=True, omit_defaults=True):
    """Whose words an answer is, and why they ended: each as in Outcome."""

    stop: StopReason = "stop"
    native_stop: str = ""
    model: str = ""
    service: str = ""
    missing: tuple[str, ...] = ()
    fallback: bool = False
    first_error: str = ""
    blocked: str = ""
    declined: bool = False


class Outcome(Struct, frozen=True, omit_defaults=True):
    """How an agent's turn ended. text: what the user reads. usage, cost: of all model calls of the run, children
    included (cost: decimal USD, None when one has no known price). rounds: model calls made.
    first_error: of the primary model, when the fallback answered. missing: required variables without a value.
    dropped: parameters that the model does not take. noted: what was changed of what was asked (a value out of range,
    an unknown time zone), in words. blocked: why a guardrail refused it. declined: the model did, and the text is its
    refusal, also where another form was asked for. vectors: of what was said, from an
    agent that gives those and no answer. message, answer: ids of the stored messages ("" when nothing is kept)."""

    text: str
    stop: StopReason = "stop"
    native_stop: str = ""
    model: str = ""
    service: str = ""
    usage: Usage = Usage()
    cost: str | None = None
    rounds: int = 1
    steps: tuple[Step, ...] = ()
    images: tuple[Media, ...] = ()
    annotations: tuple[Any, ...] = ()
    fallback: bool = False
    first_error: str = ""
    missing: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    blocked: str = ""
    declined: bool = False
    value: Any = None
    id: str = ""
    conversation: str = ""
    thread: str = ""
    sub_thread: str = ""
    message: str = ""
    answer: str = ""
    title: str = ""
    suggestions: tuple[str, ...] = ()
    vectors: tuple[tuple[float, ...], ...] | None = None

    @property
    def ending(self) -> Ending:
        return Ending(**{name: getattr(self, name) for name in Ending.__struct_fields__})
