"""Media by address: what a service cannot fetch is had through the one door out and its address check, and kept for a
while, so that the rounds of a turn and the next turns of its conversation find it again. No service is handed an
address that leads to a private place, where it may stand itself."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import BadRequest, MidstreamError
from ..core.http import Outgoing, Send, Timeouts
from ..core.media_types import OCTETS, essence, is_text, kind_of, plainly
from ..core.parts import Media, Message, Text, has_media, media_in
from ..core.turn import Holder
from ..core.unread import refused, with_media, words_for

MAX_BYTES = 20 * 1024 * 1024
FETCH = Timeouts(connect=5.0, first_byte=15.0, between=10.0, total=20.0)
REDIRECTS = 3
#: Of one request: fetched at once, and what they may hold together (characters of base64).
AT_ONCE, TOGETHER = 8, 64 * 1024 * 1024
#: What is kept of all conversations together: characters of base64, and seconds since it was fetched.
KEPT, KEPT_SECONDS = 64 * 1024 * 1024, 1800.0
PDF = "application/pdf"
#: The code of what cannot be had.
GONE = "media_not_found"
_NOTHING_SAID = frozenset(
    {OCTETS, "binary/octet-stream", "application/x-download", "application/download", "application/force-download"}
)
#: Beginnings by which a type is known whatever the other side claims.
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", PDF),
)
_MOVING = frozenset({"audio", "video"})
_CALLED = {"image": "an image", "audio": "a sound", "video": "a video"}
#: What leads into no network: data, and Google's storage.
_LEADS_NOWHERE = frozenset({"data", "gs"})


class _Had(Struct, frozen=True):
    """What stands at an address: its type, and base64. until: steady seconds."""

    mime: str
    data: str
    until: float


class _Room:
    """What the media of one request hold, and will hold that are being read, in characters of base64."""

    def __init__(self) -> None:
        self.held = 0
        self._coming = 0
        self._read = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self.held >= TOGETHER

    @asynccontextmanager
    async def reading(self, size: int) -> AsyncIterator[None]:
        """Waits until so much has its place, or nobody else reads: one is read whatever its size."""
        while self._coming and not self.is_full and self.held + self._coming + size > TOGETHER:
            self._read.clear()
            await self._read.wait()
        self._coming += size
        try:
            yield
        finally:
            self._coming -= size
            self._read.set()


class Links:
    """send: the door out. now: seconds that never jump. check: raises BadRequest for an address that nobody may be
    sent to."""

    def __init__(self, send: Send, now: Callable[[], float], check: Callable[[str], None]) -> None:
        self._send = send
        self._now = now
        self._check = check
        #: By whose they are and their address, the oldest first.
        self._kept: OrderedDict[tuple[Holder, str], _Had] = OrderedDict()
        #: Of them, characters of base64.
        self.size = 0

    async def inlined(
        self, messages: Sequence[Message], fetches: Callable[[Media], bool], holder: Holder | None
    ) -> tuple[Message, ...]:
        """Messages whose media are plainly of their type, those by address carried as data, but for what the service
        fetches itself. Words stand for what cannot be had, or lies where nobody may be sent, where they may; else
        BadRequest is raised, with its place. holder: for whom it is kept, None = nobody."""
        if not has_media(messages):
            return tuple(messages)
        found = [plainly(part) for message in messages for part in media_in(message.parts)]
        urls = dict.fromkeys(part.url for part in found if part.url and _leads(part.url) and not fetches(part))
        had = await self._all_had(urls, holder)

        def told(part: Media) -> Media | Text:
            part = plainly(part)
            try:
                return self._told(part, None if fetches(part) else had.get(part.url or ""))
            except BadRequest as error:
                if part.optional:
                    return words_for(part)
                raise refused(part, error.message, error.code) from None

        return tuple(_with(message, told) for message in messages)

    async def _all_had(self, urls: Iterable[str], holder: Holder | None) -> dict[str, _Had | BadRequest]:
        had: dict[str, _Had | BadRequest] = {}
        places, room = asyncio.Semaphore(AT_ONCE), _Room()

        async def fetch(url: str) -> None:
            async with places:
                had[url] = await self._had(url, holder, room)

        await asyncio.gather(*map(fetch, urls))
        return had

    def _told(self, part: Media, had: _Had | BadRequest | None) -> Media:
        """As the service is told of it. had: what it was fetched as, None = it was not. Raises BadRequest."""
        if isinstance(had, BadRequest):
            raise had
        url = part.url or ""
        if had is None:
            if _leads(url):
                try:
                    self._check(url)
                except BadRequest as error:
                    raise _at(url, error) from None
            return part
        mime = part.mime if had.mime == OCTETS and part.mime else had.mime
        if not _may_be(part, mime):
            said = _CALLED.get(part.kind, part.mime)
            raise BadRequest(f"the media at {_shown(url)} is {mime}, not {said}", code=GONE)
        # Nobody may have said what stands there: a picture that is sent as a file is refused.
        return plainly(replace(part, mime=mime, data=had.data, url=None))

    async def _had(self, url: str, holder: Holder | None, room: _Room) -> _Had | BadRequest:
        self._forget()
        if room.is_full:
            return _too_much(url)
        kept = self._kept.get((holder, url)) if holder is not None else None
        if kept is not None:
            room.held += len(kept.data)
            return kept
        try:
            mime, data = await _fetch(url, self._send, room)
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


def fetches_papers(media: Media) -> bool:
    """Of a service that fetches what it is shown, and of documents by address reads only PDFs."""
    return media.kind != "file" or media.mime == PDF


def _with(message: Message, change: Callable[[Media], Media | Text]) -> Message:
    changed = with_media(message, change)
    return message if changed.parts == message.parts else replace(changed, native=None)


def _leads(url: str) -> bool:
    """May it lead into a network?"""
    return bool(url) and url.partition(":")[0].lower() not in _LEADS_NOWHERE


def _may_be(part: Media, mime: str) -> bool:
    """May what is of this type be what its sender says it is? A page that asks who is there has a good status too."""
    if part.kind == "file":
        return mime != "text/html" or part.mime in ("", OCTETS) or is_text(part.mime)
    kind = kind_of(mime)
    return not is_text(mime) and (kind in ("file", part.kind) or {kind, part.kind} == _MOVING)


async def _fetch(url: str, send: Send, room: _Room) -> tuple[str, str]:
    """(type, base64). The url came in a request: it must lead to a public address, also after redirects."""
    try:
        incoming = await send(Outgoing("GET", url, timeouts=FETCH, redirects=REDIRECTS))
        try:
            if incoming.status != 200:
                raise BadRequest(f"the media at {_shown(url)} answered {incoming.status}", code=GONE)
            async with room.reading(_size(incoming.headers)):
                if room.is_full:
                    raise _too_much(url)
                body = await incoming.read(MAX_BYTES)
                if not body:
                    raise BadRequest(f"there is nothing at {_shown(url)}", code=GONE)
                data = base64.b64encode(body).decode()
                room.held += len(data)
        finally:
            incoming.close()
    except BadRequest as error:
        raise error if error.code == GONE else _at(url, error) from None
    except MidstreamError as error:
        raise BadRequest(f"the media at {_shown(url)} cannot be had: {error.message}", code=GONE) from None
    claimed = essence(incoming.headers.get("content-type", ""))
    mime = next((mime for sign, mime in _SIGNS if body.startswith(sign)), claimed)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        mime = "image/webp"
    return OCTETS if mime in _NOTHING_SAID else mime or OCTETS, data


def _size(headers: Mapping[str, str]) -> int:
    """Characters of base64 that an answer will be, at most."""
    said = headers.get("content-length", "")
    size = min(int(said), MAX_BYTES) if said.isascii() and said.isdigit() and len(said) < 20 else MAX_BYTES
    return (size + 2) // 3 * 4


def _at(url: str, error: BadRequest) -> BadRequest:
    return BadRequest(f"the media at {_shown(url)}: {error.message}", code=error.code)


def _too_much(url: str) -> BadRequest:
    most = f"the media of one request hold more than {TOGETHER // 2**20} MiB"
    return BadRequest(f"the media at {_shown(url)} cannot be had: {most}", code=GONE)


def _shown(url: str) -> str:
    """Without its query: signed links carry their secret there."""
    return url.partition("?")[0]
