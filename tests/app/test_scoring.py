from __future__ import annotations

import pytest

from midstream.app.scoring import cosine, is_json, matches
from midstream.core.errors import Garbled


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ((1.0, 0.0), (5.0, 0.0), 1.0), ((1.0, 0.0), (0.0, 1.0), 0.0), ((1.0, 0.0), (-1.0, 0.0), 0.0),
        ((1.0, 0.0), (1.0, 1.0), 0.707107), ((0.0, 0.0), (1.0, 1.0), 0.0), ((1e-200, 0.0), (1e-200, 0.0), 1.0),
    ],
)  # fmt: skip
def test_nearness_is_the_angle_between_two_vectors(one: tuple[float, ...], other: tuple[float, ...], score: float):
    assert cosine(one, other) == cosine(other, one) == score


def test_vectors_of_different_sizes_do_not_compare():
    with pytest.raises(Garbled):
        cosine((1.0,), (1.0, 2.0))


def test_words_are_compared_exactly_within_or_as_values():
    assert matches("exact", " a ", "a\n")
    assert not matches("exact", "a", "A")
    assert matches("contains", "HALLO", "say hallo!")
    assert matches("json", '{"a": 1, "b": [2]}', '{"b":[2],"a":1}')
    assert not matches("json", "1", "one")
    assert matches("json", '{"n": 1}', '{"n": 1.0}')
    for expected, answer in (('{"ok": 1}', '{"ok": true}'), ("[false]", "[0]"), ("1", "true")):
        assert not matches("json", expected, answer)
    assert (is_json("1"), is_json("{"), is_json("[" * 5000 + "]" * 5000)) == (True, False, False)
