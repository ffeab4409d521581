"""Implements core.toolbox.Search over an org's documents, by the words of the query."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..core.errors import BadRequest, TooLarge
from ..store.documents import DocumentRow, Documents
from .pieces import pieces

#: Bytes of a document, words of a query, pieces of an answer.
MAX_TEXT, MAX_WORDS, MAX_FOUND = 8 * 1024 * 1024, 64, 20
_WORD = re.compile(r"[^\W_]+")
#: Words of questions that say nothing of what is looked for: PostgreSQL's rank would count them like any other.
_EMPTY = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "can", "did", "do", "does", "for", "from", "has", "have", "how",
     "i", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our", "that", "the", "their", "there", "this", "to",
     "was", "we", "what", "when", "where", "which", "who", "why", "will", "with", "you", "your"}
)  # fmt: skip


class Knowledge:
    """documents: of an org."""

    def __init__(self, documents: Callable[[str], Documents]) -> None:
        self._documents = documents

    async def add(self, org: str, name: str, text: str) -> DocumentRow:
        """Raises BadRequest, TooLarge."""
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise BadRequest("text: it holds half of a character", param="text") from None
        if size > MAX_TEXT:
            raise TooLarge(f"text: a document is at most {MAX_TEXT} bytes", param="text")
        found = pieces(text.replace("\0", " "))
        if not found:
            raise BadRequest("text: it is empty", param="text")
        return await self._documents(org).add(name, found)

    async def __call__(self, org: str, query: str, document_ids: Sequence[str], limit: int) -> list[dict[str, Any]]:
        words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))[:MAX_WORDS]
        words = [word for word in words if word not in _EMPTY] or words
        rows = await self._documents(org).search(words, document_ids, max(1, min(limit, MAX_FOUND)))
        return [msgspec.to_builtins(row) for row in rows]
