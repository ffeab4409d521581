"""Kind "agent": another agent answers, on a thread of its own or on this one, or goes on instead of this one."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import msgspec

from ..core.agents import Tool
from ..core.toolbox import RunAgent, ToolAnswer, ToolScope
from ._answers import failed

#: What a tool of this kind that says no schema of its own asks for.
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "what the agent is asked, in full"}},
    "required": ["message"],
}
#: Arguments that may hold the message, best first.
_MESSAGES = ("message", "query", "text", "input", "question", "user", "prompt")


def circle(path: Sequence[str], agent: str) -> ToolAnswer:
    """To one who asks an agent that has come to ask him. path: of ids, from the first that was asked."""
    ring = " -> ".join([*path, agent])
    return failed(f"this agent is waiting for the answer already ({ring}): answer without it", "agent_cycle")


class AgentTool:
    """run_agent: given the agent's id or slug (`agt_…`, or `agt_…@ver_…` for a version), the message, and the scope
    that the other agent runs under, with the other arguments in it; a slug of one in its path is its `circle`."""

    def __init__(self, run_agent: RunAgent, max_depth: int) -> None:
        self._run_agent = run_agent
        self._max_depth = max_depth

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        agent = str(tool.target.get("agent_id") or tool.target.get("bridge_id") or "")
        if not agent:
            return failed("the tool names no agent", "tool_broken")
        path = (*scope.path, scope.agent) if scope.agent and scope.agent not in scope.path else scope.path
        if agent in path:
            return circle(path, agent)
        if len(path) >= self._max_depth:
            return failed(f"agents call each other {self._max_depth} deep at the most: answer without it", "too_deep")
        text, rest = _message(arguments, tool.mapped)
        fixed = {name: one for name, one in rest.items() if scope.written or name in tool.mapped}
        rest = {name: one for name, one in rest.items() if name not in fixed}
        if strange := rest.keys() - _named(tool.parameters):
            return failed(f"the agent takes no argument {', '.join(sorted(strange))}", "invalid_arguments")
        shared = tool.target.get("thread") == "shared"
        below = msgspec.structs.replace(
            scope,
            path=path,
            variables={**scope.variables, **fixed},
            arguments={name: one for name, one in {**scope.arguments, **rest}.items() if name not in fixed},
            thread=scope.thread if shared else key,  # by which store.threads knows it for no user's
            sub_thread=scope.sub_thread if shared else "",
            progress=lambda call, text: note(text),
        )
        version = str(tool.target.get("version_id") or "")
        answer = await self._run_agent(f"{agent}@{version}" if version else agent, text, below)
        if tool.target.get("transfer") is True and answer.status == "ok":
            return msgspec.structs.replace(answer, transfer=True)
        if answer.media and not answer.text.strip():
            return msgspec.structs.replace(answer, text=_counted(len(answer.media)))
        return answer


def _counted(drawn: int) -> str:
    """What a model is told of an agent that says nothing of what it has drawn."""
    return f"{drawn} picture{'s' * (drawn > 1)}, which the user gets with your answer"


def _message(arguments: dict[str, Any], hidden: Container[str]) -> tuple[str, dict[str, Any]]:
    """What the other agent is told as its user's message, and everything else that was given. hidden: arguments that no
    model is shown."""
    for name in _MESSAGES:
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return value, {other: one for other, one in arguments.items() if other != name}
    shown = {name: one for name, one in arguments.items() if name not in hidden}
    return msgspec.json.encode(shown).decode(), arguments


def _named(schema: Any) -> set[str]:
    """The arguments that a schema names, wherever it does. Others are nobody's to give: the agent's tools may take from
    a variable of any name what no model is to choose."""
    if not isinstance(schema, dict):
        return set()
    known = schema.get("properties")
    found = set(known) if isinstance(known, dict) else set()
    for word in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(word)
        found.update(*map(_named, branches if isinstance(branches, list) else ()))
    return found
