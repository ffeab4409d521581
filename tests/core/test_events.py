from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from midstream.core.errors import Cut
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Concluded,
    Counted,
    Delta,
    Done,
    Embedded,
    Event,
    Failed,
    Fold,
    Gave,
    Marked,
    Opened,
    PartEnded,
    PartStarted,
    Passed,
    Started,
    Stopped,
    ToolEnded,
    ToolNoted,
    ToolStarted,
    Used,
    Whole,
    fold,
    unfold,
    visible,
)  # fmt: skip
from midstream.core.outcome import Outcome
from midstream.core.parts import Citation, Foreign, Media, Reasoning, Refusal, State, Text, ToolCall
from midstream.core.usage import Usage

texts = st.text(max_size=8)
states = st.none() | st.builds(State, st.sampled_from(["openai_chat", "gemini"]), texts)
citations = st.lists(st.builds(Citation, url=texts), max_size=2).map(tuple)
parts = st.one_of(
    st.builds(Text, texts, citations, st.none(), states),
    st.builds(Reasoning, texts, st.booleans(), states),
    st.builds(ToolCall, texts, texts, texts, st.sampled_from(["function", "custom"]), st.none(), states),
    st.builds(Media, st.just("image"), data=texts, state=states),
    st.builds(Refusal, texts),
    st.builds(Foreign, texts, st.builds(State, texts, texts)),
)
counts = st.integers(0, 10**6)
usages = st.builds(Usage, uncached_in=counts, cache_read=counts, out_text=counts, estimated=st.booleans())
stops = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", "pause"])


def choice(inside: tuple[Any, ...], stop: Any, native: str, sequence: str | None, logprobs: tuple[Any, ...]) -> Choice:
    return Choice(inside, stop, native, sequence, logprobs if inside else ())


choices = st.builds(
    choice, st.lists(parts, max_size=4).map(tuple), stops, texts, st.none() | texts,
    st.lists(texts, max_size=2).map(tuple),
)  # fmt: skip
answers = st.builds(Answer, texts, texts, counts, st.lists(choices, max_size=3).map(tuple), usages)


@given(answers)
def test_folding_what_an_answer_unfolds_to_gives_the_answer(answer: Answer):
    assert fold([*unfold(answer), Done()]) == answer


@given(answers)
def test_an_answer_in_one_piece_folds_to_itself(answer: Answer):
    assert fold([Attempted("p", "d"), Whole(answer), Done()]) == answer


def in_pieces(answer: Answer) -> list[Event]:
    """The same answer as a stream would bring it: empty parts that grow by single letters."""
    events: list[Event] = [Started(answer.id, answer.model, answer.created)]
    for number, one in enumerate(answer.choices):
        for index, part in enumerate(one.parts):
            if isinstance(part, Text):
                events.append(PartStarted(index, Text(""), number))
                events += [Delta(index, letter, number) for letter in part.text]
                events += [Marked(index, part.state, (citation,), choice=number) for citation in part.citations]
                events.append(Marked(index, part.state, choice=number))
            elif isinstance(part, ToolCall):
                events.append(PartStarted(index, ToolCall(part.id, part.name, kind=part.kind), number))
                events += [Delta(index, letter, number) for letter in part.arguments]
                events.append(Marked(index, part.state, choice=number))
            elif isinstance(part, Reasoning):
                events.append(PartStarted(index, Reasoning(summary=part.summary), number))
                events += [Delta(index, letter, number) for letter in part.text]
                events.append(Marked(index, part.state, choice=number))
            else:
                events.append(PartStarted(index, part, number))
            events.append(PartEnded(index, number))
        events += [Marked(0, logprobs=(token,), choice=number) for token in one.logprobs]
        events.append(Stopped(one.stop, one.native_stop, one.sequence, number))
    before = Used(Usage(uncached_in=min(answer.usage.total_tokens, 1)))  # which a count of nothing would not replace
    return [*events, before, Used(answer.usage), Done()]


@given(answers)
def test_the_pieces_of_a_stream_fold_to_the_same_answer(answer: Answer):
    assert fold(in_pieces(answer)) == answer


