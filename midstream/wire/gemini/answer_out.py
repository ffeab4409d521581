"""Answers in Google's words: whole bodies and streams, as server-sent events or as a JSON array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from ...core.dialect import Say
from ...core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Fold,
    Marked,
    PartEnded,
    PartStarted,
    Started,
    Whole,
    unfold,
)
from ...core.parts import Foreign, Part, Reasoning, Refusal, State, Text, ToolCall, declines
from ..sse import SSEReader, write_frame
from .facts import write_facts
from .part_out import write_part
from .refusals import write_error
from .shape import NAME
from .stops import write_stop
from .usage import write_usage

_encode = msgspec.json.Encoder().encode
#: How Google itself puts the objects of a JSON array stream apart.
_BETWEEN, _END = b"\n,\r\n", b"\n]"


def write_answer(answer: Answer, say: Say) -> bytes:
    """A whole GenerateContentResponse; an answer that came in this dialect is given back as it came."""
    if answer.native is not None and answer.native.dialect == NAME:
        return answer.native.raw
    candidates = [_candidate(number, choice) for number, choice in enumerate(answer.choices)]
    return _encode(
        {
            "candidates": candidates,
            "usageMetadata": write_usage(answer.usage),
            "modelVersion": answer.model or say.model,
            "responseId": answer.id or say.id,
        }
    )


def _candidate(number: int, choice: Choice) -> dict[str, Any]:
    written = [write_part(_shown(part), {}) for part in choice.parts]
    parts = [part for part in written if part is not None]
    content: dict[str, Any] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    return {
        "content": content,
        "finishReason": write_stop(choice.stop, choice.native_stop, declines(choice.parts)),
        "index": number,
        **write_facts(_told(choice)),
    }


def _told(choice: Choice) -> Choice:
    """With the parts that the caller gets: what is said of a part names it by its place among them."""
    if not any(isinstance(part, Text) and part.citations for part in choice.parts):
        return choice
    written = [part for part in choice.parts if write_part(_shown(part), {}) is not None]
    beside = [part for part in choice.parts if isinstance(part, Foreign) and part not in written]
    return replace(choice, parts=(*written, *beside))


def _shown(part: Part) -> Part:
    """Thinking of any issuer is shown as thought; another issuer's state is not."""
    if isinstance(part, Reasoning) and (part.state is None or part.state.issuer != NAME):
        return replace(part, state=State(NAME, {})) if part.text else part
    return part


