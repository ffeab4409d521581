"""Tokens of live channels: each opens one channel of one org for a while. They are signed, not stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec
from msgspec import Struct

from ..core.errors import Unauthenticated

#: Bytes of the signature before what it signs.
_MAC = 32


class Token(Struct, frozen=True):
    """What a token stands for. until: unix seconds. key_id: of the API key that made it; it opens nothing when that key
    does not."""

    org: str
    channel: str
    until: float
    key_id: str


def write_token(key: bytes, token: Token) -> str:
    """key: the server's own."""
    said = msgspec.json.encode(token)
    return base64.urlsafe_b64encode(_mac(key, said) + said).decode().rstrip("=")


def read_token(key: bytes, text: str, now: float) -> Token:
    """now: unix seconds. Raises Unauthenticated for what is no token of this server, and for one whose time is over."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if hmac.compare_digest(raw[:_MAC], _mac(key, raw[_MAC:])):
            found = msgspec.json.decode(raw[_MAC:], type=Token)
            if now < found.until:
                return found
    except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError):
        pass
    raise Unauthenticated("the token is unknown or its time is over", code="invalid_token")


def _mac(key: bytes, said: bytes) -> bytes:
    return hmac.new(key, b"live|" + said, hashlib.sha256).digest()
