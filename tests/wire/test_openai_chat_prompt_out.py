"""Requests in OpenAI Chat as a client sends them: relayed, or written for callers of other dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midstream.core.parts import (
    Cache,
    Citation,
    Foreign,
    Media,
    Message,
    Native,
    Part,
    Reasoning,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire.openai_chat import NAME, OPENAI, Quirks, read_ask, write_ask
from midstream.wire.strict_json import read_object


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
        (',"stream_options":{"include_obfuscation":false}', False, {"stream_options": {"include_obfuscation": False}}),
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
    body = '{"model":"m","messages":[],"n":2,"max_completion_tokens":5,"stream_options":{"a":1}}'
    quirks = Quirks(lacks=frozenset({"n", "max_completion_tokens"}), max_tokens="max_tokens", stream_options=False)
    asked = relayed(body, stream=True, quirks=quirks)
    assert json.loads(asked.body) == {"model": "up", "messages": [], "max_tokens": 5, "stream": True}
    assert asked.dropped == ("n", "stream_options")


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


def test_reasoning_that_was_put_back_for_the_caller_is_left_out_without_a_word() -> None:
    thought = Reasoning("why", state=State("anthropic_messages", {"signature": "s"}))
    native = Native("gemini", b'{"role":"model","parts":[{"text":"a"}]}')
    message = Message("assistant", (thought, Text("a")), native=native)
    for field in (None, "reasoning_content"):
        _, dropped = written(Prompt((message,)), Quirks(reasoning_history=field), dialect="gemini")
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


def test_a_files_id_goes_to_its_issuer_alone() -> None:
    own = {"type": "file", "file": {"file_id": "file-1"}}
    for state in (None, State("openai_responses", {})):
        assert said(Text("see"), Media("file", file_id="file-1", state=state))[0][0]["content"][1] == own
    for foreign in (
        Media("file", file_id="file_011C", state=State("anthropic_messages", {})),
        Media("file", file_id="https://generativelanguage.googleapis.com/v1beta/files/abc"),
    ):
        messages, dropped = said(Text("see"), foreign)
        assert (messages[0]["content"], dropped) == ("see", ("file",))


def test_a_file_without_a_name_is_given_one_since_openai_demands_it() -> None:
    nameless = Media("file", mime="application/pdf", data="QUJD")
    assert said(nameless)[0][0]["content"][0]["file"]["filename"] == "file.pdf"


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
        (Params(thinking=Thinking("low")), Quirks(reasoning=None), {}, ("output_config.effort",)),
        (Params(thinking=Thinking(budget=9)), Quirks(reasoning=None), {}, ("thinking",)),
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


@pytest.mark.parametrize(
    ("said", "history"),
    [
        ((Message("system", (Text("Write JSON."),)), Message("user", (Text("q"),))), ()),
        ((Message("user", (Text("q"), Text("as Json"))),), ()),
        ((Message("user", (Text("q"),)),), (Message("user", (Text("json please"),), native=Native(NAME, b"{}")),)),
    ],
)
def test_json_is_asked_for_in_words_where_no_message_speaks_of_it(
    said: tuple[Message, ...], history: tuple[Message, ...]
) -> None:
    params = Params(format=Format("json"))
    body, dropped = written(Prompt((Message("user", (Text("q"),)),), params=params), dialect="gemini")
    instruction = {"role": "system", "content": "Answer with one JSON object and nothing else."}
    assert (body["messages"], dropped) == ([instruction, {"role": "user", "content": "q"}], ())
    assert body["response_format"] == {"type": "json_object"}
    body, _ = written(Prompt(said, params=params), dialect="gemini", history=history)
    assert instruction not in body["messages"]
    body, _ = written(Prompt((Message("user", (Text("q"),)),), params=Params(format=Format("text"))))
    assert body["messages"] == [{"role": "user", "content": "q"}]


def test_json_that_is_asked_for_in_the_same_dialect_is_relayed_as_it_is() -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"q"}],"response_format":{"type":"json_object"}}'
    assert relayed(body).body == body.replace('"m"', '"up"', 1).encode()


def test_a_thought_that_only_its_own_service_can_read_is_no_empty_thinking_part() -> None:
    sealed = Reasoning(state=State("anthropic_messages", {"type": "redacted_thinking", "data": "x"}))
    service = Quirks(reasoning_history="thinking")
    spoken = [{"role": "assistant", "content": "a"}]
    assert said(sealed, Text("a"), role="assistant", quirks=service) == (spoken, ("thinking",))
    assert said(sealed, role="assistant", quirks=service) == ([], ("thinking",))
    assert said(Reasoning(), Text("a"), role="assistant", quirks=service) == (spoken, ())
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}
    messages, dropped = said(Reasoning("why"), sealed, Text("a"), role="assistant", quirks=service)
    assert messages == [{"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}]
    assert dropped == ("thinking",)
    native = Native("anthropic_messages", b'{"role":"assistant","content":"a"}')
    put_back = Message("assistant", (sealed, Text("a")), native=native)
    assert written(Prompt((put_back,)), service)[1] == ()


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
    plain, _ = written(prompt, Quirks(allowed_tools=False, required_word="any"))
    assert [tool["function"]["name"] for tool in plain["tools"]] == ["f"]
    assert plain["tool_choice"] == "any"


def test_a_planned_stream_asks_for_usage() -> None:
    prompt = Prompt((Message("user", (Text("q"),)),))
    assert written(prompt, stream=True)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in written(prompt, Quirks(stream_options=False), stream=True)[0]


def test_the_rest_of_the_quirks_are_heeded() -> None:
    quirks = Quirks(developer_role=False, names=False, prefix=True)
    prompt = Prompt(
        (
            Message("developer", (Text("a"),), name="n"),
            Message("user", (Text("q"),)),
            Message("assistant", (Text("x", citations=(Citation("u"),)),)),
        )
    )
    body, dropped = written(prompt, quirks)
    assert body["messages"] == [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "x", "prefix": True},
    ]
    assert dropped == ("name", "messages.content.citations")


def test_a_message_of_one_text_is_a_string_unless_something_more_is_to_be_said_of_it() -> None:
    assert said(Text("a")) == ([{"role": "user", "content": "a"}], ())
    more = Text("a", state=State(NAME, {"x": 1}))
    assert said(more) == ([{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}], ())
    told = [{"role": "assistant", "content": "a"}]
    assert said(Text("a", citations=(Citation("u"),)), role="assistant") == (told, ("messages.content.citations",))
    assert said(Text("a"), role="tool") == ([], ())  # a tool's message holds results: a text is none
