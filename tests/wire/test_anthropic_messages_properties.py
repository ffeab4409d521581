"""Any split of a stream reads the same; what is written is read back the same; nothing odd raises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midstream.core.dialect import Say
from midstream.core.errors import Garbled, Refused
from midstream.core.events import (
    Answer,
    Attempted,
    Choice,
    Delta,
    Done,
    Event,
    Failed,
    Marked,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    Used,
    fold,
)
from midstream.core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    Message,
    Part,
    Reasoning,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages as dialect
from midstream.wire.strict_json import read_object

NAME = dialect.NAME
SAY = Say("msg_ours", 1, "asked")
quick = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)

words = st.text('ab {}"\\\n\u2028é😀', min_size=1, max_size=8)
names = st.text("abc_", min_size=1, max_size=4)
caches = st.none() | st.just(Cache()) | st.just(Cache("1h"))
arguments = st.dictionaries(names, st.integers() | words, max_size=2).map(lambda one: msgspec.json.encode(one).decode())
citations = st.builds(
    lambda url: Citation(
        url, state=State(NAME, {"type": "web_search_result_location", "url": url, "encrypted_index": "e"})
    ),
    names,
)
#: What can be sent: the service refuses a text of white space alone.
sayings = words.filter(str.strip)
texts = st.builds(Text, sayings)
cited = st.builds(Text, words, st.lists(citations, max_size=2).map(tuple))
thoughts = st.builds(lambda text, signature: Reasoning(text, state=State(NAME, {"signature": signature})), words, names)
redacted = st.builds(lambda data: Reasoning(state=State(NAME, {"type": "redacted_thinking", "data": data})), names)
calls = st.builds(ToolCall, names, names, arguments)
hosted = st.builds(
    lambda id, q: Foreign(
        "server_tool_use", State(NAME, {"type": "server_tool_use", "id": id, "name": "w", "input": {"q": q}})
    ),
    names,
    words,
)
answer_parts = st.lists(
    cited | thoughts | redacted | calls | hosted,
    max_size=5,
    unique_by=lambda part: ("call", part.id) if isinstance(part, ToolCall) else id(part),
).map(tuple)
counts = st.integers(0, 999)
usages = st.builds(
    Usage,
    uncached_in=counts,
    cache_read=counts,
    cache_write_5m=counts,
    cache_write_1h=counts,
    out_text=counts,
    out_reasoning=counts,
    searches=counts,
)
stops = st.sampled_from(
    [
        ("stop", "end_turn", None),
        ("stop", "stop_sequence", "X"),
        ("length", "max_tokens", None),
        ("length", "model_context_window_exceeded", None),
        ("tool_calls", "tool_use", None),
        ("content_filter", "refusal", None),
        ("pause", "pause_turn", None),
    ]
)
answers = st.builds(
    lambda parts, stop, usage: Answer("msg_1", "claude", 0, (Choice(parts, *stop),), usage), answer_parts, stops, usages
)


def read(data: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(data), *reader.finish()]


@quick
@given(answers)
def test_an_answer_written_is_read_back_the_same(answer: Answer) -> None:
    back = dialect.read_answer(dialect.write_answer(answer, SAY))
    assert msgspec.structs.replace(back, native=None) == answer


def cut(text: str, at: int) -> tuple[str, str]:
    return text[:at], text[at:]


@st.composite
def told(draw: st.DrawFn) -> tuple[Answer, list[Event]]:
    """An answer, and its events as a service might tell them: in pieces, tool calls side by side."""
    answer = draw(answers)
    parts = answer.choices[0].parts
    tracks: list[list[Event]] = []
    for index, part in enumerate(parts):
        text = part.arguments if isinstance(part, ToolCall) else getattr(part, "text", "")
        empty = part
        if isinstance(part, ToolCall):
            empty = msgspec.structs.replace(part, arguments="")
        elif isinstance(part, Text):
            empty = Text("")
        elif isinstance(part, Reasoning) and part.text:
            empty = Reasoning()
        head, tail = cut(text, draw(st.integers(0, 9)))
        track: list[Event] = [PartStarted(index, empty), Delta(index, head), Delta(index, tail)]
        if isinstance(part, Text) and part.citations:
            track.append(Marked(index, citations=part.citations))
        if isinstance(part, Reasoning | Foreign) and part.state:
            track.append(Marked(index, part.state))
        tracks.append([*track, PartEnded(index)])
    body: list[Event] = [track.pop(0) for track in tracks]
    while any(tracks):
        track = draw(st.sampled_from([track for track in tracks if track]))
        body.append(track.pop(0))
    choice = answer.choices[0]
    stopped = Stopped(choice.stop, choice.native_stop, choice.sequence)
    return answer, [Started("msg_1", "claude"), *body, stopped, Used(answer.usage), Done()]


@quick
@given(told())
def test_a_stream_written_is_read_back_the_same(case: tuple[Answer, list[Event]]) -> None:
    answer, events = case
    assert fold(events) == answer
    assert fold(read(dialect.answer_writer(SAY).write([Attempted("p", "another"), *events]))) == answer


@quick
@given(told(), st.data())
def test_any_split_of_a_stream_gives_the_same_events(case: tuple[Answer, list[Event]], data: st.DataObject) -> None:
    stream = dialect.answer_writer(SAY).write([Attempted("p", "another"), *case[1]])
    places = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    reader = dialect.answer_reader()
    events: list[Event] = []
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        events += reader.feed(stream[start:end])
    assert [*events, *reader.finish()] == read(stream)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["", "x", "text", "tool_use", "thinking", "end_turn"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "content", "id", "usage", "stop_reason", "input_tokens", "error", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
         "message_stop", "error", "ping", "x", 3]  # fmt: skip
odd_events = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "index": st.integers(-1, 3) | JSON,
        "delta": st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta", "x"]
                )
            },
            optional={"text": JSON, "partial_json": JSON, "citation": JSON, "stop_reason": JSON},
        )
        | JSON,
        "content_block": JSON,
        "message": JSON,
        "usage": JSON,
        "error": JSON,
    },
)


@quick
@given(st.lists(odd_events | st.binary(max_size=6), max_size=6))
def test_no_stream_however_odd_raises_and_every_one_ends(sent: list[Any]) -> None:
    data = b"".join(one if isinstance(one, bytes) else b"data: " + json.dumps(one).encode() + b"\n\n" for one in sent)
    events = read(data)
    assert isinstance(events[-1], Done | Failed)
    assert not any(isinstance(event, Done | Failed) for event in events[:-1])
    for dialect_name in (NAME, "another"):
        dialect.answer_writer(SAY).write([Attempted("p", dialect_name), *events])


@quick
@given(st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_however_odd_is_more_than_garbled(body: bytes) -> None:
    assert isinstance(outcome(body), Answer | Garbled | Refused)
    assert dialect.read_error(500, {}, body).status == 500


def outcome(body: bytes) -> Any:
    try:
        return dialect.read_answer(body)
    except (Garbled, Refused) as error:
        return error


# --- requests


images = st.builds(Media, st.just("image"), st.just("image/png"), data=st.just("iVBORw0KGgo="), cache=caches)
links = st.builds(Media, st.just("image"), url=names.map("https://{}".format))
files = st.builds(
    Media, st.just("file"), st.just("application/pdf"), data=st.just("JVBERi0="), name=st.none() | names, cache=caches
)
results = st.builds(
    ToolResult,
    names,
    st.lists(texts | links, min_size=1, max_size=2).map(tuple),
    is_error=st.booleans(),
)
users = st.lists(texts | images | links | files, min_size=1, max_size=3).map(
    lambda parts: Message("user", tuple(parts))
)
assistants = st.lists(
    texts | thoughts | redacted | calls,
    min_size=1,
    max_size=3,
    unique_by=lambda part: ("call", part.id) if isinstance(part, ToolCall) else id(part),  # what can be sent
).map(lambda parts: Message("assistant", tuple(parts)))
tools_messages = st.lists(results, min_size=1, max_size=2).map(lambda parts: Message("tool", tuple(parts)))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    system = draw(st.lists(st.builds(Text, sayings, cache=st.just(Cache())), max_size=2))
    messages = [Message("system", tuple(system))] if system else []
    messages.append(draw(users))
    for _ in range(draw(st.integers(0, 2))):
        messages += [draw(assistants), draw(users | tools_messages)]
    return tuple(messages)


schemas = st.dictionaries(names, st.just({"type": "string"}), max_size=2).map(
    lambda properties: {"type": "object", "properties": properties, "additionalProperties": False}
)
tools = st.builds(Tool, names, st.none() | words, schemas, st.none() | st.just(True))
params = st.builds(
    Params,
    max_tokens=st.integers(4000, 5000),
    temperature=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 9),
    stop=st.lists(names, max_size=2).map(tuple),
    user=st.none() | names,
    service_tier=st.none() | st.just("auto"),
    format=st.none() | st.builds(Format, st.just("json_schema"), schemas),
)


def unmarked(prompt: Prompt) -> Prompt:
    """Without what a reader adds: the messages' own bytes, the names looked up; and more marks than may be."""
    encoded = msgspec.to_builtins(prompt)
    for message in encoded["messages"]:
        message.pop("native", None)
        for part in message["parts"]:
            part.pop("cache", None)
            if part["type"] == "ToolResult":
                part.pop("name", None)
    return msgspec.convert(encoded, Prompt)


