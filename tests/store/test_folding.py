from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.store import Store, open_store, opening
from midstream.store.cjk import words_in
from midstream.store.documents import Piece
from midstream.store.folding import MAX_WORD, folded, indexed, words_of
from midstream.store.migrate import migrate, migrations
from midstream.store.searching import snippet

from .test_threads import C, conversation, said, with_store
from .turns import ORG

FOLDED = next(one for one in migrations() if one.name == "folded")
TEXTS = {
    "hindi": "मुझे हिन्दी भाषा",
    "bengali": "আমি বাংলা",
    "tamil": "தமிழ் மொழி",
    "thai": "กินข้าวผัด ที่",
    "hebrew": "שָׁלוֹם",
    "arabic": "مَرْحَبًا",
    "persian": "می‌خواهم",
    "composed": "café au lait",
    "apart": "café noir",
    "upper": "ÉCOLE Straße",
    "russian": "ПРИВЕТ ЁЛКА",
    "greek": "ΑΘΗΝΑΣ",
    "emoji": "✅Done→next ❤️hearts",
    "japanese": "ガラス ガス",
}
FOUND = {
    "हिन्दी": ["hindi"],
    "भाषा": ["hindi"],
    "भिष": [],  # the same letters with another vowel
    "বাংলা": ["bengali"],
    "தமிழ்": ["tamil"],
    "กินข้าว": ["thai"],
    "שלום": ["hebrew"],
    "שָׁלוֹם": ["hebrew"],
    "مرحبا": ["arabic"],
    "مَرْحَبًا": ["arabic"],
    "میخواهم": ["persian"],
    "cafe": ["apart", "composed"],
    "CAFÉ": ["apart", "composed"],
    "café lait": ["composed"],
    "école": ["upper"],
    "STRASSE": ["upper"],
    "привет елка": ["russian"],
    "αθηνας": ["greek"],
    "done hearts": ["emoji"],
    "ガラス": ["japanese"],
}


def test_words_of_every_script_are_found_in_any_spelling_and_on_both_databases_the_same(url: str):
    async def test(store: Store) -> None:
        await store.ledger.commit(conversation())
        for place, (id, text) in enumerate(TEXTS.items()):
            await store.ledger.commit(*said(id, place, None, text))
        threads = store.org(ORG).threads
        found = {query: sorted([one.message_id for one in await threads.search(query)]) for query in FOUND}
        assert found == FOUND
        await threads.delete_message(C, "hindi")
        assert await threads.search("भाषा") == []

    with_store(url, test)


def test_documents_with_words_that_hold_marks_are_found(url: str):
    async def test(store: Store) -> None:
        documents = store.documents(ORG)
        wanted = ("hindi", "bengali", "tamil", "thai", "hebrew", "arabic")
        for id in wanted:
            await documents.add(id, [Piece(TEXTS[id])])
        for id in wanted:
            assert [one.name for one in await documents.search(words_in(TEXTS[id])[-1:], [], 5)] == [id]

    with_store(url, test)


def test_more_words_than_are_looked_for_are_refused_not_passed_over(url: str):
    async def test(store: Store) -> None:
        await store.ledger.commit(conversation(), *said("m", 0, None, " ".join(f"w{n}" for n in range(16))))
        threads = store.org(ORG).threads
        assert len(await threads.search(" ".join(f"w{n}" for n in range(16)) + " W1 w2")) == 1
        with pytest.raises(BadRequest) as refused:
            await threads.search(" ".join(f"w{n}" for n in range(17)))
        assert refused.value.code == "too_many_words"

    with_store(url, test)


def test_what_was_stored_before_is_found_in_any_spelling_too(url: str):
    async def run() -> None:
        db = await opening._database(url)
        try:
            await migrate(db, [one for one in migrations() if one.number < FOLDED.number])
            word = "INSERT INTO message_texts (message_id, org_id, conversation_id, text) VALUES ($1, $2, $3, $4)"
            await db.write([(word, (id, ORG, C, text)) for id, text in TEXTS.items()])
            await db.write([(word, (f"m{n}", ORG, C, f"many{n}")) for n in range(250)])
            gone = "DELETE FROM message_texts WHERE message_id = $1"
            await migrate(db)
            await db.write([(gone, ("m7",))])  # nobody has folded it yet
        finally:
            await db.close()
        for _ in range(2):
            store = await open_store(url, worker="test")
            try:
                await store.ledger.commit(conversation(), *(said(id, 0, None)[0] for id in [*TEXTS, "m7", "m249"]))
                threads = store.org(ORG).threads
                found = {query: sorted([one.message_id for one in await threads.search(query)]) for query in FOUND}
                assert found == FOUND
                assert [one.message_id for one in await threads.search("MANY249")] == ["m249"]
                assert await threads.search("many7") == []
            finally:
                await store.close()

    asyncio.run(run())


ALPHABET = "aÉéßЕёाष्้שָ‌\u200b️ガ _'1²😀"


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(ALPHABET, min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=8),
    queries=st.lists(st.text(ALPHABET, min_size=1, max_size=5).filter(words_of), min_size=1, max_size=8),
)
def test_both_databases_find_what_has_words_that_begin_so(server: object, texts: list[str], queries: list[str]):
    found: list[list[list[str]]] = []

    async def test(store: Store) -> None:
        await store.ledger.commit(conversation())
        for place, text in enumerate(texts):
            await store.ledger.commit(*said(f"m{place}", place, None, text))
        threads = store.org(ORG).threads
        found.append([sorted([one.message_id for one in await threads.search(query)]) for query in queries])

    with_store("sqlite://:memory:", test)
    with server.database() as url:  # type: ignore[attr-defined]
        with_store(url, test)
    assert found[0] == found[1]
    for query, ids in zip(queries, found[0], strict=True):
        if not any("カ" in one for one in (query, *texts)):
            wanted = {
                f"m{place}"
                for place, text in enumerate(texts)
                if all(any(one.startswith(word) for one in words_of(text)) for word in words_of(query))
            }
            assert set(ids) == wanted


@given(st.text())
def test_folding_again_changes_nothing_and_what_is_indexed_can_be_asked_for(text: str):
    assert folded(folded(text)) == folded(text)
    assert set(words_of(text)) <= set(words_of(folded(text)))
    assert all(0 < len(word) <= MAX_WORD for word in indexed(text).split())


def test_a_snippet_stands_around_what_is_written_another_way():
    text = "x " * 200 + "the Café is open"
    assert "Café is open" in snippet(text, ["cafe"])
    assert snippet("abc", ["zz"]) == "abc"
