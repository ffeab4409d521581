"""An answer's bytes on their way to events, in whichever form they come.

Asked for a stream, a service may answer in one piece, and the other way round; what its content-type says of that is
not to be relied on, the first bytes are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..core.dialect import AnswerReader
from ..core.errors import Garbled, UpstreamError
from ..core.events import Answer, Delta, Done, Event, Failed, Fold, Whole
from ..core.http import Incoming
from ..core.serving import Line
from ._concealed import conceal_end

#: An upstream that said its answer is complete gets this long to end its body, so that the connection can be kept.
LINGER = 0.25
#: Of an answer in one piece, as Incoming.read allows.
MAX_WHOLE = 64 * 1024 * 1024
_MAX_BLANK = 64 * 1024
_BLANK = b" \t\r\n\xef\xbb\xbf"
#: How nearly every stream begins.
_STREAMS = (b"d", b"e")
_OF_EVENTS = (b"data:", b"event:", b":", b"id:", b"retry:")

ReadWhole = Callable[[bytes], Answer]
#: What an answer in one piece comes to: it, and its end, good or not.
Ended = Callable[[Answer], Sequence[Event]]


class Relay:
    """Reads a stream's bytes as they come and passes on what they say. lead: of an answer that is none so far.
    secrets: not to be told where it fails."""

    __slots__ = ("_ended", "_incoming", "_lead", "_line", "_linger", "_read_whole", "_reader", "_secrets")

    def __init__(
        self,
        reader: AnswerReader,
        read_whole: ReadWhole,
        ended: Ended,
        line: Line,
        incoming: Incoming,
        secrets: tuple[str, ...],
    ) -> None:
        self._reader = reader
        self._read_whole = read_whole
        self._ended = ended
        self._line = line
        self._incoming = incoming
        self._secrets = secrets
        self._lead: bytearray | None = bytearray()
        self._linger: asyncio.TimerHandle | None = None

    def take(self, data: bytes) -> bool:
        if self._lead is not None:
            if not self._lead and data[:1] in _STREAMS:
                self._lead = None
            else:
                self._lead += data
                if not self._is_stream(self._lead):
                    return True
                data, self._lead = bytes(self._lead), None
        events = self._reader.feed(data)
        if not events:
            return True
        if type(events[-1]) is not Delta:  # which nearly every piece ends with
            self._look_at_end(events)
        return self._line.emit(events, len(data))

    def _look_at_end(self, events: list[Event]) -> None:
        if type(events[-1]) is Done:
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._incoming.close)
        else:
            conceal_end(events, self._secrets)

    def _is_stream(self, lead: bytearray) -> bool:
        """Known by its first byte: one piece is an object. White space alone tells nothing yet."""
        first = lead[: _MAX_BLANK + 1].lstrip(_BLANK)[:1]
        _check_is_no_page(first)
        if first == b"{" and len(lead) > MAX_WHOLE:
            raise Garbled(f"the answer is larger than {MAX_WHOLE} bytes")
        return first != b"{" if first else len(lead) > _MAX_BLANK

    def finish(self) -> None:
        lead = bytes(self._lead or b"")
        events = list(self._whole(lead) if lead.strip(_BLANK) else self._reader.finish())
        conceal_end(events, self._secrets)
        self._line.emit(events, len(lead))

    def _whole(self, body: bytes) -> Sequence[Event]:
        try:
            return self._ended(self._read_whole(body))
        except Garbled:
            events = [*self._reader.feed(body), *self._reader.finish()]
            if type(events[-1]) is Done:
                return events
            raise

    def stop(self) -> None:
        if self._linger is not None:
            self._linger.cancel()


def good_end(answer: Answer) -> Sequence[Event]:
    return Whole(answer), Done()


def whole_of(body: bytes, new_reader: Callable[[], AnswerReader], read_whole: ReadWhole) -> Answer:
    """The answer in a body that should be one piece, and may be a stream all the same. Raises as read_answer, and Cut
    for a stream that is not complete."""
    lead = body[: _MAX_BLANK + 1].lstrip(_BLANK)
    _check_is_no_page(lead)
    if not lead.startswith((*_OF_EVENTS, b"[")):
        return read_whole(body)
    reader = new_reader()
    events = [*reader.feed(body), *reader.finish()]
    last = events[-1]
    if lead.startswith(b"[") and isinstance(last, Failed) and isinstance(last.error, Garbled):
        return read_whole(body)
    folding = Fold()
    folding.extend(events)
    error = folding.error
    if isinstance(error, UpstreamError):
        error.used, error.tier = folding.usage, folding.tier
    if error is not None:
        raise error
    return folding.answer()


def _check_is_no_page(lead: bytes | bytearray) -> None:
    """As a wrong address leads to, or a proxy that wants a login."""
    if lead[:1] == b"<":
        raise Garbled("the provider sent a page, not an answer: its base_url may lead to something else")
