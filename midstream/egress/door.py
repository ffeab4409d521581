"""The one door out: a URL and bytes go in, an answer comes back, and nothing else in the server dials."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import certifi

from ..core.errors import Cut, TimedOut, Unreachable
from ..core.http import Outgoing
from .addresses import Addresses, Resolver, system_resolver
from .answer import Answer
from .connection import Connection
from .dial import Dialler, Route
from .pool import Pool
from .proxies import Proxies
from .redirects import follow
from .requests import finish, head_lines
from .targets import parse_target

_MAX_ROUTES = 1024


class Egress:
    """`send` implements core.http.Send. Belongs to one event loop.

    allow: private `host` or `host:port` that untrusted exchanges may reach all the same.
    ca_file: PEM; without it SSL_CERT_FILE of environ, else certifi's.
    environ: where proxies and SSL_CERT_FILE are read, os.environ when None.
    resolver: (host, port) -> addresses.
    Raises ValueError for an allow entry, proxy or CA file that cannot be used."""

    def __init__(
        self,
        allow: Iterable[str] = (),
        ca_file: str | None = None,
        environ: Mapping[str, str] | None = None,
        resolver: Resolver = system_resolver,
    ) -> None:
        # As the configuration reads it: a value that comes from a file often ends with the line's end.
        environ = {name: text.strip() for name, text in (os.environ if environ is None else environ).items()}
        authorities = ca_file or environ.get("SSL_CERT_FILE") or certifi.where()
        if not os.path.isfile(authorities):
            raise ValueError(f"the CA file {authorities} does not exist")
        self._addresses = Addresses(allow, resolver)
        self._dialler = Dialler(self._addresses, authorities)
        self._proxies = Proxies(environ)
        self._pool = Pool()
        self._routes: dict[str, Route] = {}
        self._heads: dict[tuple[object, ...], bytes] = {}
        self._last: dict[str, tuple[object, str, bool, bytes]] = {}
        self._closed = False

    @property
    def open(self) -> int:
        """Connections now open, idle ones included."""
        return len(self._pool.live)

    @property
    def idle(self) -> int:
        return self._pool.idle

    @property
    def dialled(self) -> int:
        """Connections made since the start."""
        return self._pool.dialled

    @property
    def reused(self) -> int:
        """Exchanges that went out on a kept connection."""
        return self._pool.reused

    def check(self, url: str) -> None:
        """Raises BadRequest for what `send` would refuse whatever its name is resolved to."""
        self._addresses.check(url)

    def send(self, outgoing: Outgoing) -> Coroutine[Any, Any, Answer]:
        """Returns when the answer's head is there. Raises BadRequest (url, method or header that cannot be sent, an
        address that may not be dialled), Unreachable, TimedOut, Cut, Garbled. Cancelled, it closes the socket."""
        if outgoing.redirects:
            return follow(self._exchange, outgoing)
        return self._exchange(outgoing)

    async def close(self) -> None:
        """Closes every connection; exchanges in flight end as cut. Idempotent."""
        self._closed = True
        self._pool.close()
        await asyncio.sleep(0)  # transports tell of their end in the next turn of the loop

    async def _exchange(self, outgoing: Outgoing) -> Answer:
        if self._closed:
            raise Unreachable("the server is shutting down")
        route = self._routes.get(outgoing.url) or self._route(outgoing.url)
        target, trusted = route.target, outgoing.trusted
        if not trusted:
            self._addresses.check_spelling(target)
        head = finish(self._lines(outgoing, route), outgoing)
        # A connection made without the address check never serves an exchange that needs it.
        key = (target.scheme, target.host, target.port, trusted)
        now = asyncio.get_running_loop().time()
        deadline = now + outgoing.timeouts.total
        kept = self._pool.take(key, now)
        if kept is not None:
            answer = Answer(kept, outgoing, now, deadline)
            kept.begin(answer, head, outgoing.body)
            try:
                await answer.head()
                return answer
            except Cut:
                if not answer.may_repeat():
                    raise
        connection = await self._dial(route, key, outgoing, deadline)
        if connection.closed:
            raise Unreachable(f"{target.origin}: the connection was closed at once")
        answer = Answer(connection, outgoing, connection.loop.time(), deadline)
        connection.begin(answer, head, outgoing.body)
        await answer.head()
        return answer

    async def _dial(self, route: Route, key: object, outgoing: Outgoing, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        seconds, left = outgoing.timeouts.connect, deadline - loop.time()
        try:
            return await self._dialler.dial(
                route, outgoing.trusted, min(seconds, left), lambda: Connection(loop, self._pool, key)
            )
        except TimedOut as error:
            if left < seconds:
                raise TimedOut(error.message, phase="total") from None
            raise
        except Unreachable as error:
            if getattr(error.__cause__, "errno", None) in (errno.EMFILE, errno.ENFILE):
                self._pool.close_idle()  # ours are the descriptors that are easiest to spare
            raise

    def _lines(self, outgoing: Outgoing, route: Route) -> bytes:
        """A provider is asked with the same headers again and again: they are checked and written once."""
        last = self._last.get(outgoing.url)
        # The very same headers as the last time: to look them up by what they say takes a hash of their every word.
        if last is not None and last[0] is outgoing.headers and last[1:3] == (outgoing.method, outgoing.trusted):
            return last[3]
        key = (outgoing.method, outgoing.url, outgoing.headers, outgoing.trusted)
        lines = self._heads.get(key)
        if lines is None:
            lines = head_lines(outgoing, route.target, route.forward(outgoing.trusted))
            if len(self._heads) >= _MAX_ROUTES:
                self._heads.clear()
                self._last.clear()
            self._heads[key] = lines
        self._last[outgoing.url] = (outgoing.headers, outgoing.method, outgoing.trusted, lines)
        return lines

    def _route(self, url: str) -> Route:
        target = parse_target(url)
        route = Route(target, self._proxies.pick(target))
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        self._routes[url] = route
        return route
