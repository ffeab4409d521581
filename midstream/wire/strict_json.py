"""JSON as it is accepted at the door: what we check is what we forward.

Refused: NaN and infinities, NUL, lone surrogates, invalid UTF-8, nesting deeper than 64, a key twice in one object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from ..core.errors import BadRequest
from ..core.json_words import MAX_DEPTH, too_deep
from ..core.turn import Fields

#: Bytes of a body up to which looking for something in its text costs less than knowing it from what was read.
SHORT = 4096
#: Close together: that many at the beginning of a text.
_BEGUN, _CLOSE = 1024, 48

T = TypeVar("T")
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_anything = msgspec.json.Decoder().decode
_compact = msgspec.json.Encoder().encode


def read_object(body: bytes) -> dict[str, Raw]:
    """The members of the JSON object in body, in order, each value as its exact bytes. Raises BadRequest."""
    return read_members(body)[0]


def read_members(body: bytes, listed: str = "") -> tuple[dict[str, Raw], dict[str, Any], Sequence[bytes | Raw]]:
    """The members of the JSON object in body, in order: as their exact bytes, and as plain Python objects. Then the
    exact bytes of each item of the one that is called `listed`, none where it is no array. Raises BadRequest."""
    value = _decoded(body)
    if type(value) is not dict:
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    if len(body) > SHORT:
        fields, items = _written(value, listed)
        written = write_object(fields)
        if written == body:  # what we have written is theirs, and need not be looked for in their text
            return fields, value, items
    else:
        written = _compact(value)
    _check_keys(body, written)
    fields = _members(body)
    return fields, value, _items(fields[listed]) if type(value.get(listed)) is list else ()


def _written(members: dict[str, Any], listed: str) -> tuple[dict[str, Raw], list[bytes]]:
    """As read_members has them, in our own writing."""
    items: list[bytes] = []
    fields: dict[str, Raw] = {}
    for name, value in members.items():
        if name == listed and type(value) is list:
            items = [_compact(item) for item in value]
            fields[name] = Raw(b"[%b]" % b",".join(items))
        else:
            fields[name] = Raw(_compact(value))
    return fields, items


def read_value(body: bytes) -> Any:
    """The value of body as plain Python objects, or BadRequest saying what is wrong with it."""
    value = _decoded(body)
    _check_keys(body, _compact(value))
    return value


def _decoded(body: bytes) -> Any:
    """Likewise, but for keys that occur twice."""
    try:
        value = _anything(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    if b"\\" in body and b"\\u0000" in body and _holds_nul(value):
        raise BadRequest("a string holds the character NUL", code="invalid_json", param=_member_with_nul(value))
    few = _how_many(b"{", body) + _how_many(b"[", body) <= MAX_DEPTH
    if not few and too_deep(value):
        raise BadRequest(f"nested deeper than {MAX_DEPTH}", code="invalid_json")
    return value


def _how_many(letter: bytes, text: bytes) -> int:
    """As bytes.count, which looks at every byte: replace leaps from one to the next, and where they are close together
    translate is still the faster one."""
    close = len(text) > _BEGUN and text.count(letter, 0, _BEGUN) > _CLOSE
    return len(text) - len(text.translate(None, letter) if close else text.replace(letter, b""))


def _check_keys(body: bytes, written: bytes) -> None:
    """Raises BadRequest for a key that occurs twice in an object. Most clients write JSON as we would: that has each
    key once. What they write else is counted. written: the value as we write it."""
    if written != body and not _surely_unique(body, written):
        _refuse_duplicates(body)


def _surely_unique(body: bytes, written: bytes) -> bool:
    """Cheap and safe: every string takes two quotes, so a key given twice makes the body hold more quotes than its
    value does, which has that key once. A quote inside a string is one more in both, unless it is written \\u0022."""
    coded = b"\\" in body and b"\\u0022" in body
    return not coded and _how_many(b'"', body) == _how_many(b'"', written)


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


def _member_with_nul(value: Any) -> str | None:
    """The first of an object's members in whose value it is."""
    members = value.items() if isinstance(value, dict) else ()
    return next((name for name, held in members if "\0" not in name and _holds_nul(held)), None)


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
    out: list[bytes | Raw] = []
    for name, raw in fields.items():
        out += (b",", _compact(name), b":", raw)
    out[:1] = (b"{",)
    out.append(b"}")
    return b"".join(out)
