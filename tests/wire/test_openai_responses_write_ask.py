"""Requests, written from a Plan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.core.json_words import JSON_ONLY
from midstream.core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    Message,
    Native,
    Reasoning,
    Refusal,
    State,
    Text,
    ToolCall,
    ToolResult,
)  # fmt: skip
from midstream.core.turn import Asked, Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire import openai_responses as dialect
from midstream.wire.strict_json import read_object

MINE = dialect.NAME


def _plan(prompt: Prompt, dialect_of_turn: str = "another", **more: Any) -> Plan:
    """A plan for a turn of another dialect."""
    turn = Turn(dialect_of_turn, {}, lambda _: prompt, model="x")
    return Plan(turn, **{"model": "m", "stream": False, **more})


def _write(prompt: Prompt, **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = dialect.write_ask(_plan(prompt, **more))
    return json.loads(asked.body), asked.dropped


def _says(*parts: Any, role: Any = "user") -> Prompt:
    return Prompt((Message(role, parts),))


def _same(request: str, **more: Any) -> Asked:
    fields = read_object(request.encode())
    turn = Turn(MINE, fields, dialect.read_ask, model="x")
    return dialect.write_ask(Plan(turn, "up", **{"stream": False, **more}))


# writing: the same dialect


def test_only_model_and_stream_are_patched_in_place() -> None:
    asked = _same('{"input": [ 1.0 ],"model":"a","stream" : true, "x_new":{"b" :1e2}, "store":false}')
    assert asked.body == b'{"input":[ 1.0 ],"model":"up","stream":false,"x_new":{"b" :1e2},"store":false}'
    assert asked.dropped == ()


def test_fields_that_this_server_acts_on_are_not_sent() -> None:
    request = '{"input":"x","previous_response_id":"r","conversation":"c","background":true,"stream_options":{}}'
    assert json.loads(_same(request).body) == {"input": "x", "model": "up"}
    assert json.loads(_same(request, stream=True).body) == {
        "input": "x", "model": "up", "stream": True, "stream_options": {},
    }  # fmt: skip


def test_history_goes_before_the_callers_own_bytes() -> None:
    call = b'{"type":"function_call", "call_id":"c","name":"f","arguments":"{}"}'
    history = (
        Message("user", (Text("old"),), native=Native(MINE, b'{"role" : "user","content":"old"}')),
        Message("assistant", (ToolCall("c", "f", "{}"),), native=Native(MINE, b"[" + call + b"]")),
        Message("tool", (ToolResult("c", (Text("r"),)),), native=Native("another", b"{}")),
    )
    expected = b'[{"role" : "user","content":"old"},' + call
    expected += b',{"type":"function_call_output","call_id":"c","output":"r"},'
    text = _same('{"input":"new"}', history=history).body
    assert text.startswith(b'{"input":' + expected + b'{"role":"user","content":"new"}]')
    listed = _same('{"input":[ {"role":"user" , "content":"new"} ]}', history=history).body
    assert listed.startswith(b'{"input":' + expected + b'{"role":"user" , "content":"new"}]')


# writing: another dialect


def test_opening_system_messages_are_instructions_before_history_and_later_ones_keep_their_place() -> None:
    prompt = Prompt(
        (
            Message("system", (Text("a"), Text("b"))),
            Message("developer", (Text("c"),)),
            Message("user", (Text("q"),)),
            Message("system", (Text("late"),)),
        )
    )
    body, _ = _write(prompt, history=(Message("user", (Text("old"),)), Message("assistant", (Text("yes"),))))
    assert body["instructions"] == "a\n\nb\n\nc"
    assert body["input"] == [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "q"},
        {"role": "system", "content": "late"},
    ]


def test_the_state_is_ours_to_keep() -> None:
    body, dropped = _write(_says(Text("x")), model="gpt-5")
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert dropped == ()
    assert _write(_says(Text("x")))[0] == {"model": "m", "store": False, "input": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("model", "reasons", "samples"),
    [
        ("o3-mini", True, False), ("gpt-5", True, False), ("openai/gpt-5-nano-2025-08-07", True, False),
        ("gpt-5.6-sol", True, True), ("gpt-6-astra", True, True), ("computer-use-preview", True, True),
        ("gpt-5-chat-latest", False, True), ("gpt-4o", False, True), ("gpt-4.1", False, True),
        ("llama-3-pro3", False, True),
    ],
)  # fmt: skip
def test_what_a_model_refuses_by_its_name_is_not_sent(model: str, reasons: bool, samples: bool) -> None:
    body, dropped = _write(Prompt((), params=Params(temperature=1.0, top_p=0.5)), model=model)
    assert ("include" in body) is reasons
    assert ("temperature" in body) is samples
    assert dropped == (() if samples else ("temperature", "top_p"))


def test_an_assistants_turn_is_written_as_its_items() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    bare = {"type": "reasoning", "id": "rs_2", "summary": []}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    prompt = _says(
        Reasoning("hm", summary=True, state=State(MINE, sealed)),
        Reasoning("gone", state=State(MINE, bare)),
        Reasoning("secret", state=State("another", {"signature": "s"})),
        Foreign("web_search_call", State(MINE, search)),
        Foreign("server_tool_use", State("another", {})),
        Text("a", (Citation(url="https://e.org", title="t", start=1, end=2), Citation(title="d")),
             state=State(MINE, {"id": "msg_1", "phase": "commentary"})),
        Refusal("no"),
        Text(""),
        ToolCall("c1", "f", "", state=State(MINE, {"id": "fc_1"})),
        ToolCall("c2", "g", "free", kind="custom", state=State("another", {"id": "zz"})),
        role="assistant",
    )  # fmt: skip
    body, dropped = _write(prompt)
    note = {"type": "url_citation", "url": "https://e.org", "title": "t", "start_index": 1, "end_index": 2}
    said = [{"type": "output_text", "text": "a", "annotations": [note]}, {"type": "refusal", "refusal": "no"}]
    message = {"type": "message", "role": "assistant", "content": said, "status": "completed"}
    assert body["input"] == [
        sealed,
        search,
        {**message, "id": "msg_1", "phase": "commentary"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "free"},
    ]
    assert dropped == ("server_tool_use", "reasoning", "messages.content.citations")


def test_tool_results_carry_text_images_and_files() -> None:
    prompt = Prompt(
        (
            Message("assistant", (ToolCall("c1", "f"), ToolCall("c2", "g", kind="custom"))),
            Message("tool", (ToolResult("c1", (Text("t"), Media("image", mime="image/png", data="aGk="))),)),
            Message("tool", (ToolResult("c2", (Text("a"), Text("b"))), ToolResult("c3", ()))),
            Message("tool", (ToolResult("c4", (Text("boom"),), is_error=True),)),
        )
    )
    body, _ = _write(prompt)
    assert body["input"][2:] == [
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [
                {"type": "input_text", "text": "t"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="},
            ],
        },
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
        {"type": "function_call_output", "call_id": "c3", "output": ""},
        {"type": "function_call_output", "call_id": "c4", "output": "Error: boom"},
    ]


def test_a_long_call_id_is_shortened_alike_in_call_and_result() -> None:
    long = "call_" + "x" * 90
    body, _ = _write(
        Prompt((Message("assistant", (ToolCall(long, "f"),)), Message("tool", (ToolResult(long, (Text("r"),)),))))
    )
    assert body["input"][0]["call_id"] == body["input"][1]["call_id"]
    assert len(body["input"][0]["call_id"]) == 64


def test_media_of_every_kind() -> None:
    prompt = _says(
        Media("image", url="https://e.org/a", detail="low"),
        Media("file", mime="application/pdf", data="JVBE"),
        Media("file", url="https://e.org/b"),
        Media("file", file_id="file-1"),
        Media("file", file_id="file_011C", state=State("anthropic_messages", {})),
        Media("image", file_id="https://generativelanguage.googleapis.com/v1beta/files/abc"),
        Media("audio", mime="audio/mpeg", data="AAAA"),
        Media("audio", url="https://e.org/c"),
        Media("video", url="https://e.org/d"),
    )
    body, dropped = _write(prompt)
    assert body["input"][0]["content"] == [
        {"type": "input_image", "detail": "low", "image_url": "https://e.org/a"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "file.pdf"},
        {"type": "input_file", "file_url": "https://e.org/b"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    ]
    assert dropped == ("file", "image", "audio", "video")


def test_cache_marks_are_left_out_and_that_is_told() -> None:
    body, dropped = _write(_says(Text("a", cache=Cache())))
    assert body["input"] == [{"role": "user", "content": "a"}]
    assert dropped == ("cache_control",)


def test_parameters_are_translated() -> None:
    params = Params(
        max_tokens=50, temperature=0.1, top_p=0.9, logprobs=True, top_logprobs=3, parallel_tools=False, user="u",
        service_tier="flex", cache_key="k", verbosity="high", n=1, modalities=("text",),
        format=Format("json_schema", {"type": "object"}, "my name!", "d", True),
        thinking=Thinking(budget=4000, show=True),
    )  # fmt: skip
    body, dropped = _write(Prompt((), params=params), model="gpt-5.1", stream=True)
    assert dropped == ()
    del body["input"]
    assert body == {
        "model": "gpt-5.1", "stream": True, "store": False, "max_output_tokens": 50, "temperature": 0.1, "top_p": 0.9,
        "top_logprobs": 3, "parallel_tool_calls": False, "user": "u", "service_tier": "flex", "prompt_cache_key": "k",
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "my_name_", "schema": {"type": "object"}, "description": "d",
                       "strict": True},
            "verbosity": "high",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "history", "asked_for"),
    [
        ((Message("user", (Text("q"),)),), (), True),
        # what is said as `instructions` or by the system does not count
        ((Message("system", (Text("JSON!"),)), Message("user", (Text("q"),))), (), True),
        ((Message("user", (Text("q"),)), Message("system", (Text("JSON!"),))), (), True),
        ((Message("user", (Text("q"), Text("as Json"))),), (), False),
        ((Message("developer", (Text("json"), Media("image", url="u"))), Message("user", (Text("q"),))), (), False),
        ((Message("user", (Text("q"),)),), (Message("assistant", (Text("JSON?"),)),), False),
    ],
)
def test_json_is_asked_for_in_words_where_no_message_of_the_input_speaks_of_it(
    said: tuple[Message, ...], history: tuple[Message, ...], asked_for: bool
) -> None:
    instruction = {"role": "developer", "content": "Answer with one JSON object and nothing else."}
    body, _ = _write(Prompt(said, params=Params(format=Format("json"))), history=history)
    assert body["text"] == {"format": {"type": "json_object"}}
    assert (body["input"][0] == instruction) is asked_for
    for form in (None, Format("text"), Format("json_schema", {"type": "object"})):
        body, _ = _write(Prompt(said, params=Params(format=form)), history=history)
        assert instruction not in body["input"]


@pytest.mark.parametrize(
    ("given", "sent", "told"),
    [
        ("standard_only", "default", ()),
        ("auto", "auto", ()),
        ("ultrafast", "ultrafast", ()),
        ("odd", None, ("service_tier",)),
    ],
)
def test_a_tier_is_one_that_this_service_knows(given: str, sent: str | None, told: tuple[str, ...]) -> None:
    prompt = Prompt((Message("user", (Text("x"),)),), params=Params(service_tier=given))
    body, dropped = _write(prompt, dialect_of_turn="anthropic_messages")
    assert (body.get("service_tier"), dropped) == (sent, told)


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(effort="max", budget=1), "max"),
        (Thinking(budget=0), "none"),
        (Thinking(budget=-1), None),
        (Thinking(budget=1024), "low"),
        (Thinking(budget=30000), "high"),
    ],
)
def test_the_callers_effort_or_the_nearest_to_its_budget(thinking: Thinking, effort: str | None) -> None:
    body, _ = _write(Prompt((), params=Params(thinking=thinking)))
    assert body.get("reasoning", {}).get("effort") == effort


def test_what_has_no_word_here_is_reported_by_the_callers_word() -> None:
    params = Params(
        top_k=1, seed=1, stop=("x",), frequency_penalty=0.0, presence_penalty=0.1, logit_bias={"1": 1},
        modalities=("text", "audio"), audio={"voice": "v"}, max_tokens=1,
    )  # fmt: skip
    extras = {"web_search_options": {}, "metadata": {"a": "b"}, "store": True, "stream_options": {}}
    tools = (Tool("search", kind="hosted", state=State("another", {})),)
    prompt = Prompt((Message("user", (Text("x"),), name="Ann"),), tools, params=params, extras=extras)
    body, dropped = _write(prompt, dialect_of_turn="anthropic_messages")
    assert dropped == (
        "name", "tools.search", "max_tokens", "top_k", "frequency_penalty", "presence_penalty", "seed",
        "stop_sequences", "logit_bias", "audio", "modalities", "web_search_options",
    )  # fmt: skip
    assert body["max_output_tokens"] == 16
    assert body["metadata"] == {"a": "b"}
    assert not {"stop", "seed", "n", "tools"} & body.keys()


@pytest.mark.parametrize(("caller", "word"), [("openai_chat", "n"), ("gemini", "candidateCount")])
def test_several_answers_are_refused_and_not_made_one(caller: str, word: str) -> None:
    with pytest.raises(BadRequest) as refused:
        _write(Prompt((), params=Params(n=2)), dialect_of_turn=caller)
    assert (refused.value.param, refused.value.code) == (word, "unsupported")


def test_metadata_of_another_kind_is_reported() -> None:
    _, dropped = _write(Prompt((), extras={"metadata": {"a": 1}}))
    assert dropped == ("metadata",)


def test_tools_are_written_and_functions_are_strict_only_when_asked() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = (Tool("f", "d", schema), Tool("g", strict=True), Tool("h", kind="custom"))
    body, _ = _write(Prompt((), tools, ToolChoice("auto", ("f", "h"))))
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": False},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": True},
        {"type": "custom", "name": "h"},
    ]
    allowed = [{"type": "function", "name": "f"}, {"type": "custom", "name": "h"}]
    assert body["tool_choice"] == {"type": "allowed_tools", "mode": "auto", "tools": allowed}


# inverse pairs

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NAMES = st.text("abcdef_", min_size=1, max_size=8)
STATES = st.none() | st.builds(lambda x: State(MINE, {"id": "msg_" + x}), NAMES)
MEDIA = st.sampled_from(
    [
        Media("image", mime="image/png", data="aGk=", detail="auto"),
        Media("image", url="https://e.org/i", detail="high"),
        Media("file", mime="application/pdf", data="JVBE", name="a.pdf"),
        Media("file", url="https://e.org/f"),
        Media("audio", mime="audio/wav", data="AAAA"),
    ]
)
SPOKEN = st.lists(st.builds(Text, WORDS) | MEDIA, min_size=1, max_size=3).map(
    lambda parts: Message("user", tuple(parts))
)
CALLED = st.tuples(
    STATES, WORDS, st.lists(st.tuples(NAMES, WORDS, st.sampled_from(["function", "custom"])), max_size=3)
).map(
    lambda said: Message(
        "assistant",
        (
            Text(said[1], state=said[0]),
            *(
                ToolCall(f"c{number}", name, words, kind=kind)  # type: ignore[arg-type]
                for number, (name, words, kind) in enumerate(said[2])
            ),
        ),
    )
)
PARAMS = st.builds(
    Params,
    max_tokens=st.none() | st.integers(16, 9999),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    parallel_tools=st.none() | st.booleans(),
    user=st.none() | WORDS,
    service_tier=st.none() | st.just("flex"),
    cache_key=st.none() | WORDS,
    verbosity=st.sampled_from([None, "low"]),
    thinking=st.none() | st.builds(Thinking, effort=st.sampled_from(["none", "low", "max"])),
    format=st.none()
    | st.just(Format("json"))
    | st.builds(Format, st.just("json_schema"), st.just({"type": "object"}), NAMES, st.none() | WORDS, st.booleans()),
)
TOOLS = st.lists(
    st.builds(Tool, NAMES, st.none() | WORDS, st.just({"type": "object"}), st.booleans()),
    max_size=3,
).map(tuple)


@given(st.lists(SPOKEN | CALLED, min_size=1, max_size=5).map(tuple), TOOLS, PARAMS)
def test_a_prompt_that_is_written_reads_back_the_same(
    messages: tuple[Message, ...], tools: tuple[Tool, ...], params: Params
) -> None:
    prompt = Prompt(messages, tools, params=params)
    asked = dialect.write_ask(_plan(prompt))
    assert asked.dropped == ()
    again = dialect.read_ask(read_object(asked.body))
    come = [(message.role, message.parts) for message in again.messages]
    if params.format == Format("json") and ("developer", (Text(JSON_ONLY),)) in come:
        come.remove(("developer", (Text(JSON_ONLY),)))  # the input does not speak of it itself
    assert come == [(message.role, message.parts) for message in messages]
    assert again.tools == tools
    assert again.params == params
    assert again.extras == {"store": False}
