"""JSON that a model was asked for in words alone: without a fence around it, and an error when it is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Cut, Garbled
from midstream.core.events import (
    Answer,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    Whole,
    fold,
)
from midstream.core.outcome import StopReason
from midstream.core.parts import Native, Part, Reasoning, Refusal, Text, ToolCall
from midstream.core.usage import Usage
from midstream.providers._by_word import LookedAt, looked_at

from .test_unwrap import Scripted

JSON = '{"city":"Oslo","n":[1,2]}'
USAGE = Usage(uncached_in=3, out_text=2)


def answer(*parts: Part, stop: StopReason = "stop") -> Answer:
    return Answer("msg_1", "m", 0, (Choice(parts, stop, "end_turn"),), USAGE, Native("anthropic_messages", b"{}"))


def streamed(
    text: str, cuts: list[int], stop: StopReason = "stop", *, sequence: str | None = None, kind: str = "object"
) -> list[Event]:
    """The events of a text in pieces, each read by itself, as a looking reader gives them."""
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    said: list[Event] = [
        Started("msg_1", "m"), PartStarted(0, Reasoning()), Delta(0, "hm"), PartEnded(0),
        PartStarted(1, Text(pieces[0])), *(Delta(1, piece) for piece in pieces[1:]), PartEnded(1),
        Stopped(stop, "end_turn", sequence), Used(USAGE), Done(),
    ]  # fmt: skip
    reader = LookedAt(Scripted(*([msgspec.structs.replace(one, native=b"x")] for one in said)), kind)
    return [event for _ in said for event in reader.feed(b"x")]


@pytest.mark.parametrize("text", [JSON, f" \n{JSON}\n", f"```json\n{JSON}\n```", f"```\n{JSON}\n``` ", f"\ufeff{JSON}"])
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_an_object_comes_bare_however_it_is_wrapped_and_cut(text: str, cuts: list[int]) -> None:
    whole, done = looked_at(answer(Text(text)), "object")
    assert isinstance(whole, Whole)
    [part] = whole.answer.choices[0].parts
    assert isinstance(part, Text)
    assert part.text.strip() == JSON
    assert (whole.answer.native, done) == (None, Done())
    events = streamed(text, cuts)
    assert all(event.native is None for event in events)
    folded = fold(events).choices[0]
    assert folded.parts[0] == Reasoning("hm")
    assert isinstance(folded.parts[1], Text)
    assert folded.parts[1].text.strip() == JSON
    assert (folded.stop, events[-1]) == ("stop", Done())


NONE = {
    "nothing": "", "prose": "Of course! {}", "a list": "[1]", "half": '{"a":', "a fence in prose": "a```",
}  # fmt: skip


@pytest.mark.parametrize("text", NONE.values(), ids=NONE.keys())
@given(cuts=st.lists(st.integers(0, 20), max_size=3))
def test_what_is_none_ends_in_an_error_whose_tokens_are_known_and_which_is_not_asked_for_again(
    text: str, cuts: list[int]
) -> None:
    for events in (list(looked_at(answer(Text(text)), "object")), streamed(text, cuts)):
        assert not any(isinstance(event, Stopped | Done | Whole) for event in events)
        assert Used(USAGE) in events
        failed = events[-1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, Garbled)
        assert (failed.error.code, failed.error.retryable) == ("response_invalid", False)
        assert failed.error.staged, "the provider is well"
        assert "Of course" not in failed.error.message, "errors are kept where answers may not be"


@pytest.mark.parametrize("stop", ["length", "tool_calls", "content_filter"])
def test_an_answer_that_stopped_for_another_reason_is_what_it_is(stop: Any) -> None:
    [whole, done] = looked_at(answer(Text('{"a":'), stop=stop), "object")
    assert isinstance(whole, Whole)
    assert (whole.answer.choices[0].parts, done) == ((Text('{"a":'),), Done())
    assert streamed('{"a":', [], stop)[-1] == Done()


def test_a_refusal_is_an_answer_whole_and_streamed() -> None:
    (whole, _) = looked_at(answer(Refusal("I will not.")), "object")
    assert isinstance(whole, Whole)
    said = [
        Started("msg_1", "m"), PartStarted(0, Refusal("")), Delta(0, "I will not."), PartEnded(0),
        Stopped("stop", "stop"), Used(USAGE), Done(),
    ]  # fmt: skip
    reader = LookedAt(Scripted(*([one] for one in said)), "object")
    events = [event for _ in said for event in reader.feed(b"x")]
    assert fold(events).choices[0].parts == whole.answer.choices[0].parts == (Refusal("I will not."),)


def test_an_answer_that_the_callers_own_stop_sequence_has_cut_is_what_it_is() -> None:
    cut = Answer("msg_1", "m", 0, (Choice((Text('{"a":1'),), "stop", "stop_sequence", "}"),), USAGE)
    assert isinstance(looked_at(cut, "object")[0], Whole)
    assert streamed('{"a":1', [], sequence="}")[-1] == Done()


@pytest.mark.parametrize("text", ["[1]", "3", '"Oslo"'])
def test_where_any_json_was_asked_for_any_will_do(text: str) -> None:
    assert isinstance(looked_at(answer(Text(text)), "value")[0], Whole)
    assert streamed(text, [], kind="value")[-1] == Done()
    assert isinstance(streamed("Oslo", [], kind="value")[-1], Failed)


def test_calls_pass_and_a_cut_stays_a_cut() -> None:
    [whole, _] = looked_at(answer(ToolCall("a", "f", "{}"), stop="tool_calls"), "object")
    assert isinstance(whole, Whole)
    assert whole.answer.choices[0].parts == (ToolCall("a", "f", "{}"),)
    cut = Failed(Cut("the stream ended"))
    reader = LookedAt(Scripted([PartStarted(0, Text("")), Delta(0, "```js"), cut]), "object")
    assert reader.feed(b"x") == [PartStarted(0, Text("")), cut]
    piece = LookedAt(Scripted([Whole(answer(Text(f"```\n{JSON}\n```"))), Done()]), "object")
    assert fold(piece.feed(b"x")).choices[0].parts == (Text(JSON),)


def test_an_answer_in_one_piece_within_a_stream_is_looked_at_as_others_are() -> None:
    for text, end in ((JSON, Done), ("no JSON", Failed)):
        reader = LookedAt(Scripted([Whole(answer(Text(text)))], [Done()]), "object")
        events = [*reader.feed(b"x"), *reader.feed(b"x")]
        assert type(events[-1]) is end
        assert (end is Done) == any(isinstance(event, Whole) for event in events)
