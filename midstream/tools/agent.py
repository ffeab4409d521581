"""Kind "agent": another agent answers, on a thread of its own or on this one, or goes on instead of this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..core.agents import Tool
from ..core.toolbox import RunAgent, ToolAnswer, ToolScope
from ._answers import failed

MAX_DEPTH = 8

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
    """run_agent: given the agent's id or slug (`agt_…`, or `agt_…@ver_…` for a version), the message, the other
    arguments as variables, and the scope that the other agent runs under; a slug of one in its path is its `circle`."""

    def __init__(self, run_agent: RunAgent, max_depth: int = MAX_DEPTH) -> None:
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
        shared = tool.target.get("thread") == "shared"
        below = msgspec.structs.replace(
            scope,
            path=path,
            thread=scope.thread if shared else key,  # by which store.threads knows it for no user's
            sub_thread=scope.sub_thread if shared else "",
            progress=lambda call, text: note(text),
        )
        version = str(tool.target.get("version_id") or "")
        text, rest = _message(arguments)
        answer = await self._run_agent(f"{agent}@{version}" if version else agent, text, rest, below)
        if tool.target.get("transfer") is True and answer.status == "ok":
            return msgspec.structs.replace(answer, transfer=True)
        if answer.media and not answer.text.strip():
            return msgspec.structs.replace(answer, text=_counted(len(answer.media)))
        return answer


def _counted(drawn: int) -> str:
    """What a model is told of an agent that says nothing of what it has drawn."""
    return f"{drawn} picture{'s' * (drawn > 1)}, which the user gets with your answer"


def _message(arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the other agent is told as its user's message, and everything else that was given."""
    for name in _MESSAGES:
        value = arguments.get(name)
        if isinstance(value, str) and value:
            return value, {other: one for other, one in arguments.items() if other != name}
    return msgspec.json.encode(arguments).decode(), arguments
