"""Every text of a streamed response is told several times (deltas, done, the item, the whole response), and services
mix up the ids and places by which the repetitions are known. It must be read once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.events import Choice, fold
from midstream.core.parts import Reasoning, Text, ToolCall
from midstream.wire import openai_responses as dialect

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm hm"}]}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
SECOND_CALL = {**CALL, "id": "fc_2", "call_id": "c2"}

Told = tuple[str, dict[str, Any]]


def message(*texts: str) -> dict[str, Any]:
    return {**SAID, "content": [{"type": "output_text", "text": text, "annotations": []} for text in texts]}


def told(output: list[dict[str, Any]]) -> Iterator[Told]:
    """The events of a response as OpenAI sends them, between the first and the last."""
    for place, item in enumerate(output):
        at: dict[str, Any] = {"output_index": place, "item_id": item["id"]}
        start = {**item, "summary": []} if item["type"] == "reasoning" else {**item, "content": [], "arguments": ""}
        yield "output_item.added", {"output_index": place, "item": start}
        for number, part in enumerate(item.get("summary", ())):
            yield from _pieces("reasoning_summary_text", part["text"], {**at, "summary_index": number})
        for number, part in enumerate(item.get("content", ())):
            here = {**at, "content_index": number}
            yield "content_part.added", {**here, "part": {**part, "text": ""}}
            yield from _pieces("output_text", part["text"], here)
            yield "content_part.done", {**here, "part": part}
        if "arguments" in item:
            yield from _pieces("function_call_arguments", item["arguments"], at, "arguments")
        yield "output_item.done", {"output_index": place, "item": item}


def _pieces(kind: str, whole: str, at: dict[str, Any], name: str = "text") -> Iterator[Told]:
    for letter in whole:
        yield f"{kind}.delta", {**at, "delta": letter}
    yield f"{kind}.done", {**at, name: whole}


def read(events: list[Told], output: list[dict[str, Any]]) -> Choice:
    response = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": output}
    whole = [("created", {"response": {**response, "output": []}}), *events, ("completed", {"response": response})]
    reader = dialect.answer_reader()
    frames = b"".join(
        b"data: %b\n\n" % json.dumps({"type": f"response.{kind}", **more}).encode() for kind, more in whole
    )
    return fold([*reader.feed(frames), *reader.finish()]).choices[0]


def words(choice: Choice) -> list[tuple[type, str]]:
    return [
        (type(part), part.arguments if isinstance(part, ToolCall) else part.text)
        for part in choice.parts
        if isinstance(part, ToolCall | Reasoning | Text)
    ]


def without(events: list[Told], *names: str) -> list[Told]:
    """The events without these members, and their items without ids when those are among them."""
    out: list[Told] = []
    for kind, fields in events:
        kept = {name: value for name, value in fields.items() if name not in names}
        if "item_id" in names and "item" in kept:
            kept["item"] = {name: value for name, value in kept["item"].items() if name != "id"}
        out.append((kind, kept))
    return out


def rotated(events: list[Told]) -> list[Told]:
    """Every event with an id of its own, as one service writes them."""
    out: list[Told] = []
    for number, (kind, fields) in enumerate(events):
        fields = {**fields, "item_id": f"id_{number}"}
        if "item" in fields:
            fields["item"] = {**fields["item"], "id": f"id_{number}"}
        out.append((kind, fields))
    return out


def at_first(events: list[Told]) -> list[Told]:
    """Every event at place 0, whatever it tells of."""
    return [(kind, {**fields, "output_index": 0}) for kind, fields in events]


def in_deltas_at_first(events: list[Told]) -> list[Told]:
    """Only the pieces of text at place 0, and without the item's name."""
    return [
        (kind, {name: 0 if name == "output_index" else value for name, value in fields.items() if name != "item_id"})
        if "text" in kind or "part" in kind
        else (kind, fields)
        for kind, fields in events
    ]


