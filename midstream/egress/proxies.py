"""Which proxy an exchange goes through, from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY (lower case wins).

Loopback never goes through a proxy: there it would mean the proxy's own machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from msgspec import Struct

from ..core.errors import BadRequest
from .targets import Target, parse_target


class Proxy(Struct, frozen=True):
    """login: value of `proxy-authorization`, or None."""

    target: Target
    login: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.target.origin})"


class Proxies:
    """Raises ValueError for a proxy that is not an http:// or https:// URL (SOCKS is not spoken)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        everything = _proxy(environ, "ALL_PROXY")
        self._by_scheme = {
            "http": _proxy(environ, "HTTP_PROXY") or everything,
            "https": _proxy(environ, "HTTPS_PROXY") or everything,
        }
        bypass = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._bypass = [entry.strip().lower() for entry in bypass.split(",") if entry.strip()]

    def pick(self, target: Target) -> Proxy | None:
        proxy = self._by_scheme[target.scheme]
        if proxy is None or _is_loopback(target) or any(_covers(entry, target) for entry in self._bypass):
            return None
        return proxy


def _proxy(environ: Mapping[str, str], name: str) -> Proxy | None:
    url = (environ.get(name.lower()) or environ.get(name) or "").strip()
    if not url:
        return None
    try:
        target = parse_target(url if "://" in url else f"http://{url}")
    except BadRequest:
        raise ValueError(f"{name} is not an http:// or https:// proxy address") from None
    return Proxy(target, target.login)


def _is_loopback(target: Target) -> bool:
    if target.address is not None:
        return target.address.is_loopback
    return target.host == "localhost" or target.host.endswith(".localhost")


def _covers(entry: str, target: Target) -> bool:
    """entry: `*`, a name with all names below it (leading dot or `*.` optional), an address or a network, with or
    without a port."""
    if entry == "*":
        return True
    if target.address is not None:
        try:
            return target.address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    head, colon, tail = entry.rpartition(":")
    if colon and tail.isdigit() and not (":" in head and not head.endswith("]")):
        if int(tail) != target.port:
            return False
        entry = head
    name = entry.strip("[]").removeprefix("*").removeprefix(".")
    return target.host == name or target.host.endswith("." + name)
