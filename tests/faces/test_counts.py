from __future__ import annotations

from typing import Any

import pytest

from midstream.core.events import Counted
from midstream.core.parts import Native
from midstream.core.turn import Turn
from midstream.faces import anthropic_messages, gemini

OWN = b'{"input_tokens": 5, "totalTokens": 5, "zz": 1.0}'


def turn(face: Any) -> Turn:
    return Turn(face.NAME, {}, face.DIALECT.read_ask, model="m", kind="count_tokens")


@pytest.mark.parametrize("face", [anthropic_messages, gemini])
def test_a_token_count_of_the_faces_own_dialect_is_given_back_byte_for_byte(face: Any):
    assert face.write_result(turn(face), Counted(5, Native(face.NAME, OWN))) == OWN


@pytest.mark.parametrize(
    ("face", "body"), [(anthropic_messages, b'{"input_tokens":5}'), (gemini, b'{"totalTokens":5}')]
)
def test_another_dialects_token_count_is_written_in_the_faces_words(face: Any, body: bytes):
    assert face.write_result(turn(face), Counted(5, Native("other", OWN))) == body
    assert face.write_result(turn(face), Counted(5)) == body
