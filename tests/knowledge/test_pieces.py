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
    at, end = -1, 0
    for piece in made:  # each begins after the last one did, and no later than where that one ended
        latest = end + len(text[end:]) - len(text[end:].lstrip())
        at = text.rfind(piece, at + 1, latest + len(piece))
        assert at >= 0
        end = at + len(piece)
    assert not text[end:].strip()


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
