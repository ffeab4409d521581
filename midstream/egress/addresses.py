"""Which addresses may be dialled for somebody who is not the operator: public ones, and what `allow` names.

A name is resolved once, every answer is checked, and the connection is made to a checked answer: there is no second
resolution that could say something else. Lists that name what is forbidden forget something, so for IPv6 only global
unicast (2000::/3) counts, less the ranges in it that embed or tunnel to another address.
Sources: IANA special-purpose registries (RFC 6890), RFC 6052, RFC 8215, RFC 3056, RFC 4380.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from ..core.errors import Unreachable
from .targets import Address, Target, parse_target, refused

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Names that lead to the machine itself, whatever is said of them elsewhere (RFC 6761 §6.3).
_LOCAL = re.compile(r"(.+\.)?localhost")
_LOOPBACK = ("127.0.0.1", "::1")
#: (host, port) -> IP addresses as text, best first. Raises OSError when there is none.
Resolver = Callable[[str, int], Awaitable[list[str]]]

#: Look-ups at once of names that came in requests, and of those below one domain: a name server that does not answer
#: holds up its own domain. Of that, so many more may wait.
STRANGERS, OF_DOMAIN, WAITING = 16, 2, 64

_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network: 0.0.0.0 reaches loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier NAT, also used inside clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent stands on a public address
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")  # leaves out ::/8 (mapped, NAT64 64:ff9b::), fc00::/7, fe80::/10, ff00::/8
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # Teredo 2001::/32, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Whether anybody may have us dial it."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in block for block in _CLOSED_V4)
    return address in _OPEN_V6 and not any(address in block for block in _CLOSED_V6)


async def system_resolver(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _texts(found)


def _texts(found: Iterable[tuple[Any, ...]]) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def resolver_apart(host: str, port: int) -> list[str]:
    """As `system_resolver`, in a thread of its own: the loop has four for all look-ups, which the providers' need. The
    process ends without waiting for it."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(error: BaseException | None, addresses: list[str]) -> None:
        if found.done():
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(addresses)

    def look() -> None:
        error, addresses = None, []
        try:
            addresses = _texts(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, error, addresses)

    threading.Thread(target=look, name="look-up", daemon=True).start()
    return await found


def _domain_of(host: str) -> str:
    """Its last two labels; three where these are what a country's names end with, as co.uk or com.br."""
    labels = host.split(".")
    shared = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if shared else -2 :])


class _Domain:
    """asked: look-ups of its names, those that wait included."""

    __slots__ = ("asked", "name", "places")

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        self.places = asyncio.Semaphore(OF_DOMAIN)


class _Few:
    """No more look-ups at once than these: one cannot be called off, and keeps its place until it ends, however long
    nobody has waited for it any more."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._places = asyncio.Semaphore(STRANGERS)
        self._domains: dict[str, _Domain] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        name = _domain_of(host)
        domain = self._domains.setdefault(name, _Domain(name))
        if domain.asked >= OF_DOMAIN + WAITING:
            raise OSError("too many names of its domain are being looked up")
        domain.asked += 1
        try:
            await domain.places.acquire()
            try:
                await self._places.acquire()
            except BaseException:
                domain.places.release()
                raise
        except BaseException:
            self._left(domain)
            raise
        looking = asyncio.ensure_future(self._resolver(host, port))
        looking.add_done_callback(partial(self._ended, domain))
        return await asyncio.shield(looking)

    def _ended(self, domain: _Domain, looking: asyncio.Future[list[str]]) -> None:
        self._places.release()
        domain.places.release()
        self._left(domain)
        if not looking.cancelled():
            looking.exception()  # also where nobody is left to hear of it

    def _left(self, domain: _Domain) -> None:
        domain.asked -= 1
        if not domain.asked:
            del self._domains[domain.name]


class Addresses:
    """allow: `host` or `host:port` (IPv6 in brackets) that may be dialled although private, compared with the host as
    written and with each resolved address; or a network (`10.0.0.0/8`) of such addresses."""

    def __init__(self, allow: Iterable[str], resolver: Resolver = system_resolver) -> None:
        allowed = [allowance(text) for text in allow]
        self._allow = frozenset(one for one in allowed if isinstance(one, tuple))
        self._networks = [one for one in allowed if not isinstance(one, tuple)]
        self._resolver = resolver
        self._for_strangers = _Few(resolver_apart if resolver is system_resolver else resolver)

    def check(self, url: str) -> None:
        """Raises BadRequest for what may not be dialled whatever its name is resolved to: no address, a private one
        that is written out, this machine."""
        self.check_spelling(parse_target(url))

    def check_spelling(self, target: Target) -> None:
        """The part of the check that needs no resolution. Raises BadRequest."""
        if target.odd is not None:
            raise refused(target.odd)
        if target.address is not None:
            self._check(target.address, target)
        elif _LOCAL.fullmatch(target.host) and not any(
            self._allows(one, target.port) for one in (target.host, *_LOOPBACK)
        ):
            raise refused(f"{target.host} is not a public address")

    async def resolve(self, target: Target, trusted: bool) -> list[str]:
        """The addresses that may be dialled for target. Raises BadRequest when one of them is not public (one bad
        answer among good ones is how a rebinding name looks), Unreachable when there is none."""
        if target.address is not None:
            if not trusted:
                self._check(target.address, target)
            return [str(target.address)]
        try:
            found = await (self._resolver if trusted else self._for_strangers)(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{target.origin}: the name cannot be resolved ({reason(error)})") from None
        if not found:
            raise Unreachable(f"{target.origin}: the name has no address")
        if not trusted and not self._allows(target.host, target.port):
            for text in found:
                self._check(_address(text), target)
        return found

    def _allows(self, host: str, port: int) -> bool:
        return (host, port) in self._allow or (host, None) in self._allow or self._within(host)

    def _within(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host) if self._networks else None
        except ValueError:
            return False
        return address is not None and any(address in network for network in self._networks)

    def _check(self, address: Address, target: Target) -> None:
        if not is_public(address) and not self._allows(str(address), target.port):
            raise refused(f"{target.host} is not a public address")


def reason(error: BaseException) -> str:
    """What the system says, without its numbers."""
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)  # fe80::1%eth0 keeps its zone here, and is link-local all the same
    except ValueError:
        raise refused("its name resolves to something that is no address") from None


def allowance(text: str) -> tuple[str, int | None] | Network:
    """Raises ValueError for what is neither."""
    host, port = text.strip().lower(), None
    if "://" not in host and "/" in host:
        return ipaddress.ip_network(host)
    head, colon, tail = host.rpartition(":")
    if colon and tail.isdigit() and (":" not in head or head.endswith("]")):
        host, port = head, int(tail)
    host = host.removeprefix("[").removesuffix("]")
    if not host or any(mark in host for mark in "/@ ?#"):
        raise ValueError(f'{text!r} is not "host", "host:port" or a network')
    return host, port
