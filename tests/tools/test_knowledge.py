from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from midstream.core.errors import StoreDown
from midstream.core.json_schema import misfit
from midstream.core.toolbox import ToolAnswer
from midstream.tools.knowledge import TOOL, KnowledgeTool

from .scripted import ORG, scope


class Shelf:
    """holds: (text, score) of what is found, by query."""

    def __init__(self, holds: Mapping[str, list[tuple[str, float]]]) -> None:
        self.holds = holds
        self.asked: list[tuple[str, str, list[str], int]] = []

    async def __call__(self, org: str, query: str, document_ids: Sequence[str], limit: int) -> list[dict[str, Any]]:
        self.asked.append((org, query, list(document_ids), limit))
        if query in self.holds:
            pieces = self.holds[query]
            return [{"document_id": "doc_1", "name": "bridges", "text": text, "score": score} for text, score in pieces]
        return [] if query == "nothing" else [{"document_id": "doc_1", "name": "bridges", "text": "high", "score": 1.0}]


def search(
    arguments: dict[str, Any], bound: Any = None, turn: tuple[str, ...] = (), **holds: list[tuple[str, float]]
) -> tuple[ToolAnswer, Shelf]:
    shelf = Shelf(holds)
    tool = msgspec.structs.replace(TOOL, target={"document_ids": bound})
    answer = asyncio.run(KnowledgeTool(shelf).run(tool, arguments, scope(document_ids=turn), "k", lambda text: None))
    return answer, shelf


def test_what_several_queries_find_is_told_once_and_nearest_first():
    answer, shelf = search(
        {"queries": ["towers", " arches ", "towers"], "similarityTopK": 2},
        towers=[("high", 3.0), ("old", 1.0)],
        arches=[("wide", 2.0), ("high", 0.5)],
    )
    assert answer.text == "[bridges (doc_1)]\nhigh\n\n[bridges (doc_1)]\nwide\n\n[bridges (doc_1)]\nold"
    assert [one["score"] for one in answer.value["results"]] == [3.0, 2.0, 1.0]
    assert shelf.asked == [(ORG, "towers", [], 2), (ORG, "arches", [], 2)]


def test_models_are_asked_for_queries_and_how_many_pieces_of_each():
    fits = {"queries": ["a", "b"], "similarityTopK": 20, "document_ids": ["doc_1"]}
    assert misfit(TOOL.parameters, fits) is None
    assert misfit(TOOL.parameters, {"queries": ["a"]}) is None
    for wrong in ({}, {"queries": []}, {"queries": ["a"] * 9}, {"queries": ["a"], "similarityTopK": 0}, {"query": "a"}):
        assert misfit(TOOL.parameters, wrong)
    answer, shelf = search({"queries": [f"{number}" for number in range(9)]})
    assert (answer.status, answer.error, shelf.asked) == ("failed", "invalid_arguments", [])
    assert search({"queries": [" ", 7]})[0].text == "queries: what shall be looked for?"


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


def test_a_search_that_finds_the_store_away_has_found_nothing_out_and_may_be_made_again():
    async def away(*asked: Any) -> list[dict[str, Any]]:
        raise StoreDown

    with pytest.raises(StoreDown) as raised:
        asyncio.run(KnowledgeTool(away).run(TOOL, {"queries": ["towers"]}, scope(), "k", lambda text: None))
    assert raised.value.harmless
