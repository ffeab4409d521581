"""A text that must not be seen: in logs, errors and representations it is three stars."""

from __future__ import annotations

import hmac
import re

#: Where a text begins to name a stored secret whose value is meant: `{{secret:NAME}}`.
NAMING = re.compile(r"\{\{\s*secret:")
#: What the name of a header has in it whose value is to be kept secret.
_CREDENTIAL = re.compile(r"auth(?!ors?$)|cookie|token|secret|password|(^|[-_])(api)?[-_]?key$|apikey", re.IGNORECASE)


def credential(name: str) -> bool:
    """Is what a header, or a variable of a program's environment, of this name holds to be kept secret?"""
    return _CREDENTIAL.search(name) is not None


def written_out(header: str, value: str) -> bool:
    """Does a header hold a credential for everybody to read who reads where it stands?"""
    return bool(value) and credential(header) and NAMING.search(value) is None


class Secret:
    """Only `reveal` gives the text away, so each use of it can be found."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogateescape")
