"""Events -> the bytes of a stream: relayed as they came from a provider of this dialect, else written anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from ...core.dialect import Say
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
from ...core.parts import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from ...core.usage import Usage
from .answer_out import stop_members
from .errors import error_frame
from .parts_out import media_url, own, own_members, write_annotations, write_image, write_sound
from .quirks import NAME
from .reasons import write_reason
from .usage import usage_object

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"
#: Events whose bytes a relay may have to leave out or to write itself.
_NOT_AS_IT_CAME = frozenset({Started, Used, Done, Failed, Whole})
_PLAIN_END = b'},"logprobs":null,"finish_reason":null}]}\n\n'
#: Of one part, by its choice and index.
_Key: TypeAlias = tuple[int, int]
#: What stands before and after more of its text, and the characters that its content has.
_Around: TypeAlias = tuple[bytes, bytes, list[int]]
_FIELD = {Text: b'"content":', Reasoning: b'"reasoning_content":', Refusal: b'"refusal":'}


class StreamWriter:
    __slots__ = (
        "_about", "_calls", "_ended", "_held", "_introduced", "_known_head", "_lengths", "_open", "_relays", "_say",
        "_spans", "_spoken", "_unsaid", "_usage",
    )  # fmt: skip

    def __init__(self, say: Say) -> None:
        self._say = say
        self._relays = False
        self._ended = False
        self._known_head = b""
        self._spoken: frozenset[int] = frozenset()
        self._introduced = False
        self._calls: dict[int, int] = {}
        self._open: dict[_Key, _Around] = {}
        #: As _open, of function calls whose arguments have not begun: clients parse what they were told in the end.
        self._unsaid: dict[_Key, _Around] = {}
        #: Characters of each choice's content so far, and where in it each text begins and has ended.
        self._lengths: dict[int, list[int]] = {}
        self._spans: dict[_Key, tuple[int, int | None]] = {}
        #: Citations of a text whose end is not known yet.
        self._held: dict[_Key, list[Citation]] = {}
        self._usage: Usage | None = None
        self._about = (say.id, say.model, say.created)

    def _name(self, answer_id: str, model: str, created: int) -> None:
        say = self._say
        self._about = (answer_id or say.id, model or say.model, created or say.created)
        self._known_head = b""

    @property
    def _head(self) -> bytes:
        """Every chunk begins with the same id, model and time. Written when first needed: a relay needs none."""
        if not self._known_head:
            answer_id, model, created = self._about
            about = _encode({"id": answer_id, "object": "chat.completion.chunk", "created": created, "model": model})
            self._known_head = b"data: " + about[:-1] + b',"choices":['
        return self._known_head

    def write(self, events: Sequence[Event]) -> bytes:
        if self._relays and len(events) == 1 and type(events[0]) is Delta and not self._ended:  # nearly always
            relayed = events[0].native
            if relayed is not None:
                return relayed
        out: list[bytes] = []
        add = out.append
        open_parts = self._open
        for event in events:
            if self._ended:
                break
            if self._relays:
                native = event.native
                if native is not None and type(event) not in _NOT_AS_IT_CAME:
                    add(native)
                    continue
                self._relay(event, out)
            elif type(event) is Delta:
                around = open_parts.get((event.choice, event.index))
                if around is not None and event.text:
                    add(around[0])
                    add(_encode(event.text))
                    add(around[1])
                    around[2][0] += len(event.text)
                elif event.text and self._unsaid:
                    self._first_argument(event, out)
            else:
                self._translate(event, out)
        return b"".join(out)

    def _relay(self, event: Event, out: list[bytes]) -> None:
        """Events without bytes came in a frame that clients of this dialect could not read: they are written anew."""
        match event:
            case Started():
                self._name(event.id, event.model, event.created)
                if event.native is not None:
                    self._introduced = True
                    out.append(event.native)
            case Delta():
                around = self._open.get((event.choice, event.index))
                if around is not None and event.text:
                    out += (around[0], _encode(event.text), around[1])
                    around[2][0] += len(event.text)
                elif event.text:
                    self._first_argument(event, out)
            case PartStarted() | PartEnded() | Marked() | Stopped():
                self._translate(event, out)
            case Used():
                # Its frame holds nothing but usage: of others the first event is another one.
                if event.native and self._say.include_usage:
                    out.append(event.native)
                elif event.native is None:
                    self._usage = event.usage
            case Done():
                self._ended = True
                if self._usage is not None and self._say.include_usage:
                    out.append(self._used(self._usage))
                out.append(_DONE if event.native is None else event.native)
            case Failed():
                self._ended = True
                out.append(event.native or error_frame(event.error))
            case Attempted():
                self._relays = event.dialect == NAME
            case Whole():
                self._relays = False
                self._translate(event, out)

    def _translate(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Attempted():
                self._relays = event.dialect == NAME
            case Started():
                if not self._spoken:
                    self._name(event.id, event.model, event.created)
                    self._speak(0, out)
            case PartStarted():
                self._part(event, out)
            case PartEnded():
                self._end_part((event.choice, event.index), out)
            case Marked():
                self._mark(event, out)
            case Stopped():
                self._stop(event, out)
            case Used():
                self._usage = event.usage
            case Whole():
                out.append(self.write(unfold(event.answer)))
            case Done():
                self._done(out)
            case Failed():
                self._ended = True
                out.append(error_frame(event.error))

    def _chunk(self, choice: int, delta: dict[str, Any], **more: Any) -> bytes:
        written = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return self._head + _encode(written) + b"]}\n\n"

    def _speak(self, choice: int, out: list[bytes]) -> None:
        """The role stands in a choice's first chunk only."""
        if choice not in self._spoken and not self._introduced:
            self._spoken |= {choice}
            out.append(self._chunk(choice, {"role": "assistant", "content": "", "refusal": None}))

    def _part(self, event: PartStarted, out: list[bytes]) -> None:
        part, choice = event.part, event.choice
        self._speak(choice, out)
        if isinstance(part, Text | Reasoning | Refusal):
            before = self._head + b'{"index":%d,"delta":{' % choice + _FIELD[type(part)]
            length = self._lengths.setdefault(choice, [0]) if isinstance(part, Text) else [0]
            self._open[choice, event.index] = (before, _PLAIN_END, length)
            if isinstance(part, Text):
                self._spans[choice, event.index] = (length[0], None)
                length[0] += len(part.text)
            if part.text:
                out.append(before + _encode(part.text) + _PLAIN_END)
            if isinstance(part, Text) and part.citations:
                self._mark(Marked(event.index, citations=part.citations, choice=choice), out)
            if isinstance(part, Reasoning) and part.state is not None:
                self._mark(Marked(event.index, state=part.state, choice=choice), out)
        elif isinstance(part, ToolCall):
            self._call(event.index, part, choice, out)
        elif isinstance(part, Media) and part.kind == "image" and media_url(part):
            out.append(self._chunk(choice, {"images": [write_image(part)]}))
        elif isinstance(part, Media) and part.kind == "audio" and part.data is not None:
            out.append(self._chunk(choice, {"audio": write_sound(part)}))
        elif isinstance(part, Foreign) and part.kind == "executed_tools" and own(part.state) is not None:
            out.append(self._chunk(choice, {"executed_tools": [own(part.state)]}))

    def _call(self, index: int, call: ToolCall, choice: int, out: list[bytes]) -> None:
        number = self._calls.get(choice, 0)
        self._calls[choice] = number + 1
        if self._say.function_call:
            if not number:
                self._function_call(index, call, choice, out)
            return
        told, member = ("custom", "input") if call.kind == "custom" else ("function", "arguments")
        begun = {
            "index": number,
            "id": call.id,
            "type": told,
            told: {"name": call.name, member: call.arguments},
            **own_members(call.state),
        }
        out.append(self._chunk(choice, {"tool_calls": [begun]}))
        before = b'{"index":%d,"delta":{"tool_calls":[{"index":%d,"%s":{"%s":' % (
            choice,
            number,
            told.encode(),
            member.encode(),
        )
        places = self._unsaid if told == "function" and not call.arguments else self._open
        places[choice, index] = (self._head + before, b"}}]" + _PLAIN_END, [0])

    def _function_call(self, index: int, call: ToolCall, choice: int, out: list[bytes]) -> None:
        """For a caller who reads one call, without an id."""
        out.append(self._chunk(choice, {"function_call": {"name": call.name, "arguments": call.arguments}}))
        before = b'{"index":%d,"delta":{"function_call":{"arguments":' % choice
        places = self._open if call.arguments else self._unsaid
        places[choice, index] = (self._head + before, b"}" + _PLAIN_END, [0])

    def _first_argument(self, event: Delta, out: list[bytes]) -> None:
        if around := self._unsaid.pop((event.choice, event.index), None):
            self._open[event.choice, event.index] = around
            out += (around[0], _encode(event.text), around[1])

    def _end_part(self, key: _Key, out: list[bytes]) -> None:
        if around := self._unsaid.pop(key, None):
            out += (around[0], b'"{}"', around[1])
        elif key in self._spans:
            self._spans[key] = (self._spans[key][0], self._lengths[key[0]][0])
            self._cite(key, self._held.pop(key, []), out)

    def _cite(self, key: _Key, citations: Sequence[Citation], out: list[bytes]) -> None:
        """One that speaks of a whole text waits for its end."""
        start, end = self._spans.get(key, (0, 0))
        told = [one for one in citations if end is not None or one.end is not None or own(one.state) is not None]
        if len(told) < len(citations):
            self._held.setdefault(key, []).extend(one for one in citations if one not in told)
        annotations = write_annotations(told, start, end)
        if annotations:
            out.append(self._chunk(key[0], {"annotations": annotations}))

    def _mark(self, event: Marked, out: list[bytes]) -> None:
        if event.citations:
            self._cite((event.choice, event.index), event.citations, out)
        if event.logprobs:
            probs = {"content": list(event.logprobs), "refusal": None}
            out.append(self._chunk(event.choice, {"content": ""}, logprobs=probs))
        details = own_members(event.state).get("reasoning_details")
        if details:
            # The empty text says that the details' own texts were told before.
            out.append(self._chunk(event.choice, {"reasoning_content": "", "reasoning_details": details}))

    def _stop(self, event: Stopped, out: list[bytes]) -> None:
        self._speak(event.choice, out)
        word = write_reason(event.reason, self._say.function_call)
        more = stop_members(word, event.native_reason, event.sequence)
        out.append(self._chunk(event.choice, {}, finish_reason=word, **more))

    def _done(self, out: list[bytes]) -> None:
        self._ended = True
        if self._say.include_usage:
            out.append(self._used(self._usage or Usage()))
        out.append(_DONE)

    def _used(self, usage: Usage) -> bytes:
        return self._head + b'],"usage":' + _encode(usage_object(usage)) + b"}\n\n"
