"""`{{name}}` and `{{a.b}}` in a text, replaced by the turn's variables. Nothing else is a template here: no logic, no
second pass, so what a value holds is never read as a placeholder. What has no value stays as it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_PLACEHOLDER = re.compile(r"\{\{[ \t]*([\w-]+(?:\.[\w-]+)*)[ \t]*\}\}")
_encode = msgspec.json.Encoder().encode

#: Stands for "no value"; a variable given as null has none either.
NOTHING: Any = object()


def placeholders(text: str) -> tuple[str, ...]:
    """The names that stand in a text, each once, in order."""
    if "{{" not in text:
        return ()
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def value_at(variables: Mapping[str, Any], path: str) -> Any:
    """A variable of that whole name, else the dotted path through objects (by key) and lists (by index from 0).
    NOTHING when there is none."""
    if path in variables:
        return _present(variables[path])
    here: Any = variables
    for step in path.split("."):
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, list | tuple) and step.isdecimal() and step.isascii() and len(step) < 10:
            here = here[int(step)] if int(step) < len(here) else None
        else:
            return NOTHING
    return _present(here)


def _present(value: Any) -> Any:
    return NOTHING if value is None else value


def written(value: Any) -> str:
    """A value as it stands in a text: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def substitute(text: str, variables: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The text with its values put in, once; and the names without a value, whose placeholders are left in it."""
    if "{{" not in text:
        return text, ()
    missing: dict[str, None] = {}

    def put(match: re.Match[str]) -> str:
        value = value_at(variables, match[1])
        if value is NOTHING:
            missing[match[1]] = None
            return match[0]
        return written(value)

    return _PLACEHOLDER.sub(put, text), tuple(missing)


def unfilled(value: Any, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """The names without a value in JSON-ready arguments, at any depth, each once."""
    if isinstance(value, str):
        return tuple(name for name in placeholders(value) if value_at(variables, name) is NOTHING)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return tuple(dict.fromkeys(name for one in inner for name in unfilled(one, variables)))


def filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """JSON-ready arguments with their texts substituted, at any depth. A text that is one placeholder and nothing
    else becomes the value itself, of whatever type."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole is not None and (found := value_at(variables, whole[1])) is not NOTHING:
            return found
        return substitute(value, variables)[0]
    if isinstance(value, Mapping):
        return {name: filled(one, variables) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, variables) for one in value]
    return value
