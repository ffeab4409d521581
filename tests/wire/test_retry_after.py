"""How long a service asks to be left alone is read alike in the answers of every dialect."""

from __future__ import annotations

import pytest

from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize("dialect", [anthropic_messages, gemini, openai_chat, openai_responses])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "10", "retry-after": "2"}, 0.01),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "\u0663"}, None),
        ({}, None),
    ],
)
def test_seconds_and_dates_are_read_and_nothing_else(dialect, headers, seconds) -> None:
    assert dialect.read_error(429, headers, b"{}").retry_after == seconds
