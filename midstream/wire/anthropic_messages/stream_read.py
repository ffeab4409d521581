"""Anthropic's event stream to events, frame by frame. Tolerant of what servers of this format get wrong: a block's
type that differs from its deltas', missing starts and stops, gaps in the numbers, a second message_start."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest, Cut, Garbled, MidstreamError
from ...core.events import (
    Delta,
    Done,
    Event,
    Failed,
    Marked,
    PartEnded,
    PartStarted,
    Passed,
    Started,
    Stopped,
    Used,
    Whole,
)
from ...core.parts import Foreign, Part, Reasoning, State, Text, ToolCall
from ..half_pairs import forgiving, mended
from ..sse import Frame, SSEReader
from .answer import read_answer, refusal_in
from .block_read import read_block, read_citation
from .faults import refused
from .names import NAME, read_stop
from .tokens import merge_usage, read_inner, read_tier, read_usage


class _Delta(Struct, gc=False):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: Any = None
    message: Any = None
    usage: Any = None
    error: Any = None


class _Anything(Struct):
    delta: dict[str, Any] = {}


_event = msgspec.json.Decoder(_Event).decode
_anything = forgiving(msgspec.json.Decoder(_Anything).decode)
_encode = msgspec.json.Encoder().encode

_TEXT, _THINKING, _CALL, _FOREIGN = "text", "thinking", "call", "foreign"
_EMPTY: dict[str, Part] = {_TEXT: Text(""), _THINKING: Reasoning(), _CALL: ToolCall("", "")}
#: What a block's start may leave out.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": ""},
    "tool_use": {"id": "", "name": "", "input": {}},
}
_KIND_OF_DELTA = {"text_delta": _TEXT, "citations_delta": _TEXT, "thinking_delta": _THINKING,
                  "signature_delta": _THINKING, "input_json_delta": _CALL}  # fmt: skip


class _Block:
    """A block that is open. index: of its part. kind: which deltas it takes. input: arguments that came with its
    start, used when no delta brings any. block: what is known of a block without neutral form."""

    __slots__ = ("block", "index", "input", "kind", "pieces")

    def __init__(self, index: int, kind: str, block: Any = None, input: str = "") -> None:
        self.index = index
        self.kind = kind
        self.block = block
        self.input = input
        self.pieces: list[str] = []


class MessagesReader:
    """core.dialect.AnswerReader for this format."""

    __slots__ = ("_called", "_ended", "_ids", "_next", "_open", "_sse", "_started", "_stopped", "_usage")

    def __init__(self) -> None:
        self._sse = SSEReader()
        self._open: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._ids: set[str] = set()
        self._next = 0
        self._started = self._stopped = self._called = self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._ended:
            return out
        try:
            frames = self._sse.feed(data)
        except Garbled as error:
            self._fail(error, out, None)
            return out
        for frame in frames:
            self._frame(frame, out)
            if self._ended:
                break
        return out

    def finish(self) -> list[Event]:
        """An unfinished last frame still counts; then a stream that has not said message_stop is cut."""
        out = self.feed(b"\n\n") if self._sse.rest.strip() else []
        if not self._ended:
            self._fail(Cut("the provider's stream ended before its last event"), out, None)
        return out

    def _frame(self, frame: Frame, out: list[Event]) -> None:
        raw = frame.raw
        if frame.data is None:
            if raw.lstrip()[:1] == b"{":
                self._whole(raw, out)
            else:
                out.append(Passed(raw))
            return
        try:
            event = _event(frame.data)
        except msgspec.ValidationError:
            if frame.data.lstrip()[:1] == b"{":
                out.append(Passed(raw))  # nothing that we know: its own clients may
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # One broken frame would end the stream of every client that got it.
            if (data := mended(frame.data)) is not None:
                self._frame(Frame(frame.event, data, raw), out)
            return
        delta = event.delta
        if delta is not None and delta.text is not None and event.type == "content_block_delta":
            block = self._open.get(event.index)
            if block is not None and block.kind == _TEXT and delta.type == "text_delta":
                out.append(Delta(block.index, delta.text, 0, raw))  # by far the most frequent
                return
        self._other(event, frame, out)

    def _other(self, event: _Event, frame: Frame, out: list[Event]) -> None:
        """The events of one frame; the first of them carries its bytes."""
        kind = event.type or frame.event.decode("utf-8", "replace") or ("error" if event.error is not None else "")
        made: list[Event] = []
        raw: bytes | None = frame.raw
        match kind:
            case "content_block_delta" if event.delta is not None:
                self._delta(event.index, event.delta, frame.data or b"", made)
            case "content_block_start":
                self._start(event.index, event.content_block, made)
            case "content_block_stop":
                self._stop(event.index, made)
            case "message_start":
                raw = raw if not self._started else None  # a client must see one only
                self._message(event.message, made)
            case "message_delta":
                self._message_delta(event, made)
            case "message_stop":
                self._message_stop(made)
            case "error":
                self._fail(refused(event.error, frame.data or b""), made, b"")
        if made:
            out.append(msgspec.structs.replace(made[0], native=raw))
            out += made[1:]
        elif raw is not None:
            out.append(Passed(raw))

    def _message(self, message: Any, made: list[Event]) -> None:
        members = message if isinstance(message, dict) else {}
        if not self._started:
            id, model = members.get("id"), members.get("model")
            made.append(Started(id if isinstance(id, str) else "", model if isinstance(model, str) else "", 0, b""))
        self._started = True
        self._used(members.get("usage"), made)

    def _used(self, usage: Any, made: list[Event]) -> None:
        if isinstance(usage, dict):
            self._usage = merge_usage(self._usage, usage)
            used, inner = read_usage(self._usage), read_inner(self._usage)
            made.append(Used(used, b"", read_tier(self._usage), "", inner))

    def _start(self, number: int, content: Any, made: list[Event]) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            return
        if number in self._open:
            self._stop(number, made)
        given = {name: value for name, value in content.items() if value is not None}
        try:
            part = read_block(_DEFAULTS.get(content["type"], {}) | given, "content_block")
        except BadRequest:
            part = Foreign(content["type"], State(NAME, content))
        self._begin(number, part, made)

    def _begin(self, number: int, part: Part, made: list[Event]) -> None:
        block = _Block(self._next, _FOREIGN)
        match part:
            case Text():
                block.kind = _TEXT
            case Reasoning() if not (part.state and "data" in part.state.payload):
                block.kind = _THINKING
                if part.state and not any(part.state.payload.values()):
                    part = Reasoning(part.text)  # its signature is still to come
            case ToolCall():
                block.kind, block.input = _CALL, part.arguments if part.arguments != "{}" else ""
                # An id used twice would answer two calls with one result.
                id = f"{part.id}_{block.index}" if part.id in self._ids else part.id
                self._ids.add(id)
                part = msgspec.structs.replace(part, id=id, arguments="")
                self._called = True
            case Foreign():
                block.block = part.state.payload
        self._open[number] = block
        self._next += 1
        made.append(PartStarted(block.index, part, 0, b""))

    def _delta(self, number: int, delta: _Delta, data: bytes, made: list[Event]) -> None:
        kind = _KIND_OF_DELTA.get(delta.type)
        block = self._open.get(number)
        if block is None or (kind is not None and block.kind not in (kind, _FOREIGN)):
            if kind is None:
                return
            if block is not None:
                self._stop(number, made)
            self._begin(number, _EMPTY[kind], made)
            block = self._open[number]
        if block.kind == _FOREIGN:
            self._foreign(block, delta, data)
        elif delta.type == "signature_delta":
            made.append(Marked(block.index, State(NAME, {"signature": delta.signature or ""}), native=b""))
        elif delta.type == "citations_delta":
            made.append(Marked(block.index, citations=(read_citation(delta.citation),), native=b""))
        elif kind is not None:
            text = (delta.text if kind == _TEXT else delta.thinking if kind == _THINKING else delta.partial_json) or ""
            if kind == _CALL and text:
                block.input = ""
            made.append(Delta(block.index, text, 0, b""))

    def _foreign(self, block: _Block, delta: _Delta, data: bytes) -> None:
        """Gathers what a block without neutral form is; it is told once, when the block ends."""
        if delta.partial_json is not None:
            block.pieces.append(delta.partial_json)
            return
        if not isinstance(block.block, dict):
            return
        for name, value in _anything(data).delta.items():
            before = block.block.get(name)
            if name != "type" and value is not None:
                joined = before + value if isinstance(before, str) and isinstance(value, str) else value
                block.block = block.block | {name: joined}

    def _stop(self, number: int, made: list[Event]) -> None:
        block = self._open.pop(number, None)
        if block is None:
            return
        if block.kind == _CALL and block.input:
            made.append(Delta(block.index, block.input, 0, b""))
        if block.block is not None:
            text = "".join(block.pieces)
            if text:
                block.block = block.block | {"input": _decoded(text)}
            made.append(Marked(block.index, State(NAME, block.block), native=b""))
        made.append(PartEnded(block.index, 0, b""))

    def _message_delta(self, event: _Event, made: list[Event]) -> None:
        word = event.delta.stop_reason if event.delta is not None else None
        if word is not None:
            self._stop_all(made)
        if word is not None and event.delta is not None and not self._stopped:
            for refusal in refusal_in(word, event.delta.stop_details):
                made += (PartStarted(self._next, refusal, 0, b""), PartEnded(self._next, 0, b""))
                self._next += 1
        self._used(event.usage, made)
        if word is not None and event.delta is not None and not self._stopped:
            self._stopped = True
            made.append(Stopped(read_stop(word), word, event.delta.stop_sequence, 0, b""))

    def _stop_all(self, made: list[Event]) -> None:
        for number in list(self._open):
            self._stop(number, made)

    def _message_stop(self, made: list[Event]) -> None:
        self._stop_all(made)
        if not self._stopped:
            made.append(Stopped("tool_calls" if self._called else "stop", native=b""))
        self._ended = True
        made.append(Done(b""))

    def _whole(self, raw: bytes, out: list[Event]) -> None:
        """A JSON body where a stream was asked for: an answer in one piece, or an error."""
        try:
            answer = read_answer(raw.strip())
        except MidstreamError as error:
            self._fail(error, out, None)
            return
        self._ended = True
        out += (Whole(answer), Done())

    def _fail(self, error: MidstreamError, out: list[Event], native: bytes | None) -> None:
        self._ended = True
        out.append(Failed(error, native))


def _decoded(text: str) -> Any:
    """The input that pieces made; the text itself when it is no JSON, so that nothing is lost."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
