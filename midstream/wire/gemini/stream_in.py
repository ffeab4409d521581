"""What a service streams, bytes to events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from ...core.errors import Cut, Garbled, MidstreamError
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
)
from ...core.parts import Part, Reasoning, State, Text, ToolCall
from ..half_pairs import forgiving
from ..sse import Frame
from .answer_in import Candidate, Chunk, TextPart, block_reason, call_id, read_chunk, read_odd_chunk, sound_part
from .enums import FINISH, word_of
from .facts import beside_parts, read_citations, read_logprobs, searches_in
from .frames import Frames
from .partial_calls import PartialCall, goes_on, opens
from .refusals import refusal
from .shape import ABSENT, NAME, given
from .stops import read_stop
from .usage import read_tier, read_usage

_anything = forgiving(msgspec.json.Decoder().decode)


class _Open:
    """One candidate of a stream under construction. at: index of the open part, -1 when none is. signed: no more text
    of it comes."""

    __slots__ = ("at", "beside", "blocked", "called", "calling", "next", "reasoning", "signed", "stop", "texts")

    def __init__(self) -> None:
        self.at = -1
        self.next = 0
        self.reasoning = False
        self.called = self.blocked = self.signed = False
        #: A call that comes in pieces: it is told of when it is whole.
        self.calling: PartialCall | None = None
        self.stop = ""
        self.texts: dict[int, list[str]] = {}
        #: groundingMetadata and its like, the latest of each: Google repeats them while they grow.
        self.beside: dict[str, Any] = {}


class Reader:
    """See core.dialect.AnswerReader. Takes server-sent events and JSON arrays.

    Google has no terminal event and may repeat finishReason, so stops and the end are said by finish(). One frame
    that cannot be read is skipped; a second one ends the answer in Failed(Garbled)."""

    __slots__ = ("_calls", "_choices", "_counted", "_ended", "_frames", "_id", "_native", "_skipped", "_started")

    def __init__(self) -> None:
        self._frames = Frames()
        self._choices: dict[int, _Open] = {}
        self._id = ""
        self._calls = 0
        self._started = self._ended = self._skipped = False
        #: The last usageMetadata, and how many searches were known of then.
        self._counted = b"", 0
        self._native: bytes = b""

    def feed(self, data: bytes) -> list[Event]:
        if self._ended:
            return []
        out: list[Event] = []
        try:
            frames = self._frames.feed(data)
        except Garbled as error:
            return self._fail(error, None)
        for frame in frames:
            self._read(frame, out)
            if self._ended:
                break
        return out

    def finish(self) -> list[Event]:
        if self._ended:
            return []
        out: list[Event] = []
        frames, whole = self._frames.finish()
        for frame in frames:
            try:
                read_odd_chunk(frame.data or b"{}")
            except (msgspec.DecodeError, UnicodeDecodeError):
                whole = False
                break
            self._read(frame, out)
        if self._ended:
            return out
        open_ended = not self._choices or not all(choice.stop for choice in self._choices.values())
        if open_ended or not whole:
            return out + self._fail(Cut("the stream ended before the answer was complete"), None)
        try:
            for number, choice in self._choices.items():
                self._close_choice(number, choice, out)
        except Garbled as error:
            return out + self._fail(error, None)
        for number, choice in sorted(self._choices.items()):
            reason = "content_filter" if choice.blocked else read_stop(choice.stop, choice.called)
            out.append(Stopped(reason, choice.stop, None, number))
        self._ended = True
        out.append(Done())
        return out

    def _fail(self, error: MidstreamError, native: bytes | None) -> list[Event]:
        self._ended = True
        return [Failed(error, native)]

    def _take(self) -> bytes:
        """The frame's bytes for its first event, nothing for the others."""
        native, self._native = self._native, b""
        return native

    def _read(self, frame: Frame, out: list[Event]) -> None:
        data = frame.data
        self._native = frame.raw
        if not data or data == b"[DONE]":
            out.append(Passed(frame.raw))
            return
        try:
            try:
                chunk = read_chunk(data)
            except msgspec.DecodeError:
                chunk = read_odd_chunk(data)
            if given(chunk.error):
                out += self._refused(bytes(chunk.error), data, frame.raw)
                return
            self._read_chunk(chunk, data, out)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Garbled) as error:
            if self._skipped:
                out += self._fail(Garbled(f"the stream holds what cannot be read: {error}"), None)
            self._skipped = True
            return
        if self._native:
            out.append(Passed(self._take()))

    def _refused(self, raw: bytes, data: bytes, native: bytes) -> list[Event]:
        error = _anything(raw)
        return self._fail(refusal(error if isinstance(error, dict) else {"message": error}, data), native)

    def _read_chunk(self, chunk: Chunk, data: bytes, out: list[Event]) -> None:
        if not self._started and (chunk.responseId or chunk.modelVersion):
            self._started = True
            self._id = chunk.responseId or ""
            out.append(Started(self._id, chunk.modelVersion or "", 0, self._take()))
        candidates = chunk.candidates
        if candidates:
            for place, candidate in enumerate(candidates):
                self._read_candidate(place, candidate, data, out)
        elif given(chunk.promptFeedback) and not self._choices:
            blocked = self._choices[0] = _Open()
            blocked.blocked, blocked.stop = True, block_reason(_anything(data))
        if given(chunk.usageMetadata):
            self._read_usage(bytes(chunk.usageMetadata), out, counts=bool(out))
        else:
            self._read_usage(self._counted[0], out)

    def _read_usage(self, raw: bytes, out: list[Event], *, counts: bool = False) -> None:
        """counts: it is of what this chunk says, too, whatever was said before."""
        besides = [choice.beside for choice in self._choices.values() if choice.beside]
        searches = searches_in(besides) if besides else 0
        if (raw, searches) == self._counted and not counts:
            return
        usage = read_usage(raw or b"{}", searches)
        if usage is not None:
            self._counted = raw, searches
            out.append(Used(usage, self._take(), read_tier(raw)))

    def _read_candidate(self, place: int, candidate: Candidate, data: bytes, out: list[Event]) -> None:
        number = candidate.index or 0
        if number < 0 or number > 255:
            raise Garbled(f"a candidate has the index {number}")
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Open()
        content = candidate.content
        if content is not None and content.parts:
            for spot, part in enumerate(content.parts):
                if part.text is not None:
                    self._read_text(number, choice, part, out)
                else:
                    item = _anything(data)["candidates"][place]["content"]["parts"][spot]
                    self._read_other(number, choice, item, out)
        if candidate.finishReason is not None:
            choice.stop = word_of(candidate.finishReason, FINISH) or choice.stop
        if candidate.logprobsResult is not ABSENT:
            tokens = read_logprobs(_anything(candidate.logprobsResult))
            index = choice.at if choice.at >= 0 else max(choice.next - 1, 0)
            out.append(Marked(index, logprobs=tokens, choice=number, native=self._take()))
        grounding, citing, urls = candidate.groundingMetadata, candidate.citationMetadata, candidate.urlContextMetadata
        if grounding is not ABSENT or citing is not ABSENT or urls is not ABSENT:
            found = {"groundingMetadata": grounding, "citationMetadata": citing, "urlContextMetadata": urls}
            choice.beside.update({name: _anything(raw) for name, raw in found.items() if given(raw)})

    def _read_text(self, number: int, choice: _Open, part: TextPart, out: list[Event]) -> None:
        text, signature = part.text, part.thoughtSignature
        if text or signature:
            reasoning = part.thought is True
            if choice.at < 0 or choice.signed or choice.reasoning is not reasoning:
                self._open_text(number, choice, reasoning, out)
            at = choice.at
            if text:
                if not reasoning:
                    choice.texts[at].append(text)
                out.append(Delta(at, text, number, self._take()))
            if signature:
                # What follows a signed part is another part: Google wants a signature back on the part it sat on. It
                # stays open till then, for its sources come last.
                state = State(NAME, {"thoughtSignature": signature})
                out.append(Marked(at, state, choice=number, native=self._take()))
                choice.signed = True

    def _open_text(self, number: int, choice: _Open, reasoning: bool, out: list[Event]) -> None:
        self._close_part(number, choice, out)
        choice.at, choice.reasoning = choice.next, reasoning
        choice.next += 1
        if not reasoning:
            choice.texts[choice.at] = []
        part: Part = Reasoning(summary=True) if reasoning else Text("")
        out.append(PartStarted(choice.at, part, number, self._take()))

    def _close_part(self, number: int, choice: _Open, out: list[Event]) -> None:
        if choice.calling is not None:
            self._close_call(number, choice, out)
        if choice.at >= 0:
            out.append(PartEnded(choice.at, number, self._take()))
            choice.at = -1
        choice.signed = False

    def _read_other(self, number: int, choice: _Open, item: Any, out: list[Event]) -> None:
        """A part that comes whole: a call, a picture, something that only Google knows, an empty signed part. And the
        pieces of a call."""
        if choice.calling is not None and goes_on(item):
            choice.calling.add(item)
            if choice.calling.last:
                self._close_call(number, choice, out)
            return
        if opens(item):
            self._close_part(number, choice, out)
            choice.calling = PartialCall(item)
            return
        part = sound_part(item)
        if isinstance(part, Text | Reasoning):
            read = TextPart(part.text, isinstance(part, Reasoning), item.get("thoughtSignature"))
            self._read_text(number, choice, read, out)
            return
        self._close_part(number, choice, out)
        self._whole_part(number, choice, part, out)

    def _close_call(self, number: int, choice: _Open, out: list[Event]) -> None:
        """Also one whose last piece never came, when something else has come instead of it."""
        calling, choice.calling = choice.calling, None
        if calling is not None:
            self._whole_part(number, choice, sound_part(calling.part()), out)

    def _whole_part(self, number: int, choice: _Open, part: Part, out: list[Event]) -> None:
        if isinstance(part, ToolCall):
            part = part if part.id else replace(part, id=call_id(self._id, self._calls, part))
            self._calls += 1
            choice.called = True
        out.append(PartStarted(choice.next, part, number, self._take()))
        out.append(PartEnded(choice.next, number, b""))
        choice.next += 1

    def _close_choice(self, number: int, choice: _Open, out: list[Event]) -> None:
        texts = {index: "".join(pieces) for index, pieces in choice.texts.items()}
        for index, citations in read_citations(choice.beside, texts).items():
            out.append(Marked(index, citations=tuple(citations), choice=number))
        self._native = b""
        self._close_part(number, choice, out)
        for part in beside_parts(choice.beside):
            self._whole_part(number, choice, part, out)
