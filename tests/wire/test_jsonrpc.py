from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Garbled
from midstream.wire.jsonrpc import Call, Fault, Notice, Result, read, write

ids = st.integers(-(2**53), 2**53) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values)
messages = (
    st.builds(Call, ids, st.text(), objects)
    | st.builds(Notice, st.text(), objects)
    | st.builds(Result, ids, values)
    | st.builds(Fault, ids | st.none(), st.integers(-(2**31), 2**31), st.text(), values)
)


@given(st.lists(messages, min_size=1, max_size=4))
def test_what_is_written_is_read_alone_and_in_a_batch(said: list[Call | Notice | Result | Fault]):
    written = [write(one) for one in said]
    assert not any(b"\n" in one for one in written)
    assert [read(one) for one in written] == [[one] for one in said]
    assert read(b"[" + b",".join(written) + b"]") == said


@given(
    st.binary() | values.map(msgspec.json.encode) | objects.map(lambda o: msgspec.json.encode({"jsonrpc": "2.0", **o}))
)
def test_anything_else_is_garbled_and_never_an_accident(data: bytes):
    with contextlib.suppress(Garbled):
        assert read(data) or data.strip() == b"[]"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "1", '{"jsonrpc":"1.0","id":1,"result":1}', '{"jsonrpc":"2.0","id":1}',
     '{"jsonrpc":"2.0","id":null,"result":1}',
     '{"jsonrpc":"2.0","id":1,"error":{"message":"no code"}}', '{"jsonrpc":"2.0","method":7}', "[" * 100_000],
)  # fmt: skip
def test_a_message_that_is_none_is_refused(text: str):
    with pytest.raises(Garbled):
        read(text)


def test_bytes_that_are_no_utf_8_are_refused_and_a_mark_before_the_message_is_passed_over():
    with pytest.raises(Garbled):
        read(b'{"jsonrpc":"2.0","id":1,"result":"caf\xe9"}')
    for text in ('\ufeff{"jsonrpc":"2.0","id":1,"result":"x"}', b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":"x"}'):
        assert read(text) == [Result(1, "x")]


def test_positional_arguments_and_errors_without_an_id_are_read():
    assert read('{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}') == [Call(1, "m")]
    assert read('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}') == [Fault(None, -32700, "x")]
    assert read('{"jsonrpc":"2.0","id":null,"result":null,"method":"m"}') == [Notice("m")]
