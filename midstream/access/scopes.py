"""What an API key may do: a closed set of words. A key without any may use all model faces."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.errors import BadRequest, Forbidden
from ..core.web import Caller

SCOPES = {
    "chat": "chats, messages, token counts, the lists of models",
    "embeddings": "embeddings, the lists of models",
    "read": "GET of the accounts (attempts, usage, runs) of its own org",
    "admin": "everything in its own org",
}
#: What a key without a scope may do.
UNSAID = ("chat", "embeddings")


def known(words: Iterable[str]) -> None:
    """Raises BadRequest for the first word that is no scope."""
    for place, word in enumerate(words):
        if word not in SCOPES:
            names = ", ".join(SCOPES)
            raise BadRequest(f"scopes.{place}: no such scope; there are {names}", param=f"scopes.{place}")


def require(caller: Caller, *scopes: str) -> None:
    """One of them is needed. Raises Forbidden."""
    if caller.admin:
        return
    for scope in scopes:
        if scope in (caller.scopes or UNSAID):
            return
    raise Forbidden(f"this API key lacks the scope {' or '.join(f'`{scope}`' for scope in scopes)}")