@given(answers, st.data())
def test_parts_that_overlap_in_time_fold_to_the_same_answer(answer: Answer, data: st.DataObject):
    lanes: dict[Any, list[Event]] = {}
    for event in in_pieces(answer)[1:-3]:
        lanes.setdefault((getattr(event, "choice", 0), getattr(event, "index", -1)), []).append(event)
    mixed: list[Event] = []
    while lanes:
        lane = data.draw(st.sampled_from(sorted(lanes)))
        mixed.append(lanes[lane].pop(0))
        if not lanes[lane]:
            del lanes[lane]
    # Log-probabilities append in the order they come, whatever part they name.
    assume(not any(isinstance(event, Marked) and event.logprobs for event in mixed))
    assert fold([Started(answer.id, answer.model, answer.created), *mixed, Used(answer.usage)]) == answer


def test_a_choice_that_has_not_stopped_has_stopped_in_error():
    folding = Fold()
    for event in (PartStarted(0, Text("")), Delta(0, "half")):
        folding.add(event)
    assert folding.answer().choices == (Choice((Text("half"),), "error"),)


def test_a_failure_is_raised_and_what_came_before_it_stays_readable():
    events = [PartStarted(0, Text("")), Delta(0, "half"), Failed(Cut("cut"))]
    with pytest.raises(Cut):
        fold(events)
    folding = Fold()
    for event in events:
        folding.add(event)
    assert folding.ended
    assert folding.answer().choices[0].parts == (Text("half"),)


def test_usage_is_the_last_one_said_and_none_when_nothing_was_said():
    folding = Fold()
    assert folding.usage is None
    folding.add(Used(Usage(out_text=1)))
    folding.add(Used(Usage(out_text=7)))
    assert folding.usage == Usage(out_text=7)
    folding.add(Gave(Embedded("m", (), Usage(uncached_in=2))))
    assert folding.usage == Usage(uncached_in=2)


def test_a_count_of_nothing_does_not_replace_one_of_something():
    folding = Fold()
    folding.extend([PartStarted(0, Text("x")), Used(Usage(3, out_text=7)), Used(Usage(), None, "flex", "0.1")])
    assert (folding.usage, folding.counted, folding.passed_over) == (Usage(3, out_text=7), True, True)
    assert (folding.tier, folding.billed) == ("flex", "0.1")
    folding.add(Used(Usage(3, out_text=8)))
    assert (folding.usage, folding.passed_over) == (Usage(3, out_text=8), False)


SEEN: list[tuple[Event, bool]] = [
    (Attempted("p", "d"), False),
    (Started("id"), False),
    (Used(Usage()), False),
    (Passed(b": ping\n\n"), False),
    (Passed(b"data: a piece of a sound", output=True), True),
    (Marked(0, State("d", 1)), False),
    (PartEnded(0), False),
    (PartStarted(0, Text("")), False),
    (PartStarted(0, Text("x")), True),
    (PartStarted(0, Reasoning()), False),
    (PartStarted(0, Reasoning("x")), True),
    (PartStarted(0, Refusal("")), False),
    (PartStarted(0, ToolCall("id", "name")), True),
    (PartStarted(0, Media("image", data="")), True),
    (PartStarted(0, Foreign("k", State("d", 1))), True),
    (Delta(0, ""), False),
    (Delta(0, "x"), True),
    (Stopped("stop"), True),
    (Whole(Answer()), True),
    (Gave(Counted(1)), True),
    (Done(), True),
    (Failed(Cut("cut")), True),
    # Logged by an agent's turn itself, between its model calls: never held back.
    (Opened("conv_1", "msg_1"), True),
    (ToolStarted("call", "name", {}), True),
    (ToolNoted("call", "half way"), True),
    (ToolEnded("call", "name", "ok", "text"), True),
    (Concluded(Outcome("text")), True),
]


@pytest.mark.parametrize("event, seen", SEEN)
def test_what_the_caller_can_see_is_what_no_other_attempt_may_repeat(event: Event, seen: bool):
    assert visible(event) is seen


def test_every_kind_of_event_is_judged():
    assert {type(event) for event, _ in SEEN} == set(get_args(Event))


@given(st.lists(st.text(max_size=9) | st.sampled_from(["x" * 5000, "é" * 3000, "\ud83d", "\ude00"]), max_size=12))
def test_a_text_folds_into_exactly_its_pieces_however_long_they_are(pieces: list[str]):
    folding = Fold()
    folding.extend([PartStarted(0, Text("")), *(Delta(0, piece) for piece in pieces)])
    for _ in range(2):  # asking for it changes nothing
        assert folding.answer().choices[0].parts == (Text("".join(pieces)),)
