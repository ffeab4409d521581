from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midstream.knowledge.pieces import SHARED, SIZE, pieces, whole
from midstream.store.documents import Piece

WORDS = re.compile(r"\S+")


@given(st.text(max_size=2000), st.integers(10, 200), st.integers(0, 60))
@example("", 10, 0)
@example(" \n ", 10, 0)
@example("\u3000第一章\r\n\r\n\t甲方。" * 90, 40, 10)
def test_pieces_are_bounded_and_together_the_text_to_the_last_character(text: str, size: int, shared: int):
    made = pieces(text, size, min(shared, size // 4))
    assert all(0 < len(piece.text) <= size for piece in made)
    assert whole(made) == text
    for before, after in itertools.pairwise(made):
        assert after.shared is not None
        assert 0 <= after.shared < len(after.text)
        assert before.text.endswith(after.text[: after.shared])


def test_a_text_is_cut_at_the_end_of_a_paragraph_else_a_sentence_else_a_word():
    text = "\n\n".join("One sentence here. " * 20 for _ in range(6))
    made = [piece.text.strip() for piece in pieces(text)]
    assert all(piece.endswith("here.") for piece in made)
    assert all(len(WORDS.findall(piece)) > 20 for piece in made)
    for before, after in itertools.pairwise(made):
        assert after[:20] in before + after
    assert len(pieces("x" * (3 * SIZE))) == 3
    assert [piece.text for piece in pieces("short")] == ["short"]
    assert pieces("") == []
    assert SHARED < SIZE // 2


def test_a_piece_begins_with_the_last_words_of_the_one_before():
    words = [f"w{n}" for n in range(600)]
    made = pieces(" ".join(words))
    for before, after in itertools.pairwise(made):
        assert after.shared
        assert after.text.split()[0] in before.text.split()[-60:]


# pieces of which only the text was kept, without the white space at its ends


def before(text: str) -> list[Piece]:
    made = (piece.text.strip() for piece in pieces(text))
    return [Piece(one, None) for one in made if one]


LINES = "\n".join(f"invoice {n:04d}; customer {n % 37}; 10 EUR" for n in range(300))
SPACED = "".join(
    f"w{n}" + ("\n\n" if n % 97 == 0 else "\n" if n % 31 == 0 else "  " if n % 13 == 0 else " ") for n in range(3000)
)
SIGNS = "。".join(f"第{n}条规定甲方应当支付" for n in range(400))
CODE = "\n".join(f"    if x{n}:\n        return {n}" for n in range(200))


@pytest.mark.parametrize("text", [LINES, SPACED, SIGNS, CODE, "10 EUR\n" * 900, "x" * 5000, "one\n\ntwo"])
def test_of_pieces_that_were_kept_without_their_ends_the_text_is_known_too(text: str):
    assert whole(before(text)) == text.strip()


WORDS_HERE = st.sampled_from(["a", "bb", "ab", "10 EUR", "wort", "x" * 20])
MARKS = st.sampled_from([" ", " ", " ", "\n", "\n\n", ". ", "  ", "\n  "])


@given(st.lists(st.tuples(WORDS_HERE, MARKS), max_size=900))
def test_no_word_of_such_pieces_is_torn_repeated_or_lost(words: list[tuple[str, str]]):
    text = "".join(itertools.chain.from_iterable(words))
    assert whole(before(text)).split() == text.split()
