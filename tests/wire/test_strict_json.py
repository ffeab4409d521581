"""JSON at the door: what is refused, and that what is accepted is what would be forwarded."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from midstream.core.errors import BadRequest
from midstream.wire import strict_json
from midstream.wire.strict_json import MAX_DEPTH, read_field, read_members, read_object, read_value, write_object

REFUSED = {
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "a number too large for a double": b'{"a":1e999}',
    "an integer of 5000 digits": b'{"a" :' + b"1" * 5000 + b"}",
    "NUL as an escape": b'{"a":"x\\u0000"}',
    "NUL in a key": b'{"a\\u0000":1}',
    "NUL as a byte": b'{"a":"\x00"}',
    "a lone high surrogate": b'{"a":"\\ud800"}',
    "a lone low surrogate": b'{"a":"\\udc00x"}',
    "invalid UTF-8": b'{"a":"\xff"}',
    "a UTF-8 surrogate": b'{"a":"\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "nothing": b"",
    "two values": b"{}{}",
    "a trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "an array 65 deep": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    "a hundred thousand brackets": b"[" * 100_000,
    "ten thousand objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a key twice": b'{"a":1,"a":2}',
    "a key twice, inside": b'{"x":[{"a":1,"b":{},"a":2}]}',
    "a key twice with spaces": b'{"a" : 1, "a" : 2}',
    "a key twice, once escaped": b'{"a":1,"\\u0061":2}',
    "a key twice beside an escaped colon": b'{"a":1,"a":"\\u003ax"}',
    "a key twice beside an escaped colon in capitals": b'{"a":1,"a":"\\u003Ax"}',
    "a key twice beside an escaped quote": b'{"a":1,"a":"x\\u0022:y"}',
    "a key twice beside two escaped quotes": b'{"a":1,"a":"\\u0022\\u0022"}',
    "a key twice before a long text": b'{"a":1,"a":2,"b":"' + b"x" * 9000 + b'"}',
    "a key twice, inside, beside a long text": b'{"b":["' + b"x" * 9000 + b'",{"a":{},"a":[]}]}',
    "a long key twice": b'{"%b":1,"%b":1}' % (b"k" * 9000, b"k" * 9000),
    "a key twice among many objects": b'{"x":[' + b"{}," * 100 + b'{"a":1,"a":1}]}',
    "a key twice that ends in a backslash": b'{"a\\\\":1,"a\\\\":2}',
    "__proto__ twice": b'{"__proto__":1,"__proto__":2}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_a_clear_error(body: bytes) -> None:
    for read in (read_value, read_object):
        with pytest.raises(BadRequest) as caught:
            read(body)
        assert caught.value.code == "invalid_json"


ACCEPTED = {
    "a surrogate pair": b'{"a":"\\ud83d\\ude00"}',
    "64 deep": b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
    "many brackets side by side": b'{"a":[' + b",".join([b"[]"] * 500) + b"]}",
    "the same key in two objects": b'{"a":{"k":1},"b":{"k":1}}',
    "a backslash and u0000 as text": b'{"a":"\\\\u0000"}',
    "text that looks like keys": b'{"a":"\\"a\\":1,\\"a\\":2"}',
    "a long text": b'{"a":["' + b"x: {" * 3000 + b'",{"b":null}],"c":{"a":"z"}}',
    "a long text with escapes": b'{"a":["' + b'\\n\\"x\\\\' * 3000 + b'",{"b":null}],"c":{"a":"z"}}',
    "the same key in many objects": b'{"x":[' + b'{"a":1},' * 100 + b'{"a":1,"b":1}]}',
    "escaped quotes": b'{"a":"\\u0022","b":1}',
    "2^63": b'{"a":9223372036854775808}',
    "an unknown key": b'{"__proto__":{}}',
    "spaces everywhere": b' { "a" : [ 1 , 2 ] } ',
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_as_it_stands(body: bytes) -> None:
    assert read_value(body) == json.loads(body)
    assert {name: json.loads(bytes(raw)) for name, raw in read_object(body).items()} == json.loads(body)


def test_a_body_that_is_no_object_is_refused() -> None:
    for body in (b"[]", b'"a"', b"1", b"null"):
        with pytest.raises(BadRequest, match="object"):
            read_object(body)


class Pairs(list[Any]):
    """An object as its members in order, so that a key may occur twice."""


def _objects(text: st.SearchStrategy[str]) -> st.SearchStrategy[Pairs]:
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | text,
        lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(text, inner), max_size=4).map(Pairs),
        max_leaves=8,
    )
    return st.lists(st.tuples(text, values), max_size=4).map(Pairs)


_OBJECTS = _objects(st.text(alphabet='a:"\\ \n\u00e9{}[],/', max_size=5))
_PLAIN_OBJECTS = _objects(st.text(alphabet="a: \u00e9{}[],", max_size=3))


def _written(value: Any, style: int) -> str:
    comma, colon = ((",", ":"), (", ", ": "), (" ,\n", " :\t"))[style % 3]
    if isinstance(value, Pairs):
        members = (_written(key, style) + colon + _written(item, style) for key, item in value)
        return "{" + comma.join(members) + "}"
    if isinstance(value, list):
        return "[" + comma.join(_written(item, style) for item in value) + "]"
    if isinstance(value, str) and style >= 3:  # every character as an escape
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"'
    return json.dumps(value, ensure_ascii=style % 2 == 0)


def _has_twice(value: Any) -> bool:
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_has_twice(item) for _, item in value)
    return isinstance(value, list) and any(_has_twice(item) for item in value)


@given(_OBJECTS | _PLAIN_OBJECTS, st.integers(0, 5), st.sampled_from(["[]", f'"{"x" * 5000}"', f"[{'[],' * 70}[]]"]))
@example(Pairs([("a", 1), ("a", ":x")]), 3, "1")
def test_a_key_is_refused_when_it_occurs_twice_and_only_then(value: Pairs, style: int, beside: str) -> None:
    """beside: what makes the body long, or full of brackets."""
    body = f'{{"v": {_written(value, style)},"beside":{beside}}}'.encode()
    if _has_twice(value):
        with pytest.raises(BadRequest):
            read_value(body)
    else:
        assert read_value(body) == json.loads(body)


@given(_OBJECTS | _PLAIN_OBJECTS, st.integers(0, 5), st.booleans())
def test_the_members_of_a_body_and_the_items_of_one_are_its_own_bytes_however_long_it_is(
    value: Pairs, style: int, long: bool
) -> None:
    whole = Pairs([("beside", "x" * 5000 * long), ("list", [value, 1, value]), ("last", value)])
    body = _written(whole, style).encode()
    if _has_twice(value):
        with pytest.raises(BadRequest):
            read_members(body, "list")
        return
    fields, members, items = read_members(body, "list")
    assert members == json.loads(body)
    raws = msgspec.json.decode(body, type=dict[str, Raw])
    assert [(name, bytes(raw)) for name, raw in fields.items()] == [(name, bytes(raw)) for name, raw in raws.items()]
    listed = msgspec.json.decode(raws["list"], type=list[Raw])
    assert [bytes(item) for item in items] == [bytes(item) for item in listed]
    assert not read_members(body, "last")[2]
    assert not read_members(body, "none")[2]


@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_bad_request(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        read_value(body)


def test_members_keep_their_bytes_and_order() -> None:
    body = b'{"b": 1.50, "a": { "x":  [1,2] }, "c":"\\u00e9"}'
    fields = read_object(body)
    assert write_object(fields) == b'{"b":1.50,"a":{ "x":  [1,2] },"c":"\\u00e9"}'


def test_a_field_of_the_wrong_type_is_named() -> None:
    fields = {"n": Raw(b'"5"'), "none": Raw(b"null")}
    with pytest.raises(BadRequest) as caught:
        read_field(fields, "n", int, 0)
    assert caught.value.param == "n"
    assert read_field(fields, "none", int, 7) == 7
    assert read_field(fields, "absent", int, 7) == 7
    assert MAX_DEPTH == 64


@pytest.mark.parametrize("name", ["a long text", "a long text with escapes", "many brackets side by side", "2^63"])
def test_ordinary_bodies_are_cleared_without_the_slow_search(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "_refuse_duplicates", lambda body: pytest.fail("searched"))
    read_value(ACCEPTED[name])
    read_members(ACCEPTED[name])


def test_a_long_body_written_as_we_would_is_not_read_for_its_members(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strict_json, "_members", lambda body: pytest.fail("read again"))
    text = 'a "text" of lines\\n and \u00e9' * 500
    body = msgspec.json.encode({"model": "m", "messages": [{"content": text}, {"content": "x"}], "n": 1.5})
    fields, _, (first, second) = read_members(body, "messages")
    assert write_object(fields) == body
    assert msgspec.json.decode(first) == {"content": text}
    assert second == b'{"content":"x"}'


def test_the_member_that_holds_nul_is_named():
    with pytest.raises(BadRequest) as refused:
        read_value(b'{"a": "fine", "b": [{"c": "x\\u0000"}]}')
    assert (refused.value.code, refused.value.param) == ("invalid_json", "b")
