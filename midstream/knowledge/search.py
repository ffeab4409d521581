"""Implements core.toolbox.Search over an org's documents, by the words of the query."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from ..core.errors import BadRequest, TooLarge
from ..store.cjk import in_signs, words_in
from ..store.documents import DocumentRow, Documents
from .pieces import pieces

#: Bytes of a document, words of a query, pieces of an answer.
MAX_TEXT, MAX_WORDS, MAX_FOUND = 8 * 1024 * 1024, 64, 20
#: Words of questions that say nothing of what is looked for: PostgreSQL's rank would count them like any other.
_EMPTY = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "can", "did", "do", "does", "for", "from", "has", "have", "how",
     "i", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our", "that", "the", "their", "there", "this", "to",
     "was", "we", "what", "when", "where", "which", "who", "why", "will", "with", "you", "your"}
)  # fmt: skip

_HIRAGANA = re.compile("[\u3041-\u309f]+")


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
        text = text.replace("\0", " ")
        if not text.strip():
            raise BadRequest("text: it is empty", param="text")
        return await self._documents(org).add(name, pieces(text))

    async def __call__(self, org: str, query: str, document_ids: Sequence[str], limit: int) -> list[dict[str, Any]]:
        words = list(dict.fromkeys(word.lower() for word in words_in(query)))
        words = [word for word in words if word not in _EMPTY] or words
        words = list(dict.fromkeys(part for word in words for part in _parts(word)))[:MAX_WORDS]
        rows = await self._documents(org).search(words, document_ids, max(1, min(limit, MAX_FOUND)))
        return [msgspec.to_builtins(replace(row, text=row.text.strip())) for row in rows]


def _parts(word: str) -> list[str]:
    """Nobody can see where words end that are written in signs: any two side by side may be one. Those of hiragana
    alone are endings of other words."""
    if not in_signs(word):
        return [word]
    pairs = [word[at : at + 2] for at in range(max(1, len(word) - 1))]
    return [pair for pair in pairs if not _HIRAGANA.fullmatch(pair)] or pairs
