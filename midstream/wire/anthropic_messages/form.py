"""An answer by a JSON schema from models that take none: a tool whose input is the answer, which the model must call.
Who reads the answer turns the call back into text (core.turn.Asked.form_tool)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from typing import Any

from ...core.turn import Format, ToolChoice

_WORDS = "The answer to the user. Call this once, with the whole answer, when nothing else is left to be done."
_INVALID = re.compile(r"[^a-zA-Z0-9_-]")
MAX_NAME = 64


def form_tool(form: Format, taken: Iterable[str]) -> dict[str, Any] | None:
    """The tool that stands for the answer; None for a schema that is no object, which no tool's input can be.
    taken: names of the caller's own tools."""
    schema = form.schema or {}
    if schema.get("type", "object") != "object" or not schema:
        return None
    given = _INVALID.sub("_", form.name or "answer")[: MAX_NAME - 4]
    names = set(taken)
    name = next(name for number in count(1) if (name := given if number == 1 else f"{given}_{number}") not in names)
    words = f"{form.description}\n\n{_WORDS}" if form.description else _WORDS
    return {"name": name, "description": words, "input_schema": {"type": "object"} | schema}


def form_choice(choice: ToolChoice | None, tools: bool, parallel: bool | None, name: str) -> dict[str, Any]:
    """tool_choice when `name` is the answer: any of the tools where the caller's own may be called before it."""
    if tools and (choice is None or choice.mode == "auto"):
        return {"type": "any"} | ({} if parallel is None else {"disable_parallel_tool_use": not parallel})
    return {"type": "tool", "name": name, "disable_parallel_tool_use": True}
