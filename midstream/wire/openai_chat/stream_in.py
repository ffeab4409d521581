"""A provider's stream: bytes -> events. The plain text chunk is the hot path; everything else is `ChoiceParts`."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import Cut, Garbled, Refused
from ...core.events import Delta, Done, Event, Failed, Passed, Started, Used, Whole
from ...core.parts import Part, Reasoning, Text
from ..half_pairs import forgiving, mended
from ..sse import Frame, SSEReader
from .answer_in import read_answer
from .choice_parts import ChoiceParts
from .errors import error_in_reply
from .pattern import Pattern
from .shapes import Chunk, FirstChunk, PlainChunk
from .usage import read_billed, read_tier, read_usage, readable

_plain = msgspec.json.Decoder(PlainChunk).decode
_first = msgspec.json.Decoder(FirstChunk).decode
_later = msgspec.json.Decoder(Chunk).decode
_anything = msgspec.json.Decoder().decode
_forgiving = forgiving(_anything)
#: Bytes that may be many frames, and how many of those are read one by one: with the fourth their pattern is known.
_MANY = 1024
_FIRST = 4
_DONE = b"[DONE]"
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class StreamReader:
    """skipped: data lines that could not be read."""

    __slots__ = (
        "_at", "_choices", "_counted", "_decode", "_ended", "_id", "_kind", "_number", "_pattern", "_sources", "_sse",
        "skipped",
    )  # fmt: skip

    def __init__(self) -> None:
        self._sse = SSEReader()
        self._decode: Any = _first
        self._choices: dict[int, ChoiceParts] = {}
        #: The choice that was read last, the kind of text that is open there and its part: what the next chunk goes on.
        self._number = -1
        self._kind: type[Part] | None = None
        self._at = 0
        self._pattern = Pattern()
        self._id: str | None = None
        self._ended = self._counted = False
        self._sources: tuple[Any, ...] = ()
        self.skipped = 0

    def feed(self, data: bytes) -> list[Event]:
        if self._sse.between:
            said = self._pattern.text_of(data)
            if said:
                return [Delta(self._at, said, self._number, data)]
        out: list[Event] = []
        if self._ended:
            return out
        if len(data) > _MANY:
            data = self._read_alike(data, out)
        if data:
            self._read(data, out)
        return out

    def _read_alike(self, data: bytes, out: list[Event]) -> bytes:
        """Reads many frames: the first ones teach what they have in common, and those after them that have it too are
        read at once. Gives what is left to read."""
        at = 0
        for _ in range(_FIRST):
            at = data.find(b"\n\n", at) + 2
            if at == 1:
                return data
        self._read(data[:at], out)
        if self._ended:
            _with_end_mark(out, next(iter(SSEReader().feed(data[at:])), None))
            return b""  # nothing follows an end
        said, size = self._pattern.lead(data[at:])
        if said and self._sse.between:
            out.append(Delta(self._at, said, self._number, data[at : at + size]))
            self._counted = False
            at += size
        return data[at:]

    def _read(self, data: bytes, out: list[Event]) -> None:
        try:
            frames = self._sse.feed(data)
        except Garbled as error:
            self._end(out, Failed(error))
            return
        # More text of the part that is open, from frames that came together: one event, their bytes one after another.
        texts: list[str] = []
        raws: list[bytes] = []
        coming = iter(frames)
        for frame in coming:
            if not self._more(frame, texts, raws, out):
                self._go_on(texts, raws, out)
                self._other(frame, out)
                if self._ended:
                    _with_end_mark(out, next(coming, None))
                    break
        self._go_on(texts, raws, out)

    def _more(self, frame: Frame, texts: list[str], raws: list[bytes], out: list[Event]) -> bool:
        """Adds what a frame says to texts if all of it is more text of the part that is open."""
        line = frame.data
        if self._number < 0 or line is None or frame.event:
            return False
        more = self._pattern.text_of(frame.raw)
        if not more:
            try:
                (choice,) = _plain(line).choices
            except _UNREADABLE:
                return False
            if choice.index != self._number and choice.index in self._choices:
                self._go_on(texts, raws, out)
                self._turn_to(choice.index)
            said = choice.delta
            text, thought = said.content, said.reasoning_content or said.reasoning
            if choice.index != self._number or (text and thought):
                return False
            more = (text if self._kind is Text else thought if self._kind is Reasoning else "") or ""
            if not more:
                return False
            self._pattern.learn(frame.raw, more)
        texts.append(more)
        raws.append(frame.raw)
        return True

    def _go_on(self, texts: list[str], raws: list[bytes], out: list[Event]) -> None:
        """Tells what has come together of the open part, if anything has."""
        if texts:
            out.append(Delta(self._at, "".join(texts), self._number, b"".join(raws)))
            self._counted = False
            texts.clear()
            raws.clear()

    def _turn_to(self, number: int) -> None:
        parts = self._choices[number]
        self._number, self._kind, self._at = number, parts.open, parts.open_index
        self._pattern.forget()

    def _other(self, frame: Frame, out: list[Event]) -> None:
        """Whatever is not more text of a part that is open."""
        line = frame.data
        if line is None or frame.event or line.rstrip() == _DONE:
            self._odd(frame, out)
            return
        try:
            chunk = self._decode(line)
        except _UNREADABLE:
            self._unread(frame, out)
        else:
            self._chunk(chunk, frame, out)

    def finish(self) -> list[Event]:
        out: list[Event] = []
        if self._ended:
            return out
        rest = self._sse.rest
        if rest.strip():
            self._last(rest, out)
        if self._ended:
            return out
        if self._choices and all(one.stopped for one in self._choices.values()):
            # Some services send no end mark: none is made up for those who read their bytes.
            return self._end(out, Done(b""))
        return self._end(out, Failed(Cut("the stream ended before the answer did")))

    def _last(self, rest: bytes, out: list[Event]) -> None:
        """What came after the last blank line: a frame without its end, or an answer that is no stream at all."""
        if rest.lstrip().startswith(b"{"):
            self._whole(rest, out)
            return
        for frame in SSEReader().feed(rest + b"\n\n"):
            if self._ended or frame.data is None:
                continue
            if frame.data.rstrip() == _DONE:
                self._odd(frame, out)
                continue
            try:
                chunk = self._decode(mended(frame.data) or frame.data)
            except _UNREADABLE:
                self.skipped += 1  # cut in the middle: nothing of it may be passed on
                continue
            self._chunk(chunk, frame, out)

    def _whole(self, body: bytes, out: list[Event]) -> None:
        try:
            answer = read_answer(body)
        except Refused as error:
            self._end(out, Failed(error))
        except Garbled:
            self.skipped += 1
        else:
            out.append(Whole(answer))
            self._end(out, Done())

    def _odd(self, frame: Frame, out: list[Event]) -> None:
        """Comments, the end mark, and frames with a name."""
        text = frame.data
        if text is not None and text.rstrip() == _DONE:
            if self._may_end():
                first = len(out)
                for one in self._choices.values():
                    one.end(out)
                _carry(out, first, b"")
                self._end(out, Done(frame.raw))
            else:
                self._end(out, Failed(Cut("the stream said that it was done before the answer had ended")))
        elif text is None:
            told = frame.raw.lstrip()
            if told.startswith(b"{") and not self._choices:
                self._whole(frame.raw, out)
            elif told.startswith(b"error:"):
                self._bare_error(told[6:], out)
            if not self._ended:
                out.append(Passed(frame.raw))
        else:
            try:
                chunk = self._decode(text)
            except _UNREADABLE:
                self._unread(frame, out)
                return
            if frame.event == b"error" and chunk.error is None:
                self._refused(_forgiving(text), frame, out)
            else:
                self._chunk(chunk, frame, out)

    def _bare_error(self, said: bytes, out: list[Event]) -> None:
        """llama.cpp's way: `error: {...}` in place of data. No client would see it, so it is written anew."""
        try:
            value = _forgiving(said)
        except _UNREADABLE:
            return
        error = value.get("error", value) if isinstance(value, dict) else value
        self._end(out, Failed(error_in_reply(error, said)))

    def _unread(self, frame: Frame, out: list[Event]) -> None:
        """A data line that does not fit: read it as far as it goes, or skip it."""
        try:
            value = _anything(frame.data or b"")
            if frame.event == b"error":
                self._refused(value, frame, out)
                return
            chunk = readable(value, FirstChunk)
        except _UNREADABLE:
            line = mended(frame.data or b"")
            if line is not None:
                self._other(Frame(frame.event, line, frame.raw), out)
            else:
                self.skipped += 1  # one broken frame would end the stream of every client that got it
            return
        self._chunk(chunk, frame, out)

    def _chunk(self, chunk: Chunk, frame: Frame, out: list[Event]) -> None:
        if chunk.error is not None:
            self._refused(chunk.error, frame, out)
            return
        first = len(out)
        if chunk.search_results or chunk.citations:
            self._sources = (chunk.search_results, chunk.citations)
        for position, choice in enumerate(chunk.choices or ()):
            self._start(chunk, out)
            number = choice.index if choice.index is not None and choice.index >= 0 else position
            parts = self._choices.get(number)
            if parts is None:
                parts = self._choices[number] = ChoiceParts(number, self._id or "")
            parts.read(choice, out, self._sources if number == 0 else ())
            self._turn_to(number)
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if len(out) > first:
            self._counted = False
        if usage is not None:
            self._counted = len(out) == first
            if chunk.choices and len(out) == first:
                # Only a chunk without choices may be left out by a face, so this one's bytes go with another event.
                out.append(Passed())
            out.append(Used(read_usage(usage), None, read_tier(chunk.service_tier, usage), read_billed(usage)))
        if len(out) == first:
            out.append(Passed())
        if any(choice.delta is not None and type(choice.delta.content) is list for choice in chunk.choices or ()):
            return  # Mistral's way, which clients of this dialect do not read: it is written anew for them
        _carry(out, first, frame.raw)

    def _start(self, chunk: Chunk, out: list[Event]) -> None:
        if self._id is None:
            begun = chunk if isinstance(chunk, FirstChunk) else FirstChunk()
            self._id = begun.id or ""
            self._decode = _later
            out.append(Started(self._id, begun.model or "", int(begun.created or 0)))

    def _refused(self, error: Any, frame: Frame, out: list[Event]) -> None:
        self._end(out, Failed(error_in_reply(error, frame.data or b""), native=frame.raw))

    def _may_end(self) -> bool:
        """The service says that it has: a choice that was announced, and of which nothing came, does not keep the
        others from their end. Services that never say why an answer ended (OpenAI of a sound, Snowflake of Claude,
        LiteLLM of a second choice) tell its tokens when all of it has been said."""
        rest = [one for one in self._choices.values() if not one.may_end(self._counted)]
        return len(rest) < len(self._choices) and all(one.silent for one in rest)

    def _end(self, out: list[Event], event: Event) -> list[Event]:
        self._ended = True
        self._pattern.forget()
        out.append(event)
        return out


def _carry(out: list[Event], first: int, raw: bytes) -> None:
    """The bytes of a frame stand with the first event that it makes."""
    for at in range(first, len(out)):
        out[at] = msgspec.structs.replace(out[at], native=raw if at == first else b"")


def _with_end_mark(out: list[Event], after: Frame | None) -> None:
    """Some services end also a stream that failed with the mark: in their own bytes it stays with the error."""
    failed = out[-1]
    if after is None or after.data is None or after.data.rstrip() != _DONE:
        return
    if isinstance(failed, Failed) and failed.native:
        out[-1] = msgspec.structs.replace(failed, native=failed.native + after.raw)
