from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Unauthenticated
from midstream.delivery.live_tokens import Token, read_token, write_token

KEY = b"k" * 32
TOKEN = Token("org_a", "thread 1", 200.0, "key_a")


def test_a_token_opens_its_own_channel_until_its_time_is_over():
    text = write_token(KEY, TOKEN)
    assert read_token(KEY, text, 199.0) == TOKEN
    with pytest.raises(Unauthenticated):
        read_token(KEY, text, 200.0)


def test_a_token_of_another_server_is_refused():
    with pytest.raises(Unauthenticated):
        read_token(b"x" * 32, write_token(KEY, TOKEN), 1.0)


def test_channels_may_have_any_name():
    token = Token("org_a", "Gespräch/№ 1?&#", 200.0, "key_a")
    text = write_token(KEY, token)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert read_token(KEY, text, 1.0) == token


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(Unauthenticated):
        read_token(KEY, text, 1.0)


@given(st.integers(0, 150), st.characters(codec="ascii"))
def test_a_changed_token_is_refused(place: int, letter: str):
    text = write_token(KEY, TOKEN)
    changed = text[: place % len(text)] + letter + text[place % len(text) + 1 :]
    if changed.rstrip("=") != text:
        try:
            found = read_token(KEY, changed, 1.0)
        except Unauthenticated:
            return
        assert found == TOKEN  # unused bits of the last letter
