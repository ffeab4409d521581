"""A call whose arguments come piece by piece (streamFunctionCallArguments), put together into the part that it is.

The first piece names the function and says willContinue; each later one has partialArgs, a value or a piece of a text
with its place (`$.list[0].name`); the call is over with the first piece that does not say willContinue."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from ...core.errors import Garbled

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPED = re.compile(r"\\(.)")
#: How deep a place may lie, and how far past a list's end: more is no argument of a function.
MAX_DEPTH, MAX_GAP = 64, 1000


class PartialCall:
    """One call of a stream under construction. last: its last piece has come."""

    __slots__ = ("_args", "_attributes", "_call", "_growing", "_pieces", "last")

    def __init__(self, item: dict[str, Any]) -> None:
        """item: the part that opens the call. Raises Garbled."""
        self._attributes: dict[str, Any] = {}
        self._call: dict[str, Any] = {}
        self._args: dict[str, Any] = {}
        #: The place of a text that goes on, and what has come of it.
        self._growing: tuple[str, Any, str | int] | None = None
        self._pieces: list[str] = []
        self.last = False
        self.add(item)

    def add(self, item: dict[str, Any]) -> None:
        """item: a part. Raises Garbled when a place cannot be found, or lies in another value."""
        piece = item["functionCall"]
        self._attributes.update({name: value for name, value in item.items() if name != "functionCall"})
        self._call.update({name: value for name, value in piece.items() if name not in _PIECEWISE})
        args = piece.get("args")
        if isinstance(args, dict):
            self._args.update(args)
        for partial in piece.get("partialArgs") or ():
            self._set(partial)
        self.last = piece.get("willContinue") is not True

    def part(self) -> dict[str, Any]:
        """The whole part, as Google writes a call that comes in one piece."""
        self._grown()
        return {**self._attributes, "functionCall": {**self._call, "args": self._args}}

    def _set(self, partial: Any) -> None:
        path = partial.get("jsonPath") if isinstance(partial, dict) else None
        if not isinstance(path, str):
            raise Garbled("a piece of arguments has no place")
        value = next((partial[name] for name in _VALUES if name in partial), None)
        if self._growing is None or self._growing[0] != path or not isinstance(value, str):
            self._grown()
            steps = _steps(path)
            holder: Any = self._args
            for step, following in pairwise(steps):
                holder = _inner(holder, step, [] if isinstance(following, int) else {})
            _held(holder, steps[-1])
            holder[steps[-1]] = value
            self._growing = (path, holder, steps[-1]) if isinstance(value, str) else None
        if isinstance(value, str):
            self._pieces.append(value)
        if partial.get("willContinue") is not True:
            self._grown()

    def _grown(self) -> None:
        """The text that went on is whole."""
        if self._growing is not None:
            _, holder, step = self._growing
            holder[step] = "".join(self._pieces)
        self._growing = None
        self._pieces.clear()


_PIECEWISE = frozenset({"args", "partialArgs", "willContinue"})
_VALUES = ("stringValue", "numberValue", "boolValue")


def opens(item: Any) -> bool:
    """Is it the first piece of a call of which more is to come?"""
    call = item.get("functionCall") if isinstance(item, dict) else None
    return (
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and call["name"] != ""
        and call.get("willContinue") is True
    )


def goes_on(item: Any) -> bool:
    """Is it a further piece of the call before it? Those name no function."""
    call = item.get("functionCall") if isinstance(item, dict) else None
    return isinstance(call, dict) and not call.get("name")


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1 if path.startswith("$") else 0
    while at < len(path) and len(steps) < MAX_DEPTH:
        found = _STEP.match(path, at)
        if found is None:
            break
        name, number, single, double = found.groups()
        quoted = single if single is not None else double
        steps.append(int(number) if number else _ESCAPED.sub(r"\1", quoted) if quoted is not None else name)
        at = found.end()
    if at < len(path) or not steps:
        raise Garbled(f"a piece of arguments has the place {path[:100]}")
    return steps


def _held(holder: Any, step: str | int) -> Any:
    """What stands at the place, None when nothing does: lists grow to hold it. Raises Garbled when the place is none
    of the holder's."""
    if isinstance(holder, dict) and isinstance(step, str):
        return holder.get(step)
    if isinstance(holder, list) and isinstance(step, int) and step <= len(holder) + MAX_GAP:
        holder.extend([None] * (step + 1 - len(holder)))
        return holder[step]
    raise Garbled("a piece of arguments has its place in another value")


def _inner(holder: Any, step: str | int, fresh: Any) -> Any:
    found = _held(holder, step)
    if found is None:
        found = holder[step] = fresh
    return found
