from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.wire.openai_chat.pattern import Pattern

FIRST = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'


def taught() -> Pattern:
    pattern = Pattern()
    pattern.learn(FIRST, "a")
    return pattern


@given(st.text(min_size=1))
def test_a_chunk_that_differs_in_its_text_alone_is_read(text: str):
    for ascii in (True, False):
        try:
            line = FIRST.replace(b'"a"', json.dumps(text, ensure_ascii=ascii).encode())
        except UnicodeEncodeError:
            continue
        assert taught().text_of(line) in (text, "")  # "": half of a surrogate pair is for the strict reading to refuse
        if not any("\ud800" <= letter <= "\udfff" for letter in text):
            assert taught().text_of(line) == text


@pytest.mark.parametrize(
    "line",
    [
        FIRST.replace(b"null", b'"stop"'),
        FIRST.replace(b'"index":0', b'"index":1'),
        FIRST.replace(b'"a"', b"null"),
        FIRST.replace(b'"a"', b'""'),
        FIRST.replace(b'"a"', b'"a'),
        FIRST.replace(b'"a"', b'"'),
        FIRST.replace(b'"a"', b"a"),
        FIRST.replace(b'"a"', b'"a\n\nb"'),
        FIRST.replace(b'"a"', b'\n\n"a"'),
        FIRST.replace(b'"a"', b'"a"\r\n\r\n'),
        FIRST[:-1],
        FIRST + b"\n",
        b"\n" + FIRST,
        FIRST.replace(b'"a"', b'"a","content":"b"'),
        FIRST.replace(b'"a"', b'"a"},"finish_reason":null},{"delta":{"content":"b"'),
        FIRST[:-20],
        FIRST[:60],
        b"",
        b"[DONE]",
    ],
)
def test_any_other_chunk_is_left_to_the_reader_of_all(line: bytes):
    assert taught().text_of(line) == ""


@given(st.lists(st.text(), min_size=1, max_size=5), st.data())
def test_frames_that_came_together_are_read_at_once_up_to_the_first_that_differs(texts: list[str], data: st.DataObject):
    lines = [FIRST.replace(b'"a"', json.dumps(text).encode()) for text in texts]
    other = data.draw(
        st.sampled_from([b"", FIRST.replace(b"null", b'"stop"'), b"data: [DONE]\n\n", FIRST[:70], b": hi\n\n"])
    )
    if not other:
        assert taught().text_of(b"".join(lines)) == "".join(texts)
    said, size = taught().lead(b"".join(lines) + other)
    assert said == "".join(texts)
    assert not said or size == len(b"".join(lines))


@pytest.mark.parametrize(
    "odd",
    [
        FIRST.replace(b"null", b'"stop"'),
        FIRST.replace(b'"a"', b'"a","b"'),
        FIRST.replace(b'"a"', b'\n\n"a"'),
        FIRST.replace(b'"a"', b'"a\\"'),
        FIRST.replace(b'"index":0', b'"index":1'),
        b": a comment\n\n",
        b"\n",
    ],
)
def test_a_frame_of_another_kind_among_them_leaves_all_to_the_reader_of_all(odd: bytes):
    assert taught().lead(FIRST + odd + FIRST)[0] == ""


@pytest.mark.parametrize(
    "line",
    [
        b'{"choices":[{"delta":{"content":"a"}}],"debug":{"content":"a"}}',
        b'{"choices":[{"delta":{"con\\u0074ent":"a"}}],"debug":{"content":"b"}}',
        b'{"choices":[{"delta":{"content":null,"text":"a"}}]}',
    ],
)
def test_where_the_text_stands_is_never_guessed(line: bytes):
    pattern = Pattern()
    pattern.learn(line, "a")
    assert pattern.text_of(line) == ""


def test_words_in_a_text_are_not_taken_for_its_name():
    said = 'say "content":"x" twice: "content": "y"'
    line = FIRST.replace(b'"a"', json.dumps(said).encode())
    pattern = Pattern()
    pattern.learn(line, said)
    assert pattern.text_of(FIRST) == "a"


def test_a_service_without_a_pattern_is_not_studied_for_ever():
    pattern = Pattern()
    for number in range(10):
        pattern.learn(b'{"choices":[{"delta":{"content":"a"}}],"obfuscation":"%d"}' % number, "a")
    pattern.forget()
    pattern.learn(FIRST, "a")
    assert pattern.text_of(FIRST) == ""


def test_another_part_begins_anew():
    pattern = taught()
    pattern.forget()
    assert pattern.text_of(FIRST) == ""