def with_called_tools(prompt: Prompt) -> Prompt:
    """Calls are refused where no tools are given: the called ones are named then, and may not be called again."""
    calls = (part for message in prompt.messages for part in message.parts if isinstance(part, ToolCall))
    called = dict.fromkeys(call.name for call in calls)
    if prompt.tools or not called:
        return prompt
    empty: dict[str, object] = {"type": "object", "properties": {}}
    named = tuple(Tool(name, None, empty) for name in called)
    return msgspec.structs.replace(prompt, tools=named, tool_choice=ToolChoice("none"))


@quick
@given(conversations(), st.lists(tools, max_size=2), params)
def test_a_request_written_is_read_back_the_same(
    messages: tuple[Message, ...], offered: list[Tool], params: Params
) -> None:
    prompt = Prompt(messages, tuple(offered), ToolChoice("auto") if offered else None, params)
    turn = Turn("another", {}, lambda _: prompt, model="x")
    asked = dialect.write_ask(Plan(turn, "m", False))
    marks = msgspec.json.encode(prompt).count(b'"cache":{')
    assert asked.dropped == (("cache_control",) if marks > 4 else ())
    assert asked.body.count(b'"cache_control":') == min(marks, 4)
    back = dialect.read_ask(read_object(asked.body))
    assert unmarked(back) == unmarked(with_called_tools(prompt))


