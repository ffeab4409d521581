"""Histories whose turns have broken off are made such that a service takes them."""

from __future__ import annotations

import pytest

from midstream.agent.history import LOST, continued, joined
from midstream.core.parts import Message, Native, Text, ToolCall, ToolResult
from tests.growing import lasts_evenly


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def called(*calls: ToolCall, text: str = "") -> Message:
    return Message("assistant", (*((Text(text),) if text else ()), *calls), native=Native("openai_chat", b"{}"))


def result(id: str, text: str = "sunny") -> Message:
    return Message("tool", (ToolResult(id, (Text(text),)),))


def lost(id: str) -> Message:
    return Message("tool", (ToolResult(id, (Text(LOST),), "f", is_error=True),))


CALL = ToolCall("c1", "f", '{"a":1}')
ASKED = (user("q"), called(CALL))


@pytest.mark.parametrize("arguments", ['{"a":"he', "[1]", '"x"', '{"a":"\ud800"}', "[" * 100_000])
def test_a_call_that_was_cut_is_left_out_with_the_callers_own_words_for_its_message(arguments: str):
    cut = ToolCall("c1", "f", arguments)
    assert continued((user("q"), called(cut, text="Well"), user("go on"))) == (
        user("q"), Message("assistant", (Text("Well"),)), user("go on"),
    )  # fmt: skip
    assert continued((user("q"), called(cut))) == (user("q"),)
    kept = continued((user("q"), called(CALL, cut)))
    assert kept == (user("q"), Message("assistant", (CALL,)), lost("c1"))


def test_a_call_that_somebody_has_answered_stays_whatever_its_arguments_are():
    odd = called(ToolCall("c1", "f", "{"))
    said = (user("q"), odd, result("c1"), Message("assistant", (Text("a"),)))
    assert continued(said) == said
    assert continued((user("q"), odd), {"c1"}) == (user("q"), odd)
    twice = continued((user("q"), odd, result("c1"), odd, user("go on")))  # the same id again: that one is nobody's
    assert twice == (user("q"), odd, result("c1"), user("go on"))


def test_a_call_without_a_result_is_said_to_have_lost_it():
    assert continued((*ASKED, user("go on"))) == (*ASKED, lost("c1"), user("go on"))
    free = called(ToolCall("c1", "f", "no {json", kind="custom"))
    assert continued((user("q"), free)) == (user("q"), free, lost("c1"))


def test_a_call_that_is_answered_now_stands_last_and_what_failed_since_before_it():
    assert continued(ASKED, {"c1"}) == ASKED
    assert continued((*ASKED, user("go on"), user("hello?")), {"c1"}) == (
        user("q"), user("go on"), user("hello?"), called(CALL),
    )  # fmt: skip
    two = called(CALL, ToolCall("c2", "f", "{}"))
    assert continued((user("q"), two, result("c2"), user("go on")), {"c1"}) == (
        user("q"), user("go on"), two, result("c2"),
    )  # fmt: skip
    assert continued((user("q"), two, user("go on")), {"c1"}) == (user("q"), user("go on"), two, lost("c2"))


def test_a_result_that_comes_too_late_for_its_call_is_left_out():
    late = (*ASKED, user("go on"), Message("assistant", (Text("ok"),)), result("c1"), user("and?"))
    assert continued(late) == (*ASKED, lost("c1"), *late[2:4], user("and?"))


def test_a_history_of_many_calls_is_looked_through_once_however_many_results_are_sent():
    def continuing(n: int):
        history = [message for at in range(n) for message in (called(ToolCall(f"c{at}", "f", "{}")), result(f"c{at}"))]
        answered = {f"new_{at}" for at in range(n)}
        return lambda: continued(history, answered)

    assert lasts_evenly(continuing, 1500)


def by_name(id: str, name: str = "f") -> Message:
    part = ToolResult(id, (Text("42"),), name, by_name=True)
    return Message("tool", (part,), native=Native("openai_chat", b"{}"))


def test_what_is_given_by_the_name_of_a_function_answers_the_open_call_of_that_name_in_the_newest_answer():
    two = called(ToolCall("c2", "f"), ToolCall("c3", "g"), ToolCall("c4", "f"))
    said = (*ASKED, by_name("call_f"), two, by_name("call_g", "g"), result("c2"), user("x"), by_name("call_f"))
    assert joined(said) == (*ASKED, by_name("c1"), two, by_name("c3", "g"), result("c2"), user("x"), by_name("c4"))


def test_what_no_open_call_has_asked_for_stays_what_it_is():
    said = (*ASKED, by_name("call_g", "g"), by_name("c1"), by_name("call_f"), result("c9"))
    assert joined(said) == said
    assert joined((*ASKED, Message("assistant", (Text("a"),)), by_name("call_f")))[-1] == by_name("call_f")


def test_many_results_by_name_find_their_calls_at_once():
    def joining(n: int):
        said = [called(*(ToolCall(f"c{at}", "f") for at in range(n))), *[by_name("call_f")] * n]
        return lambda: joined(said)

    assert lasts_evenly(joining, 1500)
