"""Fetches media that a service cannot fetch by itself, through the one door out and its address check."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from msgspec.structs import replace

from ..core.errors import BadRequest, MidstreamError
from ..core.http import Outgoing, Send, Timeouts
from ..core.parts import Media, Message, Part, ToolResult, kind_of, media_in
from ..core.turn import Prompt

MAX_BYTES = 20 * 1024 * 1024
FETCH = Timeouts(connect=5.0, first_byte=15.0, between=10.0, total=20.0)
REDIRECTS = 3
#: Says nothing about what it is.
OCTETS = "application/octet-stream"
#: Beginnings by which a type is known whatever the other side claims.
_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


async def inlined(prompt: Prompt, send: Send, fetches: Callable[[Media], bool]) -> Prompt:
    """The prompt with http(s) media fetched and carried as data, but for what the service fetches itself.
    Raises BadRequest naming what cannot be had."""
    found = [part for message in prompt.messages for part in media_in(message.parts) if not fetches(part)]
    urls = dict.fromkeys(part.url for part in found if part.url and part.url.startswith(("http://", "https://")))
    if not urls:
        return prompt
    fetched = dict(zip(urls, await asyncio.gather(*(_fetch(url, send) for url in urls)), strict=True))
    return replace(prompt, messages=tuple(_with(message, fetched) for message in prompt.messages))


def _with(message: Message, fetched: dict[str, tuple[str, str]]) -> Message:
    parts = tuple(_replaced(part, fetched) for part in message.parts)
    return message if parts == message.parts else replace(message, parts=parts, native=None)


def _replaced(part: Part, fetched: dict[str, tuple[str, str]]) -> Part:
    if isinstance(part, Media) and part.url is not None and part.url in fetched:
        mime, data = fetched[part.url]
        mime = part.mime if mime == OCTETS and part.mime else mime
        # Nobody may have said what stands there: a picture that is sent as a file is refused.
        kind = kind_of(mime) if part.kind == "file" else part.kind
        return replace(part, kind=kind, mime=mime, data=data, url=None)
    if isinstance(part, ToolResult):
        return replace(part, parts=tuple(_replaced(one, fetched) for one in part.parts))
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
    return mime or OCTETS, base64.b64encode(body).decode()


def _shown(url: str) -> str:
    """Without its query: signed links carry their secret there."""
    return url.partition("?")[0]
