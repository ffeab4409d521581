"""What comes back: the closed union of events that a run logs, and the answer they fold into.

Grammar of one attempt's events, per choice:

    Attempted Started? ((PartStarted (Delta | Marked)* PartEnded)* Used? Stopped Used?)+ (Done | Failed)
    Attempted Whole Done                                            (an answer that came in one piece)

A choice has nearly always one Stopped; a service that goes on after it says another one, and the last one holds. Some
services tell sources when all is said: a Marked with citations may come after its text's PartEnded.

A run of an agent logs `Opened`, then for each model call such a grammar without its Done, with the tools' events
between them, then `Concluded` and the one Done or Failed of the whole run.

Part indexes rise from 0 per choice and are never reused; parts may overlap in time (parallel tool calls).
`native` on an event: the provider's own bytes of the frame that it came from; b"" when an earlier event of the same
frame carries them; None when there are none. A face of the provider's dialect writes these bytes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from .errors import MidstreamError
from .outcome import Outcome, StopReason
from .parts import Citation, Foreign, Media, Native, Part, Reasoning, Refusal, State, Text, ToolCall
from .usage import Inner, Usage


class Attempted(Struct, frozen=True, gc=False):
    """An attempt's answer begins. dialect: of the `native` bytes that follow. number: from 1. told: headers of the
    service for the caller (its limits, its id of the request)."""

    provider: str
    dialect: str
    number: int = 1
    dropped: tuple[str, ...] = ()
    native: bytes | None = None
    told: tuple[tuple[str, str], ...] = ()


class Started(Struct, frozen=True, gc=False):
    """The provider's own id, model and creation time (unix seconds) of the answer. Not visible output."""

    id: str = ""
    model: str = ""
    created: int = 0
    native: bytes | None = None


class PartStarted(Struct, frozen=True, gc=False):
    """A part opens; `part` holds what is known so far (a tool call's id and name, text often "")."""

    index: int
    part: Part
    choice: int = 0
    native: bytes | None = None


class Delta(Struct, frozen=True, gc=False):
    """More of part `index`: its text, or a tool call's arguments."""

    index: int
    text: str
    choice: int = 0
    native: bytes | None = None


class Marked(Struct, frozen=True, gc=False):
    """Something about part `index` other than its text: state (a signature) replaces, citations append,
    logprobs (OpenAI Chat's token objects) append."""

    index: int
    state: State | None = None
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[Any, ...] = ()
    choice: int = 0
    native: bytes | None = None


class PartEnded(Struct, frozen=True, gc=False):
    index: int
    choice: int = 0
    native: bytes | None = None


class Used(Struct, frozen=True, gc=False):
    """Usage so far: each one that has tokens replaces the one before. tier: by which the service says it bills ("" = it
    does not). billed: what it says that the call costs, decimal USD ("" = it does not). inner: calls within it, parts
    of usage."""

    usage: Usage
    native: bytes | None = None
    tier: str = ""
    billed: str = ""
    inner: tuple[Inner, ...] = ()


class Stopped(Struct, frozen=True, gc=False):
    """Why the model stopped. native_reason: the service's own word. sequence: the stop sequence that hit."""

    reason: StopReason
    native_reason: str = ""
    sequence: str | None = None
    choice: int = 0
    native: bytes | None = None


class Passed(Struct, frozen=True, gc=False):
    """A frame without meaning for other dialects (ping, vendor event): only its native bytes. output: they are a piece
    of a part that is told whole when all of it has come (a sound)."""

    native: bytes | None = None
    output: bool = False


class Done(Struct, frozen=True, gc=False):
    """The answer is complete. Terminal."""

    native: bytes | None = None


class Failed(Struct, frozen=True, gc=False):
    """The answer ends in an error. Terminal; what came before it stays valid."""

    error: MidstreamError
    native: bytes | None = None


class Choice(Struct, frozen=True, omit_defaults=True):
    parts: tuple[Part, ...] = ()
    stop: StopReason = "stop"
    native_stop: str = ""
    sequence: str | None = None
    logprobs: tuple[Any, ...] = ()


class Answer(Struct, frozen=True, omit_defaults=True):
    """A complete answer. native: the provider's own body when it came in one piece. tier, billed, inner: as in Used."""

    id: str = ""
    model: str = ""
    created: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    native: Native | None = None
    tier: str = ""
    billed: str = ""
    inner: tuple[Inner, ...] = ()


class Whole(Struct, frozen=True, gc=False):
    """An answer that came in one piece."""

    answer: Answer
    native: bytes | None = None


class Embedded(Struct, frozen=True):
    """Vectors in the order of the inputs. native: the provider's own body. billed: as in Used."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    native: Native | None = None
    billed: str = ""


class Counted(Struct, frozen=True):
    """How many input tokens a request would cost. native: the provider's own body."""

    tokens: int
    native: Native | None = None


