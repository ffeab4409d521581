from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from midstream.core.errors import BadRequest, NotFound, StoreDown, TooLarge
from midstream.knowledge import Knowledge
from midstream.knowledge.pieces import whole
from midstream.store import Store
from midstream.store.database import Statement
from midstream.store.documents import AT_ONCE, Piece
from tests.store.turns import ORG, with_store

BRIDGES = "The longest bridge of Norway is Hardanger. " * 40 + "\n\nIts towers are 200 metres high."


def test_a_document_is_found_by_its_words_in_its_own_org_only(any_url: str):
    async def work(store: Store) -> None:
        knowledge = Knowledge(store.documents)
        bridges = await knowledge.add(ORG, "bridges", BRIDGES)
        cats = await knowledge.add(ORG, "cats", "Cats sleep. A cat named Hardanger likes fish. Æøå ÆØÅ.")
        other = await knowledge.add("org_2", "secret", "towers of another org: Hardanger")
        found = await knowledge(ORG, "How high are the towers?", [], 3)
        assert found[0]["document_id"] == bridges.id
        assert found[0]["name"] == "bridges"
        assert "200 metres" in found[0]["text"]
        assert {one["document_id"] for one in await knowledge(ORG, "HARDANGER", [], 20)} == {bridges.id, cats.id}
        assert [one["document_id"] for one in await knowledge(ORG, "hardanger", [cats.id], 20)] == [cats.id]
        assert await knowledge(ORG, "hardanger", [other.id], 20) == []
        assert [one["name"] for one in await knowledge("org_2", "hardanger", [], 20)] == ["secret"]
        assert [one["name"] for one in await knowledge(ORG, "æøå", [], 20)] == ["cats"]
        assert len(await knowledge(ORG, "hardanger", [], 1)) == 1
        scores = [one["score"] for one in await knowledge(ORG, "hardanger bridge", [], 20)]
        assert scores == sorted(scores, reverse=True)

    with_store(any_url, work)


def test_what_is_written_without_spaces_is_found_by_what_stands_side_by_side(any_url: str):
    async def work(store: Store) -> None:
        knowledge = Knowledge(store.documents)
        await knowledge.add(ORG, "tower", "東京タワーの高さは333メートルです。")
        await knowledge.add(ORG, "bridge", "明石海峡大橋は、神戸と淡路島を結ぶ橋です。")
        await knowledge.add(ORG, "glued", "設定はKubernetesにあります。")
        await knowledge.add("org_2", "secret", "東京タワー")

        async def names(query: str) -> list[str]:
            return [one["name"] for one in await knowledge(ORG, query, [], 5)]

        assert await names("東京") == ["tower"]
        assert await names("東京タワーはどのくらい高いですか") == ["tower"]
        assert await names("橋") == ["bridge"]
        assert (await names("神戸の橋はどこですか"))[0] == "bridge"
        assert await names("kubernetes") == ["glued"]
        assert await names("京東") == []

    with_store(any_url, work)


@pytest.mark.parametrize(
    "query",
    ["", "!!!", '"', "'", "a AND", "NOT", "NEAR(", "text:a", "a*", "-a", "a & | !", "\\", "x' OR '1'='1", ":*", "\0",
     "😀", "a" * 5000, "\ud800", "(", "col : a", "{", "; DROP TABLE documents"],
)  # fmt: skip
def test_a_query_is_words_and_never_an_expression(any_url: str, query: str):
    async def work(store: Store) -> None:
        knowledge = Knowledge(store.documents)
        await knowledge.add(ORG, "one", "a plain text AND more, NEAR the sea; x OR y")
        assert isinstance(await knowledge(ORG, query, [], 5), list)
        assert await knowledge(ORG, "plain", [query], 5) == []

    with_store(any_url, work)


