"""What a service of OpenAI Responses does with its own tools is nothing for the caller to answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Event, fold
from midstream.core.parts import Foreign, State, Text, ToolCall
from midstream.wire import anthropic_messages, gemini, openai_chat
from midstream.wire import openai_responses as dialect

#: As xAI tells a search of X: the caller asked for `x_search`, and offered nothing of this name.
SEARCH = {
    "type": "custom_tool_call", "id": "ctc_1_xs_call_1", "call_id": "xs_call_1", "name": "x_keyword_search",
    "input": '{"query":"cats"}', "status": "completed",
}  # fmt: skip
SAID = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "cats purr", "annotations": []}],
}  # fmt: skip
MINE = {"type": "custom_tool_call", "id": "ctc_2", "call_id": "c2", "name": "patch", "input": "*** x"}
HOSTED = {"type": "x_search"}
SAY = Say("id", 1, "m")


def response(tools: list[dict[str, Any]], *output: dict[str, Any]) -> dict[str, Any]:
    return {"id": "r1", "object": "response", "model": "grok", "status": "completed", "tools": tools, "output": output}


def events_of(tools: list[dict[str, Any]], *output: dict[str, Any]) -> list[Event]:
    whole = response(tools, *output)
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**whole, "output": []}}]
    for place, item in enumerate(output):
        at = {"output_index": place, "item_id": item["id"]}
        empty = {**item, "input": "", "status": "in_progress"} if "input" in item else {**item, "content": []}
        events.append({"type": "response.output_item.added", "output_index": place, "item": empty})
        if "input" in item:
            kind = "response.custom_tool_call_input"
            events.append({"type": f"{kind}.delta", **at, "delta": item["input"]})
            events.append({"type": f"{kind}.done", **at, "input": item["input"]})
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    events.append({"type": "response.completed", "response": whole})
    reader = dialect.answer_reader()
    read = reader.feed(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events))
    return [*read, *reader.finish()]


def streamed(tools: list[dict[str, Any]], *output: dict[str, Any]) -> Answer:
    return fold(events_of(tools, *output))


def whole(tools: list[dict[str, Any]], *output: dict[str, Any]) -> Answer:
    return dialect.read_answer(json.dumps(response(tools, *output)).encode())


both_ways = pytest.mark.parametrize("read", [whole, streamed])


@both_ways
def test_a_search_that_the_service_made_itself_is_no_call_of_the_callers(read: Any):
    [choice] = read([HOSTED, {"type": "function", "name": "f"}], SEARCH, SAID).choices
    assert choice.stop == "stop"
    searched, said = choice.parts
    assert searched == Foreign("custom_tool_call", State(dialect.NAME, SEARCH))
    assert isinstance(said, Text)
    assert said.text == "cats purr"


@both_ways
def test_a_call_of_a_tool_that_was_offered_beside_it_stays_one(read: Any):
    for offered in (
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "n", "tools": [{"name": "patch"}]},
    ):
        [choice] = read([HOSTED, offered], SEARCH, MINE).choices
        assert choice.stop == "tool_calls"
        [call] = [part for part in choice.parts if isinstance(part, ToolCall)]
        assert (call.id, call.name, call.arguments, call.kind) == ("c2", "patch", "*** x", "custom")


@both_ways
@pytest.mark.parametrize("tools", [[], [{"type": "function", "name": "f"}], [{"type": "custom", "name": "other"}]])
def test_where_a_service_says_of_no_tool_of_its_own_every_call_is_the_callers(read: Any, tools: list[dict[str, Any]]):
    [choice] = read(tools, MINE).choices
    assert choice.stop == "tool_calls"
    assert [type(part) for part in choice.parts] == [ToolCall]


@pytest.mark.parametrize("other", [openai_chat, anthropic_messages, gemini], ids=lambda one: str(one.NAME))
def test_callers_of_other_formats_hear_nothing_of_it(other: Any):
    written = other.write_answer(whole([HOSTED], SEARCH, SAID), SAY)
    frames = other.answer_writer(SAY).write([Attempted("up", dialect.NAME), *events_of([HOSTED], SEARCH, SAID)])
    reader = other.answer_reader()
    for told in (other.read_answer(written), fold([*reader.feed(frames), *reader.finish()])):
        [choice] = told.choices
        assert [part.text for part in choice.parts if isinstance(part, Text)] == ["cats purr"]
        assert (len(choice.parts), choice.stop) == (1, "stop")
    assert b"x_keyword_search" not in written + frames
