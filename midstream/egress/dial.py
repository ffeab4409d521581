"""Making a connection: addresses, TCP, TLS, proxies.

Behind a proxy an untrusted target keeps the whole guarantee: it is resolved and checked here, and the proxy is asked
for a tunnel to the checked address, never to the name, which it would resolve once more. A name that only the proxy
can resolve is therefore unreachable for untrusted exchanges. A trusted target's name is the proxy's to resolve: for
https in CONNECT, for http in an absolute request target.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from itertools import zip_longest
from typing import cast

from msgspec import Struct

from ..core.errors import TimedOut, Unreachable
from .addresses import Addresses, reason
from .connection import Connection
from .proxies import Proxy
from .targets import Target

#: One dead address must not use up the time of the others.
_ADDRESS_SECONDS = 1.0
_MAX_ADDRESSES = 4
_MAX_NAMES = 1024
_MAX_TUNNEL_HEAD = 16 * 1024
_TUNNEL_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class Route(Struct, frozen=True):
    """forward: plain http through the proxy as an absolute request target."""

    target: Target
    proxy: Proxy | None

    def forward(self, trusted: bool) -> Proxy | None:
        return self.proxy if trusted and self.target.scheme == "http" else None


class Dialler:
    """ca_file: PEM of the authorities that are believed."""

    def __init__(self, addresses: Addresses, ca_file: str) -> None:
        self._addresses = addresses
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        #: (host, port) -> the address that answered when one before it did not.
        self._good: dict[tuple[str, int], str] = {}

    async def dial(self, route: Route, trusted: bool, seconds: float, make: Callable[[], Connection]) -> Connection:
        """seconds: for everything here together, resolution and TLS included. Raises Unreachable, TimedOut(connect),
        BadRequest for an address that may not be dialled."""
        origin = route.target.origin
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(route, trusted, make)
        except TimeoutError:
            raise TimedOut(f"{origin}: no connection within {seconds:g} s", phase="connect") from None
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"{origin}: its certificate is not accepted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unreachable(f"{origin}: TLS failed: {reason(error)}") from error
        except OSError as error:
            raise Unreachable(f"{origin}: no connection: {reason(error)}") from error

    async def _connect(self, route: Route, trusted: bool, make: Callable[[], Connection]) -> Connection:
        target, proxy = route.target, route.proxy
        connection = make()
        try:
            if proxy is None:
                await self._open(await self._addresses.resolve(target, trusted), target, connection)
            elif route.forward(trusted) is not None:
                await self._open(await self._addresses.resolve(proxy.target, True), proxy.target, connection)
            else:
                await self._tunnel(target, proxy, trusted, connection)
            connection.dialled = True
        finally:
            if not connection.dialled:
                connection.abort()  # a cancelled uvloop dial tells of the connection's beginning but not of its end
        return connection

    async def _tunnel(self, target: Target, proxy: Proxy, trusted: bool, connection: Connection) -> None:
        through = target.host if trusted else (await self._addresses.resolve(target, trusted))[0]
        found = await self._addresses.resolve(proxy.target, True)
        tunnel = _Tunnel(f"[{through}]:{target.port}" if ":" in through else f"{through}:{target.port}", proxy.login)
        try:
            await self._open(found, proxy.target, tunnel)
            transport: asyncio.Transport | None = await tunnel.opened()
            if target.scheme == "https":
                transport = await connection.loop.start_tls(
                    tunnel.transport, connection, self._tls(), server_hostname=target.host
                )
            else:
                tunnel.transport.set_protocol(connection)
            if transport is None:
                raise Unreachable(f"{target.origin}: the proxy closed the tunnel")
            connection.connection_made(transport)
        finally:
            if connection.transport is None:
                tunnel.abort()

    async def _open(self, found: list[str], target: Target, protocol: asyncio.Protocol) -> None:
        """Tries the addresses in turn. protocol hears of the first that answers."""
        loop = asyncio.get_running_loop()
        secure = target.scheme == "https"
        name = (target.host, target.port)
        found = _in_turn(found, self._good.get(name))[:_MAX_ADDRESSES]
        for position, address in enumerate(found, 1):
            last = position == len(found)
            try:
                async with asyncio.timeout(None if last else _ADDRESS_SECONDS):
                    await loop.create_connection(
                        lambda: protocol,
                        address,
                        target.port,
                        ssl=self._tls() if secure else None,
                        server_hostname=target.host if secure else None,
                    )
                if position > 1:
                    self._remember(name, address)
                return
            except ssl.SSLError:
                raise
            except OSError:
                if last:
                    raise

    def _remember(self, name: tuple[str, int], address: str) -> None:
        """Where those before it are dead, the next connection need not find it out again."""
        if len(self._good) >= _MAX_NAMES:
            self._good.clear()
        self._good[name] = address

    def _tls(self) -> ssl.SSLContext:
        # Made on first use: reading the authorities takes milliseconds that a plain-http installation never needs.
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file)
            # Some builds of Python leave it at whatever the library still knows.
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


def _in_turn(found: list[str], good: str | None) -> list[str]:
    """What answered the last time, then one of each family in turn (RFC 8305 §4): a family without a way out, however
    many addresses it has, leaves the other one its chance."""
    first = ":" in found[0]
    same, other = ([one for one in found if (":" in one) is side] for side in (first, not first))
    mixed = [one for pair in zip_longest(same, other) for one in pair if one is not None]
    return sorted(mixed, key=lambda one: one != good)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel to `authority` and hears its answer."""

    transport: asyncio.Transport

    def __init__(self, authority: str, login: str | None) -> None:
        own = f"proxy-authorization: {login}\r\n" if login else ""
        self._request = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{own}\r\n".encode("latin-1")
        self._head = b""
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def opened(self) -> asyncio.Transport:
        await self._answered
        match = _TUNNEL_STATUS.match(self._head)
        if match is not None and not match[1].startswith(b"2"):
            raise Unreachable(f"the proxy refused the tunnel with status {match[1].decode('ascii')}")
        if match is None or not self._head.endswith(b"\r\n\r\n"):
            raise Unreachable("the proxy's answer cannot be read")
        return self.transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self.transport.write(self._request)

    def abort(self) -> None:
        if hasattr(self, "transport"):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head or len(self._head) > _MAX_TUNNEL_HEAD:
            self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()

    def _settle(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)
