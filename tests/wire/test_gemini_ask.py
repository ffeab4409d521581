"""Requests, read into neutral words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core.errors import BadRequest
from midstream.core.parts import (
    Foreign,
    Media,
    Message,
    Native,
    Reasoning,
    State,
    Text,
    ToolCall,
)
from midstream.core.turn import Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire import gemini
from midstream.wire.strict_json import read_object

USER = Message("user", (Text("hi"),))


def read(body: dict[str, Any]) -> Prompt:
    return gemini.read_ask(read_object(json.dumps(body).encode()))


def says(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": list(parts)}]}


def ask(prompt: Prompt, fields: dict[str, Any] | None = None, model: str = "gemini-3-flash", **more: Any) -> Any:
    named = read_object(json.dumps(fields or {}).encode())
    plan = Plan(Turn("elsewhere", named, lambda _: prompt, model=model), model, stream=False, **more)
    asked = gemini.write_ask(plan)
    return json.loads(asked.body), asked.dropped


def with_params(**params: Any) -> Any:
    return ask(Prompt((USER,), params=Params(**params)))


# ---------------------------------------------------------------------------------------------------------- reading


def test_every_part_is_read() -> None:
    parts = (
        read(
            says(
                {"text": "look"},
                {"inlineData": {"mimeType": "image/png", "data": "_-8"}, "mediaResolution": {"level": "LOW"}},
                {"file_data": {"file_uri": "https://youtu.be/x"}, "video_metadata": {"fps": 0.5}},
                {
                    "fileData": {
                        "mimeType": "application/pdf",
                        "fileUri": "https://generativelanguage.googleapis.com/f/1",
                    }
                },
                {"somethingNew": {"a": 1}},
            )
        )
        .messages[0]
        .parts
    )
    assert parts == (
        Text("look"),
        Media("image", "image/png", data="/+8=", state=State("gemini", {"mediaResolution": {"level": "LOW"}})),
        Media("video", url="https://youtu.be/x", state=State("gemini", {"videoMetadata": {"fps": 0.5}})),
        Media("file", "application/pdf", file_id="https://generativelanguage.googleapis.com/f/1"),
        Foreign("somethingNew", State("gemini", {"somethingNew": {"a": 1}})),
    )


def test_thoughts_signatures_and_hosted_parts_keep_their_state() -> None:
    parts = (
        read(
            says(
                {"text": "hm", "thought": True},
                {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
                {"text": "", "thoughtSignature": "dHdv"},
                {"thought_signature": "ZW1wdHk="},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True},
                role="model",
            )
        )
        .messages[0]
        .parts
    )
    assert parts[:4] == (
        Reasoning("hm", summary=True),
        ToolCall("call_0", "f", '{"a":1}', state=State("gemini", {"thoughtSignature": "c2ln"})),
        Text("", state=State("gemini", {"thoughtSignature": "dHdv"})),
        Text("", state=State("gemini", {"thoughtSignature": "ZW1wdHk="})),
    )
    assert [part.kind for part in parts[4:]] == ["executableCode", "thought"]


def test_missing_ids_pair_calls_with_responses_by_name_then_order() -> None:
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": [{"functionCall": {"name": n}} for n in ("f", "g", "f")]},
            {"role": "function", "parts": [{"functionResponse": {"name": n, "response": {}}} for n in ("g", "f", "f")]},
        ]
    }
    _, calls, results = read(body).messages
    assert [part.id for part in calls.parts] == ["call_0", "call_1", "call_2"]
    assert [part.id for part in results.parts] == ["call_1", "call_0", "call_2"]
    assert results.role == "tool"


def test_a_response_that_names_only_its_id_gets_the_functions_name() -> None:
    body = {
        "contents": [
            {"role": "model", "parts": [{"functionCall": {"id": "x1", "name": "f"}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "x1", "response": {"output": "ok"}}}]},
        ]
    }
    result = read(body).messages[1].parts[0]
    assert (result.id, result.name, result.parts) == ("x1", "f", (Text("ok"),))


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "warm"}, "warm", False),
        ({"result": [1]}, "[1]", False),
        ({"error": "no"}, "no", True),
        ({"a": 1, "b": 2}, '{"a":1,"b":2}', False),
        ({}, "{}", False),
    ],
)
def test_a_function_response_becomes_text(response: Any, text: str, is_error: bool) -> None:
    (result,) = read(says({"functionResponse": {"id": "i", "name": "f", "response": response}})).messages[0].parts
    assert (result.parts, result.is_error) == ((Text(text),), is_error)


def test_responses_and_words_of_one_content_are_two_messages_with_their_own_bytes() -> None:
    response = {"functionResponse": {"id": "i", "name": "f", "response": {}}}
    tool, user = read(says(response, {"text": "and"})).messages
    assert (tool.role, user.role) == ("tool", "user")
    assert json.loads(tool.native.raw) == {"role": "user", "parts": [response]}
    assert json.loads(user.native.raw) == {"role": "user", "parts": [{"text": "and"}]}


def test_every_message_carries_its_own_bytes() -> None:
    raw = b'{"contents":[ {"role":"user", "parts":{"text":"\\u0041"}} ],"system_instruction":{"parts":[{"text":"s"}]}}'
    system, user = gemini.read_ask(read_object(raw)).messages
    assert (system.role, system.native) == ("system", Native("gemini", b'{"parts":[{"text":"s"}]}'))
    assert (user.parts, user.native) == ((Text("A"),), Native("gemini", b'{"role":"user", "parts":{"text":"\\u0041"}}'))


def test_generation_config_is_read_in_both_spellings() -> None:
    config = {
        "max_output_tokens": "7", "temperature": 0.5, "topP": 0.9, "topK": 40.0, "seed": 3, "stopSequences": ["x"],
        "candidateCount": 2, "responseLogprobs": True, "logprobs": 4, "frequencyPenalty": 0.1,
        "presence_penalty": 0.2, "responseModalities": ["TEXT", "AUDIO"], "responseMimeType": "application/json",
        "thinking_config": {"thinking_budget": 0, "includeThoughts": True, "thinkingLevel": "HIGH"},
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}, "mediaResolution": "LOW",
    }  # fmt: skip
    prompt = read({**says({"text": "x"}), "generation_config": config, "safetySettings": [], "cachedContent": "c/1"})
    assert prompt.params == Params(
        max_tokens=7, temperature=0.5, top_p=0.9, top_k=40, seed=3, stop=("x",), n=2, logprobs=True, top_logprobs=4,
        frequency_penalty=0.1, presence_penalty=0.2, modalities=("text", "audio"), format=Format("json", any=True),
        thinking=Thinking("high", 0, True), audio={"voice": "Kore"},
    )  # fmt: skip
    assert prompt.extras == {"safetySettings": [], "cachedContent": "c/1", "generationConfig.mediaResolution": "LOW"}


@pytest.mark.parametrize("name", ["responseJsonSchema", "_responseJsonSchema", "response_json_schema"])
def test_a_json_schema_is_kept_as_it_is(name: str) -> None:
    schema = {"type": "object", "$defs": {"A": {"type": ["string", "null"]}}, "additionalProperties": False}
    config = {"responseMimeType": "application/json", name: schema}
    assert read({**says({"text": "x"}), "generationConfig": config}).params.format == Format("json_schema", schema)


def test_googles_schema_becomes_json_schema() -> None:
    theirs = {
        "type": "OBJECT", "property_ordering": ["a"], "required": ["a"],
        "properties": {"a": {"type": "ARRAY", "min_items": "2", "items": {"type": "STRING", "nullable": True}}},
    }  # fmt: skip
    config = {"responseMimeType": "application/json", "responseSchema": theirs}
    assert read({**says({"text": "x"}), "generationConfig": config}).params.format.schema == {
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": "array", "minItems": 2, "items": {"type": ["string", "null"]}}},
    }  # fmt: skip


def test_numbers_stand_for_words_in_what_googles_rest_clients_send() -> None:
    schema = {"type": 6, "properties": {"a": {"type": 5, "items": {"type": 1}}, "b": {"type": 99}}}
    prompt = read(
        {
            **says({"text": "x"}),
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
            "toolConfig": {"functionCallingConfig": {"mode": 2}},
        }
    )
    assert prompt.tools[0].parameters == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}, "b": {"type": 99}},
    }
    assert prompt.tool_choice == ToolChoice("required")
    for mode in (99, -1):
        with pytest.raises(BadRequest):
            read({**says({"text": "x"}), "toolConfig": {"functionCallingConfig": {"mode": mode}}})


def test_tools_and_their_choice_are_read() -> None:
    prompt = read(
        {
            **says({"text": "x"}),
            "tools": [
                {"function_declarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT"}}]},
                {"googleSearch": {}, "urlContext": {}},
            ],
            "tool_config": {
                "function_calling_config": {"mode": "ANY", "allowed_function_names": ["f", "g"]},
                "retrievalConfig": {"languageCode": "en"},
            },
        }
    )
    assert prompt.tools == (
        Tool("f", "d", {"type": "object"}),
        Tool("googleSearch", kind="hosted", state=State("gemini", {"googleSearch": {}})),
        Tool("urlContext", kind="hosted", state=State("gemini", {"urlContext": {}})),
    )
    assert prompt.tool_choice == ToolChoice("required", ("f", "g"))
    assert prompt.extras == {"toolConfig.retrievalConfig": {"languageCode": "en"}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": "hi"}, "contents"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": 5, "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        (says({"text": 5}), "contents[0].parts[0].text"),
        (says({"text": "a"}, {"inlineData": "x"}), "contents[0].parts[1].inlineData"),
        (says({"inlineData": {"mimeType": "a/b"}}), "contents[0].parts[0].inlineData"),
        (says({"fileData": {"fileUri": ""}}), "contents[0].parts[0].fileData.fileUri"),
        (says({"text": "a", "inlineData": {"data": ""}}), "contents[0].parts[0].inlineData"),
        (says({"functionCall": {"args": {}}}, role="model"), "contents[0].parts[0].functionCall"),
        (says({"functionCall": {"name": "f"}}), "contents[0].parts[0].functionCall"),
        (says({"functionCall": {"name": "f", "args": []}}, role="model"), "contents[0].parts[0].functionCall.args"),
        (says({"functionResponse": {"response": "x"}}), "contents[0].parts[0].functionResponse.response"),
        ({**says({"text": "x"}), "tools": [5]}, "tools[0]"),
        ({**says({"text": "x"}), "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0]"),
        ({**says({"text": "x"}), "generationConfig": {"topK": "many"}}, "generationConfig.topK"),
        ({**says({"text": "x"}), "generationConfig": {"maxOutputTokens": 1.5}}, "generationConfig.maxOutputTokens"),
        ({**says({"text": "x"}), "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
         "toolConfig.functionCallingConfig.mode"),
        ({**says({"text": "x"}), "systemInstruction": "be kind"}, "systemInstruction"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_path(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["text", "parts", "role", "functionCall", "functionResponse", "inlineData", "name", "args", "id", "tools",
             "response", "thought", "functionDeclarations", "parameters", "type", "properties", "mode", "items",
             "thinkingConfig", "responseSchema", "speechConfig", "voiceConfig", "fileData", "data", "fileUri"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON, JSON, JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_or_refused(part: Any, tools: Any, config: Any, system: Any) -> None:
    for role in ("user", "model"):
        body = {
            "contents": [{"role": role, "parts": [part]}, part], "tools": tools, "generationConfig": config,
            "systemInstruction": system, "toolConfig": config,
        }  # fmt: skip
        body = {name: value for name, value in body.items() if value is not None}
        try:
            fields = read_object(json.dumps(body).encode())
            prompt = gemini.read_ask(fields)
        except BadRequest:
            continue
        gemini.write_ask(Plan(Turn("elsewhere", {}, lambda _, p=prompt: p, model="m"), "m", stream=False))
