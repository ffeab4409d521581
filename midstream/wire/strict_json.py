"""JSON as it is accepted at the door: what we check is what we forward.

Refused: NaN and infinities, NUL, lone surrogates, invalid UTF-8, nesting deeper than 64, a key twice in one object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from ..core.errors import BadRequest
from ..core.turn import Fields

MAX_DEPTH = 64

T = TypeVar("T")
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_anything = msgspec.json.Decoder().decode
_compact = msgspec.json.Encoder().encode


def read_object(body: bytes) -> dict[str, Raw]:
    """The members of the JSON object in body, in order, each value as its exact bytes. Raises BadRequest."""
    value = read_value(body)
    if type(value) is not dict:
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return _members(body)


def read_value(body: bytes) -> Any:
    """The value of body as plain Python objects, or BadRequest saying what is wrong with it."""
    try:
        value = _anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    if b"\\u0000" in body and _holds_nul(value):
        raise BadRequest("a string holds the character NUL", code="invalid_json")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(value):
        raise BadRequest(f"nested deeper than {MAX_DEPTH}", code="invalid_json")
    if not _surely_unique(body, value):
        _refuse_duplicates(body)
    return value


def _surely_unique(body: bytes, value: Any) -> bool:
    """Cheap and safe: a key given twice makes the body hold more `":` than the same value written anew.

    Counted only where every key is followed directly by its colon, so that white space cannot hide one, and where no
    colon is written as an escape: such a string would make up for the missing key when it is written anew."""
    if b'" ' in body or b'"\n' in body or b'"\r' in body or b'"\t' in body or b'\\\\"' in body:
        return False
    if b"\\u003" in body:
        return False
    again = _compact(value)
    return body.count(b'":') - body.count(b'\\":') == again.count(b'":') - again.count(b'\\":')


def _refuse_duplicates(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRequest(f"the key {key!r} occurs twice in one object", code="invalid_json", param=key)
            seen.add(key)

    json.loads(body, object_pairs_hook=unique)


def _holds_nul(value: Any) -> bool:
    return _any(value, lambda leaf: isinstance(leaf, str) and "\0" in leaf)


def _any(value: Any, test: Callable[[Any], bool]) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif test(item):
            return True
    return False


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def read_field(fields: Fields, name: str, kind: type[T], default: T) -> T:
    """Member `name` decoded as `kind`; default when absent or null. Raises BadRequest naming it."""
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return default
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None


def write_object(fields: Fields) -> bytes:
    """The object whose members are these, values byte for byte."""
    return b"{" + b",".join([_compact(name) + b":" + bytes(raw) for name, raw in fields.items()]) + b"}"
