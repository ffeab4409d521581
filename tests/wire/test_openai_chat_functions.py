"""Callers who offer `functions`, which came before `tools`, get what they can read: one `function_call`."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from msgspec import Raw
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Choice, Done, Whole, fold, unfold
from midstream.core.parts import Native, Text, ToolCall
from midstream.core.turn import Plan, Turn
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses

OTHERS = (openai_responses, anthropic_messages, gemini)
SAY = Say("chatcmpl-x", 5, "alias", function_call=True)
FUNCTIONS = [{"name": "f", "parameters": {"type": "object"}}, {"name": "g"}]
TOOLS = [{"type": "function", "function": one} for one in FUNCTIONS]
CALLS = (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}"))
CALLED = Answer("a1", "m", 1, (Choice((Text("so"), *CALLS), "tool_calls"), Choice(CALLS[1:], "tool_calls")))


def asked(dialect: ModuleType, **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    members = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    fields = {name: Raw(json.dumps(value).encode()) for name, value in members.items()}
    old = openai_chat.offers_functions(fields)
    turn = Turn(openai_chat.NAME, fields, openai_chat.read_ask, model="m", function_call=old)
    written = dialect.write_ask(Plan(turn, "m", False))
    return json.loads(written.body), written.dropped


def chunks(stream: bytes) -> list[dict[str, Any]]:
    *frames, end = stream.decode().removesuffix("\n\n").split("\n\n")
    assert end == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def told(stream: bytes, number: int) -> list[dict[str, Any]]:
    said = (choice for chunk in chunks(stream) for choice in chunk["choices"] if choice["index"] == number)
    return [choice["delta"]["function_call"] for choice in said if "function_call" in choice["delta"]]


def test_who_offers_functions_and_no_tools_reads_a_function_call() -> None:
    def offers(**body: Any) -> bool:
        return openai_chat.offers_functions({name: Raw(json.dumps(value).encode()) for name, value in body.items()})

    assert all((offers(functions=FUNCTIONS), offers(functions=FUNCTIONS, tools=[])))
    assert offers(functions=FUNCTIONS, tools=None)
    assert not any((offers(), offers(functions=[]), offers(functions=None), offers(functions=FUNCTIONS, tools=TOOLS)))


def test_other_services_are_asked_for_one_call_at_a_time_and_nothing_is_said_to_be_lost() -> None:
    assert asked(openai_responses, functions=FUNCTIONS)[0]["parallel_tool_calls"] is False
    body, _ = asked(anthropic_messages, functions=FUNCTIONS, function_call="auto")
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert [asked(dialect, functions=FUNCTIONS)[1] for dialect in OTHERS] == [(), (), ()]
    assert asked(gemini, functions=FUNCTIONS, parallel_tool_calls=False)[1] == ("parallel_tool_calls",)
    assert "parallel_tool_calls" not in asked(openai_responses, tools=TOOLS)[0]


def test_a_whole_answer_tells_the_first_call() -> None:
    body = openai_chat.write_answer(CALLED, SAY)
    first, second = ChatCompletion.model_validate_json(body, strict=True).choices
    assert first.message.function_call is not None
    assert second.message.function_call is not None
    assert (first.message.function_call.name, first.message.function_call.arguments) == ("f", '{"a":1}')
    assert (first.finish_reason, first.message.content, first.message.tool_calls) == ("function_call", "so", None)
    assert (second.finish_reason, second.message.function_call.name, second.message.content) == (
        "function_call",
        "g",
        None,
    )


@pytest.mark.parametrize("arguments", ['{"a":1}', ""])
@pytest.mark.parametrize("dialect", OTHERS)
def test_a_stream_tells_the_first_call(dialect: ModuleType, arguments: str) -> None:
    """From the events of the service, whatever it tells with a call's beginning."""
    service = Answer("a1", "m", 1, (Choice((Text("so"), ToolCall("c1", "f", arguments), CALLS[1]), "tool_calls"),))
    reader, writer = dialect.answer_reader(), openai_chat.answer_writer(SAY)
    events = reader.feed(dialect.answer_writer(Say("", 0, "")).write((Attempted("p", "x"), *unfold(service), Done())))
    stream = writer.write((Attempted("p", dialect.NAME), *events, *reader.finish()))
    first, *rest = told(stream, 0)
    assert first["name"] == "f"
    assert all("name" not in one for one in rest)
    assert json.loads("".join(one["arguments"] for one in (first, *rest))) == json.loads(arguments or "{}")
    assert chunks(stream)[-1]["choices"][0]["finish_reason"] == "function_call"
    assert b"tool_calls" not in stream.replace(b'"native_finish_reason":"tool_calls"', b"")
    assert all(ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks(stream))


def test_each_choice_of_a_stream_has_its_call() -> None:
    stream = openai_chat.answer_writer(SAY).write((Attempted("p", "x"), *unfold(CALLED), Done()))
    assert [told(stream, number)[0]["name"] for number in (0, 1)] == ["f", "g"]
    again = openai_chat.answer_reader()
    answer = fold((*again.feed(stream), *again.finish()))
    assert [[p.name for p in one.parts if isinstance(p, ToolCall)] for one in answer.choices] == [["f"], ["g"]]


def test_an_answer_without_a_call_ends_as_always() -> None:
    body = json.loads(openai_chat.write_answer(Answer(choices=(Choice((Text("so"),), "stop"),)), SAY))
    assert body["choices"][0]["finish_reason"] == "stop"
    assert "function_call" not in body["choices"][0]["message"]


def test_what_a_service_of_the_same_dialect_says_stays_as_it_is() -> None:
    tool_calls = openai_chat.write_answer(CALLED, Say("", 0, ""))
    answer = Answer(choices=CALLED.choices, native=Native(openai_chat.NAME, tool_calls))
    assert openai_chat.write_answer(answer, SAY) == tool_calls
    stream = openai_chat.answer_writer(Say("", 0, "")).write((Attempted("p", "x"), Whole(CALLED), Done()))
    reader = openai_chat.answer_reader()
    events = (Attempted("p", openai_chat.NAME), *reader.feed(stream), *reader.finish())
    assert b'"tool_calls":[{' in openai_chat.answer_writer(SAY).write(events)
