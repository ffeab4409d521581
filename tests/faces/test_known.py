from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw, Struct

from midstream.core.errors import BadRequest
from midstream.faces._known import decode, fresh_messages, is_true


class Inner(Struct):
    b: int = 0


class Outer(Struct):
    a: Inner | None = None
    many: list[Inner] = []


DECODER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    "body, param",
    [(b'{"a":{"b":"x"}}', "a.b"), (b'{"a":7}', "a"), (b'{"many":[{"b":1},{"b":"x"}]}', "many"), (b"7", None)],
)
def test_the_wrong_type_is_refused_with_the_fields_path(body: bytes, param: str | None):
    with pytest.raises(BadRequest) as refused:
        decode(DECODER, body)
    assert (refused.value.param or "").startswith(param or "")
    assert "$" not in refused.value.message


def test_what_is_not_known_is_passed_over():
    assert decode(DECODER, b'{"z":1,"a":{"b":2,"z":3}}').a == Inner(2)


def test_without_an_answer_of_the_model_everything_is_new_and_after_it_nothing_before():
    said = [Raw(b'{"role":"user"}'), Raw(b'{"role":"model"}'), Raw(b'{"role":"user","n":2}')]
    assert [native.raw for _, native in fresh_messages("d", said, "m")] == [b'{"role":"user","n":2}']
    assert len(fresh_messages("d", [said[0], said[0]], "m")) == 2
    assert fresh_messages("d", [said[0], said[1]], "m") == ()
    assert fresh_messages("d", [], "m") == ()


@pytest.mark.parametrize("word, true", [("1", True), ("Yes", True), ("true", True), ("no", False), ("2", False)])
def test_a_switch_in_a_header(word: str, true: bool):
    assert is_true({"x": word}, "x") is true
    assert not is_true({}, "x")
