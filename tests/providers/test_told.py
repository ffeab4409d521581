"""Which of a service's headers reach the caller."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midstream.providers._told import LONGEST, MOST, REQUEST_ID, told

KEY = "sk-0123456789"


def test_limits_keep_their_names_and_the_first_id_that_is_known_has_ours() -> None:
    headers = {"anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:00Z", "request-id": "req_1", "date": "today"}
    said = (("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:00Z"), (REQUEST_ID, "req_1"))
    assert told(headers, [KEY]) == said
    assert told({"request-id": "second", "x-request-id": "first"}, []) == ((REQUEST_ID, "first"),)
    assert told({"content-type": "a", "server": "b"}, [KEY]) == ()


def test_what_holds_a_key_or_has_no_end_is_not_said() -> None:
    assert told({"x-ratelimit-a": f"for {KEY}", "x-ratelimit-b": "1"}, [KEY]) == (("x-ratelimit-b", "1"),)
    assert told({"x-ratelimit-a": "1" * (LONGEST + 1)}, []) == ()
    assert len(told({f"x-ratelimit-{n}": "1" for n in range(100)}, [])) == MOST


@given(st.dictionaries(st.sampled_from(["x-ratelimit-a", "x-request-id"]), st.text()))
def test_no_value_ends_its_line(headers: dict[str, str]) -> None:
    assert all("\r" not in value and "\n" not in value for _, value in told(headers, [KEY]))
