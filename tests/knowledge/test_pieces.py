from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from midstream.knowledge.pieces import SHARED, SIZE, pieces

WORDS = re.compile(r"\S+")


@given(st.text(max_size=2000), st.integers(10, 200), st.integers(0, 60))
def test_pieces_are_bounded_in_order_and_lose_nothing(text: str, size: int, shared: int):
    made = pieces(text, size, min(shared, size // 4))
    assert all(0 < len(piece) <= size for piece in made)
    at = 0
    covered = [False] * len(text)
    for piece in made:
        found = text.find(piece, max(0, at - size))
        assert found >= 0
        covered[found : found + len(piece)] = [True] * len(piece)
        at = found
    assert all(covered[place] or letter.isspace() for place, letter in enumerate(text)) or _repeats(text)


def _repeats(text: str) -> bool:
    """Where the same words stand twice, the search above may find the other ones."""
    return any(text.count(text[n : n + 10]) > 1 for n in range(max(1, len(text) - 10)))


def test_a_text_is_cut_at_the_end_of_a_paragraph_else_a_sentence_else_a_word():
    text = "\n\n".join("One sentence here. " * 20 for _ in range(6))
    made = pieces(text)
    assert all(piece.endswith("here.") for piece in made)
    assert all(len(WORDS.findall(piece)) > 20 for piece in made)
    for before, after in itertools.pairwise(made):
        assert after[:20] in before + after
    assert len(pieces("x" * (3 * SIZE))) == 3
    assert pieces("short") == ["short"]
    assert pieces(" \n ") == []
    assert SHARED < SIZE // 2


def test_a_piece_begins_with_the_last_words_of_the_one_before():
    words = [f"w{n}" for n in range(600)]
    made = pieces(" ".join(words))
    for before, after in itertools.pairwise(made):
        assert after.split()[0] in before.split()[-60:]
