from __future__ import annotations

import msgspec
import pytest

from midstream.core.json_words import MAX_DEPTH, arguments_in, decoded, too_deep, value_of


def nested(depth: int) -> str:
    return '{"a":[' * (depth // 2) + ("{" if depth % 2 else "1") + ("}" if depth % 2 else "") + "]}" * (depth // 2)


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH - 1, MAX_DEPTH])
def test_what_is_nested_as_deep_as_it_may_be_is_a_value(depth: int):
    assert decoded(nested(depth)) == arguments_in(nested(depth)) == value_of(nested(depth))[0]
    assert not too_deep(decoded(nested(depth).encode()))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, MAX_DEPTH + 2, 500, 970, 100_000])
def test_what_is_nested_deeper_is_none_wherever_python_would_give_up(depth: int):
    with pytest.raises(msgspec.DecodeError, match=f"nested deeper than {MAX_DEPTH}"):
        decoded(nested(depth))
    with pytest.raises(msgspec.DecodeError):
        arguments_in(nested(depth))
    assert value_of(nested(depth)) == (None, f"it is no JSON (it is nested deeper than {MAX_DEPTH})")


def test_many_side_by_side_are_not_deep():
    assert len(decoded("[" + ",".join(["{}"] * 500) + "]")) == 500


def test_no_text_is_no_argument_and_half_a_character_is_no_json():
    assert arguments_in("") == arguments_in(" ") == arguments_in("null") == {}
    with pytest.raises(msgspec.DecodeError):
        decoded('"\ud800"')
