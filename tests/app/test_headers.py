from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.app.headers import Headers

names = st.text("abc-", min_size=1, max_size=3)
values = st.text(st.characters(max_codepoint=255))


@given(st.lists(st.tuples(names, values)), names)
def test_headers_are_the_dictionary_of_their_pairs(pairs: list[tuple[str, str]], name: str):
    headers = Headers([(key.encode(), value.encode("latin-1")) for key, value in pairs])
    told = dict(pairs)
    assert dict(headers) == told
    assert len(headers) == len(told)
    assert headers.get(name) == told.get(name)
    assert headers.get(name, "none") == told.get(name, "none")
    assert (name in headers) is (name in told)


def test_a_name_that_no_header_can_have_is_not_there():
    headers = Headers([(b"host", b"x")])
    assert headers.get("\N{SNOWMAN}") is None
    assert 1 not in headers
    with pytest.raises(KeyError):
        headers["accept"]
