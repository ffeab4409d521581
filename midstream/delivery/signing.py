"""Signatures of the Standard Webhooks specification, so that any of its libraries can check what we send."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from ..core.errors import BadRequest

PREFIX = "whsec_"
#: Bytes of a secret, as the specification has them.
SHORTEST, LONGEST = 24, 64


def signed(secret: str, id: str, timestamp: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of a message. secret: `whsec_` and base64. timestamp: unix seconds of this try."""
    said = b"%b.%d.%b" % (id.encode(), timestamp, body)
    mac = hmac.new(secret_bytes(secret), said, hashlib.sha256).digest()
    return (
        ("webhook-id", id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", "v1," + base64.b64encode(mac).decode()),
    )


def secret_bytes(secret: str) -> bytes:
    """Raises BadRequest when it is none."""
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not SHORTEST <= len(found) <= LONGEST:
        raise BadRequest(
            f"a webhook secret is {PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes", param="secret"
        )
    return found


def org_secret(key: bytes, org: str) -> str:
    """The secret that an org's messages are signed with when their target names no other. key: the server's own."""
    return PREFIX + base64.b64encode(hmac.new(key, f"webhooks|{org}".encode(), hashlib.sha256).digest()).decode()