class Writer:
    """See core.dialect.AnswerWriter. as_array: one JSON array instead of server-sent events.

    Calls are written when they are complete, for Google's format knows no pieces of arguments. finishReason and
    usageMetadata stand in the last frame, beside an empty text, as Google sends them."""

    __slots__ = ("_array", "_calls", "_fold", "_head", "_kinds", "_opened", "_relay", "_say", "_tails")

    def __init__(self, say: Say, as_array: bool = False) -> None:
        self._say = say
        self._array = as_array
        self._opened = False
        self._relay = False
        self._fresh()

    def _fresh(self) -> None:
        self._fold = Fold()
        self._calls: dict[tuple[int, int], list[Event]] = {}
        self._kinds: dict[tuple[int, int], bool] = {}
        self._tails: dict[tuple[int, bool], bytes] = {}
        self._head = b'{"candidates":[{"content":{"parts":[{"text":'

    def write(self, events: Iterable[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if type(event) is Attempted:
                self._relay = event.dialect == NAME
                self._fresh()
            if self._relay:
                self._pass_on(event, out)
            elif type(event) is Delta:
                self._delta(event, out)
            elif type(event) is Whole:
                for one in unfold(event.answer):
                    self._event(one, out)
            else:
                self._event(event, out)
        return b"".join(out)

    def _pass_on(self, event: Event, out: list[bytes]) -> None:
        native = event.native
        if type(event) is Whole and not native and event.answer.native is not None:
            native = event.answer.native.raw
        if native:
            if self._array or native[:1] in b"{[ \n":
                self._reframe(native, out)
            else:
                out.append(native)
        elif type(event) is Failed:
            self._frame(write_error(event.error, self._say.request_id), out)
        if self._array and type(event) in (Done, Failed):
            self._close(out)

    def _reframe(self, native: bytes, out: list[bytes]) -> None:
        """Google's own frame in the framing that this caller asked for; its JSON stays as it is, but that an event
        must fit on one line."""
        bare = native.strip()
        if bare.startswith((b"{", b"[")):
            self._frame(bare, out)
            return
        for frame in SSEReader().feed(native):
            if frame.data and frame.data != b"[DONE]":
                self._frame(frame.data, out)

    def _frame(self, data: bytes, out: list[bytes]) -> None:
        if self._array:
            out.append((_BETWEEN if self._opened else b"[") + data)
            self._opened = True
        else:
            if b"\n" in data or b"\r" in data:
                data = msgspec.json.format(data, indent=-1)
            out.append(write_frame(data))

    def _close(self, out: list[bytes]) -> None:
        out.append(_END if self._opened else b"[]")

    def _delta(self, event: Delta, out: list[bytes]) -> None:
        self._fold.add(event)
        key = (event.choice, event.index)
        thought = self._kinds.get(key)
        if thought is None:
            if key in self._calls:
                self._calls[key].append(event)
            return
        if event.text:
            data = self._head + _encode(event.text) + self._tail(event.choice, thought)
            if self._array:
                self._frame(data, out)
            else:
                out.append(b"data: " + data + b"\n\n")

    def _tail(self, choice: int, thought: bool) -> bytes:
        tail = self._tails.get((choice, thought))
        if tail is None:
            mark = b',"thought":true' if thought else b""
            tail = mark + b'}],"role":"model"},"index":%d}],' % choice + self._names()
            self._tails[choice, thought] = tail
        return tail

    def _names(self) -> bytes:
        names = {"modelVersion": self._fold.model or self._say.model, "responseId": self._fold.id or self._say.id}
        return _encode(names)[1:]

    def _event(self, event: Event, out: list[bytes]) -> None:
        self._fold.add(event)
        match event:
            case Started():
                self._tails.clear()
            case PartStarted():
                self._start(event, out)
            case Marked():
                self._mark(event, out)
            case PartEnded():
                self._call((event.choice, event.index), out)
            case Done():
                self._end(out)
            case Failed():
                self._frame(write_error(event.error, self._say.request_id), out)
                if self._array:
                    self._close(out)

    def _start(self, event: PartStarted, out: list[bytes]) -> None:
        part, key = event.part, (event.choice, event.index)
        if isinstance(part, ToolCall):
            self._calls[key] = [event]
            return
        if isinstance(part, Text | Reasoning | Refusal):
            self._kinds[key] = isinstance(part, Reasoning)
        self._part(event.choice, part, out)

    def _part(self, choice: int, part: Part, out: list[bytes]) -> None:
        written = write_part(_shown(part), {})
        if written is not None:
            content = {"parts": [written], "role": "model"}
            self._frame(
                b'{"candidates":[' + _encode({"content": content, "index": choice}) + b"]," + self._names(), out
            )

    def _mark(self, event: Marked, out: list[bytes]) -> None:
        key = (event.choice, event.index)
        if key in self._calls:
            self._calls[key].append(event)
        elif event.state is not None and event.state.issuer == NAME and key in self._kinds:
            signed = Reasoning(state=event.state) if self._kinds[key] else Text("", state=event.state)
            self._part(event.choice, signed, out)

    def _call(self, key: tuple[int, int], out: list[bytes]) -> None:
        pieces = self._calls.pop(key, None)
        if pieces is None:
            return
        folding = Fold()
        for piece in pieces:
            folding.add(piece)
        self._part(key[0], folding.answer().choices[key[0]].parts[0], out)

    def _end(self, out: list[bytes]) -> None:
        for key in sorted(self._calls):
            self._call(key, out)
        answer = self._fold.answer()
        candidates = [_last(number, choice) for number, choice in enumerate(answer.choices)]
        usage = {"usageMetadata": write_usage(answer.usage)} if self._fold.usage is not None else {}
        self._frame(b"".join((_encode({"candidates": candidates, **usage})[:-1], b",", self._names())), out)
        if self._array:
            self._close(out)


def _last(number: int, choice: Choice) -> dict[str, Any]:
    return {
        "content": {"parts": [{"text": ""}], "role": "model"},
        "finishReason": write_stop(choice.stop, choice.native_stop, declines(choice.parts)),
        "index": number,
        **write_facts(_told(choice)),
    }