SHAPES = {
    "as it should be": lambda events: events,
    "no item ids": lambda events: without(events, "item_id"),
    "no places of items": lambda events: without(events, "output_index"),
    "no places of parts": lambda events: without(events, "content_index"),
    "no places at all": lambda events: without(events, "output_index", "content_index"),
    "neither ids nor places": lambda events: without(events, "item_id", "output_index", "content_index"),
    "an id for each event": rotated,
    "everything first": at_first,
    "everything first and no ids": lambda events: at_first(without(events, "item_id")),
    "text without its item, first": in_deltas_at_first,
}
#: Announcements and repetitions: what may be left out without losing words, if one of them stays.
REPEATED = ["output_text.delta", "output_text.done", "content_part.done", "output_item.done"]
ANNOUNCED = ["content_part.added"]
OUTPUTS = [
    [message("Hello")],
    [THOUGHT, message("Hello")],
    [THOUGHT, message("Hello"), CALL],
    [THOUGHT, CALL, SECOND_CALL],
]


@given(
    st.sampled_from(OUTPUTS),
    st.sampled_from(sorted(SHAPES)),
    st.sets(st.sampled_from([*REPEATED, *ANNOUNCED])),
    st.booleans(),
    st.sampled_from(["same", "other ids", "nothing", "message only"]),
)
def test_no_text_is_read_twice(
    output: list[dict[str, Any]], shape: str, left_out: set[str], again: bool, last: str
) -> None:
    """again: the items' ends come twice. last: what the terminal event repeats."""
    if "output_item.done" in left_out and len(output) > 1 and "no" in shape.split():
        left_out = left_out - {"output_item.done"}  # nothing would tell one call from the next
    events = [event for event in told(output) if event[0] not in left_out]
    if again:
        events += [event for event in events if event[0] == "output_item.done"]
    repeated = {
        "same": output,
        "other ids": [{**item, "id": f"{item['id']}_z"} for item in output],
        "nothing": [] if not left_out >= set(REPEATED) else output,
        "message only": [item for item in output if item["type"] == "message"],
    }[last]
    want = [
        (Reasoning, "hm hm") if item["type"] == "reasoning"
        else (ToolCall, '{"a":1}') if "arguments" in item
        else (Text, "Hello")
        for item in output
    ]  # fmt: skip
    found = words(read(SHAPES[shape](events), repeated))
    assert sorted(found, key=str) == sorted(want, key=str)  # what only the last event tells comes last


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_two_messages_stay_two(shape: str) -> None:
    output = [message("one"), {**message("two"), "id": "msg_2"}]
    events = SHAPES[shape](list(told(output)))
    assert words(read(events, output)) == [(Text, "one"), (Text, "two")]


@pytest.mark.parametrize("shape", ["as it should be", "no item ids", "an id for each event", "everything first"])
def test_two_parts_of_a_message_stay_two(shape: str) -> None:
    output = [message("one", "one")]
    assert words(read(SHAPES[shape](list(told(output))), output)) == [(Text, "one"), (Text, "one")]


@given(st.permutations(range(4)))
def test_the_ends_of_a_text_may_come_in_any_order(order: list[int]) -> None:
    events = list(told([message("Hello")]))
    ends = [*events[-3:], ("output_text.delta", {**events[2][1], "delta": "Hello"})]
    opening = events[:-3]
    assert words(read([*opening, *[ends[at] for at in order if at != 3], ends[3]], [message("Hello")])) == [
        (Text, "Hello")
    ]


@pytest.mark.parametrize("pieces", [["Hel", "lo"], ["Hello"], ["Hello", " you"], [], ["Hel"]])
def test_text_in_the_opening_events_is_told_once(pieces: list[str]) -> None:
    opening = [
        ("output_item.added", {"output_index": 0, "item": message("Hello")}),
        ("content_part.added", {"output_index": 0, "content_index": 0, "part": message("Hello")["content"][0]}),
    ]
    deltas = [("output_text.delta", {"output_index": 0, "content_index": 0, "delta": piece}) for piece in pieces]
    want = max("".join(pieces), "Hello", key=len)
    for output in ([message(want)], []):
        assert words(read([*opening, *deltas], output)) == [(Text, want)]


def test_a_text_that_goes_on_from_its_opening_event_is_whole() -> None:
    part = {"output_index": 0, "content_index": 0}
    opening = ("content_part.added", {**part, "part": {"type": "output_text", "text": "Hello"}})
    deltas = [("output_text.delta", {**part, "delta": piece}) for piece in ("He", " said")]
    assert words(read([opening, *deltas], [])) == [(Text, "HelloHe said")]
