"""The offline model does what its description says, word for word."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import Cut, Refused
from midstream.core.events import Answer, Attempted, Delta, Done, Event, Failed, Started, Stopped, Used, fold
from midstream.core.parts import Message, Text, ToolCall, text_of
from midstream.core.turn import Plan
from midstream.providers import midstream
from midstream.providers._instance import instance_of

from .asking import turn_of
from .cases import CALLS, PNG, RESULTS, SCHEMA, TIME, WEATHER
from .checking import fits


def events_of(text: str, seconds: float = 5.0, history: tuple[Message, ...] = (), **more: Any) -> list[Event]:
    """All events of its answer, or those that came within the time."""
    events: list[Event] = []
    turn = turn_of({"messages": [{"role": "user", "content": text}], **more})

    def emit(batch: Any, size: int) -> bool:
        events.extend(batch)
        return True

    async def run() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(midstream.answer(Plan(turn, "rehearsal", turn.stream, history), emit), seconds)

    asyncio.run(run())
    return events


def answer_of(text: str, **more: Any) -> Answer:
    return fold(events_of(text, **more))


def said(text: str, **more: Any) -> str:
    return text_of(answer_of(text, **more).choices[0].parts)


def calls(text: str, **more: Any) -> list[ToolCall]:
    return [part for part in answer_of(text, **more).choices[0].parts if isinstance(part, ToolCall)]


def test_it_says_what_it_is_and_repeats_the_last_words_with_their_count():
    assert said("Hello there, you") == "This is the rehearsal model. You said (3 words): Hello there, you"
    assert said("Hello") == "This is the rehearsal model. You said (1 word): Hello"
    assert answer_of("Hello").model == "rehearsal"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_the_same_question_has_the_same_answer_streamed_or_not(text: str):
    plain = re.compile(r"cut|stall|fail:|pace|say")
    if plain.search(text):
        return
    whole = answer_of(text)
    assert answer_of(text, stream=True) == whole
    assert answer_of(text) == whole


def test_a_stream_comes_word_by_word():
    deltas = [event.text for event in events_of("say 4 words", stream=True) if isinstance(event, Delta)]
    assert deltas == ["word1 ", "word2 ", "word3 ", "word4"]


@pytest.mark.parametrize("count", [0, 1, 7, 1200])
def test_say_n_words_is_an_answer_of_n_words_and_words_are_its_tokens(count: int):
    answer = answer_of(f"please say {count} words")
    assert len(text_of(answer.choices[0].parts).split()) == count
    assert answer.usage.output_tokens == count
    assert answer.usage.input_tokens == 4


def test_nobody_makes_it_talk_for_ever():
    assert len(said("say 999999999 words").split()) == midstream.MAX_WORDS


def test_pace_is_waited_between_the_words_of_a_stream_only():
    began = time.monotonic()
    events_of("say 4 words pace 30", stream=True)
    assert time.monotonic() - began >= 0.09
    began = time.monotonic()
    events_of("say 400 words pace 1000")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
def test_fail_refuses_with_that_status_and_nothing_else(status: int):
    with pytest.raises(Refused) as refused:
        events_of(f"fail:{status}")
    assert refused.value.status == status
    assert refused.value.staged


def test_cut_breaks_off_in_the_middle_without_an_end():
    events = events_of("say 10 words, then cut", stream=True)
    assert sum(isinstance(event, Delta) for event in events) == 5
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, Cut)


def test_stall_begins_and_then_says_nothing_more():
    events = events_of("stall now", 0.05, stream=True)
    assert sum(isinstance(event, Delta) for event in events) == 1
    assert not any(isinstance(event, Done | Failed | Stopped) for event in events)


def test_a_stop_sequence_ends_it_before_itself_and_is_told():
    for stop, text, sequence in (
        ("word3", "word1 word2 ", "word3"),
        (["never", "rd4", "word3"], "word1 word2 ", "word3"),
        ("2 w", "word1 word", "2 w"),
        ("word1", "", "word1"),
        (["never", ""], "word1 word2 word3 word4 word5", None),
    ):
        answer = answer_of("say 5 words", stop=stop)
        [stopped] = [event for event in events_of("say 5 words", stop=stop) if isinstance(event, Stopped)]
        assert (text_of(answer.choices[0].parts), stopped.reason, stopped.sequence) == (text, "stop", sequence)
    short = [event for event in events_of("say 5 words", stop="word4", max_tokens=2) if isinstance(event, Stopped)]
    assert [(event.reason, event.sequence) for event in short] == [("length", None)]


def test_a_limit_of_tokens_ends_it_by_length():
    answer = answer_of("say 10 words", max_completion_tokens=3)
    assert text_of(answer.choices[0].parts).split() == ["word1", "word2", "word3"]
    assert answer.choices[0].stop == "length"
    assert answer_of("say 3 words", max_completion_tokens=3).choices[0].stop == "stop"


def test_a_tool_that_is_named_is_called_with_arguments_made_from_its_schema():
    [call] = calls("what is the weather", tools=[WEATHER, TIME])
    assert call.name == "weather"
    assert fits(msgspec.json.decode(call.arguments), WEATHER["function"]["parameters"])
    assert answer_of("what is the weather", tools=[WEATHER]).choices[0].stop == "tool_calls"


def test_several_tools_that_are_named_are_called_at_once_with_ids_of_their_own():
    made = calls("weather and time please", tools=[WEATHER, TIME])
    assert [call.name for call in made] == ["weather", "time"]
    assert len({call.id for call in made}) == 2


def test_a_tool_that_is_not_named_is_not_called():
    assert calls("hello", tools=[WEATHER, TIME]) == []


@pytest.mark.parametrize(
    "more, names",
    [
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "auto"}, ["weather", "time"]),
        ({"tool_choice": {"type": "function", "function": {"name": "time"}}}, ["time"]),
        ({"parallel_tool_calls": False}, ["weather"]),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {
                "mode": "auto", "tools": [{"type": "function", "function": {"name": "time"}}]}}},
            ["time"],
        ),
    ],
)  # fmt: skip
def test_what_the_caller_says_of_tools_holds(more: dict[str, Any], names: list[str]):
    assert [call.name for call in calls("weather and time", tools=[WEATHER, TIME], **more)] == names


@pytest.mark.parametrize(
    "more, names",
    [
        ({"logprobs": True, "top_logprobs": 3}, ("logprobs", "top_logprobs")),
        ({"logprobs": True, "top_logprobs": 0}, ("logprobs",)),
        ({"modalities": ["text", "audio"], "audio": {"voice": "ash"}}, ("modalities", "audio")),
        ({"logprobs": False, "modalities": ["text"], "temperature": 0.5, "seed": 1}, ()),
    ],
)
def test_what_its_answers_cannot_show_is_named(more: dict[str, Any], names: tuple[str, ...]):
    [begun] = [event for event in events_of("Hello", **more) if isinstance(event, Attempted)]
    assert begun.dropped == names


def test_a_required_tool_is_called_though_none_is_named():
    assert [call.name for call in calls("hello", tools=[TIME, WEATHER], tool_choice="required")] == ["time"]


def test_a_custom_tool_gets_text_not_json():
    tool = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}
    [call] = calls("use the shell", tools=[tool])
    assert (call.kind, call.arguments) == ("custom", "use the shell")


def test_results_of_tools_are_reported_and_not_asked_for_again():
    messages = [{"role": "user", "content": "weather and time"}, CALLS, *RESULTS]
    answer = answer_of("", messages=messages, tools=[WEATHER, TIME])
    text = text_of(answer.choices[0].parts)
    assert "weather said: rain" in text
    assert "time said: noon" in text
    assert answer.choices[0].stop == "stop"


def test_a_long_result_is_reported_by_its_beginning_and_its_length():
    long = {"role": "tool", "tool_call_id": CALLS["tool_calls"][0]["id"], "content": "rain " * 400_000}
    messages = [{"role": "user", "content": "weather"}, CALLS, long]
    text = said("", messages=messages, tools=[WEATHER, TIME])
    assert "weather said: rain rain" in text
    assert text.endswith("... (2000000 characters)")
    assert len(text) < 11_000


def test_a_second_round_of_calls_has_new_ids():
    messages = [{"role": "user", "content": "weather"}, CALLS, *RESULTS, {"role": "user", "content": "weather again"}]
    [call] = calls("", messages=messages, tools=[WEATHER])
    assert call.id not in {"call_1", "call_2", "call_rehearsal_1"}


def test_a_json_schema_is_answered_with_a_valid_instance():
    form = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA}}
    value = msgspec.json.decode(said("hello", response_format=form))
    assert fits(value, SCHEMA)
    assert value == instance_of(SCHEMA)
    assert msgspec.json.decode(said("hello", response_format={"type": "json_object"})) == {}


def test_images_are_acknowledged():
    image = {"type": "image_url", "image_url": {"url": PNG}}
    content = [{"type": "text", "text": "look"}, image, image]
    assert said("", messages=[{"role": "user", "content": content}]).endswith("I was also given 2 files.")


def test_stored_history_counts_as_said_before():
    history = (Message("user", (Text("one two"),)), Message("assistant", (Text("three"),)))
    assert fold(events_of("four", history=history)).usage.input_tokens == 4


def test_its_events_follow_the_grammar():
    events = events_of("say 3 words", stream=True)
    assert [type(event) for event in events[:2]] == [Attempted, Started]
    assert [type(event) for event in events[-3:]] == [Used, Stopped, Done]
