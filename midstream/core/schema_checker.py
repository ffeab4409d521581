"""Checks by JSON Schema 2020-12, safe with schemas of strangers.

A check does a bounded amount of work, fetches nothing, and runs no expression of theirs with an engine that can be
made to backtrack: `pattern` is checked by RE2, and passed over where RE2 does not know it. Imported late: the library
takes a tenth of a second to load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import re2
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import UnknownType, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from .json_schema import MAX_WORK, Unfinished, Unusable
from .schema_shape import misshapen

#: What the check of an empty object may cost. A keyword or a schema gone into is 1, about ten microseconds.
EMPTY_WORK = 5_000
#: Bytes of a schema, characters of an expression in it, and errors of which the best one is told.
MAX_SCHEMA, MAX_EXPRESSION, MAX_ERRORS = 256 * 1024, 4096, 100
#: What RE2 says of what is no expression anywhere, and not only unknown to RE2.
_UNREADABLE = (
    b"missing )", b"unexpected )", b"missing ]", b"invalid character class range", b"no argument for",
    b"bad repetition", b"trailing \\",
)  # fmt: skip

#: Keywords that give a schema within a name of its own.
_PLACES = (b'"$id"', b'"$anchor"', b'"$dynamicAnchor"')

_SIZED = (str, list, dict)

Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]
_encode = msgspec.json.Encoder(order="deterministic").encode


#: The one element is how much work this check may still do.
_left: ContextVar[list[int]] = ContextVar("left")


def first_error(schema: Any, value: Any, work: int = MAX_WORK) -> str | None:
    """Why value does not fit. Raises Unusable."""
    validator = _validator(_text(schema))
    _left.set([work])
    try:
        error = best_match(islice(validator.iter_errors(value), MAX_ERRORS))
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
    _left.set([EMPTY_WORK])
    wrong = misshapen(schema, _readable)
    if wrong is not None:
        return _worded(*wrong)
    first_error(schema, {}, EMPTY_WORK)
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
def _validator(text: bytes) -> Any:
    schema = msgspec.json.decode(text)
    kind = _LAX if b'"patternProperties"' in text else _STRICT
    if not any(word in text for word in _PLACES):
        return kind(schema, registry=Registry())
    # What has a name of its own is looked for once: the library would go through all for each reference to it.
    resource = DRAFT202012.create_resource(schema)
    id = resource.id() or ""
    return kind(schema, _resolver=validators.SPECIFICATIONS.with_resource(id, resource).crawl().resolver(id))


def _evolved(validator: Any, *, schema: Any, _resolver: Any = None) -> Any:
    """For a schema within: the library would go on with checks of its own where that one names a draft."""
    _spend(1)
    return type(validator)(schema, registry=validator._registry, _resolver=_resolver or validator._resolver)


def _spend(work: int) -> None:
    left = _left.get()
    left[0] -= work
    if left[0] < 0:
        raise Unfinished("asks for more work than a check may be")


def _counted(check: Check) -> Check:
    def counted(validator: Any, word: Any, value: Any, schema: Any) -> Iterator[Any]:
        size = len(word) if isinstance(word, _SIZED) else 0
        if isinstance(value, _SIZED):
            size += len(value)
        _spend(1 + (size >> 6))
        for error in check(validator, word, value, schema) or ():
            _spend(len(error.message) >> 8)  # it holds the value
            yield error

    return counted


def _compared(check: Check) -> Check:
    def compared(validator: Any, word: Any, value: Any, schema: Any) -> Iterable[Any] | None:
        if isinstance(value, list | dict):
            _spend(len(_encode(value)) >> 6)
        return check(validator, word, value, schema)

    return compared


def _pattern(validator: Any, pattern: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _found(pattern, value, True):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        _spend(len(value) * len(patterns) >> 4)
        for pattern, below in patterns.items():
            for name, one in value.items():
                if _found(pattern, name, False):
                    yield from validator.descend(one, below, path=name, schema_path=pattern)


def _additional(validator: Any, below: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    _spend(len(value) * len(patterns) >> 4)
    more = [name for name in value if name not in known and not any(_found(one, name, True) for one in patterns)]
    if below is False and more:
        names = ", ".join(map(repr, more[:10]))
        yield ValidationError(f"there is no field {names}")
    elif isinstance(below, dict):
        for name in more:
            yield from validator.descend(value[name], below, path=name)


def _unique(validator: Any, word: Any, value: Any, schema: Any) -> Iterator[Any]:
    if word is True and isinstance(value, list):
        items = [_encode(item) for item in value]
        _spend(sum(map(len, items)) >> 10)
        if len(set(items)) < len(items):
            yield ValidationError("the items are not all different")


def _kind(without: str = "") -> Any:
    known = Draft202012Validator.VALIDATORS
    checks: dict[str, Check] = {
        **known,
        "const": _compared(known["const"]),
        "enum": _compared(known["enum"]),
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional,
        "uniqueItems": _unique,
    }
    kind = validators.create(
        Draft202012Validator.META_SCHEMA,
        {name: _counted(check) for name, check in checks.items() if name != without},
        type_checker=Draft202012Validator.TYPE_CHECKER,
        id_of=Draft202012Validator.ID_OF,
    )
    kind.evolve = _evolved
    return kind


_STRICT = _kind()
#: The library's own `unevaluatedProperties` asks the interpreter's engine where there are `patternProperties`.
_LAX = _kind(without="unevaluatedProperties")


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> Any:
    """Compiled, or why not. Some few letters can take long, which is their check's work."""
    if len(pattern) > MAX_EXPRESSION:
        return b"too long to be looked at"
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    left = _left.get()
    try:
        expression = re2.compile(pattern, options)
        left[0] -= 3 + (expression.programsize >> 4)
    except re2.error as error:
        left[0] -= 500 if b"too large" in error.args[0] else 3
        return error.args[0]
    return expression


def _readable(pattern: str) -> bool:
    expression = _expression(pattern)
    _spend(0)
    return not (isinstance(expression, bytes) and expression.startswith(_UNREADABLE))


def _found(pattern: Any, text: str, unknown: bool) -> bool:
    """unknown: what is said of a pattern that RE2 does not know."""
    expression = _expression(pattern) if isinstance(pattern, str) else b""
    _spend(0)
    return unknown if isinstance(expression, bytes) else expression.search(text) is not None
