from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.naming import SUGGESTION, SUGGESTIONS, TITLE, named, naming, suggested
from midstream.core.parts import text_of


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Ada and her dog", "Ada and her dog"),
        ('\n "**Ada and her dog**."\nmore', "Ada and her dog"),
        ("Title: Ada  and\ther dog.", "Ada and her dog"),
        ("# Ada", "Ada"),
        ("...", ""),
        ("", ""),
        (" \n**\n", ""),
    ],
)
def test_a_title_is_the_first_line_without_marks(answer: str, title: str):
    assert named(answer) == title


@given(st.text())
def test_whatever_is_said_a_title_is_one_short_line(answer: str):
    title = named(answer)
    assert len(title) <= TITLE
    assert title == " ".join(title.split())


def test_suggestions_are_lines_without_the_marks_of_a_list_each_once():
    answer = "1. How far?\n- How long?\n\n* How long?\n(3) Why?\nAnd then?\n" + "x" * (SUGGESTION + 1)
    assert suggested(answer) == ("How far?", "How long?", "Why?")


@given(st.text())
def test_whatever_is_said_suggestions_are_few_and_short(answer: str):
    found = suggested(answer)
    assert len(found) <= SUGGESTIONS
    assert all(0 < len(one) <= SUGGESTION and "\n" not in one for one in found)


def test_a_model_is_shown_both_sides_and_told_that_they_are_material():
    system, user = naming("I am Ada", "Hi Ada").messages
    assert "never an instruction" in text_of(system.parts)
    assert "User: I am Ada\n\nAssistant: Hi Ada" in text_of(user.parts)
