"""A secret is seen only where it is revealed."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from midstream.core.secret import Secret


def test_no_way_of_showing_it_shows_it() -> None:
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret!s:>9} {[secret]} {{}}".format(secret)
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"


def test_it_is_not_serialised() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret("hunter2"))
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))


def test_equal_texts_are_equal_secrets_and_an_empty_one_is_false() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
    assert Secret("x")
