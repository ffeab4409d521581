"""Media by address, for services that cannot fetch them: had through the one door out and its address check, and kept
for a while, so that the rounds of a turn and the next turns of its conversation find them again."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import BadRequest, MidstreamError
from ..core.http import Outgoing, Send, Timeouts
from ..core.parts import Media, Message, Part, ToolResult, has_media, kind_of, media_in
from ..core.turn import Holder
from ..core.unread import words_for

MAX_BYTES = 20 * 1024 * 1024
FETCH = Timeouts(connect=5.0, first_byte=15.0, between=10.0, total=20.0)
REDIRECTS = 3
#: What is kept of all conversations together: characters of base64, and seconds since it was fetched.
KEPT, KEPT_SECONDS = 64 * 1024 * 1024, 1800.0
#: Says nothing about what it is.
OCTETS = "application/octet-stream"
_NOTHING_SAID = frozenset(
    {OCTETS, "binary/octet-stream", "application/x-download", "application/download", "application/force-download"}
)
#: Beginnings by which a type is known whatever the other side claims.
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


class _Had(Struct, frozen=True):
    """What stands at an address: its type, and base64. until: steady seconds."""

    mime: str
    data: str
    until: float


class Links:
    """send: the door out. now: seconds that never jump."""

    def __init__(self, send: Send, now: Callable[[], float]) -> None:
        self._send = send
        self._now = now
        #: By whose they are and their address, the oldest first.
        self._kept: OrderedDict[tuple[Holder, str], _Had] = OrderedDict()
        #: Of them, characters of base64.
        self.size = 0

    async def inlined(
        self, messages: Sequence[Message], fetches: Callable[[Media], bool], holder: Holder | None
    ) -> tuple[Message, ...]:
        """Messages with http(s) media carried as data, but for what the service fetches itself. Words stand for what
        cannot be had, where they may; else BadRequest is raised, with its place. holder: for whom it is kept, None =
        nobody."""
        if not has_media(messages):
            return tuple(messages)
        found = [part for message in messages for part in media_in(message.parts) if not fetches(part)]
        urls = dict.fromkeys(part.url for part in found if part.url and part.url.startswith(("http://", "https://")))
        if not urls:
            return tuple(messages)
        had = dict(zip(urls, await asyncio.gather(*(self._had(url, holder) for url in urls)), strict=True))
        for part in found:
            error = had.get(part.url or "")
            if isinstance(error, BadRequest) and not part.optional:
                raise BadRequest(error.message, param=part.place or error.param, code=error.code)
        return tuple(_with(message, had) for message in messages)

    async def _had(self, url: str, holder: Holder | None) -> _Had | BadRequest:
        self._forget()
        kept = self._kept.get((holder, url)) if holder is not None else None
        if kept is not None:
            return kept
        try:
            mime, data = await _fetch(url, self._send)
        except BadRequest as error:
            return error
        had = _Had(mime, data, self._now() + KEPT_SECONDS)
        if holder is not None and (holder, url) not in self._kept:
            self._kept[holder, url] = had
            self.size += len(data)
            self._forget()
        return had

    def _forget(self) -> None:
        """What is too old, and the oldest of what is too much."""
        now = self._now()
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            if oldest.until > now and self.size <= KEPT:
                return
            del self._kept[key]
            self.size -= len(oldest.data)


def _with(message: Message, had: dict[str, _Had | BadRequest]) -> Message:
    parts = tuple(_replaced(part, had) for part in message.parts)
    return message if parts == message.parts else replace(message, parts=parts, native=None)


def _replaced(part: Part, had: dict[str, _Had | BadRequest]) -> Part:
    if isinstance(part, Media) and part.url is not None and part.url in had:
        one = had[part.url]
        if isinstance(one, BadRequest):
            return words_for(part)
        mime = part.mime if one.mime == OCTETS and part.mime else one.mime
        # Nobody may have said what stands there: a picture that is sent as a file is refused.
        kind = kind_of(mime) if part.kind == "file" else part.kind
        return replace(part, kind=kind, mime=mime, data=one.data, url=None)
    if isinstance(part, ToolResult):
        return replace(part, parts=tuple(_replaced(inner, had) for inner in part.parts))
    return part


async def _fetch(url: str, send: Send) -> tuple[str, str]:
    """(type, base64). The url came in a request: it must lead to a public address, also after redirects."""
    try:
        incoming = await send(Outgoing("GET", url, timeouts=FETCH, redirects=REDIRECTS))
        try:
            if incoming.status != 200:
                raise BadRequest(f"the media at {_shown(url)} answered {incoming.status}", code="media_not_found")
            body = await incoming.read(MAX_BYTES)
        finally:
            incoming.close()
    except BadRequest as error:
        if error.code == "media_not_found":
            raise
        raise BadRequest(f"the media at {_shown(url)}: {error.message}", param=error.param, code=error.code) from None
    except MidstreamError as error:
        raise BadRequest(f"the media at {_shown(url)} cannot be had: {error.message}", code="media_not_found") from None
    claimed = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    mime = next((mime for sign, mime in _SIGNS if body.startswith(sign)), claimed)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        mime = "image/webp"
    return OCTETS if mime in _NOTHING_SAID else mime or OCTETS, base64.b64encode(body).decode()


def _shown(url: str) -> str:
    """Without its query: signed links carry their secret there."""
    return url.partition("?")[0]
