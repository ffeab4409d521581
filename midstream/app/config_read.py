"""From plain tables to typed, frozen ones: unknown keys, wrong types and wrong values are named with their place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from ..core.secret import Secret
from .config_lines import KeyPath

S = TypeVar("S", bound=Struct)
#: USD: what is above it is a slip of the pen.
DEAREST = 1_000_000


class ConfigError(Exception):
    """The configuration cannot be used. The message is one line: where, which key, what is wrong with it."""

    def __init__(self, where: str, path: KeyPath, problem: str) -> None:
        self.where = where
        self.path = path
        self.problem = problem
        key = dotted(path)
        super().__init__(": ".join(piece for piece in (where, key, problem) if piece))


def dotted(path: KeyPath) -> str:
    pieces = [f"[{piece}]" if isinstance(piece, int) else f".{_quoted(piece)}" for piece in path]
    return "".join(pieces).removeprefix(".")


def _quoted(key: str) -> str:
    return key if key and all(sign.isalnum() or sign in "_-" for sign in key) else msgspec.json.encode(key).decode()


def near_miss(word: str, known: list[str]) -> str:
    """` (did you mean ...?)`, or nothing."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


class Reader:
    """where: tells the place of a path. from_text: paths whose value came as text from the environment, where numbers
    and switches are written as text too; what they hold is never repeated in an error. warn: is told in one line, as
    of a ConfigError, what can be used and is probably not meant."""

    def __init__(
        self,
        where: Callable[[KeyPath], str],
        from_text: frozenset[KeyPath] = frozenset(),
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self._where = where
        self._from_text = from_text
        self._warn = warn

    def refuse(self, path: KeyPath, problem: str) -> NoReturn:
        raise ConfigError(self._where(path), path, problem)

    def warn(self, path: KeyPath, problem: str) -> None:
        if self._warn is not None:
            self._warn(str(ConfigError(self._where(path), path, problem)))

    def table(self, kind: type[S], value: Any, path: KeyPath) -> S:
        """value as a struct of this kind. Raises ConfigError."""
        if not isinstance(value, dict):
            self._wrong(path, "a table", value)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                self.refuse((*path, key), f"unknown key{near_miss(key, list(fields))}")
        for name, field in fields.items():
            if field.required and name not in value:
                self.refuse(path, f"{name} is missing")
        return kind(**{key: self.value(fields[key].type, item, (*path, key)) for key, item in value.items()})

    def value(self, kind: Any, value: Any, path: KeyPath) -> Any:
        """value as this kind: a struct, dict[str, X], tuple[X, ...], Literal, X | None, Annotated or a scalar."""
        origin = get_origin(kind)
        if origin is Annotated:
            return self._bounded(kind, value, path)
        if origin is Literal:
            return self._one_of(get_args(kind), value, path)
        if origin in (UnionType, Union):
            return self.value(next(one for one in get_args(kind) if one is not NoneType), value, path)
        if origin is tuple:
            return self._list(get_args(kind)[0], value, path)
        if origin is dict:
            return self._mapping(get_args(kind)[1], value, path)
        if issubclass(kind, Struct):
            return self.table(kind, value, path)
        return self._scalar(kind, value, path)

    def _mapping(self, kind: Any, value: Any, path: KeyPath) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(path, "a table", value)
        return {key: self.value(kind, item, (*path, key)) for key, item in value.items()}

    def _scalar(self, kind: type, value: Any, path: KeyPath) -> Any:
        if kind is Decimal:
            return self._decimal(value, path)
        if path in self._from_text and kind in _TEXT_READERS:
            value = _TEXT_READERS[kind](value)
        if kind in (str, Secret) and isinstance(value, str):
            if "\0" in value:
                self.refuse(path, "a text here has no NUL")
            return value if kind is str else Secret(value)
        if kind is bool and isinstance(value, bool):
            return value
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return self._not_negative(value, path)
        if kind is float and isinstance(value, int | Decimal) and not isinstance(value, bool):
            return self._not_negative(float(Decimal(value)), path)
        return self._wrong(path, _WORDS[kind], value, hide=kind is Secret)

    def _not_negative(self, value: float, path: KeyPath) -> float:
        if not 0 <= value < float("inf"):
            self.refuse(path, f"expected a number of at least 0, found {value}")
        return value

    def _decimal(self, value: Any, path: KeyPath) -> Decimal:
        """Money: text, that it stays exact, or a number as it is written."""
        try:
            number = Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite() or not 0 <= number <= DEAREST:
            self._wrong(path, 'a price (USD, such as "0.15")', value)
        return number

    def _list(self, kind: Any, value: Any, path: KeyPath) -> tuple[Any, ...]:
        """One text stands for a list of one."""
        if isinstance(value, str):
            return (self.value(kind, value, path),)
        if not isinstance(value, list):
            bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
            self._wrong(path, "a text or a list", value, hide=bare is Secret)
        return tuple(self.value(kind, item, (*path, place)) for place, item in enumerate(value))

    def _one_of(self, words: tuple[Any, ...], value: Any, path: KeyPath) -> Any:
        if value not in words:
            near = near_miss(value, list(words)) if isinstance(value, str) else ""
            self._wrong(path, f"one of {', '.join(words)}", value, more=near)
        return value

    def _bounded(self, kind: Any, value: Any, path: KeyPath) -> Any:
        bare, *notes = get_args(kind)
        read = self.value(bare, value, path)
        for note in notes:
            meta = cast(msgspec.Meta, note)
            if meta.ge is not None and read < meta.ge:
                self.refuse(path, f"expected a number of at least {meta.ge}, found {read}")
            if meta.gt is not None and read <= meta.gt:
                self.refuse(path, f"expected a number above {meta.gt}, found {read}")
            if meta.le is not None and read > meta.le:
                self.refuse(path, f"expected a number of at most {meta.le}, found {read}")
            if meta.min_length and not read:
                self.refuse(path, "is empty")
        return read

    def _wrong(self, path: KeyPath, expected: str, value: Any, *, more: str = "", hide: bool = False) -> NoReturn:
        found = "other text" if path in self._from_text else described(value, hide=hide)
        self.refuse(path, f"expected {expected}, found {found}{more}")


def _whole(text: Any) -> Any:
    return int(text) if isinstance(text, str) and text.strip().isdecimal() and len(text) < 20 else text


def _number(text: Any) -> Any:
    try:
        number = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        number = None
    return text if number is None or not number.is_finite() else number


def _switch(text: Any) -> Any:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(text).lower(), text)


_TEXT_READERS: Mapping[Any, Callable[[Any], Any]] = {int: _whole, float: _number, bool: _switch}
_WORDS: Mapping[Any, str] = {
    str: "a text", Secret: "a text", bool: "true or false", int: "a whole number", float: "a number",
}  # fmt: skip


def described(value: Any, *, hide: bool = False) -> str:
    """A value of a TOML file in words; hide: only of what type it is."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "a text" if hide or len(value) > 60 else f"the text {msgspec.json.encode(value).decode()}"
    if isinstance(value, int | Decimal):
        return "a number" if hide else f"the number {value}"
    return "a date or time"
