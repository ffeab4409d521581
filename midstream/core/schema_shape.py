"""Whether a JSON value is a JSON Schema at all: what the metaschema of 2020-12 says of one, in one pass over it.

The library goes through the metaschema for each schema in a schema: seconds where there are thousands of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

_Path: TypeAlias = tuple[Any, Any] | None
#: What it must be, in words.
_Shape: TypeAlias = tuple[Callable[[Any], bool], str]

TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
#: Keywords that hold a schema, a list of them, or schemas by names.
_ONE = frozenset(
    {
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"})
_ID = re.compile(r"^[^#]*#?$")
_ANCHOR = re.compile(r"^[A-Za-z_][-A-Za-z0-9._]*$")


def misshapen(schema: Any, readable: Callable[[str], bool]) -> tuple[tuple[Any, ...], str] | None:
    """The path of what is wrong in it, and what is; None where nothing is. readable: whether this is a regular
    expression."""
    left: list[tuple[_Path, Any]] = [(None, schema)]
    for path, one in left:  # grows meanwhile
        if isinstance(one, bool):
            continue
        if not isinstance(one, dict):
            return _steps(path), f"{one!r} is no JSON Schema"
        for word, value in one.items():
            fits, kind = _SHAPES.get(word, _ANY)
            if not fits(value):
                return _steps((path, word)), f"{value!r} is no {kind}"
            if word in _ONE:
                left.append(((path, word), value))
            elif word in _LISTED:
                left += [(((path, word), place), below) for place, below in enumerate(value)]
            elif word in _NAMED:
                left += [(((path, word), name), below) for name, below in value.items() if not _is_need(word, below)]
            for expression in _expressions(word, value):
                if not readable(expression):
                    return _steps((path, word)), f"{expression!r} is no regular expression"
    return None


def _steps(path: _Path) -> tuple[Any, ...]:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return tuple(reversed(steps))


def _expressions(word: str, value: Any) -> Iterable[str]:
    return value if word == "patternProperties" else (value,) if word == "pattern" else ()


def _is_need(word: str, value: Any) -> bool:
    """What older drafts allow under `dependencies` in a schema's place."""
    return word == "dependencies" and _is_names(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and (isinstance(value, int) or value.is_integer())


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_types(value: Any) -> bool:
    if isinstance(value, str):
        return value in TYPES
    return _is_names(value) and bool(value) and TYPES.issuperset(value)


_ANY: _Shape = (lambda value: True, "value")
_SHAPES: dict[str, _Shape] = {
    "$id": (lambda value: _is_text(value) and _ID.search(value) is not None, "address without a fragment"),
    "$vocabulary": (lambda value: _is_object(value) and all(map(_is_flag, value.values())), "object of booleans"),
    "dependentRequired": (
        lambda value: _is_object(value) and all(map(_is_names, value.values())),
        "object of lists of names",
    ),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "number above 0"),
    "type": (_is_types, "type that a JSON Schema knows, nor a list of them"),
    "required": (_is_names, "list of different names"),
    **dict.fromkeys(("enum", "examples"), (_is_list, "list")),
    **dict.fromkeys(_LISTED, (lambda value: _is_list(value) and bool(value), "list of schemas")),
    **dict.fromkeys(_NAMED, (_is_object, "object")),
    **dict.fromkeys(
        ("$anchor", "$dynamicAnchor", "$recursiveAnchor"),
        (lambda value: _is_text(value) and _ANCHOR.search(value) is not None, "name of a place"),
    ),
    **dict.fromkeys(
        (
            "$schema", "$ref", "$dynamicRef", "$recursiveRef", "$comment", "title", "description", "format", "pattern",
            "contentEncoding", "contentMediaType",
        ),
        (_is_text, "text"),
    ),
    **dict.fromkeys(("deprecated", "readOnly", "writeOnly", "uniqueItems"), (_is_flag, "boolean")),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"), (_is_number, "number")),
    **dict.fromkeys(
        (
            "maxLength", "minLength", "maxItems", "minItems", "maxContains", "minContains", "maxProperties",
            "minProperties",
        ),
        (_is_count, "whole number from 0 on"),
    ),
}  # fmt: skip
