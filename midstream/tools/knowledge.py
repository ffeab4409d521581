"""Kind "knowledge": search in documents. A tool may be bound to some; a turn may name more for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.agents import Tool
from ..core.errors import StoreDown
from ..core.toolbox import Search, ToolAnswer, ToolScope
from ._answers import failed

#: Pieces for one query, and queries of one call.
MAX_FOUND, MAX_QUERIES = 20, 8

#: Of search_documents, and of stored tools of this kind that have none of their own.
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 2000},
            "minItems": 1,
            "maxItems": MAX_QUERIES,
            "description": "words to look for; several ways to say it find more",
        },
        "similarityTopK": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_FOUND,
            "description": "pieces for each query, 5 by default",
        },
        "document_ids": {"type": "array", "items": {"type": "string", "maxLength": 64}, "maxItems": 100},
    },
    "required": ["queries"],
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
        queries = _queries(arguments)
        if not queries:
            return failed("queries: what shall be looked for?", "invalid_arguments")
        if len(queries) > MAX_QUERIES:
            return failed(f"queries: at most {MAX_QUERIES} at once", "invalid_arguments")
        limit = arguments.get("similarityTopK", arguments.get("top_k"))
        limit = max(1, min(limit, MAX_FOUND)) if type(limit) is int else 5
        among = _among(arguments.get("document_ids"), tool.target.get("document_ids"), scope.document_ids)
        if among is None:
            return failed("none of these documents may be searched here", "no_documents")
        try:
            found = _merged([await self._search(scope.org, query, among, limit) for query in queries])
        except StoreDown as error:
            error.harmless = True
            raise
        if not found:
            return ToolAnswer("ok", "nothing was found", value={"results": []})
        text = "\n\n".join(f"[{one['name']} ({one['document_id']})]\n{one['text']}" for one in found)
        return ToolAnswer("ok", text, value={"results": found})


def _queries(arguments: Mapping[str, Any]) -> list[str]:
    """Each once. The schema of a stored tool may have one `query` instead (and `top_k`)."""
    several = arguments.get("queries")
    given = [*(several if isinstance(several, list) else ()), arguments.get("query")]
    stripped = (one.strip() for one in given if isinstance(one, str))
    return list(dict.fromkeys(one for one in stripped if one))


def _merged(found: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The pieces of all queries, nearest first; one that several have found counts as its best."""
    ranked = sorted((piece for pieces in found for piece in pieces), key=lambda piece: -piece["score"])
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for piece in ranked:
        best.setdefault((piece["document_id"], piece["text"]), piece)
    return list(best.values())


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
