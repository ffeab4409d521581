"""What every face needs of a request before anything else, read in one typed pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from ..core.errors import BadRequest
from ..core.events import Counted, Embedded
from ..core.misread import place_of
from ..core.parts import Native

T = TypeVar("T")
STRICT = "x-midstream-strict"
_STRICT_WORDS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


class ConversationRef(Struct, frozen=True, forbid_unknown_fields=True):
    """Without an id, one that is to be made. title: as replies have it, for who sends theirs back."""

    id: str = ""
    title: str = ""


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


def known_of(members: dict[str, Any], kind: type[T]) -> T:
    """The members a face looks at; BadRequest with the field's path when one has the wrong type."""
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        raise misread(error) from None


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The same from JSON text."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise misread(error) from None


def misread(error: msgspec.ValidationError) -> BadRequest:
    """What does not fit, with its path."""
    path, why = place_of(error)
    return BadRequest(f"{path}: {why}" if path else why, param=path or None)


def fresh_messages(
    dialect: str, messages: Any, raws: Sequence[bytes | Raw], *, begins: bool = False
) -> tuple[tuple[str, Native], ...]:
    """The messages after the model's last one: what this request adds to what was said before. None when they are no
    messages: whoever answers says what is wrong with them.
    raws: the exact bytes of each. begins: nothing was said before, so that all of them are new."""
    roles: list[str] = []
    if type(messages) is not list:
        return ()
    for message in reversed(messages):
        role = message.get("role") or "user" if type(message) is dict else None
        if type(role) is not str:
            return ()
        if not begins and role in ("assistant", "model"):
            break
        roles.append(role)
    if not roles:
        return ()
    new = zip(reversed(roles), raws[-len(roles) :], strict=True)
    return tuple([(role, Native(dialect, bytes(raw))) for role, raw in new])


def conversation_of(value: str | ConversationRef | None) -> str | None:
    """As Turn has it. Raises BadRequest for an id that is none."""
    if value == "":
        raise BadRequest("conversation: an id, or {} for a new conversation", param="conversation")
    return value.id if isinstance(value, ConversationRef) else value


def is_strict(headers: Mapping[str, str]) -> bool:
    """Shall what cannot be honoured be refused? Raises BadRequest for a word that does not say."""
    word = headers.get(STRICT, "").lower()
    if word not in _STRICT_WORDS:
        raise BadRequest(f"{STRICT}: expected true or false (1 or 0, yes or no)", param=STRICT)
    return _STRICT_WORDS[word]


def own_body(dialect: str, result: Counted | Embedded) -> bytes | None:
    """The result as a provider of this dialect wrote it."""
    native = result.native
    return native.raw if native is not None and native.dialect == dialect else None
