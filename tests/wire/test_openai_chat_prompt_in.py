"""Requests in OpenAI Chat as a server reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.errors import BadRequest
from midstream.core.parts import (
    Cache,
    Foreign,
    Media,
    Native,
    Part,
    Reasoning,
    Refusal,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from midstream.core.turn import Format, Params, Prompt, Thinking, Tool, ToolChoice
from midstream.wire.openai_chat import NAME, read_ask
from midstream.wire.strict_json import read_object

HI = [{"role": "user", "content": "hi"}]


def prompt_of(**fields: Any) -> Prompt:
    return read_ask(read_object(json.dumps({"model": "m", "messages": HI} | fields).encode()))


def parts_of(*messages: dict[str, Any]) -> tuple[Part, ...]:
    return prompt_of(messages=list(messages)).messages[-1].parts


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("text", (Text("text"),)),
        ([{"type": "text", "text": "a"}], (Text("a"),)),
        (
            [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            (Text("a", cache=Cache("1h")),),
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}],
            (Media("image", url="https://x/y.png", detail="low"),),
        ),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}],
            (Media("image", mime="image/png", data="QUJD"),),
        ),
        ([{"type": "image_url", "image_url": "jan_123"}], (Media("image", url="jan_123"),)),
        (
            [{"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}}],
            (Media("audio", mime="audio/mpeg", data="QUJD"),),
        ),
        (
            [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}}],
            (Media("file", mime="application/pdf", data="QUJD", name="a.pdf"),),
        ),
        ([{"type": "file", "file": {"file_id": "file-1"}}], (Media("file", file_id="file-1"),)),
        ([{"type": "video_url", "video_url": {"url": "https://x/v"}}], (Media("video", url="https://x/v"),)),
        ([{"type": "document_url", "document_url": "https://x/d"}], (Media("file", url="https://x/d"),)),
        ([{"type": "new", "x": 1}], (Foreign("new", State(NAME, {"type": "new", "x": 1})),)),
    ],
)
def test_every_form_of_content_is_read(content: Any, parts: tuple[Part, ...]) -> None:
    assert parts_of({"role": "user", "content": content}) == parts


def test_an_assistants_message_is_read_in_order() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
        "reasoning": "why",
        "reasoning_details": details,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a":1}'},
                "extra_content": {"g": 1},
            },
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free"}},
        ],
    }
    assert parts_of(message) == (
        Reasoning("why", state=State(NAME, {"reasoning_details": details})),
        Text("a"),
        Refusal("no"),
        ToolCall("c1", "f", '{"a":1}', state=State(NAME, {"extra_content": {"g": 1}})),
        ToolCall("c2", "g", "free", kind="custom"),
    )


def test_a_tools_result_gets_its_name_from_the_call() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = parts_of(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    )
    assert parts == (ToolResult("c1", (Text("42"),), name="f"),)


def test_functions_of_the_old_kind_are_calls_with_ids() -> None:
    prompt = prompt_of(
        messages=[
            *HI,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    (call,), (result,) = prompt.messages[1].parts, prompt.messages[2].parts
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert (call.id, result.name, prompt.messages[2].role) == (result.id, "f", "tool")
    assert prompt.tools == (Tool("f", parameters={"type": "object"}),)
    assert prompt.tool_choice == ToolChoice("tool", ("f",))


def test_each_call_of_the_old_kind_has_an_id_of_its_own_and_its_result_has_it_too() -> None:
    rounds = [
        message
        for at in range(3)
        for message in (
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": str(at)},
        )
    ]
    _, *said = prompt_of(messages=[*HI, *rounds]).messages
    ids = [part.id for message in said for part in message.parts if isinstance(part, ToolCall | ToolResult)]
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 3


def test_every_message_keeps_its_bytes() -> None:
    body = b'{"model":"m","messages":[ {"role":"user", "content":"\\u00e9", "x": 1.0} ]}'
    (message,) = read_ask(read_object(body)).messages
    assert message.native == Native(NAME, b'{"role":"user", "content":"\\u00e9", "x": 1.0}')
    assert message.state == State(NAME, {"x": 1.0})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": 1}]}, "messages[0].name"),
        ({"messages": [*HI, {"role": "user", "content": [{}]}]}, "messages[1].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [*HI, *HI, {"role": "user", "content": [{"type": "image_url", "image_url": None}]}]},
            "messages[2].content[0].image_url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]},
            "messages[0].content[0].input_audio.format",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "y"}}]}
                ]
            },
            "messages[0].content[0].cache_control",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "reasoning_details": 1}]}, "messages[0].reasoning_details"),
        ({"messages": [{"role": "assistant", "reasoning": 1}]}, "messages[0].reasoning"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": [1]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none"}}},
            "tool_choice.allowed_tools.mode",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning": {"max_tokens": "x"}}, "reasoning.max_tokens"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        prompt_of(**fields)
    assert caught.value.param == param
    assert caught.value.message


_HOSTILE = [
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    "",
    "x",
    [],
    [[]],
    [None],
    {},
    {"type": None},
    {"type": "function"},
    [{}],
    [1],
]
_PLACES = [
    *("messages", "tools", "functions", "tool_choice", "function_call", "response_format", "reasoning", "thinking"),
    *("stop", "n", "seed", "logit_bias", "modalities", "audio", "user", "logprobs", "max_tokens", "temperature"),
]


@pytest.mark.parametrize("value", _HOSTILE, ids=repr)
def test_hostile_values_anywhere_give_a_prompt_or_a_bad_request(value: Any) -> None:
    bodies: list[dict[str, Any]] = [{place: value} for place in _PLACES]
    for role in ("system", "user", "assistant", "tool", "function"):
        for name in (
            "content",
            "name",
            "tool_calls",
            "tool_call_id",
            "function_call",
            "refusal",
            "annotations",
            "audio",
        ):
            bodies.append({"messages": [{"role": role, "content": "x", name: value}]})
        for kind in ("text", "image_url", "input_audio", "file", "refusal", "thinking", "video_url", "document_url"):
            bodies.append({"messages": [{"role": role, "content": [{"type": kind, kind: value}]}]})
    bodies += [{"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}}]
    bodies += [{"tools": [{"type": kind, kind: value}]} for kind in ("function", "custom", "x")]
    refused: list[BadRequest] = []
    for body in bodies:
        try:
            prompt_of(**body)
        except BadRequest as error:
            refused.append(error)
    assert all(error.param for error in refused)


def test_params_are_read_under_all_their_names() -> None:
    prompt = prompt_of(
        max_completion_tokens=5, temperature=1, top_k=3, stop="x", n=2, seed=7, logprobs=True, top_logprobs=2,
        logit_bias={"1": -1}, parallel_tool_calls=False, user="u", service_tier="flex", prompt_cache_key="k",
        verbosity="low", modalities=["text"], reasoning_effort="low", response_format={"type": "json_object"},
        top_p=None, metadata={"a": "b"}, min_p=0.1, store=True, conversation="conv_1",
    )  # fmt: skip
    assert prompt.params == Params(
        max_tokens=5, temperature=1.0, top_k=3, stop=("x",), n=2, seed=7, logprobs=True, top_logprobs=2,
        logit_bias={"1": -1.0}, parallel_tools=False, user="u", service_tier="flex", cache_key="k",
        verbosity="low", modalities=("text",), thinking=Thinking("low"), format=Format("json"),
    )  # fmt: skip
    assert prompt.extras == {"metadata": {"a": "b"}, "min_p": 0.1}


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({"reasoning": {"max_tokens": 100, "exclude": True}}, Thinking(budget=100, show=False)),
        ({"reasoning": {"enabled": False}}, Thinking("none")),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, Thinking(budget=9)),
        ({"thinking": {"type": "disabled"}}, Thinking("none")),
        ({}, None),
    ],
)
def test_reasoning_switches_of_other_services_are_read(fields: dict[str, Any], thinking: Thinking | None) -> None:
    assert prompt_of(**fields).params.thinking == thinking


def test_a_schema_needs_no_name() -> None:
    schema = {"type": "object"}
    told = prompt_of(response_format={"type": "json_schema", "json_schema": {"schema": schema}}).params.format
    assert told == Format("json_schema", schema=schema)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": "https://e.org/x.png"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}},
    ],
)
def test_a_content_part_without_a_type_is_what_it_holds(part: dict[str, Any]) -> None:
    untyped = {name: value for name, value in part.items() if name != "type"}
    assert parts_of({"role": "user", "content": [untyped]}) == parts_of({"role": "user", "content": [part]})


@pytest.mark.parametrize("part", [{}, {"text": "hi", "image_url": {"url": "https://e.org/x.png"}}, {"words": "hi"}])
def test_a_content_part_that_tells_nothing_of_its_type_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        parts_of({"role": "user", "content": [part]})
