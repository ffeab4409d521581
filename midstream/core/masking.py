"""Secrets that were sent, kept out of what comes back: services like to say what they were asked with.

They are found as they are and as JSON, addresses and HTML write them, also where one is quoted within another; what a
service makes of them besides (a digest, base64) is its own."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from .secret import credential

MASK = b"***"
#: Characters of a secret that is looked for: shorter ones occur in any text.
LEAST = 6
#: What looks like a key wherever it stands.
_KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z])\S{16,}")
_RUN = re.compile(rb"[A-Za-z0-9]+")
_NAMED = {'"': b"quot", "&": b"amp", "<": b"lt", ">": b"gt", "'": b"apos"}
#: JSON's short way to write what cannot be seen.
_SHORT = {"\b": b"b", "\t": b"t", "\n": b"n", "\f": b"f", "\r": b"r"}
#: Bytes that one character may take, as many as are looked at; and how one begins that was cut off.
_WIDEST = 24
_BEGUN = re.compile(
    rb"(?:\\{1,16}(?:u[0-9a-f]{0,4})?){1,2}|(?:%[0-9a-f]{0,2}){1,4}|&#?\w{0,7}|[\xc2-\xf4][\x80-\xbf]{0,2}",
    re.IGNORECASE,
)
#: No character is written so wide, nor is what has begun.
_FAR = 64


def masked(data: bytes, secrets: Iterable[str]) -> bytes:
    for secret in sorted({*secrets}, key=len, reverse=True):
        plain = secret.encode("utf-8", "replace")
        run = max(_RUN.findall(plain), key=len, default=b"")  # is written the same everywhere
        if len(secret) >= LEAST and run in data:
            data = _anyhow(secret).sub(MASK, data)
    return data


def masked_text(text: str, secrets: Iterable[str]) -> str:
    return masked(text.encode("utf-8", "surrogatepass"), secrets).decode("utf-8", "surrogatepass")


def masked_start(data: bytes, secrets: Iterable[str]) -> bytes:
    """The same of what is only the start of something: without what it ends with, where that is how a secret begins."""
    secrets = [secret for secret in secrets if len(secret) >= LEAST]
    data = masked(data, secrets)
    return data[: min([_begins(secret, data) for secret in secrets], default=None)]


def credentials(headers: Mapping[str, str]) -> list[str]:
    """What is to be kept secret of headers, or of a program's environment: by their names, or by what it looks like."""
    found: list[str] = []
    for name, value in headers.items():
        if not credential(name) and not _KEY.fullmatch(value):
            continue
        scheme, _, token = value.strip().partition(" ")  # as it arrives
        found.append(token.strip() if token and scheme.isalpha() else value.strip())
        if scheme.lower() == "basic":
            found.append(_password(token))
    return [one for one in found if len(one) >= LEAST]


def _password(token: str) -> str:
    try:
        return base64.b64decode(token + "==").decode("utf-8", "replace").partition(":")[2]
    except binascii.Error:
        return ""


def _begins(secret: str, data: bytes) -> int:
    """Where at the end of data the secret begins; its length where it does not. Each place is looked at once, from the
    end on: what leads from there to the end is known of those behind it, as bits, one for each place in the secret."""
    end, any_place = len(data), (2 << len(secret)) - 1
    places: dict[str, int] = {}
    for place, one in enumerate(secret):
        places[one] = places.get(one, 0) | 1 << place
    signs = {one: re.compile(_sign(one)) for one in places}
    coded = [one for one in places if not _is_same(one)]
    leads, breaks, begins = {end: any_place}, {end: 0}, end
    for at in range(end - 1, max(end - _WIDEST * len(secret), 0) - 1, -1):
        leads[at], breaks[at] = 0, any_place
        here = chr(data[at])
        for one in coded if not _is_same(here) else (here,) if here in places else ():
            found = signs[one].match(data, at)
            if found is None:
                continue
            to = found.end()
            led = leads[to]
            if end - to < _FAR and (_BEGUN.fullmatch(data, to) or _BEGUN.fullmatch(data, at)):
                led |= breaks[to]
            leads[at] |= led >> 1 & places[one]
            breaks[at] &= ~places[one]
        leads.pop(at + _FAR, None)
        breaks.pop(at + _FAR, None)
        if leads[at] & 1:
            begins = at
    return begins


def _is_same(sign: str) -> bool:
    """Is it written the same everywhere?"""
    return sign.isascii() and sign.isalnum()


@lru_cache(maxsize=256)
def _anyhow(secret: str) -> re.Pattern[bytes]:
    pieces = re.findall(r"\\+|[^\\]", secret)
    return re.compile(b"".join(_slashes(len(piece)) if piece[0] == "\\" else _sign(piece) for piece in pieces))


def _slashes(count: int) -> bytes:
    """So many backslashes as one, found once: a text of many could be shared out among them in more ways than can be
    tried. They are doubled once for each quoting, so an odd one behind them is somebody else's."""
    ways = [rb"\\{1,16}u005c", b"%5c", b"&#0{0,4}92;", b"&#x0{0,4}5c;"]
    coded = b"|".join(b"(?:%b){%d}" % (way, count) for way in ways)
    return rb"(?i:%b|(?>(?:\\\\){%d,}|\\{%d}))" % (coded, count, count)


def _sign(sign: str) -> bytes:
    """One character as it may be written."""
    octets = sign.encode("utf-8", "replace")
    plain = re.escape(octets)
    if _is_same(sign):
        return plain
    units = sign.encode("utf-16-be", "replace")
    coded = b"".join(rb"\\{1,16}u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2))
    ways = [
        coded,
        b"".join(b"%%%02x" % octet for octet in octets),
        b"&#0{0,4}%d;" % ord(sign),
        b"&#x0{0,4}%x;" % ord(sign),
    ]
    if sign in _NAMED:
        ways.append(b"&%b;" % _NAMED[sign])
    if sign in _SHORT:
        ways.append(rb"\\{1,16}%b" % _SHORT[sign])
    if sign == " ":
        ways.append(rb"\+")
    # A backslash is doubled once for each quoting; before another character there may be several of them.
    ways.append(rb"(?:\\\\){1,8}|\\" if sign == "\\" else rb"\\{0,15}" + plain if sign.isascii() else plain)
    return b"(?i:%b)" % b"|".join(ways)
