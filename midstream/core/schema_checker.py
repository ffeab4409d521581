"""Checks by JSON Schema 2020-12, safe with schemas of strangers.

A check does a bounded amount of work, fetches nothing, and runs no expression of theirs with an engine that can be
made to backtrack: `pattern` is checked by RE2, and passed over where RE2 does not know it. Imported late: the library
takes a tenth of a second to load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
import re2
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import UnknownType, best_match
from msgspec import Struct
from referencing import Registry
from referencing.exceptions import Unresolvable

from .json_schema import Unusable
from .schema_shape import misshapen

#: Keywords that one check looks at, bytes of a schema, and characters of an expression in it.
MAX_WORK, MAX_SCHEMA, MAX_EXPRESSION = 20_000, 256 * 1024, 4096
#: What RE2 says of what is no expression anywhere, and not only unknown to RE2.
_UNREADABLE = (
    b"missing )", b"unexpected )", b"missing ]", b"invalid character class range", b"no argument for",
    b"bad repetition", b"trailing \\",
)  # fmt: skip

Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]
_encode = msgspec.json.Encoder(order="deterministic").encode


class _Checker(Struct):
    """left: the one element is how much work this check may still do."""

    validator: Any
    left: list[int]


def first_error(schema: Any, value: Any) -> str | None:
    """Why value does not fit. Raises Unusable."""
    checker = _checker(_text(schema))
    checker.left[0] = MAX_WORK
    try:
        error = best_match(checker.validator.iter_errors(value))
    except RecursionError:
        raise Unusable("or the value is nested too deeply") from None
    except UnknownType as unknown:
        raise Unusable(f"has a type that does not exist: {_short(repr(unknown.type))}") from None
    except Unresolvable as unknown:
        raise Unusable(f"refers to what is not in it: {_short(str(unknown))}") from None
    except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as wrong:
        raise Unusable(f"cannot be used: {_short(str(wrong))}") from None
    return None if error is None else _worded(error.absolute_path, error.message)


def examine(schema: Any) -> str | None:
    """What is wrong with a schema. Raises Unusable."""
    if not isinstance(schema, dict):
        return "a JSON Schema is an object"
    _text(schema)
    wrong = misshapen(schema, _readable)
    if wrong is not None:
        return _worded(*wrong)
    first_error(schema, {})
    return None


def _text(schema: Any) -> bytes:
    try:
        text = _encode(schema)
    except (TypeError, ValueError, RecursionError):
        raise Unusable("is no JSON object") from None
    if len(text) > MAX_SCHEMA:
        raise Unusable(f"is larger than {MAX_SCHEMA} bytes")
    return text


def _worded(steps: Iterable[Any], message: str) -> str:
    path = ".".join(map(str, steps))
    return f"{path + ': ' if path else ''}{_short(message)}"


def _short(message: str) -> str:
    return message if len(message) <= 500 else f"{message[:300]} ... {message[-150:]}"


@lru_cache(maxsize=512)
def _checker(text: bytes) -> _Checker:
    left = [MAX_WORK]
    keywords: dict[str, Check] = {
        **Draft202012Validator.VALIDATORS,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional,
        "uniqueItems": _unique,
    }
    if b'"patternProperties"' in text:
        del keywords["unevaluatedProperties"]  # the library's own asks the interpreter's engine
    kind = validators.create(
        Draft202012Validator.META_SCHEMA,
        {name: _counted(check, left) for name, check in keywords.items()},
        type_checker=Draft202012Validator.TYPE_CHECKER,
        id_of=Draft202012Validator.ID_OF,
    )
    kind.evolve = _evolved
    return _Checker(kind(msgspec.json.decode(text), registry=Registry()), left)


def _evolved(validator: Any, **changes: Any) -> Any:
    """For a schema within: the library would go on with checks of its own where that one names a draft."""
    kept = {"schema": validator.schema, "registry": validator._registry, "_resolver": validator._resolver}
    return type(validator)(**{**kept, **changes})


def _counted(check: Check, left: list[int]) -> Check:
    def counted(validator: Any, word: Any, value: Any, schema: Any) -> Iterator[Any]:
        left[0] -= 1
        if left[0] < 0:
            raise Unusable("asks for more work than a check may be")
        yield from check(validator, word, value, schema) or ()

    return counted


def _pattern(validator: Any, pattern: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _found(pattern, value, True):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for pattern, below in patterns.items():
            for name, one in value.items():
                if _found(pattern, name, False):
                    yield from validator.descend(one, below, path=name, schema_path=pattern)


def _additional(validator: Any, below: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [name for name in value if name not in known and not any(_found(one, name, True) for one in patterns)]
    if below is False and more:
        names = ", ".join(map(repr, more[:10]))
        yield ValidationError(f"there is no field {names}")
    elif isinstance(below, dict):
        for name in more:
            yield from validator.descend(value[name], below, path=name)


def _unique(validator: Any, word: Any, value: Any, schema: Any) -> Iterator[Any]:
    if word is True and isinstance(value, list) and len({_encode(item) for item in value}) < len(value):
        yield ValidationError("the items are not all different")


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> Any:
    """Compiled, or why not."""
    if len(pattern) > MAX_EXPRESSION:
        return b"too long to be looked at"
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        return error.args[0]


def _readable(pattern: str) -> bool:
    expression = _expression(pattern)
    return not (isinstance(expression, bytes) and expression.startswith(_UNREADABLE))


def _found(pattern: Any, text: str, unknown: bool) -> bool:
    """unknown: what is said of a pattern that RE2 does not know."""
    expression = _expression(pattern) if isinstance(pattern, str) else b""
    return unknown if isinstance(expression, bytes) else expression.search(text) is not None
