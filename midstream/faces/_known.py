"""What every face needs of a request before anything else, read in one typed pass."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from ..core.errors import BadRequest
from ..core.events import Counted
from ..core.parts import Native

T = TypeVar("T")


class ConversationRef(Struct, frozen=True):
    id: str = ""


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class _Role(Struct, frozen=True):
    role: str = "user"


_role = msgspec.json.Decoder(_Role).decode


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The members a face looks at; BadRequest with the field's path when one has the wrong type."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").removeprefix(".").removesuffix("[...]") or None
        raise BadRequest(f"{param}: {message}" if param else message, param=param) from None


def fresh_messages(dialect: str, messages: list[Raw], path: str) -> tuple[tuple[str, Native], ...]:
    """The messages after the model's last one: what this request adds to what was said before."""
    fresh: list[tuple[str, Native]] = []
    for place in range(len(messages) - 1, -1, -1):
        raw = bytes(messages[place])
        try:
            role = _role(raw).role
        except msgspec.ValidationError:
            raise BadRequest(f"{path}[{place}]: expected an object with a role", param=f"{path}[{place}]") from None
        if role in ("assistant", "model"):
            break
        fresh.append((role, Native(dialect, raw)))
    return tuple(reversed(fresh))


def conversation_of(value: str | ConversationRef | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.id


def is_true(headers: Any, name: str) -> bool:
    return str(headers.get(name, "")).lower() in ("1", "true", "yes")


def own_body(dialect: str, counted: Counted) -> bytes | None:
    """The count as a provider of this dialect wrote it."""
    native = counted.native
    return native.raw if native is not None and native.dialect == dialect else None
