from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Struct

from midstream.core.errors import BadRequest
from midstream.faces._known import fresh_messages, is_strict, known_of


class Inner(Struct):
    b: int = 0


class Outer(Struct):
    a: Inner | None = None
    many: list[Inner] = []


@pytest.mark.parametrize(
    "body, param",
    [({"a": {"b": "x"}}, "a.b"), ({"a": 7}, "a"), ({"many": [{"b": 1}, {"b": "x"}]}, "many")],
)
def test_the_wrong_type_is_refused_with_the_fields_path(body: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        known_of(body, Outer)
    assert (refused.value.param or "").startswith(param)
    assert "$" not in refused.value.message


def test_what_is_not_known_is_passed_over():
    assert known_of({"z": 1, "a": {"b": 2, "z": 3}}, Outer).a == Inner(2)


def test_without_an_answer_of_the_model_everything_is_new_and_after_it_nothing_before():
    user, model = b'{"role":"user"}', b'{"role":"model"}'
    assert new(user, model, b'{"role":"user", "n":2}') == [("user", b'{"role":"user", "n":2}')]
    assert new(user, b'{"role":"tool"}') == [("user", user), ("tool", b'{"role":"tool"}')]
    assert new(user, model) == new() == []
    assert new(model, b'{"role":null}') == [("user", b'{"role":null}')]


def test_where_nothing_was_said_before_all_of_it_is_new_also_what_the_model_has_said():
    user, model = b'{"role":"user"}', b'{"role":"assistant", "n":1}'
    assert new(user, model, user, begins=True) == [("user", user), ("assistant", model), ("user", user)]
    assert new(user, model, begins=True) == [("user", user), ("assistant", model)]
    assert new(begins=True) == []


def new(*messages: bytes, begins: bool = False) -> list[tuple[str, bytes]]:
    raw = b"[" + b", ".join(messages) + b"]"
    fresh = fresh_messages("d", msgspec.json.decode(raw), messages, begins=begins)
    return [(role, native.raw) for role, native in fresh]


@pytest.mark.parametrize("message", [7, "user", None, {"role": 7}, []])
def test_what_are_no_messages_adds_nothing(message: Any):
    said = [{"role": "user"}, message]
    assert fresh_messages("d", said, [msgspec.json.encode(one) for one in said]) == ()
    assert fresh_messages("d", message, ()) == ()


@pytest.mark.parametrize(
    "word, strict",
    [("1", True), ("Yes", True), ("true", True), ("no", False), ("0", False), ("FALSE", False), ("", False)],
)
def test_strict_is_what_its_header_says(word: str, strict: bool):
    assert is_strict({"x-midstream-strict": word}) is strict
    assert not is_strict({})


@pytest.mark.parametrize("word", ["2", "on", "strict", "true, true", "tru"])
def test_a_word_that_does_not_say_whether_to_be_strict_is_refused(word: str):
    with pytest.raises(BadRequest, match="x-midstream-strict: expected true or false") as refused:
        is_strict({"x-midstream-strict": word})
    assert refused.value.param == "x-midstream-strict"
