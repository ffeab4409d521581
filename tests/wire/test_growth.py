"""Twice as much costs twice as much, and not four times: see tests/growing.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from midstream.core.dialect import Say
from midstream.core.events import Attempted, Delta, Done, Event, Marked, PartEnded, PartStarted, Started, Stopped, fold
from midstream.core.parts import Citation, Text, ToolCall
from midstream.core.turn import Plan, Prompt, Turn
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from midstream.wire.strict_json import read_members
from tests.growing import grows_evenly, lasts_evenly

DIALECTS: dict[str, ModuleType] = {one.NAME: one for one in (openai_chat, openai_responses, anthropic_messages, gemini)}
SAY = Say("id", 1, "m", True)
USER = {"role": "user", "content": "hi"}
MARK = {"type": "ephemeral"}
MARKED = {"type": "text", "text": "hi", "cache_control": MARK}
Body = Callable[[int], dict[str, Any]]


def chat_calls(n: int) -> list[dict[str, Any]]:
    return [{"id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for at in range(n)]


def chat_results(n: int) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": f"c{at}", "content": "r"} for at in range(n)]


def functions(n: int) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": f"f{at}"}} for at in range(n)]


def tool_use(id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": {}}


def function_call(id: str) -> dict[str, Any]:
    return {"functionCall": {"id": id, "name": "f", "args": {}}}


def file(data: str) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}", "filename": "a.pdf"}}


CHAT: dict[str, Body] = {
    "users": lambda n: {"messages": [USER] * n},
    "assistants": lambda n: {"messages": [USER, *[{"role": "assistant", "content": "yes"}] * n]},
    "in turn": lambda n: {"messages": [USER, {"role": "assistant", "content": "yes"}] * n},
    "systems": lambda n: {"messages": [*[{"role": "system", "content": "s"}] * n, USER]},
    "systems among them": lambda n: {"messages": [USER, *[{"role": "system", "content": "s"}] * n]},
    "calls": lambda n: {"messages": [USER, {"role": "assistant", "tool_calls": chat_calls(n)}, *chat_results(n)]},
    "results": lambda n: {"messages": [USER, *chat_results(n)]},
    "parts": lambda n: {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}] * n}]},
    "marks": lambda n: {"messages": [{"role": "user", "content": [MARKED]}] * n},
    "tools": lambda n: {"messages": [USER], "tools": functions(n)},
    "functions": lambda n: {"messages": [USER], "functions": [one["function"] for one in functions(n)]},
    "allowed tools": lambda n: {
        "messages": [USER],
        "tools": functions(n),
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": functions(n)}},
    },
    "stop words": lambda n: {"messages": [USER], "stop": [f"s{at}" for at in range(n)]},
    "unknown fields": lambda n: {"messages": [USER], **{f"x{at}": 1 for at in range(n)}},
}  # fmt: skip
CLAUDE: dict[str, Body] = {
    "users": lambda n: {"messages": [USER] * n},
    "calls": lambda n: {
        "messages": [
            {"role": "assistant", "content": [tool_use(f"c{at}") for at in range(n)]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"c{at}"} for at in range(n)]},
        ]
    },
    "systems": lambda n: {"messages": [USER], "system": [{"type": "text", "text": "s", "cache_control": MARK}] * n},
}  # fmt: skip
GOOGLE: dict[str, Body] = {
    "users": lambda n: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}] * n},
    "calls without ids": lambda n: {
        "contents": [
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}] * n},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}] * n},
        ]
    },
    "calls with ids": lambda n: {
        "contents": [
            {"role": "model", "parts": [function_call(f"c{at}") for at in range(n)]},
            {"role": "user", "parts": [{"functionResponse": {"id": f"c{at}", "response": {}}} for at in range(n)]},
        ]
    },
    "tools": lambda n: {
        "contents": [{"parts": [{"text": "hi"}]}],
        "tools": [{"functionDeclarations": [{"name": f"f{at}"} for at in range(n)]}],
    },
}  # fmt: skip
REQUESTS = [
    pytest.param(asker, body, id=f"{asker.NAME} {name}")
    for asker, bodies in ((openai_chat, CHAT), (anthropic_messages, CLAUDE), (gemini, GOOGLE))
    for name, body in bodies.items()
]


def asked(asker: ModuleType, body: dict[str, Any]) -> Plan:
    fields, *_ = read_members(json.dumps({"model": "m", "max_tokens": 9, **body}).encode())
    return Plan(Turn(asker.NAME, fields, asker.read_ask, model="m"), "m", False)


@pytest.mark.parametrize(("asker", "body"), REQUESTS)
def test_a_request_is_read_in_steps_that_grow_as_it_does(asker: ModuleType, body: Body) -> None:
    def reading(n: int) -> Callable[[], Prompt]:
        plan = asked(asker, body(n))
        return lambda: plan.turn.prompt

    assert grows_evenly(reading)


@pytest.mark.parametrize("answerer", DIALECTS)
@pytest.mark.parametrize(("asker", "body"), REQUESTS)
def test_a_request_is_written_in_steps_that_grow_as_it_does(asker: ModuleType, body: Body, answerer: str) -> None:
    def writing(n: int) -> Callable[[], Any]:
        plan = asked(asker, body(n))
        assert plan.turn.prompt
        return lambda: DIALECTS[answerer].write_ask(plan)

    assert grows_evenly(writing)


@pytest.mark.parametrize(
    ("answerer", "body"),
    [
        ("openai_responses", CHAT["allowed tools"]),
        ("anthropic_messages", CHAT["allowed tools"]),
        ("anthropic_messages", lambda n: {"messages": [USER], "tools": [{"type": f"hosted_{at}"} for at in range(n)]}),
        ("gemini", lambda n: {"messages": [{"role": "user", "content": [file("AAAA")] * n}]}),
    ],
    ids=["allowed tools, responses", "allowed tools, claude", "left out", "named files"],
)
def test_what_is_looked_up_in_a_request_is_found_without_looking_through_all_of_it(answerer: str, body: Body) -> None:
    def writing(n: int) -> Callable[[], Any]:
        plan = asked(openai_chat, body(n))
        assert plan.turn.prompt
        return lambda: DIALECTS[answerer].write_ask(plan)

    assert lasts_evenly(writing)


# answers


def answer(*parts: Event) -> list[Event]:
    return [Attempted("p", "another"), Started("id", "m", 1), *parts, Stopped("stop"), Done()]


def called(n: int) -> list[Event]:
    each = ((PartStarted(at, ToolCall(f"c{at}", "f")), Delta(at, "{}"), PartEnded(at)) for at in range(n))
    return answer(*(event for three in each for event in three))


def called_at_once(n: int) -> list[Event]:
    begun = [PartStarted(at, ToolCall(f"c{at}", "f")) for at in range(n)]
    return answer(*begun, *(Delta(at, "{}") for at in range(n)), *(PartEnded(at) for at in range(n)))


def spoken(n: int) -> list[Event]:
    return answer(PartStarted(0, Text("")), *[Delta(0, "more ")] * n, PartEnded(0))


def cited(n: int) -> list[Event]:
    told = (
        Marked(0, citations=(Citation(url=f"https://a.example/{at}", title="t", start=0, end=1),)) for at in range(n)
    )
    return answer(PartStarted(0, Text("x")), *told, PartEnded(0))


ANSWERS = {"calls": called, "calls at once": called_at_once, "deltas": spoken, "citations": cited}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("events", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_written_and_read_in_steps_that_grow_as_it_does(
    dialect: str, events: Callable[[int], list[Event]]
) -> None:
    wire = DIALECTS[dialect]

    def writing(n: int) -> Callable[[], Any]:
        coming = events(n)
        return lambda: wire.answer_writer(SAY).write(coming)

    def reading(n: int) -> Callable[[], Any]:
        stream = wire.answer_writer(SAY).write(events(n))

        def read() -> None:
            reader = wire.answer_reader()
            for frame in stream.split(b"\n\n"):
                reader.feed(frame + b"\n\n")

        return read

    assert grows_evenly(writing)
    assert grows_evenly(reading)


def test_citations_are_folded_and_grounded_without_looking_through_all_of_them() -> None:
    def folding(n: int) -> Callable[[], Any]:
        coming = cited(n)
        return lambda: gemini.write_answer(fold(coming), SAY)

    assert lasts_evenly(folding)


def test_reasoning_details_are_put_together_without_looking_through_all_of_them() -> None:
    def reading(n: int) -> Callable[[], Any]:
        details = [{"type": "reasoning.text", "text": "t", "index": at} for at in range(n)]
        chunk = {"choices": [{"index": 0, "delta": {"reasoning_details": details}}]}
        stream = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        return lambda: openai_chat.answer_reader().feed(stream)

    assert grows_evenly(reading)
