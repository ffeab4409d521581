"""From the words of a model to the arguments of a tool: read, completed from variables, checked against the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..core.agents import Tool
from ..core.json_schema import MAX_WORK, misfit
from ..core.json_words import arguments_in

#: Bytes of one call's arguments.
MAX_ARGUMENTS = 256 * 1024
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")
MISSING = object()


class Refused(Exception):
    """The call cannot be made; the message is for the model."""


def read(text: str, tool: Tool) -> dict[str, Any]:
    """What the model gave, without the arguments that are not its own to give. Raises Refused."""
    if len(text) > MAX_ARGUMENTS or len(text.encode("utf-8", "replace")) > MAX_ARGUMENTS:
        raise Refused(f"the arguments are larger than {MAX_ARGUMENTS} bytes")
    try:
        given = arguments_in(text)
    except msgspec.DecodeError as error:
        raise Refused(f"the arguments are not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Refused("the arguments are not a JSON object")
    return {name: value for name, value in given.items() if name not in tool.mapped}


def complete(given: dict[str, Any], tool: Tool, variables: Mapping[str, Any], work: int = MAX_WORK) -> dict[str, Any]:
    """The arguments that the tool gets. Raises Refused when one is missing or does not fit the schema, and Unfinished,
    as `misfit` does."""
    arguments = dict(given)
    for name, path in tool.mapped.items():
        value = at(variables, path)
        if value is MISSING:
            raise Refused(f"the argument {name} is taken from the variable {path}, which has no value")
        arguments[name] = value
    # The schema shown to the model may have lost the mapped arguments already: then they are not for it to judge.
    known = tool.parameters.get("properties")
    shown = {
        name: value
        for name, value in arguments.items()
        if name not in tool.mapped or (isinstance(known, dict) and name in known)
    }
    problem = misfit(tool.parameters, shown, work)
    if problem is not None:
        raise Refused(f"the arguments do not fit the tool's schema: {problem}")
    return arguments


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path (`a.b`, `items[0].name`, `items.0.name`), or MISSING. A name that holds dots itself
    is found as it is written. "" is the value itself."""
    if isinstance(value, Mapping) and path in value:
        return value[path]
    for step in _STEP.findall(path):
        index = step.strip("[]")
        if isinstance(value, Mapping) and index in value:
            value = value[index]
        elif isinstance(value, list) and index.isdecimal() and int(index) < len(value):
            value = value[int(index)]
        else:
            return MISSING
    return value
