"""A URL, read once and strictly: what is checked, dialled and written into the request is one and the same reading.

Two parsers that disagree about a URL are how address checks are passed by; so there is one, it knows only
`http(s)://host[:port][/path][?query]`, and what it does not know it refuses.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from ..core.errors import BadRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(#.*)?"
)
_AUTHORITY = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]@:%]+)(?::(?P<port>[0-9]{1,5})?)?")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
# The last label of a name that resolvers would read as a number: 2130706433, 0x7f000001, 0177.0.0.1, 127.1
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/?&=;:@!$'()*+,%#[]|~^`{}\"<>"


class Target(Struct, frozen=True):
    """host: lower case, without brackets or trailing dot. address: host when it is an IP literal.
    authority: the Host header. path: the request target. odd: why only the operator may write it so, or None.
    login: the value of `authorization` made from userinfo, or None."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str
    address: Address | None = None
    odd: str | None = None
    login: str | None = None

    @property
    def origin(self) -> str:
        """Fit for logs and errors: neither userinfo nor query, where keys travel."""
        return f"{self.scheme}://{self.authority}"


def refused(why: str) -> BadRequest:
    return BadRequest(f"url: this address may not be called: {why}", code="address_refused", param="url")


def parse_target(url: str) -> Target:
    """Raises BadRequest for whatever is not a plain http or https URL."""
    if _FORBIDDEN.search(url):
        raise refused("it holds a space, a backslash or a control character")
    match = _URL.fullmatch(url)
    if match is None or match["scheme"].lower() not in _PORTS:
        raise refused("only http:// and https:// addresses are called")
    scheme = match["scheme"].lower()
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        raise refused("its host cannot be read")
    host, address, odd = _host(authority["host"])
    port = int(authority["port"] or _PORTS[scheme])
    if not 0 < port < 65536:
        raise refused("its port is not between 1 and 65535")
    user = authority["user"]
    path = (match["path"] or "/") + (match["query"] or "")
    shown = f"[{host}]" if ":" in host else host
    return Target(
        scheme=scheme,
        host=host,
        port=port,
        authority=shown if port == _PORTS[scheme] else f"{shown}:{port}",
        path=path if path.isascii() else quote(path, safe=_PATH_SAFE),
        address=address,
        odd="it holds userinfo" if user is not None else odd,
        login=_login(user) if user else None,
    )


def same_origin(one: str, other: str) -> bool:
    """Do both addresses lead to the same scheme, host and port? What cannot be read leads nowhere."""
    try:
        return parse_target(one).origin == parse_target(other).origin
    except BadRequest:
        return False


def _host(written: str) -> tuple[str, Address | None, str | None]:
    if written.startswith("["):
        try:
            address = ipaddress.IPv6Address(written[1:-1])
        except ValueError:
            raise refused("its IPv6 address cannot be read") from None
        return str(address), address, None
    try:
        name = (written if written.isascii() else written.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        raise refused("its host name cannot be read") from None
    odd = "its host ends in a dot" if name.endswith(".") else None
    name = name.removesuffix(".")
    if _NUMERIC.fullmatch(name):
        try:
            return name, ipaddress.IPv4Address(name), odd
        except ValueError:
            raise refused("its host is a number, but not a dotted IPv4 address") from None
    if _NAME.fullmatch(name) is None:
        raise refused("its host name cannot be read")
    return name, None, odd


def _login(user: str) -> str:
    return "Basic " + base64.b64encode(unquote_to_bytes(user)).decode("ascii")
