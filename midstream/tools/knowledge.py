"""Kind "knowledge": search in documents. A tool may be bound to some; a turn may name more for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.agents import Tool
from ..core.toolbox import Search, ToolAnswer, ToolScope
from ._answers import failed

MAX_FOUND = 20

#: What a tool of this kind that says no schema of its own asks for.
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "words to look for"},
        "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_FOUND, "description": "pieces, 5 by default"},
        "document_ids": {"type": "array", "items": {"type": "string", "maxLength": 64}, "maxItems": 100},
    },
    "required": ["query"],
    "additionalProperties": False,
}
TOOL = Tool(
    id="builtin_search_documents",
    name="search_documents",
    description="Finds pieces of the documents that have been given, nearest first, with the documents' names.",
    kind="builtin",
    parameters=PARAMETERS,
    target={"name": "search_documents"},
    effect="pure",
)


def searches(tool: Tool) -> bool:
    """Does it search documents?"""
    return tool.kind == "knowledge" or tool.id == TOOL.id


class KnowledgeTool:
    def __init__(self, search: Search) -> None:
        self._search = search

    async def run(
        self, tool: Tool, arguments: dict[str, Any], scope: ToolScope, key: str, note: Callable[[str], None]
    ) -> ToolAnswer:
        query = str(arguments.get("query", "")).strip()
        if not query:
            return failed("query: what shall be looked for?", "invalid_arguments")
        limit = arguments.get("top_k", 5)
        limit = limit if type(limit) is int else 5
        among = _among(arguments.get("document_ids"), tool.target.get("document_ids"), scope.document_ids)
        if among is None:
            return failed("none of these documents may be searched here", "no_documents")
        found = await self._search(scope.org, query, among, max(1, min(limit, MAX_FOUND)))
        if not found:
            return ToolAnswer("ok", "nothing was found", value={"results": []})
        text = "\n\n".join(f"[{one['name']} ({one['document_id']})]\n{one['text']}" for one in found)
        return ToolAnswer("ok", text, value={"results": found})


def _among(asked: Any, bound: Any, turn: tuple[str, ...]) -> list[str] | None:
    """[] = all of the org's. What the tool and the turn are bound to is the most that a model can ask for; None when
    it asks for others only."""
    most = [str(one) for one in bound] if isinstance(bound, list) else []
    most = list(dict.fromkeys([*most, *turn]))
    wanted = [str(one) for one in asked] if isinstance(asked, list) else []
    if not most or not wanted:
        return most or wanted
    both = [one for one in wanted if one in most]
    return both or None
