"""A turn's variables: which there are, and what they make of a text.

`{{name}}` and `{{a.b}}` are replaced by them. Nothing else is a template here: no logic, no second pass, so what a
value holds is never read as a placeholder. What has no value stays as it was written, unless it is optional, or a
member of something optional: then it is nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from ..core.agents import AgentAsk, Loaded

_PLACEHOLDER = re.compile(r"\{\{[ \t]*([\w-]+(?:\.[\w-]+)*)[ \t]*\}\}")
_encode = msgspec.json.Encoder().encode

#: Stands for "no value"; a variable given as null has none either.
NOTHING: Any = object()


def variables_of(loaded: Loaded, ask: AgentAsk, more: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Those of the prompt: defaults, then the request's, then what a model has called the agent with, then `more`; and
    the user's message."""
    given = {**ask.variables, **ask.arguments, **more}
    return {**_defaults(loaded), **_given(given), "_user_message": ask.text}


def own_variables(loaded: Loaded, ask: AgentAsk, more: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Likewise without what a model has said, which counts before a default alone."""
    said = _given(ask.arguments)
    defaults = {name: one for name, one in _defaults(loaded).items() if name not in said}
    return {**defaults, **_given({**ask.variables, **more}), "_user_message": ask.text}


def optional_of(loaded: Loaded, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Variables without a value that the version says may be left out: they are nothing, not a placeholder."""
    states = loaded.spec.variables_state.items()
    return tuple(name for name, one in states if not one.required and value_at(variables, name) is NOTHING)


def _defaults(loaded: Loaded) -> dict[str, Any]:
    return {name: one.default for name, one in loaded.spec.variables_state.items() if one.default is not None}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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


def substitute(text: str, variables: Mapping[str, Any], optional: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The text with its values put in, once; and the names without a value, whose placeholders are left in it.
    optional: variables without a value that need none."""
    if "{{" not in text:
        return text, ()
    missing: dict[str, None] = {}

    def put(match: re.Match[str]) -> str:
        value = value_at(variables, match[1])
        if value is not NOTHING:
            return written(value)
        if belongs(match[1], optional):
            return ""
        missing[match[1]] = None
        return match[0]

    return _PLACEHOLDER.sub(put, text), tuple(missing)


def belongs(name: str, variables: Collection[str]) -> bool:
    """Is it one of these, or a member of one?"""
    return any(name == one or name.startswith(f"{one}.") for one in variables)


def unfilled(value: Any, variables: Mapping[str, Any], optional: Collection[str] = ()) -> tuple[str, ...]:
    """The names without a value in JSON-ready arguments, at any depth, each once; but for those of `optional`."""
    if isinstance(value, str):
        return substitute(value, variables, optional)[1]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return tuple(dict.fromkeys(name for one in inner for name in unfilled(one, variables, optional)))


def filled(value: Any, variables: Mapping[str, Any], optional: Collection[str] = ()) -> Any:
    """JSON-ready arguments with their texts substituted, at any depth. A text that is one placeholder and nothing
    else becomes the value itself, of whatever type; where that is nothing (see `substitute`) it becomes NOTHING, and a
    member or an item that does is left out."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole is None:
            return substitute(value, variables, optional)[0]
        found = value_at(variables, whole[1])
        return value if found is NOTHING and not belongs(whole[1], optional) else found
    if isinstance(value, Mapping):
        inner = {name: filled(one, variables, optional) for name, one in value.items()}
        return {name: one for name, one in inner.items() if one is not NOTHING}
    if isinstance(value, list | tuple):
        return [one for item in value if (one := filled(item, variables, optional)) is not NOTHING]
    return value