class Gave(Struct, frozen=True, gc=False):
    """The one result of a run that is not a conversation."""

    result: Embedded | Counted
    native: bytes | None = None


class Opened(Struct, frozen=True, gc=False):
    """An agent's turn begins: where it is kept. conversation, message: ids ("" when nothing is kept)."""

    conversation: str
    message: str
    thread: str = ""
    sub_thread: str = ""
    native: bytes | None = None


class ToolStarted(Struct, frozen=True):
    """A tool is about to run. round: from 1. arguments: as the tool gets them, mapped ones left out."""

    id: str
    name: str
    arguments: dict[str, Any]
    round: int = 1
    native: bytes | None = None


class ToolNoted(Struct, frozen=True, gc=False):
    """A tool that is still running says something."""

    id: str
    text: str
    native: bytes | None = None


class ToolEnded(Struct, frozen=True, gc=False):
    """status: ok | failed | timeout | in_doubt | denied. text: what the model is told. failure: why, for people.
    ms: how long it took."""

    id: str
    name: str
    status: str
    text: str
    failure: str = ""
    ms: int = 0
    round: int = 1
    native: bytes | None = None


class Concluded(Struct, frozen=True, gc=False):
    """All that an agent's turn came to, before its Done."""

    outcome: Outcome
    native: bytes | None = None


Event: TypeAlias = (
    Attempted
    | Started
    | PartStarted
    | Delta
    | Marked
    | PartEnded
    | Used
    | Stopped
    | Passed
    | Done
    | Failed
    | Whole
    | Gave
    | Opened
    | ToolStarted
    | ToolNoted
    | ToolEnded
    | Concluded
)

_NO_OUTPUT = (Attempted, Started, Used, Marked, PartEnded)


def visible(event: Event) -> bool:
    """Has the caller, once this is sent, seen output that no other attempt may repeat? (the commit point)"""
    kind = type(event)
    if kind is Delta:
        return bool(event.text)  # type: ignore[union-attr]
    if kind is PartStarted:
        part = event.part  # type: ignore[union-attr]
        return bool(part.text) if isinstance(part, Text | Reasoning | Refusal) else True
    if kind is Passed:
        return event.output  # type: ignore[union-attr]
    return kind not in _NO_OUTPUT


_BLOCK = 4096


class _Open:
    """A part under construction."""

    __slots__ = ("blocks", "citations", "more", "part", "state")

    def __init__(self, part: Part) -> None:
        self.part = part
        # The text that came, as UTF-8: a string a chunk would take several times the memory. In blocks, as one that
        # grows for ever is copied again and again and leaves holes behind.
        self.more = bytearray()
        self.blocks: list[bytes] = []
        self.state: State | None = None
        self.citations: list[Citation] = []

    def grow(self, text: str) -> None:
        more = self.more
        more += text.encode("utf-8", "surrogatepass")
        if len(more) > _BLOCK:
            self.blocks.append(bytes(more))
            more.clear()

    def close(self) -> Part:
        part, more = self.part, b"".join((*self.blocks, self.more)).decode("utf-8", "surrogatepass")
        if isinstance(part, Text):
            return replace(
                part,
                text=part.text + more,
                citations=(*part.citations, *self.citations),
                state=self.state or part.state,
            )
        if isinstance(part, ToolCall):
            return replace(part, arguments=part.arguments + more, state=self.state or part.state)
        if isinstance(part, Reasoning):
            return replace(part, text=part.text + more, state=self.state or part.state)
        if isinstance(part, Refusal):
            return replace(part, text=part.text + more)
        if isinstance(part, Media | Foreign) and self.state is not None:
            return replace(part, state=self.state)
        return part


_NONE = _Open(Text(""))


