"""The answer that a model gave as a call of the tool which was put there for it (core.turn.Asked.form_tool), as the
text that its caller asked for."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from ..core.dialect import AnswerReader
from ..core.events import Answer, Choice, Delta, Event, PartEnded, PartStarted, Stopped, Whole
from ..core.parts import Part, Text, ToolCall


def unwrapped(answer: Answer, tool: str) -> Answer:
    """The answer without its own bytes, which tell of the call."""
    return replace(answer, choices=tuple(_choice(choice, tool) for choice in answer.choices), native=None)


def _choice(choice: Choice, tool: str) -> Choice:
    parts: list[Part] = []
    found = calls = False
    for part in choice.parts:
        if type(part) is not ToolCall or part.name != tool:
            calls = calls or type(part) is ToolCall
            parts.append(part)
        elif not found:  # an answer is given once
            found = True
            parts.append(Text(part.arguments or "{}"))
    stop = "stop" if found and not calls and choice.stop == "tool_calls" else choice.stop
    return replace(choice, parts=tuple(parts), stop=stop)


class Unwrapping:
    """core.dialect.AnswerReader: what another one reads, with the call of `tool` as text. Events lose their frames'
    bytes, which tell of the call."""

    __slots__ = ("_called", "_empty", "_form", "_reader", "_skipped", "_tool")

    def __init__(self, reader: AnswerReader, tool: str) -> None:
        self._reader = reader
        self._tool = tool
        #: Index of the part that is the answer; -1 until it begins.
        self._form = -1
        self._empty = True
        self._skipped: set[int] = set()
        self._called = False

    def feed(self, data: bytes) -> list[Event]:
        return self._turned(self._reader.feed(data))

    def finish(self) -> list[Event]:
        return self._turned(self._reader.finish())

    def _turned(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if isinstance(event, Whole):
                out.append(Whole(unwrapped(event.answer, self._tool)))
            elif getattr(event, "index", -1) not in self._skipped:
                self._turn(replace(event, native=None), out)
        return out

    def _turn(self, event: Event, out: list[Event]) -> None:
        match event:
            case PartStarted(part=ToolCall(name=name)) if name == self._tool:
                if self._form >= 0:  # an answer is given once
                    self._skipped.add(event.index)
                    return
                self._form = event.index
                event = replace(event, part=Text(""))
            case PartStarted(part=ToolCall()):
                self._called = True
            case Delta(index=self._form, text=text) if text:
                self._empty = False
            case PartEnded(index=self._form) if self._empty:
                out.append(Delta(event.index, "{}", event.choice))
            case Stopped(reason="tool_calls") if self._form >= 0 and not self._called:
                event = replace(event, reason="stop")
        out.append(event)
