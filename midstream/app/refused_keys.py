"""A provider that does not take the key it was given, as our own faces tell it: there a 401 or 403 means the caller's
own key, and nothing else may be taken for that."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from ..core.errors import BadRequest, Busy, KeyRefused, MidstreamError, Refused
from ..runs.health import refuses_key

Whose = Callable[[str, str], bool]


def nobodys(provider: str, key: str) -> bool:
    """Where a request cannot bring a key."""
    return False


def in_our_words(is_callers: Whose = nobodys) -> Callable[[MidstreamError], MidstreamError]:
    """How a run's error is told. is_callers: whether the request itself brought this provider's key of this label.
    Such a key is the caller's to mend (400, `apikey`), also while it rests because of that; any other the server's or
    the organization's (502)."""

    def told(error: MidstreamError) -> MidstreamError:
        if isinstance(error, Busy) and error.refused is not None and is_callers(*error.refused):
            again = f"and is asked with it again in {ceil(error.retry_after or 0)} seconds"
            message = f"apikey: the provider {error.refused[0]} has refused this key a moment ago, {again}"
            return BadRequest(message, param="apikey", code=KeyRefused.code)
        if not isinstance(error, Refused) or not refuses_key(error):
            return error
        provider, key = error.provider or "", error.key or ""
        said = f"({error.status}): {error.message}"
        if is_callers(provider, key):
            message = f"apikey: the provider {provider} refuses this key {said}"
            return BadRequest(message, param="apikey", code=KeyRefused.code)
        refused = KeyRefused(f"the provider {provider} refuses the key that it is asked with {said}")
        refused.provider, refused.key, refused.staged, refused.told = (
            error.provider,
            error.key,
            error.staged,
            error.told,
        )
        return refused

    return told