class Fold:
    """Folds events into the answer they make: `add` or `extend`, then `answer()` (at any moment).
    counted: the provider's last word on usage came after all output so far. passed_over: its last word was that there
    are no tokens, after it had counted some. tier, billed: the last that it named.
    inner: as the last word on usage has it. dialect: as the last Attempted has it."""

    __slots__ = (
        "_choice", "_choices", "_growing", "_index", "_logprobs", "_stops", "billed", "counted", "created", "dialect",
        "ended", "error", "id", "inner", "model", "outcome", "passed_over", "result", "tier", "usage", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._choices: dict[int, dict[int, _Open]] = {}
        #: The part that grew last: nearly always the next one to grow.
        self._choice = self._index = -1
        self._growing = _NONE
        self._stops: dict[int, Stopped] = {}
        self._logprobs: dict[int, list[Any]] = {}
        self.id = self.model = self.tier = self.billed = self.dialect = ""
        self.created = 0
        self.usage: Usage | None = None
        self.inner: tuple[Inner, ...] = ()
        self.whole: Answer | None = None
        self.outcome: Outcome | None = None
        self.result: Embedded | Counted | None = None
        self.error: MidstreamError | None = None
        self.ended = self.counted = self.passed_over = False

    def add(self, event: Event) -> None:
        self.extend((event,))

    def extend(self, events: Iterable[Event]) -> None:
        for event in events:
            if type(event) is Delta:  # by far the most frequent
                if event.index != self._index or event.choice != self._choice:
                    self._growing = self._choices[event.choice][event.index]
                    self._choice, self._index = event.choice, event.index
                self._growing.grow(event.text)
                self.counted = False
            elif (folds := _FOLDS.get(type(event))) is not None:
                folds(self, event)

    def _begin(self, event: Attempted) -> None:
        """Another model call of an agent's run: what counts as the answer is the last one's."""
        if self._choices:  # without a choice nothing stands in the others
            self._choices.clear()
            self._stops.clear()
            self._logprobs.clear()
            self._index = -1
        self.whole, self.dialect = None, event.dialect

    def _conclude(self, event: Concluded) -> None:
        self.outcome = event.outcome

    def _start(self, event: Started) -> None:
        self.id, self.model, self.created = event.id, event.model, event.created

    def _open(self, event: PartStarted) -> None:
        self._choices.setdefault(event.choice, {})[event.index] = _Open(event.part)
        self._index = -1
        if not isinstance(event.part, Media | Foreign):  # these may be told at the end, though they came before
            self.counted = False

    def _use(self, event: Used) -> None:
        self.tier = event.tier or self.tier
        self.billed = event.billed or self.billed
        self.passed_over = self.usage is not None and self.usage.total_tokens > 0 and not event.usage.total_tokens
        if not self.passed_over:
            self.usage, self.inner = event.usage, event.inner
            self.counted = True

    def _stop(self, event: Stopped) -> None:
        self._stops[event.choice] = event
        self._choices.setdefault(event.choice, {})

    def _take(self, event: Whole) -> None:
        self.whole = event.answer
        self.usage, self.inner = event.answer.usage, event.answer.inner
        self.tier, self.billed = event.answer.tier, event.answer.billed

    def _give(self, event: Gave) -> None:
        self.result = event.result
        if isinstance(event.result, Embedded):
            self.usage, self.billed = event.result.usage, event.result.billed

    def _fail(self, event: Failed) -> None:
        self.error, self.ended = event.error, True

    def _end(self, event: Done) -> None:
        self.ended = True

    def _mark(self, event: Marked) -> None:
        opened = self._choices.setdefault(event.choice, {}).get(event.index)
        if opened is not None:
            opened.state = event.state or opened.state
            opened.citations.extend(event.citations)
        if event.logprobs:
            self._logprobs.setdefault(event.choice, []).extend(event.logprobs)

    def answer(self) -> Answer:
        """The answer so far. A choice that has not stopped has stop "error"."""
        if self.whole is not None:
            return self.whole
        choices = []
        for number in range(max(self._choices, default=-1) + 1):
            parts = self._choices.get(number, {})
            stop = self._stops.get(number)
            choices.append(
                Choice(
                    parts=tuple(parts[index].close() for index in sorted(parts)),
                    stop=stop.reason if stop else "error",
                    native_stop=stop.native_reason if stop else "",
                    sequence=stop.sequence if stop else None,
                    logprobs=tuple(self._logprobs.get(number, ())),
                )
            )
        used = self.usage or Usage()
        return Answer(self.id, self.model, self.created, tuple(choices), used, None, self.tier, self.billed, self.inner)


#: What each kind of event does; found by its type, as an event is often the last of many kinds.
_FOLDS: dict[type[Event], Callable[[Fold, Any], None]] = {
    Attempted: Fold._begin,
    Started: Fold._start,
    PartStarted: Fold._open,
    Marked: Fold._mark,
    Used: Fold._use,
    Stopped: Fold._stop,
    Whole: Fold._take,
    Gave: Fold._give,
    Concluded: Fold._conclude,
    Failed: Fold._fail,
    Done: Fold._end,
}


def fold(events: Iterable[Event]) -> Answer:
    """The answer that a complete list of events makes. Raises the error of a Failed event."""
    folding = Fold()
    folding.extend(events)
    if folding.error is not None:
        raise folding.error
    return folding.answer()


def unfold(answer: Answer) -> list[Event]:
    """The events of an answer that came in one piece, for a face that streams it (no Attempted, no Done)."""
    out: list[Event] = [Started(answer.id, answer.model, answer.created)]
    for number, choice in enumerate(answer.choices):
        for index, part in enumerate(choice.parts):
            out.append(PartStarted(index, part, number))
            if index == 0 and choice.logprobs:
                out.append(Marked(index, logprobs=choice.logprobs, choice=number))
            out.append(PartEnded(index, number))
        out.append(Stopped(choice.stop, choice.native_stop, choice.sequence, number))
    out.append(Used(answer.usage, None, answer.tier, answer.billed, answer.inner))
    return out
