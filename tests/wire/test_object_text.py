"""How much of an object's text can be told while it comes: never what turns out to be none."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.json_words import MAX_DEPTH, arguments_in
from midstream.wire.object_text import ObjectText

words = st.text('ab {}[]:,"\\\n\u2028é😀', max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, values, max_size=4)
written = st.builds(
    lambda value, plain, indent: json.dumps(value, ensure_ascii=plain, indent=indent),
    objects,
    st.booleans(),
    st.sampled_from([None, 1]),
)
#: Also what is no JSON, or the text of something else.
odd = st.text('{}[]",:\\ \nuD83dDE42tfn0-.e1a', max_size=14) | st.builds(
    lambda text, at, more: text[:at] + more + text[at:],
    written,
    st.integers(0, 20),
    st.text('{}",:\\\nx1 ', max_size=2),
)


def pieces(text: str, places: set[int]) -> list[str]:
    bounds = [0, *sorted(place for place in places if place < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


splits = st.sets(st.integers(0, 60), max_size=8)


@given(written, splits)
def test_an_object_is_told_as_it_comes_however_it_is_cut(text: str, places: set[int]) -> None:
    coming = ObjectText()
    given = told = ""
    for piece in pieces(text, places):
        given, told = given + piece, told + coming.more(piece)
        assert given.startswith(told)
        assert len(given) - len(told) <= 30  # a number, a word or an escape at most
    assert (told, coming.wrong) == (text, False)


@given(odd, splits)
def test_only_what_still_begins_an_object_is_told(text: str, places: set[int]) -> None:
    coming = ObjectText()
    told = "".join(coming.more(piece) for piece in pieces(text, places))
    assert text.startswith(told)
    once = ObjectText()
    assert (once.more(text), once.wrong) == (told, coming.wrong)
    try:
        whole = isinstance(arguments_in(text), dict) and text.lstrip().startswith("{")
    except msgspec.DecodeError:
        whole = False
    if whole:
        assert (told, coming.wrong) == (text, False)
    assert told == "" or told.lstrip(" \t\n\r").startswith("{")
    assert is_begun(told)


def is_begun(told: str) -> bool:
    """Can something be put behind it that makes it an object?"""
    if not told:
        return True
    closing = ""
    quoted = escaped = False
    for char in told:
        if quoted:
            quoted, escaped = escaped or char != '"', char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{[":
            closing = {"{": "}", "[": "]"}[char] + closing
        elif char in "}]":
            closing = closing[1:]
    ends = ['"', '":0', ""] if quoted else ["", '"":0', ":0", "0"]
    for end in ends:
        try:
            return isinstance(msgspec.json.decode((told + end + closing).encode()), dict)
        except msgspec.DecodeError:
            continue
    return False


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("null", ""),
        ("[1]", ""),
        ('"{}"', ""),
        (" \n", ""),
        ("x", ""),
        (' {"a":1}', ' {"a":1}'),
        ('{"a":1} {"b":2}', '{"a":1} '),
        ("{'a':1}", "{"),
        ('{"a":tru e}', '{"a":'),
        ('{"a":True}', '{"a":'),
        ('{"a":01}', '{"a":'),
        ('{"a":1,}', '{"a":1,'),
        ('{"a":"x\ny"}', '{"a":"x'),
        (r'{"a":"x\y"}', '{"a":"x'),
        (r'{"a":"\ud83d"}', '{"a":"'),
        ('{"a" 1}', '{"a" '),
        ('{"a":[1}', '{"a":[1'),
        ('{"a":1]', '{"a":1'),
        ('{"a":', '{"a":'),
        ('{"a":12', '{"a":'),
        ('{"a":"b', '{"a":"b'),
    ],
)
def test_what_is_wrong_or_still_open_is_not_told(text: str, told: str) -> None:
    assert ObjectText().more(text) == told
    coming = ObjectText()
    assert "".join(coming.more(char) for char in text) == told


def test_what_is_nested_too_deep_is_none() -> None:
    for depth, wrong in ((MAX_DEPTH, False), (MAX_DEPTH + 1, True)):
        text = '{"a":' * depth + "1" + "}" * depth
        coming = ObjectText()
        assert (coming.more(text) == text, coming.wrong) == (not wrong, wrong)
        assert coming.more("{") == ""


@pytest.mark.parametrize(
    ("begin", "piece", "end"),
    [
        ('{"a":0.', "000", "}"),
        ('{"a":[1', "12", "]}"),
        (" ", " \n\t", "{}"),
        ('{"a":t', "rue", "}"),
        ("\n", "  ", "[]"),
    ],
)
def test_what_is_long_and_held_is_looked_at_once_not_with_every_piece(begin: str, piece: str, end: str) -> None:
    spent = []
    for count in (2_000, 64_000):
        coming = ObjectText()
        start = time.process_time()
        told = [coming.more(text) for text in (begin, *[piece] * count, end)]
        spent.append(time.process_time() - start)
        once = ObjectText()
        assert ("".join(told), coming.wrong) == (once.more(begin + piece * count + end), once.wrong)
    assert spent[1] < 32 * 4 * max(spent[0], 0.001)
