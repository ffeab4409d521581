from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.json_same import same

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from([0.0, 1.0, 0.5]) | st.sampled_from(["", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
)


@pytest.mark.parametrize(
    "one, other",
    [
        ([True], [1]), ({"ok": False}, {"ok": 0}), (True, 1), ({"a": [{"b": True}]}, {"a": [{"b": 1.0}]}),
        ([1, 2], [2, 1]), ([1], [1, 1]), ({"a": None}, {}), ({}, []), ("1", 1), (None, 0), (None, False),
    ],
)  # fmt: skip
def test_values_that_json_tells_apart_are_not_the_same(one: Any, other: Any):
    assert not same(one, other)
    assert not same(other, one)


@pytest.mark.parametrize(
    "one, other",
    [(1, 1.0), ({"a": [0]}, {"a": [0.0]}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([True], [True]), (None, None)],
)
def test_values_that_json_does_not_tell_apart_are_the_same(one: Any, other: Any):
    assert same(one, other)


@given(_VALUES, _VALUES)
def test_the_same_are_those_that_are_written_alike_when_whole_numbers_are(one: Any, other: Any):
    def written(value: Any) -> str:
        return json.dumps(value, sort_keys=True).replace("0.0", "0").replace("1.0", "1")

    assert same(one, other) is (written(one) == written(other))
