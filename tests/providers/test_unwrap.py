"""The call that is the answer becomes text, whole and streamed alike."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from midstream.core.events import (
    Answer,
    Choice,
    Delta,
    Event,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    fold,
    unfold,
)
from midstream.core.outcome import StopReason
from midstream.core.parts import Native, Part, Text, ToolCall
from midstream.core.usage import Usage
from midstream.providers._unwrap import Unwrapping, unwrapped

FORM = "place"
JSON = '{"city":"Oslo","n":[1,2]}'


class Scripted:
    """An AnswerReader that gives one list of events per piece."""

    def __init__(self, *lists: list[Event]) -> None:
        self._lists = [*lists]

    def feed(self, data: bytes) -> list[Event]:
        return self._lists.pop(0)

    def finish(self) -> list[Event]:
        return []


def turned(events: Iterable[Event]) -> list[Event]:
    return Unwrapping(Scripted(list(events)), FORM).feed(b"x")


def answer(*parts: Part, stop: StopReason = "tool_calls") -> Answer:
    return Answer("msg_1", "m", 0, (Choice(parts, stop, "tool_use"),), Usage(1), Native("anthropic_messages", b"{}"))


def test_the_answer_is_text_and_stops_as_text_does() -> None:
    [choice] = unwrapped(answer(ToolCall("a", FORM, JSON)), FORM).choices
    assert (choice.parts, choice.stop) == ((Text(JSON),), "stop")


def test_the_providers_own_bytes_which_tell_of_the_call_are_gone() -> None:
    assert unwrapped(answer(ToolCall("a", FORM, JSON)), FORM).native is None
    streamed = turned([PartStarted(0, ToolCall("a", FORM), native=b"data"), Delta(0, JSON, native=b"data")])
    assert [event.native for event in streamed] == [None, None]


def test_a_call_of_the_callers_own_tools_stays_one() -> None:
    said = answer(ToolCall("a", "look", "{}"))
    assert unwrapped(said, FORM).choices == said.choices
    [choice] = unwrapped(answer(ToolCall("a", "look", "{}"), ToolCall("b", FORM, JSON)), FORM).choices
    assert (choice.parts, choice.stop) == ((ToolCall("a", "look", "{}"), Text(JSON)), "tool_calls")


def test_an_answer_that_was_cut_off_is_still_called_that() -> None:
    [choice] = unwrapped(answer(ToolCall("a", FORM, '{"ci'), stop="length"), FORM).choices
    assert (choice.parts, choice.stop) == ((Text('{"ci'),), "length")


def test_an_empty_input_is_an_empty_object() -> None:
    [choice] = unwrapped(answer(ToolCall("a", FORM)), FORM).choices
    assert choice.parts == (Text("{}"),)
    streamed = turned([PartStarted(0, ToolCall("a", FORM)), Delta(0, ""), PartEnded(0), Stopped("tool_calls")])
    assert fold(streamed).choices[0].parts == (Text("{}"),)


def test_a_body_in_one_piece_where_a_stream_was_asked_for_is_turned_too() -> None:
    [whole] = turned([Whole(answer(ToolCall("a", FORM, JSON)), b"{}")])
    assert isinstance(whole, Whole)
    assert (whole.answer.choices[0].parts, whole.native, whole.answer.native) == ((Text(JSON),), None, None)


names = st.sampled_from([FORM, "look", "other"])
calls = st.builds(ToolCall, st.just("a"), names, st.sampled_from(["", "{}", JSON]))
parts = st.lists(calls | st.builds(Text, st.sampled_from(["", "hm"])), max_size=4)


def streamed(said: Answer, size: int) -> list[Event]:
    """The events of a stream that brings arguments in pieces of this size."""
    out: list[Event] = []
    for event in unfold(said):
        if isinstance(event, PartStarted) and isinstance(event.part, ToolCall):
            call = event.part
            out.append(PartStarted(event.index, ToolCall(call.id, call.name), native=b"x"))
            text = call.arguments
            out += [Delta(event.index, text[at : at + size], native=b"x") for at in range(0, len(text), size)]
        else:
            out.append(event)
    return out


@given(parts, st.sampled_from(["tool_calls", "length", "stop"]), st.integers(1, 9), st.integers(0, 20))
def test_streamed_and_whole_come_to_the_same(parts: list[Part], stop: StopReason, size: int, cut: int) -> None:
    said = answer(*parts, stop=stop)
    events = streamed(said, size)
    reader = Unwrapping(Scripted(events[:cut], events[cut:]), FORM)
    came = fold([*reader.feed(b"x"), *reader.feed(b"x"), *reader.finish()])
    assert came.choices == unwrapped(said, FORM).choices


def test_everything_else_passes() -> None:
    events: list[Event] = [Started("i", "m", 1), Used(Usage(3), tier="flex")]
    assert turned(events) == events
