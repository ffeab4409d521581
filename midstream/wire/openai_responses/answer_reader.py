"""A streamed response, from this dialect's events to the neutral ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import Cut, Garbled, MidstreamError
from ...core.events import Delta, Done, Event, Failed, Passed, Started, Used
from ..half_pairs import mended
from ..sse import Frame, SSEReader
from .answer import identity_of, stop_of, tier_of, usage_of
from .contents import offered_in
from .failures import failure_of
from .grammar import count, member, objects, text
from .open_items import Opened
from .places import Where


class _TextDelta(Struct, tag="response.output_text.delta", gc=False):
    """By far the most frequent event: decoded straight into this, everything else into plain objects."""

    output_index: int
    content_index: int
    delta: str
    item_id: str = ""
    logprobs: tuple[Any, ...] | None = None


_text_delta = msgspec.json.Decoder(_TextDelta).decode
_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NOT_PLAIN = (*_UNREADABLE, KeyError)


class ResponsesReader:
    """Bytes to events. Frames that are not JSON are skipped (Passed without bytes); everything after the terminal
    event, `[DONE]` included, is ignored."""

    def __init__(self) -> None:
        self._sse = SSEReader()
        self._opened = Opened()
        self._started = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._ended:
            return events
        try:
            frames = self._sse.feed(data)
        except Garbled as error:
            self._fail(error, None, events)
            return events
        quick = self._opened.quick
        for frame in frames:
            if frame.data is not None:
                try:
                    delta = _text_delta(frame.data)
                    part = quick[(delta.output_index, delta.content_index, delta.item_id)]
                    if part.plain and not delta.logprobs:
                        part.length += len(delta.delta)
                        events.append(Delta(part.index, delta.delta, 0, frame.raw))
                        continue
                except _NOT_PLAIN:
                    pass
            self._read(frame, events)
            if self._ended:
                break
        return events

    def finish(self) -> list[Event]:
        """A last frame without its blank line still counts."""
        events = self.feed(b"\n\n") if self._sse.rest.strip() else []
        if not self._ended:
            self._fail(Cut("the stream ended before its terminal event"), None, events)
        return events

    def _fail(self, error: MidstreamError, native: bytes | None, events: list[Event]) -> None:
        self._ended = True
        events.append(Failed(error, native))

    def _read(self, frame: Frame, events: list[Event]) -> None:
        """Whatever is no plain text delta. The frame's bytes travel on the first event that it makes."""
        if frame.data is None:
            events.append(Passed(frame.raw))
            return
        try:
            event = _decode(frame.data)
        except _UNREADABLE:
            event = _mended(frame.data)
        if type(event) is not dict:
            events.append(Passed(frame.raw if frame.data == b"[DONE]" else None))
            return
        made: list[Event] = []
        kind = text(event.get("type"))
        if kind == "error" or (not kind and member(event, "error")) or kind == "response.failed":
            self._failed(event, made)
        elif kind in ("response.completed", "response.incomplete"):
            self._completed(member(event, "response"), made)
        elif kind == "response.created":
            self._start(member(event, "response"), made)
        else:
            handler = _HANDLERS.get(kind)
            if handler is not None:
                handler(self._opened, event, made)
        events.extend(with_native(made, frame.raw))

    def _start(self, response: dict[str, Any], made: list[Event]) -> None:
        if not self._started:
            self._started = True
            self._opened.offered = offered_in(response)
            made.append(Started(*identity_of(response)))

    def _failed(self, event: dict[str, Any], made: list[Event]) -> None:
        response = member(event, "response")
        usage = usage_of(response)
        if usage is not None:
            made.append(Used(usage, tier=tier_of(response)))
        self._fail(failure_of(event), None, made)

    def _completed(self, response: dict[str, Any], made: list[Event]) -> None:
        self._start(response, made)
        self._opened.complete(objects(response.get("output")), made)
        usage = usage_of(response)
        if usage is not None:
            made.append(Used(usage, tier=tier_of(response)))
        made.append(stop_of(response, self._opened.has_calls))
        made.append(Done())
        self._ended = True


