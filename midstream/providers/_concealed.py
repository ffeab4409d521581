"""What a service is asked with, kept out of what it says of a failure: in an error's words as in its own bytes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from ..core.errors import MAX_TOLD, MidstreamError, Refused
from ..core.events import Event, Failed
from ..core.masking import LEAST, credentials, masked, masked_start, masked_text


def secrets_of(key: str, headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """headers: those that the operator has written for this service, of which nothing is anybody else's to know. Digits
    alone are the number of an account, which may stand in JSON as a number."""
    written = dict(headers)
    found = (key, *(value for value in written.values() if not value.isdecimal()), *credentials(written))
    return tuple(dict.fromkeys(one for one in found if len(one) >= LEAST))


def conceal(error: MidstreamError, secrets: tuple[str, ...]) -> None:
    if not secrets:
        return
    error.message = _concealed(error.message, secrets)
    error.args = (error.message,)
    error.code = _concealed(error.code, secrets)
    error.param = None if error.param is None else _concealed(error.param, secrets)
    if isinstance(error, Refused):
        error.kind = None if error.kind is None else _concealed(error.kind, secrets)
        error.native = None if error.native is None else masked(error.native, secrets)


def conceal_end(events: list[Event], secrets: tuple[str, ...]) -> None:
    """Of a stream that has failed. The bytes of its last frame stand with the first event that the frame made."""
    last = events[-1] if events else None
    if type(last) is not Failed or not secrets:
        return
    conceal(last.error, secrets)
    for place in reversed(range(len(events))):
        native = getattr(events[place], "native", None)
        if native:
            events[place] = replace(events[place], native=masked(native, secrets))
            return


def _concealed(text: str, secrets: tuple[str, ...]) -> str:
    """One that is longer than what is told was cut, and perhaps within a secret."""
    if len(text) < MAX_TOLD:
        return masked_text(text, secrets)
    start = text.removesuffix("...")
    said = masked_start(start.encode("utf-8", "surrogatepass"), secrets).decode("utf-8", "surrogatepass")
    return said + text[len(start) :]
