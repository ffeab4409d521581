"""Requests in OpenAI Chat: read, relayed, and written for other dialects' callers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.errors import BadRequest
from midstream.core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    Message,
    Native,
    Part,
    Reasoning,
    Refusal,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire.openai_chat import NAME, OPENAI, Quirks, read_ask, write_ask
from midstream.wire.strict_json import read_object

HI = [{"role": "user", "content": "hi"}]


def prompt_of(**fields: Any) -> Prompt:
    return read_ask(read_object(json.dumps({"model": "m", "messages": HI} | fields).encode()))


def parts_of(*messages: dict[str, Any]) -> tuple[Part, ...]:
    return prompt_of(messages=list(messages)).messages[-1].parts


def relayed(body: str, *, stream: bool = False, quirks: Quirks = OPENAI, history: tuple[Message, ...] = ()) -> Any:
    turn = Turn(NAME, read_object(body.encode()), read_ask, model="m")
    return write_ask(Plan(turn, "up", stream, history), quirks)


def written(
    prompt: Prompt, quirks: Quirks = OPENAI, *, dialect: str = "anthropic_messages", **plan: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    turn = Turn(dialect, {}, lambda fields: prompt, model="m")
    asked = write_ask(Plan(turn, "up", **({"stream": False} | plan)), quirks)
    return json.loads(asked.body), asked.dropped


def said(*parts: Part, role: Any = "user", quirks: Quirks = OPENAI) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    body, dropped = written(Prompt((Message("user", (Text("q"),)), Message(role, parts))), quirks)
    return body["messages"][1:], dropped


# reading


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


# the same dialect


def test_the_callers_bytes_go_on_untouched() -> None:
    body = (
        '{"temperature": 1.0, "model":"m", "messages": [ {"role": "user","content":"\\u00e9"} ], "x": {"b":1, "a":2}}'
    )
    asked = relayed(body)
    assert (
        asked.body
        == body.replace('"model":"m"', '"model":"up"')
        .replace(': 1.0, "m', ':1.0,"m')
        .replace(', "messages": [', ',"messages":[')
        .replace(', "x": {', ',"x":{')
        .encode()
    )
    assert asked.dropped == ()


@pytest.mark.parametrize(
    ("given", "stream", "sent"),
    [
        ("", False, {}),
        ("", True, {"stream": True, "stream_options": {"include_usage": True}}),
        (',"stream":true', False, {"stream": False}),
        (',"stream":false', True, {"stream": True, "stream_options": {"include_usage": True}}),
        (
            ',"stream":true,"stream_options":{"include_usage":false,"include_obfuscation":false}',
            True,
            {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        ),
        (',"stream":true,"stream_options":null', True, {"stream": True, "stream_options": {"include_usage": True}}),
        (',"stream":true,"stream_options":{"include_usage":true}', False, {"stream": False}),
    ],
)
def test_streams_are_as_planned_and_always_ask_for_usage(given: str, stream: bool, sent: dict[str, Any]) -> None:
    asked = relayed('{"model":"m","messages":[]' + given + "}", stream=stream)
    assert json.loads(asked.body) == {"model": "up", "messages": []} | sent


def test_our_own_fields_stay_here() -> None:
    body = '{"model":"m","messages":[],"conversation":"conv_1","store":true}'
    assert json.loads(relayed(body).body) == {"model": "up", "messages": []}
    assert json.loads(relayed(body, quirks=Quirks(forwards_store=True)).body)["store"] is True


def test_history_goes_before_the_turns_own_messages() -> None:
    earlier = (
        Message("user", (Text("q"),), native=Native(NAME, b'{"role":"user",  "content":"q"}')),
        Message("assistant", (Text("a"),)),
    )
    own = b'[{"role":"user",  "content":"q"},{"role":"assistant","content":"a"}'
    asked = relayed('{"model":"m","messages":[ {"role": "user","content":"hi"}]}', history=earlier)
    assert own + b',{"role": "user","content":"hi"}]' in asked.body
    assert own + b"]" in relayed('{"model":"m","messages":[ ]}', history=earlier).body


def test_what_a_service_lacks_is_left_out_and_told() -> None:
    body = '{"model":"m","messages":[],"n":2,"x":1,"max_completion_tokens":5,"stream_options":{"a":1}}'
    quirks = Quirks(
        lacks=frozenset({"n", "max_completion_tokens"}),
        max_tokens="max_tokens",
        known=frozenset(),
        stream_options=False,
    )
    asked = relayed(body, stream=True, quirks=quirks)
    assert json.loads(asked.body) == {"model": "up", "messages": [], "max_tokens": 5, "stream": True}
    assert asked.dropped == ("n", "x", "stream_options")


def test_a_developer_is_a_system_where_there_are_no_developers() -> None:
    body = '{"model":"m","messages":[{"role":"developer","content":"x"}, {"role": "user","content":"\\"developer\\""}]}'
    assert relayed(body).body == body.replace('"m"', '"up"').encode()
    asked = relayed(body, quirks=Quirks(developer_role=False))
    assert b'[{"role":"system","content":"x"},{"role": "user","content":"\\"developer\\""}]' in asked.body


# other dialects


def test_results_follow_their_calls_one_message_each_and_their_images_come_after() -> None:
    prompt = Prompt(
        (
            Message("assistant", (ToolCall("a", "f"),)),
            Message("assistant", (ToolCall("b", "g", "{}"),)),
            Message(
                "tool", (ToolResult("a", (Text("1"), Media("image", url="u"))), ToolResult("b", (), is_error=True))
            ),
            Message("user", (Text("next"),)),
        )
    )
    body, dropped = written(prompt)
    assert body["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: "},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "user", "content": "next"},
    ]
    assert dropped == ()


def test_cache_marks_go_where_they_are_understood_and_are_told_elsewhere() -> None:
    part = Text("a", cache=Cache("1h"))
    assert said(part) == ([{"role": "user", "content": "a"}], ("cache_control",))
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert said(part, quirks=Quirks(cache_control=True)) == ([{"role": "user", "content": [marked]}], ())


@pytest.mark.parametrize(
    ("field", "members"),
    [
        ("reasoning_content", {"content": "a", "reasoning_content": "why"}),
        ("reasoning", {"content": "a", "reasoning": "why"}),
        ("reasoning_details", {"content": "a", "reasoning_details": [1]}),
        (
            "thinking",
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
                    {"type": "text", "text": "a"},
                ]
            },
        ),
    ],
)
def test_earlier_reasoning_goes_back_in_the_services_own_field(field: Any, members: dict[str, Any]) -> None:
    parts = (Reasoning("why", state=State(NAME, {"reasoning_details": [1]})), Text("a"))
    messages, dropped = said(*parts, role="assistant", quirks=Quirks(reasoning_history=field))
    assert messages == [{"role": "assistant"} | members]
    assert dropped == ()


def test_signed_reasoning_of_another_issuer_stays_here_and_is_told() -> None:
    thought = Reasoning("why", state=State("anthropic_messages", {"signature": "s"}))
    assert said(thought, Text("a"), role="assistant") == ([{"role": "assistant", "content": "a"}], ("thinking",))
    assert said(thought, role="assistant") == ([], ("thinking",))


def test_media_that_cannot_be_carried_are_told() -> None:
    assert said(Text("a"), Media("video", url="u")) == ([{"role": "user", "content": "a"}], ("video",))
    assert said(Text("a"), Media("file", url="u"))[1] == ("file",)
    assert said(Text("a"), Media("image", url="u"), quirks=Quirks(media=frozenset()))[1] == ("image",)
    assert said(Foreign("server_tool_use", State("x", {})), role="assistant") == ([], ("server_tool_use",))


def test_files_are_written_as_the_service_takes_them() -> None:
    pdf = Media("file", mime="application/pdf", data="QUJD", name="a.pdf")
    url = Media("file", url="https://x/a.pdf")
    inline = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}}
    assert said(pdf)[0][0]["content"] == [inline]
    assert said(url, quirks=Quirks(file_urls="file_data"))[0][0]["content"][0]["file"] == {"file_data": url.url}
    document = {"type": "document_url", "document_url": url.url}
    assert said(url, quirks=Quirks(file_urls="document_url"))[0][0]["content"] == [document]
    assert said(Media("file", mime="text/plain", data="aGk=", name="n"))[0][0]["content"] == "n:\nhi"


def test_ids_are_shortened_the_same_way_on_both_sides() -> None:
    prompt = Prompt(
        (
            Message("assistant", (ToolCall("toolu_0123", "f"),)),
            Message("tool", (ToolResult("toolu_0123", (Text("1"),)),)),
        )
    )
    first, second = written(prompt, Quirks(short_ids=True))[0]["messages"]
    short = first["tool_calls"][0]["id"]
    assert short == second["tool_call_id"]
    assert len(short) == 9
    assert short.isalnum()


@pytest.mark.parametrize(
    ("params", "quirks", "fields", "dropped"),
    [
        (Params(max_tokens=5), Quirks(), {"max_completion_tokens": 5}, ()),
        (Params(max_tokens=5), Quirks(max_tokens="max_tokens"), {"max_tokens": 5}, ()),
        (Params(top_k=5), Quirks(), {}, ("top_k",)),
        (Params(top_k=5), Quirks(top_k=True), {"top_k": 5}, ()),
        (Params(seed=5), Quirks(seed="random_seed"), {"random_seed": 5}, ()),
        (Params(temperature=1.8), Quirks(max_temperature=1.5), {"temperature": 1.5}, ("temperature",)),
        (Params(stop=tuple("abcde")), Quirks(), {"stop": list("abcd")}, ("stop_sequences",)),
        (Params(n=2, seed=1), Quirks(lacks=frozenset({"n"})), {"seed": 1}, ("n",)),
        (Params(parallel_tools=False), Quirks(), {}, ()),
        (Params(service_tier="standard_only"), Quirks(), {"service_tier": "default"}, ()),
        (Params(service_tier="odd"), Quirks(), {}, ("service_tier",)),
        (Params(thinking=Thinking("max")), Quirks(efforts=("low", "high")), {"reasoning_effort": "high"}, ()),
        (Params(thinking=Thinking(budget=5000)), Quirks(), {"reasoning_effort": "medium"}, ()),
        (
            Params(thinking=Thinking(budget=5000)),
            Quirks(reasoning="reasoning"),
            {"reasoning": {"max_tokens": 5000}},
            (),
        ),
        (Params(thinking=Thinking("none")), Quirks(reasoning="thinking"), {"thinking": {"type": "disabled"}}, ()),
        (Params(thinking=Thinking("low")), Quirks(reasoning=None), {}, ("thinking",)),
        (Params(format=Format("json")), Quirks(), {"response_format": {"type": "json_object"}}, ()),
        (
            Params(format=Format("json_schema", schema={"a": 1}, strict=True)),
            Quirks(),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"a": 1}, "strict": True},
                }
            },
            (),
        ),
    ],
)
def test_each_parameter_goes_under_the_services_own_name(
    params: Params, quirks: Quirks, fields: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    body, told = written(Prompt((Message("user", (Text("q"),)),), params=params), quirks)
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == fields
    assert told == dropped


def test_dropped_parameters_have_their_callers_names() -> None:
    prompt = Prompt((Message("user", (Text("q"),)),), params=Params(top_k=1, stop=tuple("abcde")), extras={"safety": 1})
    assert written(prompt, dialect="gemini")[1] == ("topK", "stopSequences", "safety")


def test_a_schema_is_told_in_words_where_there_is_no_field_for_it() -> None:
    params = Params(format=Format("json_schema", schema={"a": 1}))
    body, _ = written(Prompt((Message("user", (Text("q"),)),), params=params), Quirks(json_schema=False))
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["role"] == "system"
    assert '{"a":1}' in body["messages"][0]["content"]


def test_tools_and_choices_are_written() -> None:
    tools = (
        Tool("f", "does", {"type": "object"}, strict=True, cache=Cache()),
        Tool("c", kind="custom"),
        Tool("web", kind="hosted", state=State("anthropic_messages", {})),
    )
    prompt = Prompt(
        (Message("user", (Text("q"),)),), tools, ToolChoice("required", ("f",)), Params(parallel_tools=False)
    )
    body, dropped = written(prompt)
    function = {"name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True}
    chosen = [{"type": "function", "function": {"name": "f"}}]
    assert body["tools"] == [{"type": "function", "function": function}, {"type": "custom", "custom": {"name": "c"}}]
    assert body["tool_choice"] == {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": chosen}}
    assert body["parallel_tool_calls"] is False
    assert dropped == ("cache_control", "tools.web")
    plain, _ = written(prompt, Quirks(allowed_tools=False, required_word="any", strict_tools=False))
    assert [tool["function"]["name"] for tool in plain["tools"]] == ["f"]
    assert plain["tool_choice"] == "any"


def test_a_planned_stream_asks_for_usage() -> None:
    prompt = Prompt((Message("user", (Text("q"),)),))
    assert written(prompt, stream=True)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in written(prompt, Quirks(stream_options=False), stream=True)[0]


def test_the_rest_of_the_quirks_are_heeded() -> None:
    quirks = Quirks(developer_role=False, names=False, content_lists=False, prefix=True)
    prompt = Prompt(
        (
            Message("developer", (Text("a"), Text("b")), name="n"),
            Message("user", (Text("q"),)),
            Message("assistant", (Text("x", citations=(Citation("u"),)), Text("y"))),
        )
    )
    body, dropped = written(prompt, quirks)
    assert body["messages"] == [
        {"role": "system", "content": "ab"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "xy", "prefix": True},
    ]
    assert dropped == ("name",)
