"""Newline-delimited JSON: the same lines however their bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Garbled
from midstream.wire.ndjson import NDJSONReader, write_line

_STREAM = st.lists(st.sampled_from([b'{"a":1}', b"\n", b"\r\n", b"", b"  ", b'"\xc3\xa9"'])).map(b"".join)


@given(_STREAM, st.lists(st.integers(0, 80), max_size=6))
def test_a_stream_split_anywhere_gives_the_same_lines(stream: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(stream)) for cut in cuts})
    reader = NDJSONReader()
    lines = [
        line for a, b in zip([0, *places], [*places, len(stream)], strict=True) for line in reader.feed(stream[a:b])
    ]
    lines += reader.finish()
    assert lines == [line for one in stream.split(b"\n") if (line := one.strip(b"\r\n \t"))]


def test_the_last_line_needs_no_end() -> None:
    reader = NDJSONReader()
    assert reader.feed(b"1\r\n2") == [b"1"]
    assert reader.finish() == [b"2"]
    assert reader.finish() == []


def test_a_line_above_the_limit_is_refused() -> None:
    reader = NDJSONReader(limit=10)
    reader.feed(b"x" * 10)
    with pytest.raises(Garbled):
        reader.feed(b"x")


def test_a_written_line_is_read_back() -> None:
    assert NDJSONReader().feed(write_line(b"{}")) == [b"{}"]
