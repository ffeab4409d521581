"""Following redirects: each hop is a new exchange with a new address check, and secrets stay with their origin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urldefrag, urljoin

import msgspec

from ..core.errors import Garbled
from ..core.http import Outgoing
from .answer import Answer
from .targets import parse_target, refused

_FOLLOWED = frozenset((301, 302, 303, 307, 308))
#: What another origin may see. A list of secrets' names would miss the next provider's own.
_PUBLIC = frozenset(
    (
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-type",
        "range",
        "user-agent",
    )
)
# Not left to urljoin, which reads "http:///x" and "http:x" as relative where browsers see another host.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OF_BODY = frozenset(("content-encoding", "content-language", "content-location", "content-type"))


async def follow(send: Callable[[Outgoing], Awaitable[Answer]], outgoing: Outgoing) -> Answer:
    """Raises what send raises, BadRequest for a target that may not be called, Garbled after too many hops."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + outgoing.timeouts.total
    hops = outgoing.redirects
    while True:
        answer = await send(outgoing)
        location = answer.headers.get("location")
        if answer.status not in _FOLLOWED or location is None:
            return answer
        answer.close()
        if hops == 0:
            raise Garbled("the upstream redirects too often")
        hops -= 1
        left = max(0.0, deadline - loop.time())
        outgoing = msgspec.structs.replace(
            next_hop(outgoing, answer.status, location),
            timeouts=msgspec.structs.replace(outgoing.timeouts, total=left),
        )


def next_hop(outgoing: Outgoing, status: int, location: str) -> Outgoing:
    """The exchange a redirect asks for (Fetch standard, HTTP-redirect fetch). Another origin was not written by the
    operator, whoever wrote the first: it is untrusted."""
    try:
        location = urldefrag(quote(location, safe=_LOCATION_SAFE, encoding="latin-1")).url
        url = location if _ABSOLUTE.match(location) else urljoin(outgoing.url, location)
    except ValueError:
        raise refused("it redirects to something that is no address") from None
    before, after = parse_target(outgoing.url), parse_target(url)
    if after.login is not None and after.login != before.login:
        raise refused("it redirects to an address with userinfo")
    same = (before.scheme, before.host, before.port) == (after.scheme, after.host, after.port)
    secrets = before.login is not None or any(name not in _PUBLIC for name, _ in outgoing.headers)
    if before.scheme == "https" and after.scheme == "http" and secrets:
        raise refused("it redirects from https to http, and the request holds credentials")
    headers = outgoing.headers if same else tuple(pair for pair in outgoing.headers if pair[0] in _PUBLIC)
    method, body = outgoing.method, outgoing.body
    if (status in (301, 302) and method == "POST") or (status == 303 and method not in ("GET", "HEAD")):
        method, body = "GET", b""
        headers = tuple(pair for pair in headers if pair[0] not in _OF_BODY)
    return msgspec.structs.replace(
        outgoing, method=method, url=url, headers=headers, body=body, trusted=outgoing.trusted and same
    )


_LOCATION_SAFE = "/?#&=;:@!$'()*+,%[]|~^`{}\"<>\\ "
