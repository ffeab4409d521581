"""Events to Anthropic's event stream. Its grammar knows one open block at a time, so parts that overlap (parallel
tool calls) wait for the one before them; everything else goes out as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.dialect import Say
from ...core.errors import Garbled
from ...core.events import (
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
)
from ...core.outcome import StopReason
from ...core.parts import Citation, Part, Reasoning, Refusal, State, Text, ToolCall
from ...core.usage import Usage
from ..sse import write_frame
from .answer import answer_block, message_id, write_citation
from .arguments import Arguments
from .faults import write_error
from .names import NAME, own_state, wire_id, write_stop
from .tokens import write_usage

_encode = msgspec.json.Encoder().encode
_HEAD = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":'
#: Their native bytes, if any, are no frames of this stream.
_NEVER_RELAYED = frozenset({Attempted, Whole})
_TAIL = b"}}\n\n"
#: After these a call may be in the middle of its arguments: the end of the message says that it is not whole.
_CUTS: frozenset[StopReason] = frozenset({"length", "content_filter", "error"})


class _Slot:
    """A part on its way. pieces, citations: not yet written. opened: its block has started on the wire.
    arguments: of a call that streams."""

    __slots__ = ("arguments", "citations", "ended", "index", "kind", "opened", "part", "pieces", "state")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.kind = _kind(part)
        self.pieces: list[str] = []
        self.citations: list[Citation] = []
        self.state: State | None = getattr(part, "state", None)
        self.ended = self.opened = False
        self.arguments = Arguments(part) if isinstance(part, ToolCall) and self.kind else None
        if isinstance(part, Text | Reasoning | Refusal) and part.text:
            self.pieces.append(part.text)
        if isinstance(part, ToolCall) and part.arguments:
            self.pieces.append(part.arguments)
        if isinstance(part, Text):
            self.citations.extend(part.citations)

    @property
    def is_text(self) -> bool:
        return isinstance(self.part, Text)


def _kind(part: Part) -> str:
    """The block type that a part streams as; "" for a part that is written in one piece when it ends."""
    if isinstance(part, Text | Refusal):
        return "text"
    if isinstance(part, ToolCall):
        return "tool_use" if part.kind == "function" else ""
    return "thinking" if isinstance(part, Reasoning) and "data" not in own_state(part.state) else ""


class MessagesWriter:
    """core.dialect.AnswerWriter for this format."""

    __slots__ = (
        "_arguments", "_block", "_declined", "_ending", "_head", "_live", "_queue", "_relay", "_say", "_slots",
        "_started", "_stopped", "_told", "_usage",
    )  # fmt: skip

    def __init__(self, say: Say) -> None:
        self._say = say
        self._relay = False
        self._told: Started | None = None
        self._started = False
        self._usage = Usage()
        self._stopped: Stopped | None = None
        self._declined = self._ending = False
        self._slots: dict[int, _Slot] = {}
        self._queue: deque[_Slot] = deque()
        self._block = 0  # the number of the next block
        self._live = -1  # the part whose deltas go straight out, behind `_head`; the arguments of a call as they allow
        self._head = b""
        self._arguments: Arguments | None = None

    def write(self, events: Iterable[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if self._relay and event.native and type(event) not in _NEVER_RELAYED:
                out.append(event.native)
            elif type(event) is Delta and event.index == self._live and not event.choice:
                text = event.text if self._arguments is None else self._arguments.more(event.text)
                if text:
                    out.append(self._head + _encode(text) + _TAIL)
            else:
                self._one(event, out)
        if self._told is not None and not self._started and not self._relay:
            self._start(out)
        return b"".join(out)

    def _one(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Attempted():
                # What has begun in our words goes on in them: one stream has one message_start.
                self._relay = event.dialect == NAME and not self._started
                self._declined = False
            case Whole():
                self._relay = False
                for inner in unfold(event.answer):
                    self._one(inner, out)
            case Failed() if not self._relay or event.native is None:
                body = write_error(event.error, self._say.request_id)
                # A provider's own body may be pretty-printed; line ends would tear the frame.
                out.append(write_frame(b" ".join(body.splitlines()), b"error"))
            case _ if self._relay:
                pass  # its bytes stand with an earlier event of its frame
            case Started():
                self._told = event
            case Used():
                self._usage = event.usage
            case Done():
                self._end(out)
            case PartStarted() | Delta() | Marked() | PartEnded() | Stopped() if event.choice == 0:
                self._part(event, out)

    def _part(self, event: PartStarted | Delta | Marked | PartEnded | Stopped, out: list[bytes]) -> None:
        if isinstance(event, Stopped):
            self._stopped = event
            return
        if isinstance(event, PartStarted):
            slot = self._slots[event.index] = _Slot(event.index, event.part)
            self._declined = self._declined or isinstance(event.part, Refusal)
            self._queue.append(slot)
            if slot.arguments is not None and slot.pieces:
                return  # they may be all: what comes next says it
        elif event.index in self._slots:
            slot = self._slots[event.index]
            if isinstance(event, Delta):
                slot.pieces.append(event.text)
            elif isinstance(event, Marked):
                slot.state = event.state or slot.state
                slot.citations.extend(event.citations)
            else:
                slot.ended = True
        elif isinstance(event, Marked) and event.citations and (texts := [one for one in self._queue if one.is_text]):
            slot = texts[-1]  # its own block has ended, and can take none any more
            slot.citations.extend(event.citations)
        else:
            return
        if self._queue[0] is slot:
            self._advance(out)

    def _advance(self, out: list[bytes]) -> None:
        """Writes what can be written: the first part in the queue, and those behind it as they become the first. One
        that cannot be ended stays there."""
        while self._queue:
            slot = self._queue[0]
            self._pour(slot, out)
            if not slot.ended or not self._argued(slot, out):
                return
            self._close(slot, out)
            self._queue.popleft()
            self._slots.pop(slot.index, None)

    def _pour(self, slot: _Slot, out: list[bytes]) -> None:
        kind = slot.kind
        text = "".join(slot.pieces)
        if not kind or not (text or slot.citations or kind == "tool_use"):
            return
        if not slot.opened:
            self._open(slot, kind, out)
        slot.pieces.clear()
        if slot.arguments is not None and slot.ended:
            slot.arguments.last(text)
            text = ""
        elif slot.arguments is not None:
            text = slot.arguments.more(text)
        if text:
            out.append(self._head + _encode(text) + _TAIL)
        for citation in slot.citations:
            if (members := write_citation(citation)) is not None:
                self._delta({"type": "citations_delta", "citation": members}, out)
        slot.citations.clear()

    def _open(self, slot: _Slot, kind: str, out: list[bytes]) -> None:
        part = slot.part
        if isinstance(part, ToolCall):
            id = wire_id(part.id or f"call_{slot.index}")
            block = {"type": "tool_use", "id": id, "name": part.name, "input": {}, **own_state(part.state)}
            form = b'"input_json_delta","partial_json":'
        elif kind == "thinking":
            block, form = {"type": "thinking", "thinking": "", "signature": ""}, b'"thinking_delta","thinking":'
        else:
            block, form = {"type": "text", "text": ""}, b'"text_delta","text":'
        self._start_block(block, out)
        self._head = b"".join((_HEAD, b"%d" % self._block, b',"delta":{"type":', form))
        self._live, self._arguments = slot.index, slot.arguments
        slot.opened = True

    def _argued(self, slot: _Slot, out: list[bytes]) -> bool:
        """Writes the rest of a call's arguments. False for those of which something was told and which are no object:
        such a call must not look whole, so its block only ends where the end of the message says that it was cut."""
        if slot.arguments is None:
            return True
        rest = slot.arguments.rest()
        if rest is None:
            reason = self._stopped.reason if self._stopped is not None else "stop"
            return self._ending and slot.arguments.is_cut and reason in _CUTS
        if rest:
            out.append(self._head + _encode(rest) + _TAIL)
        return True

    def _close(self, slot: _Slot, out: list[bytes]) -> None:
        self._live = -1
        kind, state = slot.kind, own_state(slot.state)
        if not kind or (not slot.opened and "data" in state):
            self._in_one(slot, out)
        elif kind == "thinking" and (signature := state.get("signature")):
            if not slot.opened:
                self._open(slot, kind, out)
            self._delta({"type": "signature_delta", "signature": signature}, out)
        self._live = -1
        if slot.opened:
            _frame(out, "content_block_stop", {"index": self._block})
            self._block += 1

    def _in_one(self, slot: _Slot, out: list[bytes]) -> None:
        part = slot.part
        if isinstance(part, ToolCall):
            part = msgspec.structs.replace(part, arguments="".join(slot.pieces))
        elif slot.state is not None and hasattr(part, "state"):
            part = msgspec.structs.replace(part, state=slot.state)
        block = answer_block(part, slot.index)
        if block is None:
            return
        slot.opened = True
        name, value = next(((name, block[name]) for name in ("input", "text") if block.get(name)), ("", None))
        # A client builds these two members from deltas only.
        self._start_block(block | {name: "" if name == "text" else {}} if name else block, out)
        if name == "input":
            self._delta({"type": "input_json_delta", "partial_json": _encode(value).decode()}, out)
        elif name == "text":
            self._delta({"type": "text_delta", "text": value}, out)

    def _start_block(self, block: dict[str, Any], out: list[bytes]) -> None:
        self._start(out)
        _frame(out, "content_block_start", {"index": self._block, "content_block": block})

    def _delta(self, delta: dict[str, Any], out: list[bytes]) -> None:
        _frame(out, "content_block_delta", {"index": self._block, "delta": delta})

    def _start(self, out: list[bytes]) -> None:
        if self._started:
            return
        self._started = True
        told = self._told or Started()
        message: dict[str, Any] = {
            "id": message_id(told.id, self._say),
            "type": "message",
            "role": "assistant",
            "model": told.model or self._say.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._usage),
        }
        _frame(out, "message_start", {"message": message})

    def _end(self, out: list[bytes]) -> None:
        self._start(out)
        self._ending = True
        for slot in self._queue:
            slot.ended = True
        self._advance(out)
        if self._queue:
            self._fail(self._queue[0].part, out)
            return
        stopped = self._stopped or Stopped("stop")
        delta = {
            "stop_reason": write_stop(stopped.reason, stopped.native_reason, stopped.sequence, self._declined),
            "stop_sequence": stopped.sequence,
        }
        _frame(out, "message_delta", {"delta": delta, "usage": write_usage(self._usage)})
        _frame(out, "message_stop", {})

    def _fail(self, call: Part, out: list[bytes]) -> None:
        name = call.name if isinstance(call, ToolCall) else ""
        error = Garbled(f"the model's arguments for {name} are no JSON object", code="response_invalid")
        out.append(write_frame(write_error(error, self._say.request_id), b"error"))


def _frame(out: list[bytes], kind: str, members: dict[str, Any]) -> None:
    out.append(write_frame(_encode({"type": kind, **members}), kind.encode()))
