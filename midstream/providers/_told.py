"""What a service says in its answer's headers that its clients act on, or that its support asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core.masking import masked

#: By which names services tell their own id of a request, and by which it is passed on: `x-request-id` is ours.
_IDS = ("x-request-id", "request-id", "apim-request-id", "x-generation-id")
REQUEST_ID = "x-upstream-request-id"
MOST, LONGEST = 32, 256


def told(headers: Mapping[str, str], secrets: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Its limits by its own names (x-ratelimit-remaining-tokens, anthropic-ratelimit-requests-reset, ...), and its id
    of the request. Nothing that holds one of the secrets it was sent."""
    found = [(name, value) for name, value in headers.items() if "ratelimit" in name]
    found += [(REQUEST_ID, headers[name]) for name in _IDS if name in headers][:1]
    if not found:
        return ()
    hidden = tuple(secrets)
    return tuple([pair for pair in found[:MOST] if _may_be_said(pair[1], hidden)])


def _may_be_said(value: str, hidden: tuple[str, ...]) -> bool:
    if len(value) > LONGEST or not value.isprintable():
        return False
    data = value.encode("latin-1", "replace")
    return masked(data, hidden) == data