def _mended(data: bytes) -> Any:
    better = mended(data)
    try:
        return _decode(better) if better is not None else None
    except _UNREADABLE:
        return None


def with_native(made: list[Event], raw: bytes) -> list[Event]:
    """The events of one frame: its bytes on the first, b"" on the others."""
    if not made:
        return [Passed(raw)]
    return [msgspec.structs.replace(event, native=b"" if number else raw) for number, event in enumerate(made)]


def _item_added(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    item = member(event, "item")
    opened.add_item(_at(event)._replace(id=text(item.get("id"))), item, made)


def _item_done(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    item = member(event, "item")
    opened.end_item(_at(event)._replace(id=text(item.get("id"))), item, made)


def _part_added(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = member(event, "part")
    if part.get("type") in ("output_text", "refusal"):
        opened.text_part(_at(event), part, made)


def _part_done(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = member(event, "part")
    if part.get("type") in ("output_text", "refusal"):
        opened.end_text(_at(event), part, made)


def _at(event: dict[str, Any]) -> Where:
    return Where(_number(event.get("output_index")), _number(event.get("content_index")), text(event.get("item_id")))


def _number(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _text_more(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    at = _at(event)
    part = opened.text_part(at, {"type": "output_text"}, made)
    opened.more(part, text(event.get("delta")), made)
    opened.mark_logprobs(part, objects(event.get("logprobs")), made)
    if part.plain:
        opened.quick[at] = part


def _text_whole(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = opened.text_part(_at(event), {"type": "output_text"}, made)
    opened.catch_up(part, text(event.get("text")), made)
    opened.missing_logprobs(part, objects(event.get("logprobs")), made)


def _refusal_more(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = opened.text_part(_at(event), {"type": "refusal"}, made)
    opened.more(part, text(event.get("delta")), made)


def _refusal_whole(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = opened.text_part(_at(event), {"type": "refusal"}, made)
    opened.catch_up(part, text(event.get("refusal")), made)


def _annotation(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    part = opened.text_part(_at(event), {"type": "output_text"}, made)
    opened.mark_annotations(part, [member(event, "annotation")], made)


def _arguments_more(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    opened.more(opened.call_part(_at(event)), text(event.get("delta")), made)


def _arguments_whole(opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    whole = text(event.get("arguments")) or text(event.get("input"))
    opened.catch_up(opened.call_part(_at(event)), whole, made)


def _thought_more(source: str, opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    item, number = opened.reasoning_item(_at(event)), count(event.get(f"{source}_index"))
    opened.reason(item, source, number, text(event.get("delta")), made)


def _thought_whole(source: str, opened: Opened, event: dict[str, Any], made: list[Event]) -> None:
    item, number = opened.reasoning_item(_at(event)), count(event.get(f"{source}_index"))
    opened.reason_whole(item, source, number, text(event.get("text")), made)


#: Every event type that means something to other dialects; the rest is passed on as it is.
_HANDLERS: dict[str, Callable[[Opened, dict[str, Any], list[Event]], None]] = {
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.content_part.added": _part_added,
    "response.content_part.done": _part_done,
    "response.output_text.delta": _text_more,
    "response.output_text.done": _text_whole,
    "response.output_text.annotation.added": _annotation,
    "response.refusal.delta": _refusal_more,
    "response.refusal.done": _refusal_whole,
    "response.function_call_arguments.delta": _arguments_more,
    "response.function_call_arguments.done": _arguments_whole,
    "response.custom_tool_call_input.delta": _arguments_more,
    "response.custom_tool_call_input.done": _arguments_whole,
    "response.reasoning_summary_text.delta": partial(_thought_more, "summary"),
    "response.reasoning_summary_text.done": partial(_thought_whole, "summary"),
    "response.reasoning_text.delta": partial(_thought_more, "content"),
    "response.reasoning_text.done": partial(_thought_whole, "content"),
    "response.reasoning.delta": partial(_thought_more, "content"),
    "response.reasoning.done": partial(_thought_whole, "content"),
}
