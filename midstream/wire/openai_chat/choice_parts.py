"""The parts of one choice of a stream: opened, continued and ended as its deltas tell."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ...core.events import Delta, Event, Marked, PartEnded, PartStarted, Passed, Stopped
from ...core.parts import Citation, Foreign, Media, Part, Reasoning, Refusal, State, Text, ToolCall
from .parts_in import (
    Details,
    as_text,
    called,
    details_state,
    details_text,
    is_wrapped,
    read_citations,
    read_content_item,
    read_image,
    read_sound,
    read_sources,
    thought_of,
    unique_id,
    whole_arguments,
)
from .quirks import NAME
from .reasons import read_reason, word_of
from .shapes import Call, ChunkChoice, Said, Sound

_KINDS: dict[type[Part], Part] = {Text: Text(""), Reasoning: Reasoning(""), Refusal: Refusal("")}


class _Calling:
    """A tool call under construction. It is told of (index >= 0) once its name is known, and ended by a stop.
    held: arguments that are not told yet. plain: they are told as they come. wrapped: when all of them are there."""

    __slots__ = ("custom", "ended", "extra", "given", "held", "id", "index", "name", "plain", "position", "wrapped")

    def __init__(self, position: int, given: str | int | None) -> None:
        self.position = position
        self.given = given
        self.id = self.name = ""
        self.held: list[str] = []
        self.custom = self.ended = self.plain = self.wrapped = False
        self.extra: Any = None
        self.index = -1


class ChoiceParts:
    """open: the kind of text that is open (Text, Reasoning, Refusal: at most one of these is); open_index: its part.
    stopped: nothing of the answer has come since it was last said why it ended."""

    __slots__ = (
        "_answer_id", "_by_given", "_by_key", "_calls", "_cited", "_details", "_listed", "_next", "_reason", "_sound",
        "_sound_data", "_taken", "_text_index", "_wordless", "number", "open", "open_index", "stopped",
    )  # fmt: skip

    def __init__(self, number: int, answer_id: str) -> None:
        self.number = number
        self.open: type[Part] | None = None
        self.open_index = -1
        self.stopped = False
        #: Why it stopped: the word, the service's own and the sequence, as they were said last.
        self._reason: tuple[str, str, str | None] | None = None
        self._answer_id = answer_id
        self._next = 0
        self._listed = self._cited = self._wordless = False
        self._text_index = -1
        self._calls: list[_Calling] = []
        #: The last call of each index, and of each id that the service gave.
        self._by_key: dict[int, _Calling] = {}
        self._by_given: dict[str | int, _Calling] = {}
        self._taken: set[str] | None = None  # of call ids, once there is a call
        self._details = Details()
        self._sound: Sound | None = None
        self._sound_data: list[str] = []

    def read(self, choice: ChunkChoice, out: list[Event], sources: tuple[Any, ...] = ()) -> None:
        """Appends the events of one chunk. Some services say after each of several calls why they stop.
        sources: what is told beside the choices, see read_sources."""
        said = choice.delta
        if said is not None:
            listed = type(said.content) is list
            if listed is not self._listed:  # a part is told in one way to its end
                self._listed = listed
                self._close(out)
            self._reasoning(said, out)
            self._content(said, out)
            if said.refusal:
                self._more(Refusal, said.refusal, out)
            self._marks(said, choice, out)
            self._media(said, out)
            for call in said.tool_calls or ():
                self._call(call, out)
            if said.function_call is not None:
                self._call(Call(index=-1, function=said.function_call), out)
        word = word_of(choice.finish_reason, choice.finish_details)
        if choice.finish_reason == "":  # some servers send it until there is one, or never another one
            self._wordless = True
        if word and not self.stopped:
            if sources:
                self._cite(read_sources(*sources), out)
            sequence = choice.stop_reason if isinstance(choice.stop_reason, str) else None
            self._stop((word, choice.native_finish_reason or word, sequence), out)

    def _reasoning(self, said: Said, out: list[Event]) -> None:
        told = thought_of(said)
        details = said.reasoning_details
        if details:
            if told is None:
                told = details_text(details)
            if self.open is not Reasoning:
                self._begin(Reasoning(""), out)
            self._details.add(details)
        if told:
            self._more(Reasoning, told, out)

    def _content(self, said: Said, out: list[Event]) -> None:
        content = said.content
        if not isinstance(content, list):
            text = as_text(content)
            if text:
                self._more(Text, text, out)
            return
        for item in content:
            part = read_content_item(item)
            if isinstance(part, Text | Reasoning):
                if part.text:
                    self._more(type(part), part.text, out)
            elif part is not None:
                self._single(part, out)

    def _marks(self, said: Said, choice: ChunkChoice, out: list[Event]) -> None:
        citations = read_citations(said.annotations) if said.annotations else ()
        if citations:
            self._cited = True
            if self.open is not Text and not self.stopped:
                self._begin(Text(""), out)
            out.append(Marked(max(self._text_index, 0), citations=citations, choice=self.number))
        probs = choice.logprobs
        tokens = (probs.get("content") or probs.get("refusal")) if probs else None
        if isinstance(tokens, list) and tokens:
            out.append(Marked(max(self.open_index, 0), logprobs=tuple(tokens), choice=self.number))

    def _cite(self, citations: tuple[Citation, ...], out: list[Event]) -> None:
        """Sources that are told beside the choices, where it has cited none itself."""
        if citations and not self._cited and self._text_index >= 0:
            self._cited = True
            out.append(Marked(self._text_index, citations=citations, choice=self.number))

    def _media(self, said: Said, out: list[Event]) -> None:
        for item in said.images or ():
            image = read_image(item)
            if image is not None:
                self._single(image, out)
        for item in said.executed_tools or ():
            if isinstance(item, dict) and item.get("output") is not None:
                self._single(Foreign("executed_tools", State(NAME, item)), out)
        sound = said.audio
        if sound is not None:
            known = self._sound = self._sound or Sound()
            known.id = sound.id or known.id
            known.expires_at = sound.expires_at or known.expires_at
            if sound.transcript:
                known.transcript = (known.transcript or "") + sound.transcript
            if sound.data:
                self._sound_data.append(sound.data)
            if sound.data or sound.transcript:
                self.stopped = False
                out.append(Passed(output=True))

    def _call(self, call: Call, out: list[Event]) -> None:
        calling = self._calling(call)
        named, custom = called(call)
        if named.name and not calling.name:
            calling.name = named.name
        calling.custom = calling.custom or custom or call.type == "custom"
        if call.extra_content is not None:
            calling.extra = call.extra_content
        piece = (named.input or "") if custom else as_text(named.arguments)
        if calling.index >= 0:
            self._argue(calling, piece, out)
            return
        calling.held.append(piece)
        if calling.name:
            self._tell(calling, out)

    def _argue(self, calling: _Calling, piece: str, out: list[Event]) -> None:
        """Tells more of its arguments. JSON text inside a JSON string waits for its end: then it is unpacked."""
        if not piece or calling.ended:
            return
        if not calling.plain:
            calling.wrapped = calling.wrapped or is_wrapped(piece)
            calling.held.append(piece)
            if calling.wrapped or not piece.strip():
                return
            calling.plain = True
            piece = "".join(calling.held)
            calling.held.clear()
        out.append(Delta(calling.index, piece, self.number))

    def _calling(self, call: Call) -> _Calling:
        """The call that this delta belongs to: by index, else by id, else the last one."""
        named, _ = called(call)
        given = call.id if call.id != "" else None
        found: _Calling | None = None
        if call.index is not None:
            found = self._by_key.get(call.index)
            if found is not None and named.name and _is_another(found, given):
                found = None
        elif given is not None:
            found = self._by_given.get(given)
        elif self._calls and not named.name:
            found = self._calls[-1]
        if found is None:
            found = _Calling(len(self._calls), given)
            self._calls.append(found)
            self.stopped = False
            if call.index is not None:
                self._by_key[call.index] = found
        elif found.given is None:
            found.given = given
        if found.given is not None:
            later = self._by_given.get(found.given, found)
            self._by_given[found.given] = max(later, found, key=lambda one: one.position)
        return found

    def _tell(self, calling: _Calling, out: list[Event]) -> None:
        if self._taken is None:
            self._taken = set()
        calling.id = unique_id(calling.given, self._taken, self._answer_id, self.number, calling.position)
        self._close(out)
        calling.index = self._index()
        state = State(NAME, {"extra_content": calling.extra}) if calling.extra is not None else None
        kind: Any = "custom" if calling.custom else "function"
        part = ToolCall(calling.id, calling.name, kind=kind, state=state)
        out.append(PartStarted(calling.index, part, self.number))
        calling.plain = calling.custom
        held = "".join(calling.held)
        calling.held.clear()
        self._argue(calling, held, out)

    def _more(self, kind: type[Part], text: str, out: list[Event]) -> None:
        if self.open is not kind:
            self._begin(_KINDS[kind], out)
        out.append(Delta(self.open_index, text, self.number))

    def _begin(self, part: Part, out: list[Event]) -> None:
        self._close(out)
        self.open = type(part)
        self.open_index = self._index()
        if self.open is Text:
            self._text_index = self.open_index
        out.append(PartStarted(self.open_index, part, self.number))

    def _close(self, out: list[Event]) -> None:
        if self.open is None:
            return
        if self.open is Reasoning and self._details:
            out.append(Marked(self.open_index, state=details_state(self._details.whole()), choice=self.number))
            self._details = Details()
        out.append(PartEnded(self.open_index, self.number))
        self.open = None

    def _single(self, part: Media | Foreign | Part, out: list[Event]) -> None:
        self._close(out)
        index = self._index()
        out.append(PartStarted(index, part, self.number))
        out.append(PartEnded(index, self.number))

    def _index(self) -> int:
        index = self._next
        self._next += 1
        self.stopped = False
        return index

    @property
    def silent(self) -> bool:
        """Has it only been announced?"""
        return not self._next and not self._calls and self._sound is None

    def may_end(self, counted: bool) -> bool:
        """Has it said enough for the end mark to be its end? counted: the service has told the tokens of it all."""
        told = bool(self._next or self._calls or self._sound_data)
        return self._reason is not None or (told and (counted or self._wordless))

    def end(self, out: list[Event]) -> None:
        """Ends what has come since the last stop."""
        if not self.stopped and not self.silent:
            self._stop(self._reason or ("stop", "", None), out)

    def _stop(self, reason: tuple[str, str, str | None], out: list[Event]) -> None:
        self._close(out)
        self._end_sound(out)
        for calling in self._calls:
            if calling.index < 0:
                self._tell(calling, out)
            if not calling.ended:
                calling.ended = True
                if calling.held:
                    out.append(Delta(calling.index, whole_arguments("".join(calling.held)), self.number))
                    calling.held.clear()
                out.append(PartEnded(calling.index, self.number))
        word, native, sequence = self._reason = reason
        self.stopped = True
        out.append(Stopped(read_reason(word, bool(self._calls)), native, sequence, self.number))

    def _end_sound(self, out: list[Event]) -> None:
        sound, data = self._sound, self._sound_data
        if sound is not None and data:
            self._single(read_sound(sound, _joined_base64(data)), out)
        elif sound is not None and sound.transcript:
            self._more(Text, sound.transcript, out)
            self._close(out)
        self._sound, self._sound_data = None, []


def _is_another(known: _Calling, given: str | int | None) -> bool:
    """Is a call that names its function under the index of a known one another call?"""
    return known.ended if given is None or known.given is None else known.given != given


def _joined_base64(pieces: list[str]) -> str:
    """Pieces were encoded one by one, so padding may stand inside."""
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)
