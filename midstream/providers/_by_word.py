"""The JSON that a model was asked for in words alone (core.turn.Asked.by_word): the text without a fence around it, and
an error in place of a good end when it is none. A refusal is an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ..core.dialect import AnswerReader
from ..core.errors import Garbled
from ..core.events import Answer, Delta, Done, Event, Failed, PartEnded, PartStarted, Stopped, Used, Whole
from ..core.json_words import object_of, unfenced, value_of
from ..core.parts import Part, Refusal, Text, declines, text_of

_BLANK = "\ufeff \t\r\n"


def looked_at(answer: Answer, kind: str) -> Sequence[Event]:
    """The events of an answer in one piece. kind: object | value."""
    choices = []
    for choice in answer.choices:
        parts = tuple([_bare(part) for part in choice.parts])
        natural = choice.stop == "stop" and choice.sequence is None  # else the caller's own limit has cut it
        if natural and not declines(parts) and (failure := _failure(text_of(parts), kind)):
            return (Used(answer.usage, None, answer.tier, answer.billed, answer.inner), failure)
        choices.append(replace(choice, parts=parts))
    return (Whole(replace(answer, choices=tuple(choices), native=None)), Done())


def _bare(part: Part) -> Part:
    if type(part) is not Text:
        return part
    text = part.text.lstrip(_BLANK)
    return replace(part, text=unfenced(text) if text.startswith("`") else text)


class LookedAt:
    """core.dialect.AnswerReader: what another one reads. Of a text that begins with a fence nothing is said before its
    end. Events lose their frames' bytes."""

    __slots__ = ("_declined", "_failure", "_held", "_kind", "_reader", "_said", "_texts")

    def __init__(self, reader: AnswerReader, kind: str) -> None:
        self._reader = reader
        self._kind = kind
        #: The indexes of parts that are text, and what has come of those of which nothing is said yet.
        self._texts: set[int] = set()
        self._held: dict[int, str] = {}
        self._said: list[str] = []
        self._declined = False
        self._failure: Failed | None = None

    def feed(self, data: bytes) -> list[Event]:
        return self._looked(self._reader.feed(data))

    def finish(self) -> list[Event]:
        return self._looked(self._reader.finish())

    def _looked(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Whole):
                *told, end = looked_at(event.answer, self._kind)
                self._failure = end if isinstance(end, Failed) else None  # the reader's own end is still to come
                out += told
            elif self._failure is not None and isinstance(event, Done):
                out.append(self._failure)
            else:
                self._look(replace(event, native=None), out)
        return out

    def _look(self, event: Event, out: list[Event]) -> None:
        match event:
            case PartStarted(part=Refusal()):
                self._declined = True
                out.append(event)
            case PartStarted(index=index, part=Text(text=text)):
                self._texts.add(index)
                self._held[index] = ""
                out.append(replace(event, part=replace(event.part, text="")))
                self._more(Delta(index, text, event.choice), out)
            case Delta(index=index) if index in self._texts:
                self._more(event, out)
            case PartEnded(index=index) if index in self._held:
                self._say(Delta(index, unfenced(self._held.pop(index)), event.choice), out)
                out.append(event)
            case Stopped(reason="stop", sequence=None) if failure := self._amiss():
                self._failure = failure
            case _:
                out.append(event)

    def _amiss(self) -> Failed | None:
        return None if self._declined else _failure("".join(self._said), self._kind)

    def _more(self, event: Delta, out: list[Event]) -> None:
        """A text that does not begin with a fence is said as it comes."""
        if event.index in self._held:
            held = (self._held[event.index] + event.text).lstrip(_BLANK)
            if not held or held.startswith("`"):
                self._held[event.index] = held
                return
            del self._held[event.index]
            event = replace(event, text=held)
        self._say(event, out)

    def _say(self, event: Delta, out: list[Event]) -> None:
        if event.text:
            self._said.append(event.text)
            out.append(event)


def _failure(text: str, kind: str) -> Failed | None:
    """Its words hold nothing of the answer's: they are kept where answers may not be."""
    _, why = object_of(text) if kind == "object" else value_of(text)
    if why is None:
        return None
    error = Garbled(f"the model's answer is not the JSON that was asked for: {why}", code="response_invalid")
    error.retryable = False  # it has been paid for, and would be again
    error.staged = True  # the provider is well
    return Failed(error)
