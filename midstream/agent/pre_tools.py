"""Tools that run before the first model call: what the turn is before they do, and what they may be called with. Pure,
as `prepare` is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from msgspec.structs import replace

from ..core.agents import AgentAsk, Loaded, PreTool, Tool
from .offered import mapped
from .prepare import Given, Prepared, prepare
from .template import current_time, zone_of
from .variables import belongs, filled, optional_of, own_variables


def before_them(loaded: Loaded, ask: AgentAsk, given: Given) -> Prepared:
    """What a turn is refused or blocked by before its pre-tools have run; without any, all of it. What they have yet to
    give is not missing, and how long the prompt will be is not known. Raises as `prepare` does."""
    if not loaded.pre_tools:
        return prepare(loaded, ask, given)
    prepared = prepare(loaded, ask, replace(given, model=replace(given.model, context=None)))
    awaited = [pre.into or tool.name for pre, tool in loaded.pre_tools]
    return replace(prepared, missing=tuple(name for name in prepared.missing if not belongs(name, awaited)))


def early_variables(loaded: Loaded, ask: AgentAsk, found: Mapping[str, Any], began: float) -> dict[str, Any]:
    """The turn's own while its pre-tools run. found: results of those that have run. began: unix seconds of the turn's
    beginning. A turn that was cut says the same again, so that its journal knows its calls."""
    own = own_variables(loaded, ask, found)
    zone = zone_of(str(own.get("timezone") or loaded.timezone))
    return {"current_time": current_time(began, zone or UTC), **own}


def pre_call(
    loaded: Loaded, ask: AgentAsk, pre: PreTool, tool: Tool, variables: Mapping[str, Any]
) -> tuple[Tool, dict[str, Any]]:
    """How one of loaded.pre_tools is called. variables: what it may be called with."""
    return mapped(tool, loaded, ask), filled(pre.args, variables, optional_of(loaded, variables))
