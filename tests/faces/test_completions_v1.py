from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.dialect import Say
from midstream.core.errors import MidstreamError
from midstream.core.events import Attempted, Delta, Done, Event, PartStarted, Whole, fold
from midstream.core.parts import Media, Text
from midstream.core.turn import Plan
from midstream.core.web import Request
from midstream.faces import completions_v1 as face
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from tests.growing import grows_evenly, lasts_evenly

from . import golden_v1 as golden

SAY = Say("cmpl_1", 1, "asked")


def read(body: dict[str, Any]) -> Any:
    return face.read("chat", Request("POST", "/api/v1/completions", {}, {}, {}, "req_1", msgspec.json.encode(body)))


def lines(written: bytes) -> list[Any]:
    assert written.endswith(b"\n")
    return [msgspec.json.decode(line) for line in written[:-1].split(b"\n")]


@pytest.mark.parametrize("body, prompt", golden.PROMPTS)
def test_every_field_reaches_the_prompt(body: dict[str, Any], prompt: Any):
    turn = read(body)
    assert turn.prompt == prompt
    assert turn.agent is None
    assert not turn.stream
    assert read({**body, "stream": True}).stream


@pytest.mark.parametrize("dialect", [openai_chat, openai_responses, anthropic_messages, gemini])
@pytest.mark.parametrize("body, prompt", golden.PROMPTS)
def test_every_format_of_providers_can_carry_it(body: dict[str, Any], prompt: Any, dialect: Any):
    asked = dialect.write_ask(Plan(read(body), "the-model", False))
    assert prompt.messages[0].parts[0].text in asked.body.decode()
    assert set(asked.dropped) <= {"messages[1].name", "messages.name", "name", "messages.content.filename"}


@pytest.mark.parametrize(
    "dialect, dropped",
    [
        (openai_chat, ()), (openai_responses, ()), (anthropic_messages, ("messages.content.detail",)),
        (gemini, ("detail",)),
    ],
)  # fmt: skip
def test_how_closely_a_picture_is_looked_at_is_carried_or_named(dialect: Any, dropped: tuple[str, ...]):
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    turn = read({"model": "m", "messages": [{"role": "user", "content": [picture]}]})
    assert turn.prompt.messages[0].parts == (
        Media("image", url="https://example.org/a.png", detail="low", place="messages[0]"),
    )
    asked = dialect.write_ask(Plan(turn, "the-model", False))
    assert asked.dropped == dropped
    assert (b'"detail":"low"' in asked.body) == (not dropped)


@pytest.mark.parametrize("given", [{"toolCalls": [], "toolCallId": "", "isError": False}, {"tool_calls": None}])
def test_what_says_nothing_is_refused_in_no_role(given: dict[str, Any]):
    piece = {"type": "text", "text": "hi", "url": None, "name": ""}
    turn = read({"model": "m", "messages": [{"role": "user", "content": [piece], **given}]})
    assert turn.prompt.messages == golden.PROMPTS[0][1].messages


@pytest.mark.parametrize("body, refused", golden.COMPLETIONS_REFUSED)
def test_what_does_not_fit_is_refused_by_its_field(body: dict[str, Any], refused: tuple[int, str, str]):
    with pytest.raises(MidstreamError) as error:
        read(body)
    assert (error.value.status, error.value.param, error.value.code) == refused
    assert error.value.message.startswith(refused[1])


def test_a_request_is_read_in_steps_that_grow_with_its_tools():
    def reading(n: int):
        tools = [{"name": f"f{at}"} for at in range(n)]
        return lambda: read({"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools})

    assert grows_evenly(reading)


def test_an_answer_is_told_in_a_time_that_grows_as_it_does():
    def telling(n: int):
        events = [Attempted("p", "another"), PartStarted(0, Text("")), *[Delta(0, "more " * 50)] * n, Done()]
        return lambda: face.writer(read(golden.PROMPTS[0][0]), SAY).write(events)

    assert lasts_evenly(telling)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_an_answer_is_told_line_by_line(size: int):
    writer = face.writer(read(golden.PROMPTS[0][0]), SAY)
    events = golden.ANSWERED
    written = b"".join(writer.write(events[at : at + size]) for at in range(0, len(events), size))
    assert lines(written) == golden.LINES


def test_the_same_in_one_piece():
    assert msgspec.json.decode(face.DIALECT.write_answer(fold(golden.ANSWERED), SAY)) == golden.COMPLETION


def test_an_answer_that_came_in_one_piece_says_the_same():
    written = face.Lines(SAY).write([Attempted("p", ""), Whole(fold(golden.ANSWERED)), Done()])
    told = lines(written)
    assert [one["type"] for one in told] == [
        "text_delta_start", "text_delta", "text_delta_end", "tool_call_start", "tool_call_delta", "tool_call_end",
        "usage", "finish",
    ]  # fmt: skip
    assert told[-3:] == golden.LINES[-3:]


def test_a_failure_in_the_middle_is_the_last_line():
    events: list[Event] = [*golden.ANSWERED[:7], golden.FAILED]
    told = lines(face.Lines(SAY).write(events))
    assert told[:2] == golden.LINES[:2]
    assert told[-1] == golden.FAILED_LINE
    assert "finish" not in {one["type"] for one in told}


def test_pictures_are_told_and_broken_arguments_are_shown_as_they_are():
    written = face.Lines(SAY).write([PartStarted(0, Media("image", "image/png", data="aGk="))])
    assert lines(written) == [{"type": "image", "mimeType": "image/png", "url": None, "data": "aGk="}]
    assert face._arguments('{"a":') == '{"a":'
    assert face._arguments("") == {}


@given(st.lists(st.text(max_size=9), max_size=6))
def test_every_text_is_one_line_each_and_adds_up(texts: list[str]):
    events: list[Event] = [PartStarted(0, Text("")), *(Delta(0, text) for text in texts), Done()]
    told = lines(face.Lines(SAY).write(events))
    assert "".join(one["delta"] for one in told if one["type"] == "text_delta") == "".join(texts)
    assert [one["type"] for one in told][-3:] == ["text_delta_end", "usage", "finish"]
