"""Neutral events as a stream of this dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.dialect import Say
from ...core.errors import MidstreamError
from ...core.events import (
    Answer,
    Attempted,
    Delta,
    Done,
    Event,
    Failed,
    Marked,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    unfold,
)  # fmt: skip
from ...core.outcome import StopReason
from ...core.usage import Usage
from .failures import error_object, response_error
from .grammar import NAME
from .live_items import Frames, LiveItems
from .response_object import Echo, response_object, tool_usage, usage_object

_encode = msgspec.json.Encoder().encode
_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_DONE = b"data: [DONE]\n\n"
#: A pause has no word here, but is no end either.
_INCOMPLETE = {"length": "max_output_tokens", "pause": "max_output_tokens", "content_filter": "content_filter"}


def write_answer(answer: Answer, say: Say, echo: Echo | None = None) -> bytes:
    """The response object: the provider's own bytes when it spoke this dialect, else the one that a stream ends in."""
    if answer.native is not None and answer.native.dialect == NAME:
        return answer.native.raw
    writer = ResponsesWriter(say, echo)
    writer.write([*unfold(answer), Done()])
    return _encode(writer.response)


class ResponsesWriter:
    """An attempt of this dialect is relayed byte for byte; others are written in the strict order: items one after
    the other, so parts that overlap wait until those before them have ended.

    response: the final response object, once there is one."""

    def __init__(self, say: Say, echo: Echo | None = None) -> None:
        self.response: dict[str, Any] | None = None
        self._say = say
        self._echo = echo or Echo()
        self._identity = (say.id or "resp_0", say.model, say.created)
        self._frames = Frames()
        self._items = LiveItems(self._frames, self._identity[0].removeprefix("resp_"))
        self._waiting: dict[int, list[Event]] = {}
        self._front: int | None = None
        self._begun = self._closed = self._relay = False
        self._last = b""
        self._usage: Usage | None = None
        self._stop: StopReason = "stop"

    def write(self, events: Iterable[Event]) -> bytes:
        for event in events:
            if self._closed:
                break
            if self._relay and type(event) is not Attempted and event.native is not None and type(event) is not Whole:
                self._pass_on(event, event.native)
            else:
                self._write(event)
        return self._frames.take()

    def _pass_on(self, event: Event, native: bytes) -> None:
        if native:
            self._frames.raw(native)
            self._last = native
        kind = type(event)
        if kind is Delta:
            return
        if kind is Started:
            self._know(event)  # type: ignore[arg-type]
        elif kind is Used:
            self._usage = event.usage  # type: ignore[union-attr]
        elif kind is Done:
            self._closed = True
        elif kind is Failed:
            self._end_failed(event.error, told=True)  # type: ignore[union-attr]

    def _know(self, started: Started) -> None:
        """The provider's own identity, but for an id that is not of this dialect's kind."""
        mine = self._relay or started.id.startswith("resp_") or not self._say.id
        answer_id = started.id if started.id and mine else self._identity[0]
        self._identity = (answer_id, started.model or self._say.model, started.created or self._say.created)

    def _write(self, event: Event) -> None:
        if type(event) is Delta:
            self._take(event, event.index)
            return
        match event:
            case Attempted():
                self._relay = event.dialect == NAME
                self._go_on()
            case Started():
                if not self._begun and not self._relay:
                    self._know(event)
                    self._begin()
            case PartStarted() | Marked() | PartEnded():
                self._take(event, event.index)
            case Used():
                self._usage = event.usage
            case Stopped():
                self._stop = event.reason
            case Whole():
                self._relay = False
                for each in unfold(event.answer):
                    self._write(each)
            case Done():
                if self._relay:
                    self._closed = True
                else:
                    self._end_whole()
            case Failed():
                self._end_failed(event.error, told=False)

    def _begin(self) -> None:
        """The lifecycle events come before anything else."""
        if self._begun:
            return
        self._begun = True
        response = response_object(self._identity, self._echo, "in_progress", [], {})
        self._frames.emit("response.created", response=response)
        self._frames.emit("response.in_progress", response=response)

    def _go_on(self) -> None:
        """What was relayed has begun the response: what we write ourselves is numbered on from there."""
        if self._last:
            self._begun = True
            found = _NUMBER.findall(self._last)
            self._frames.number = int(found[-1]) + 1 if found else self._frames.number
            self._last = b""

    # parts, one at a time

    def _take(self, event: PartStarted | Delta | Marked | PartEnded, index: int) -> None:
        if event.choice or self._relay:  # this dialect has one choice
            return
        if index == self._front:
            self._apply(event)
        elif type(event) is PartStarted and self._front is None:
            self._front = index
            self._apply(event)
        elif type(event) is PartStarted:
            self._waiting[index] = [event]
        elif index in self._waiting:
            self._waiting[index].append(event)

    def _apply(self, event: Event) -> None:
        if type(event) is Delta:
            self._items.more(event.text)
        elif type(event) is PartStarted:
            self._begin()
            self._items.start(event.part)
        elif type(event) is PartEnded:
            self._next_part()
        else:
            self._items.apply(event)

    def _next_part(self) -> None:
        """The part in front has ended: what waits behind it is written, up to the first part that is still open."""
        self._items.end()
        self._front = None
        while self._waiting and self._front is None:
            self._front = min(self._waiting)
            for event in self._waiting.pop(self._front):
                if type(event) is PartEnded:
                    self._items.end()
                    self._front = None
                else:
                    self._apply(event)

    def _end_parts(self) -> None:
        while self._front is not None:
            self._next_part()

    # the end

    def _end_whole(self) -> None:
        if self._stop == "error":
            self._end_failed(MidstreamError("the model stopped with an error", code="server_error"), told=False)
            return
        self._begin()
        self._end_parts()
        reason = _INCOMPLETE.get(self._stop)
        status = "incomplete" if reason else "completed"
        self._items.close_item(status)
        details = {"incomplete_details": {"reason": reason}} if reason else {}
        self._finish(status, self._items.output, details)

    def _end_failed(self, error: MidstreamError, told: bool) -> None:
        """An `error` event in both shapes that clients read, then response.failed. told: the provider's own event of
        the failure was relayed just now."""
        said = b"response.failed" in self._last if told else False
        if said:
            self._closed = True
            return
        self._go_on()
        self._begin()
        if not told:
            fields = error_object(error)
            self._frames.emit(
                "error", code=fields["code"], message=fields["message"], param=fields["param"], error=fields
            )
        self._finish("failed", self._items.output, {"error": response_error(error)})

    def _finish(self, status: str, output: list[dict[str, Any]], more: dict[str, Any]) -> None:
        used = self._usage or Usage()
        usage = usage_object(used) if self._usage or status != "failed" else None
        more = {"usage": usage, **tool_usage(used), **more}
        self.response = response_object(self._identity, self._echo, status, output, more)
        self._frames.emit(f"response.{status}", response=self.response)
        self._frames.raw(_DONE)
        self._closed = True
