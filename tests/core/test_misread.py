from __future__ import annotations

import msgspec
import pytest

from midstream.core.misread import member_of, place_of


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Outer(msgspec.Struct):
    items: list[Inner]
    named: dict[str, Inner] = {}


def refused(value: object) -> msgspec.ValidationError:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, Outer)
    return caught.value


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [
        (5, "", "Expected `object`, got `int`"),
        ({"items": 5}, "items", "Expected `array`, got `int`"),
        ({"items": [{"name": "a"}, {"name": 1}]}, "items[1].name", "Expected `str`, got `int`"),
        ({"items": [], "named": {"a": {"name": 1}}}, "named[...].name", "Expected `str`, got `int`"),
        ({"items": [], "named": {"a": 1}}, "named", "Expected `object`, got `int`"),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(value: object, path: str, why: str):
    assert place_of(refused(value)) == (path, why)


def test_a_member_is_told_by_its_name():
    path, why = place_of(refused({"items": [{}]}))
    assert (path, member_of(why)) == ("items[0]", ("name", "required", "missing_required_parameter"))
    path, why = place_of(refused({"items": [{"name": "a", "o`dd": 1}]}))
    assert (path, member_of(why)) == ("items[0]", ("o`dd", "not known here", "unknown_parameter"))
    assert member_of("Expected `str`, got `int`") is None