def test_documents_are_listed_shown_and_deleted_and_a_foreign_one_does_not_exist(any_url: str):
    async def work(store: Store) -> None:
        knowledge, documents = Knowledge(store.documents), store.documents(ORG)
        rows = [await knowledge.add(ORG, f"d{n}", f"word{n} shared") for n in range(4)]
        foreign = await knowledge.add("org_2", "f", "shared")
        listed = await documents.page()
        assert {row.id for row in listed} == {row.id for row in rows}
        assert [row.id for row in await documents.page(after=listed[0].id, limit=2)] == [r.id for r in listed[1:3]]
        assert (await documents.one(rows[0].id)).bytes == len("word0 shared")
        assert await documents.pieces(rows[0].id) == [Piece("word0 shared")]
        for id in (foreign.id, "doc_none"):
            for ask in (documents.one, documents.delete, documents.pieces):
                with pytest.raises(NotFound):
                    await ask(id)
            with pytest.raises(NotFound):
                await documents.page(after=id)
        await documents.delete(rows[0].id)
        with pytest.raises(NotFound):
            await documents.one(rows[0].id)
        assert len(await knowledge(ORG, "shared", [], 20)) == 3
        assert await knowledge(ORG, "word0", [], 20) == []

    with_store(any_url, work)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"invoice {n:04d}; customer {n % 37}; 10 EUR" for n in range(300)),
        "。".join(f"第{n}条规定甲方应当支付" for n in range(400)),
        "\r\n\r\n\t  " + "First.  Second.\t\n\n\n\u3000Third. " * 300 + " \n\n",
        " " * 5000 + "x" * 5000 + "\n" * 5000,
    ],
)
def test_a_document_is_kept_to_the_last_character(any_url: str, text: str):
    async def work(store: Store) -> None:
        row = await Knowledge(store.documents).add(ORG, "d", text)
        assert whole(await store.documents(ORG).pieces(row.id)) == text
        assert row.bytes == len(text.encode())

    with_store(any_url, work)


def test_a_document_that_was_stored_without_the_ends_of_its_pieces_is_read_whole(any_url: str):
    text = "\n".join(f"invoice {n:04d}; customer {n % 37}; 10 EUR" for n in range(300))

    async def work(store: Store) -> None:
        row = await Knowledge(store.documents).add(ORG, "d", text)
        kept = await store.documents(ORG).pieces(row.id)
        write = "UPDATE pieces SET text = $1, shared = NULL WHERE id = $2"
        await store.db.write([(write, (one.text.strip(), f"{row.id}:{n}")) for n, one in enumerate(kept)])
        assert whole(await store.documents(ORG).pieces(row.id)) == text

    with_store(any_url, work)


def test_what_is_found_has_no_white_space_around_it():
    async def work(store: Store) -> None:
        knowledge = Knowledge(store.documents)
        await knowledge.add(ORG, "d", "\n\n " + "One sentence here. " * 200 + "\n")
        found = await knowledge(ORG, "sentence", [], 20)
        assert len(found) == 4
        assert all(one["text"] == one["text"].strip() for one in found)

    with_store("sqlite://:memory:", work)


def test_a_document_of_8_mib_is_kept_and_found(any_url: str):
    async def work(store: Store) -> None:
        text = "".join(f"line {n} of many words in a large document\n" for n in range(180_000))[: 8 * 1024 * 1024]
        row = await Knowledge(store.documents).add(ORG, "large", text)
        [found] = await Knowledge(store.documents)(ORG, "154321", [row.id], 1)
        assert "line 154321 of" in found["text"]

    with_store(any_url, work)


def test_nothing_is_found_of_a_document_whose_writing_broke_off(any_url: str, monkeypatch: pytest.MonkeyPatch):
    async def work(store: Store) -> None:
        documents, write, writes = store.documents(ORG), store.db.write, 0

        async def twice(statements: Sequence[Statement]) -> None:
            nonlocal writes
            writes += 1
            if writes > 2:
                raise StoreDown
            await write(statements)

        with monkeypatch.context() as patch:
            patch.setattr(store.db, "write", twice)
            with pytest.raises(StoreDown):
                await documents.add("large", [Piece(f"word {n}") for n in range(AT_ONCE * 2)])
        assert await documents.page() == []
        assert await documents.search(["word"], [], 9) == []

    with_store(any_url, work)


@pytest.mark.parametrize(
    "text, error", [("", BadRequest), (" \n\0", BadRequest), ("\ud800", BadRequest), ("x" * 8_388_609, TooLarge)]
)
def test_a_document_that_cannot_be_kept_is_refused_by_name(text: str, error: Any):
    async def work(store: Store) -> None:
        with pytest.raises(error) as caught:
            await Knowledge(store.documents).add(ORG, "n", text)
        assert caught.value.param == "text"

    with_store("sqlite://:memory:", work)
