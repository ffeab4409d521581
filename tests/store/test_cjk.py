from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.store import Store, open_store, opening
from midstream.store.cjk import SIGNS, apart, words_in
from midstream.store.migrate import migrate, migrations
from midstream.store.threads import ThreadStore

from .test_threads import C, conversation, said, with_store
from .turns import NOW, ORG

SIGNED = next(one for one in migrations() if one.name == "signs")
TEXTS = {
    "tokyo": "昨日、東京タワーに登りました。",
    "kyoto": "京都と東の海",  # both signs of 東京, not side by side
    "mixed": "東京towerとKubernetesの設定",
    "chinese": "我喜欢北京大学的图书馆。",
    "half": "ﾀﾜｰは333ﾒｰﾄﾙ",
    "spaced": "東 京",
    "rare": "𠮷野家",
}
FOUND = {
    "東京": ["mixed", "tokyo"],
    "京": ["chinese", "kyoto", "mixed", "spaced", "tokyo"],
    "タワー": ["tokyo"],
    "東京タワー": ["tokyo"],
    "登りました": ["tokyo"],
    "登りました 昨日": ["tokyo"],
    "東京 kuber": ["mixed"],
    "TOWER": ["mixed"],
    "東京tower": ["mixed"],
    "大学": ["chinese"],
    "学大": [],
    "図書館": [],
    "図書館 tower": [],
    "ﾒｰﾄﾙ": ["half"],
    "𠮷": ["rare"],
    "「東京」、": ["mixed", "tokyo"],
}


async def filled(store: Store) -> ThreadStore:
    await store.ledger.commit(conversation(), conversation("conv_b", "org_b"))
    for place, (id, text) in enumerate(TEXTS.items()):
        await store.ledger.commit(*said(id, place, None, text))
    await store.ledger.commit(*said("foreign", 0, None, TEXTS["tokyo"], org="org_b", conversation="conv_b"))
    return store.org(ORG).threads


def test_signs_are_found_wherever_they_stand_side_by_side_in_their_own_org(url: str):
    async def test(store: Store) -> None:
        threads = await filled(store)
        found = {query: sorted([one.message_id for one in await threads.search(query)]) for query in FOUND}
        assert found == FOUND
        [hit] = await threads.search("タワー")
        assert "東京タワー" in hit.text
        assert [one.message_id for one in await store.org("org_b").threads.search("東京")] == ["foreign"]
        with pytest.raises(BadRequest):
            await threads.search("、。「」・")

    with_store(url, test)


def test_what_is_deleted_is_found_no_more(url: str):
    async def test(store: Store) -> None:
        threads = await filled(store)
        await threads.delete(C)
        assert await threads.search("東京") == []
        await store.db.write([("DELETE FROM message_texts WHERE org_id = $1", (ORG,))])
        assert [one.message_id for one in await store.org("org_b").threads.search("東京")] == ["foreign"]

    with_store(url, test)


def test_what_was_stored_before_is_found_too(url: str):
    async def run() -> None:
        db = await opening._database(url)
        try:
            await migrate(db, [one for one in migrations() if one.number < SIGNED.number])
            word = "INSERT INTO message_texts (message_id, org_id, conversation_id, text) VALUES ($1, $2, $3, $4)"
            document = "INSERT INTO documents (id, org_id, name, body, created_at) VALUES ('doc_1', $1, 'd', $2, $3)"
            piece = "INSERT INTO pieces (id, org_id, document_id, place, text) VALUES ('doc_1:0', $1, 'doc_1', 0, $2)"
            await db.write([(word, (id, ORG, C, text)) for id, text in TEXTS.items()])
            await db.write([(document, (ORG, b"{}", NOW)), (piece, (ORG, TEXTS["tokyo"]))])
        finally:
            await db.close()
        store = await open_store(url, worker="test")
        try:
            await store.ledger.commit(conversation(), *(said(id, 0, None)[0] for id in TEXTS))
            found = await store.org(ORG).threads.search("東京")
            assert sorted(one.message_id for one in found) == ["mixed", "tokyo"]
            assert [one.document_id for one in await store.documents(ORG).search(["東京"], [], 5)] == ["doc_1"]
        finally:
            await store.close()

    asyncio.run(run())


ALPHABET = "東京都のター・。「“—￥ aB1"


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.text(ALPHABET, min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=8),
    queries=st.lists(st.text(ALPHABET, min_size=1, max_size=6), min_size=1, max_size=8),
)
def test_both_databases_find_what_holds_every_word(server: object, texts: list[str], queries: list[str]):
    def holds(text: str, query: str) -> bool:
        words = [word.lower() for word in words_in(text)]
        return all(
            any(word in one if apart(word) != word else one.startswith(word) for one in words)
            for word in map(str.lower, words_in(query))
        )

    async def test(store: Store) -> None:
        await store.ledger.commit(conversation())
        for place, text in enumerate(texts):
            await store.ledger.commit(*said(f"m{place}", place, None, text))
        for query in filter(words_in, queries):
            found = {one.message_id for one in await store.org(ORG).threads.search(query)}
            assert found == {f"m{place}" for place, text in enumerate(texts) if holds(text, query)}, query

    with_store("sqlite://:memory:", test)
    with server.database() as url:  # type: ignore[attr-defined]
        with_store(url, test)


def test_postgresql_is_told_of_the_same_signs():
    assert SIGNED.text.count(f"'([{SIGNS}])'") == 2
