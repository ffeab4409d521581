from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from midstream.core.toolbox import ToolAnswer
from midstream.tools.knowledge import TOOL, KnowledgeTool

from .scripted import ORG, scope


class Shelf:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str], int]] = []

    async def __call__(self, org: str, query: str, document_ids: Sequence[str], limit: int) -> list[dict[str, Any]]:
        self.asked.append((org, query, list(document_ids), limit))
        return [] if query == "nothing" else [{"document_id": "doc_1", "name": "bridges", "text": "high", "score": 1.0}]


def search(arguments: dict[str, Any], bound: Any = None, turn: tuple[str, ...] = ()) -> tuple[ToolAnswer, Shelf]:
    shelf = Shelf()
    tool = msgspec.structs.replace(TOOL, target={"document_ids": bound})
    answer = asyncio.run(KnowledgeTool(shelf).run(tool, arguments, scope(document_ids=turn), "k", lambda text: None))
    return answer, shelf


def test_pieces_are_told_with_their_documents():
    answer, shelf = search({"query": " towers "})
    assert (answer.status, answer.text) == ("ok", "[bridges (doc_1)]\nhigh")
    assert shelf.asked == [(ORG, "towers", [], 5)]
    assert search({"query": "nothing"})[0].text == "nothing was found"
    assert search({"query": "x", "top_k": 99})[1].asked[0][3] == 20
    assert search({"query": "x", "top_k": True})[1].asked[0][3] == 5
    assert search({})[0].status == "failed"


@pytest.mark.parametrize(
    "asked, bound, turn, among",
    [
        (None, None, (), []),
        (["a"], None, (), ["a"]),
        (None, ["a"], ("b",), ["a", "b"]),
        (["b", "c"], ["a"], ("b",), ["b"]),
        (["c"], ["a"], (), None),
        (["c"], None, ("a",), None),
    ],
)
def test_a_model_searches_no_more_than_the_tool_and_the_turn_are_bound_to(
    asked: Any, bound: Any, turn: tuple[str, ...], among: list[str] | None
):
    answer, shelf = search({"query": "x", "document_ids": asked}, bound, turn)
    if among is None:
        assert (answer.status, answer.error, shelf.asked) == ("failed", "no_documents", [])
    else:
        assert shelf.asked[0][2] == among