@quick
@given(st.sampled_from([None, "minimal", "low", "medium", "high", "max"]), st.integers(-1, 9000), st.integers(1, 9000))
def test_a_thinking_budget_is_always_allowed(effort: str | None, budget: int, limit: int) -> None:
    prompt = Prompt(
        (Message("user", (Text("x"),)),), params=Params(max_tokens=limit, thinking=Thinking(effort, budget))
    )
    turn = Turn("another", {}, lambda _: prompt, model="x")
    asked = dialect.write_ask(Plan(turn, "m", False))
    thinking = json.loads(asked.body).get("thinking")
    if thinking is None:
        assert asked.dropped
    elif thinking["type"] == "enabled":
        assert 1024 <= thinking["budget_tokens"] < limit


@quick
@given(st.lists(st.text(max_size=6), max_size=6, unique=True))
def test_changed_ids_stay_apart(ids: list[str]) -> None:
    parts: tuple[Part, ...] = tuple(ToolCall(id, "f") for id in ids if id)
    turn = Turn("another", {}, lambda _: Prompt((Message("assistant", parts or (Text("x"),)),)), model="x")
    content = json.loads(dialect.write_ask(Plan(turn, "m", False)).body)["messages"][1]["content"]
    if parts:
        assert len({block["id"] for block in content}) == len(parts)


def test_a_call_id_that_a_provider_uses_twice_becomes_two() -> None:
    calls = [ToolCall("a", "f", "{}"), ToolCall("a", "g", "{}")]
    events: list[Event] = [Attempted("p", "another"), Started("msg_1", "claude")]
    for index, call in enumerate(calls):
        events += [PartStarted(index, call), PartEnded(index)]
    written = dialect.answer_writer(SAY).write([*events, Stopped("tool_calls"), Done()])
    assert [part.id for part in fold(read(written)).choices[0].parts if isinstance(part, ToolCall)] == ["a", "a_1"]
