"""The fields of the official SDKs' request types, to any depth, each as a pair of values that differ in it alone."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import BaseModel

#: Where a field's type says too little of what makes sense in it. By its name, or by its type's and its own.
Samples = Mapping[str, Any]
Case = tuple[str, Any, Any]


class Walk:
    """samples: values by field ("name", or "Type.name"), each one value, or (one, another). skip: fields that are
    not looked at, likewise. needed: "Type.name" of fields without which there is no sense, though they are optional."""

    def __init__(
        self, samples: Samples, skip: frozenset[str] = frozenset(), needed: frozenset[str] = frozenset()
    ) -> None:
        self._samples = samples
        self._skip = skip
        self._needed = needed

    def cases(self, kind: Any, seen: tuple[Any, ...] = ()) -> Iterator[Case]:
        """(path, a value of the kind without the field or with one value of it, the same with it or with another)."""
        for option in options(kind):
            if (item := _item(option)) is not None:
                for path, one, other in self.cases(item, seen):
                    yield path, [one], [other]
            elif is_object(option) and option not in seen:
                yield from self._fields(option, (*seen, option))

    def _fields(self, kind: Any, seen: tuple[Any, ...]) -> Iterator[Case]:
        base = self.sample(kind)
        for name, inner, required in self._members(kind):
            path = f"{kind.__name__}.{name}"
            if name in self._skip or path in self._skip:
                continue
            one, other = self._two(kind, name, inner)
            if not required:
                yield path, base, {**base, name: one}
            elif one != other and not is_object(options(inner)[0]):  # what is in it is looked at below
                yield path, base, {**base, name: other}
            if not self._given(kind, name):
                for deeper, without, within in self.cases(inner, seen):
                    yield f"{path}/{deeper}", {**base, name: without}, {**base, name: within}

    def _members(self, kind: Any) -> list[tuple[str, Any, bool]]:
        return [(name, inner, req or f"{kind.__name__}.{name}" in self._needed) for name, inner, req in fields(kind)]

    def _given(self, kind: Any, name: str) -> Any:
        return self._samples.get(f"{kind.__name__}.{name}", self._samples.get(name))

    def _two(self, kind: Any, name: str, inner: Any) -> tuple[Any, Any]:
        given = self._given(kind, name)
        if isinstance(given, tuple):
            return given
        return (given, given) if given is not None else (self.sample(inner, "x"), self.sample(inner, "y"))

    def sample(self, kind: Any, word: str = "x") -> Any:
        """A value of the kind, with the fields that it must have."""
        option = options(kind)[0]
        if (item := _item(option)) is not None:
            return [self.sample(item, word)]
        if is_object(option):
            required = [(name, inner) for name, inner, required in self._members(option) if required]
            return {name: self._two(option, name, inner)[word == "y"] for name, inner in required}
        if get_origin(option) is typing.Literal:
            return get_args(option)[0]
        if isinstance(option, type) and issubclass(option, str) and hasattr(option, "__members__"):
            return [*option][-1].value
        scalars: dict[Any, tuple[Any, Any]] = {str: ("x", "y"), int: (5, 6), float: (0.5, 0.25), bool: (True, False)}
        return scalars.get(option, ({"a": "x"}, {"a": "y"}))[word == "y"]


def options(kind: Any) -> list[Any]:
    """The members of a union, without None."""
    while get_origin(kind) in (typing.Annotated, typing.Required, typing_extensions.Required, typing.NotRequired):
        kind = get_args(kind)[0]
    if isinstance(kind, typing_extensions.TypeAliasType):
        return options(kind.__value__)
    if get_origin(kind) in (typing.Union, types.UnionType):
        found = [one for member in get_args(kind) if member is not type(None) for one in options(member)]
        if any(typing_extensions.is_typeddict(one) for one in found):  # an answer's own classes say the same
            found = [one for one in found if not (isinstance(one, type) and issubclass(one, BaseModel))]
        return sorted(found, key=lambda one: not is_object(one) and _item(one) is None) if found else [Any]
    return [kind]


def is_object(kind: Any) -> bool:
    return typing_extensions.is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, BaseModel))


def fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """(name on the wire, type, must it be there)"""
    if typing_extensions.is_typeddict(kind):
        marked = get_type_hints(kind, include_extras=True).items()
        return [(name, inner, name in kind.__required_keys__ or _is_required(inner)) for name, inner in marked]
    return [(camel(name), field.annotation, field.is_required()) for name, field in kind.model_fields.items()]


def _is_required(kind: Any) -> bool:
    """The SDKs postpone their annotations, which hides Required from __required_keys__."""
    while get_origin(kind) is typing.Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) in (typing.Required, typing_extensions.Required)


def _item(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) in (list, Iterable, Sequence) and get_args(kind) else None


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
