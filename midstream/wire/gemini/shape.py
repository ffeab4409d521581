"""Objects as Google's JSON takes them: camelCase or snake_case names, one object where a list is due, null = absent."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest

#: This dialect's name in Turn.dialect, State.issuer and Attempted.dialect.
NAME = "gemini"

T = TypeVar("T")
#: A member that was not written (msgspec knows no optional Raw).
ABSENT = Raw()
_NULL = Raw(b"null")
_SNAKE = re.compile(r"_([a-z0-9])")


def camel(name: str) -> str:
    """The camelCase spelling of a member's name; a leading underscore (_responseJsonSchema) stays."""
    if "_" not in name[1:]:
        return name
    return name[0] + _SNAKE.sub(lambda match: match.group(1).upper(), name[1:])


def members(value: Any, path: str) -> dict[str, Any]:
    """The object's members under camelCase names, without nulls; nested objects stay as they are. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    return {camel(name): member for name, member in value.items() if member is not None}


def shaped(value: Any, kind: type[T], path: str) -> T:
    """`value` as `kind`; numbers may be strings, as in protobuf JSON. Raises BadRequest with the path."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        message, _, where = str(error).partition(" - at `$")
        at = (path + where.rstrip("`")).lstrip(".")
        raise BadRequest(f"{at}: {message}", param=at) from None


def listed(value: Any, path: str) -> list[Any]:
    """A repeated field; Google also takes one bare object for a list of one. Raises BadRequest."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise BadRequest(f"{path} must be a list", param=path)
    return value


def given(raw: Raw) -> bool:
    """Is the member there, and not null?"""
    return raw is not ABSENT and raw != _NULL


def plain(raw: Raw, path: str) -> Any:
    """The member's value as plain objects. Raises BadRequest."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{path}: {error}", param=path) from None
