"""Requests, read into a Prompt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
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
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire import openai_responses as dialect
from midstream.wire.strict_json import read_object

MINE = dialect.NAME


def _read(request: dict[str, Any]) -> Prompt:
    return dialect.read_ask(read_object(json.dumps(request).encode()))


def test_a_text_input_is_a_user_message_and_instructions_a_system_message_without_native() -> None:
    prompt = _read({"model": "m", "instructions": "Be brief.", "input": "Hi"})
    assert prompt.messages == (Message("system", (Text("Be brief."),)), Message("user", (Text("Hi"),)))


def test_each_kind_of_content_becomes_its_part() -> None:
    content = [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "high"},
        {"type": "input_image", "image_url": "data:image/gif;base64,R0lG"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "input_hologram", "x": 1},
    ]
    message = _read({"input": [{"role": "user", "content": content}]}).messages[0]
    assert message.parts == (
        Text("a", cache=Cache("1h")),
        Media("image", url="https://example.org/a.png", detail="high"),
        Media("image", mime="image/gif", data="R0lG"),
        Media("image", file_id="file-1"),
        Media("file", mime="application/pdf", data="JVBE", name="a.pdf"),
        Media("file", url="https://example.org/a.pdf"),
        Media("audio", mime="audio/mp3", data="AAAA"),
        Foreign("input_hologram", State(MINE, {"type": "input_hologram", "x": 1})),
    )


def test_consecutive_calls_are_one_assistant_message_and_each_output_its_own() -> None:
    items = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {
            "type": "custom_tool_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "two"}, {"type": "input_image", "file_id": "f"}],
        },
    ]
    _, assistant, first, second = _read({"input": items}).messages
    assert assistant.role == "assistant"
    assert assistant.parts == (
        Reasoning("hm", summary=True, state=State(MINE, items[1])),
        ToolCall("c1", "f", "{}", state=State(MINE, {"id": "fc_1", "namespace": "n"})),
        ToolCall("c2", "g", "x", kind="custom"),
    )
    assert first.parts == (ToolResult("c1", (Text("one"),), name="f"),)
    assert second.parts[0].name == "g"  # type: ignore[union-attr]
    assert second.parts[0].parts == (Text("two"), Media("image", file_id="f"))  # type: ignore[union-attr]
    assert first.role == second.role == "tool"


def test_native_is_the_items_bytes_and_of_several_items_their_array() -> None:
    call = b'{"type":"function_call", "call_id":"c1","name":"f","arguments":"{}" }'
    user = b'{ "role":"user","content":"go"}'
    fields = read_object(b'{"input":[%b , %b,%b]}' % (user, call, call.replace(b"c1", b"c2")))
    said, called = dialect.read_ask(fields).messages
    assert said.native == Native(MINE, user)
    assert called.native == Native(MINE, b"[" + call + b"," + call.replace(b"c1", b"c2") + b"]")


def test_two_assistant_messages_stay_two() -> None:
    items = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert [message.parts for message in _read({"input": items}).messages] == [(Text("a"),), (Text("b"),)]


def test_an_assistant_message_keeps_what_its_issuer_needs() -> None:
    note = {"type": "file_citation", "file_id": "f", "filename": "a.txt", "index": 3}
    text = {"type": "output_text", "text": "a", "annotations": [note]}
    content = [text, {"type": "refusal", "refusal": "no"}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "final_answer"}
    parts = _read({"input": [{**item, "content": content}]}).messages[0].parts
    state = State(MINE, {"id": "msg_1", "phase": "final_answer"})
    assert parts == (Text("a", (Citation(title="a.txt", state=State(MINE, note)),), state=state), Refusal("no"))


def test_hosted_items_are_foreign_in_their_speakers_message() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    reference = {"type": "item_reference", "id": "msg_1"}
    model, caller = _read({"input": [search, reference]}).messages
    assert (model.role, model.parts) == ("assistant", (Foreign("web_search_call", State(MINE, search)),))
    assert (caller.role, caller.parts) == ("user", (Foreign("item_reference", State(MINE, reference)),))


def test_tools_of_every_kind() -> None:
    hosted = {"type": "mcp", "server_label": "wiki", "server_url": "https://example.org"}
    space = {"type": "namespace", "name": "crm", "description": "d", "tools": []}
    function = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    custom = {"type": "custom", "name": "g", "format": {"type": "text"}}
    tools = _read({"input": "x", "tools": [{**function, "defer_loading": True}, custom, hosted, space]}).tools
    assert tools == (
        Tool("f", "d", {"type": "object"}, True, state=State(MINE, {"defer_loading": True})),
        Tool("g", kind="custom", state=State(MINE, {"format": {"type": "text"}})),
        Tool("wiki", kind="hosted", state=State(MINE, hosted)),
        Tool("crm", kind="hosted", state=State(MINE, space)),
    )


@pytest.mark.parametrize(
    ("choice", "meaning"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("tool", ("f",))),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice("required", ("f",)),
        ),
    ],
)
def test_tool_choice(choice: Any, meaning: ToolChoice) -> None:
    assert _read({"input": "x", "tool_choice": choice}).tool_choice == meaning


def test_a_forced_hosted_tool_is_an_extra() -> None:
    prompt = _read({"input": "x", "tool_choice": {"type": "file_search"}})
    assert prompt.tool_choice is None
    assert prompt.extras == {"tool_choice": {"type": "file_search"}}


def test_every_parameter_has_its_neutral_name() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True, "description": "d"}
    prompt = _read(
        {
            "input": "x", "max_output_tokens": 99, "temperature": 0.5, "top_p": 1, "top_logprobs": 2,
            "include": ["message.output_text.logprobs", "reasoning.encrypted_content", "file_search_call.results"],
            "parallel_tool_calls": False, "safety_identifier": "u", "service_tier": "flex", "prompt_cache_key": "k",
            "text": {"format": form, "verbosity": "low"},
            "reasoning": {"effort": "high", "summary": "auto", "context": "all_turns"},
            "store": False, "previous_response_id": "resp_1", "metadata": {"a": "b"}, "truncation": None,
        }
    )  # fmt: skip
    assert prompt.params == Params(
        max_tokens=99, temperature=0.5, top_p=1.0, logprobs=True, top_logprobs=2, parallel_tools=False, user="u",
        service_tier="flex", cache_key="k", verbosity="low", format=Format("json_schema", schema, "n", "d", True),
        thinking=Thinking(effort="high", show=True, summary="auto"),
    )  # fmt: skip
    assert prompt.extras == {
        "include": ["file_search_call.results"], "reasoning.context": "all_turns", "store": False,
        "previous_response_id": "resp_1", "metadata": {"a": "b"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({}, "input"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": {}, "content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": 3}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].input_audio"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": "x", "tools": [3]}, "tools[0]"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "tools": [{"type": "function", "name": "f", "parameters": 1}]}, "tools[0].parameters"),
        ({"input": "x", "tools": [{"name": "f"}]}, "tools[0].type"),
        ({"input": "x", "tool_choice": 3}, "tool_choice"),
        ({"input": "x", "tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools"),
        ({"input": "x", "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"input": "x", "text": {"format": 3}}, "text.format"),
        ({"input": "x", "reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"input": "x", "max_output_tokens": "9"}, "max_output_tokens"),
        ({"input": "x", "temperature": True}, "temperature"),
        ({"input": "x", "include": [3]}, "include"),
        ({"input": "x", "instructions": []}, "instructions"),
        ({"input": "x", "safety_identifier": 3}, "safety_identifier"),
    ],
)
def test_a_bad_field_is_refused_by_its_path(request_: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        _read(request_)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["type", "role", "content", "text", "call_id", "name", "arguments", "output", "tools", "mode", "format",
             "image_url", "file_data", "input_audio", "summary", "id", "schema", "effort", "annotations"]
        ), inner, max_size=4,
    ) | st.sampled_from(["message", "function_call", "reasoning", "input_text", "user", "assistant", "function"]),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning", "include"]), JSON))
def test_no_request_whatever_breaks_the_reader(request_: dict[str, Any]) -> None:
    try:
        prompt = _read(request_)
    except BadRequest as error:
        named = error.param is not None
    else:
        named = True
        dialect.write_ask(Plan(Turn("another", {}, lambda _: prompt, model="x"), "m", stream=False))
    assert named, "a refusal names its field"
    dialect.echo_of(read_object(json.dumps(request_).encode()))
