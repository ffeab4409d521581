"""Requests, written from neutral words, and the fine print of both ways."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.errors import BadRequest
from midstream.core.parts import (
    Cache,
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


# ---------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("name", ["up", "models/up"])
def test_the_callers_own_bytes_are_sent_as_they_are(name: str) -> None:
    body = b'{"contents":[ {"parts":[{"text":"x"}]}],"model":"%b","new":1}' % name.encode()
    turn = Turn("gemini", read_object(body), gemini.read_ask, model="m")
    sent = gemini.write_ask(Plan(turn, "up", stream=False))
    assert (sent.body, sent.dropped) == (body, ())


@pytest.mark.parametrize("name", ["fast", "models/fast", "google/up"])
def test_another_name_than_the_models_own_stays_here(name: str) -> None:
    body = (
        b'{"contents":[ {"parts":[{"text":"x"}]}],"model":"%b","stream":true,"store":false,"conversation":"c","new":1}'
        % name.encode()
    )
    turn = Turn("gemini", read_object(body), gemini.read_ask, model="fast")
    sent = gemini.write_ask(Plan(turn, "m", stream=False))
    assert sent.body == (
        b'{"contents":[ {"parts":[{"text":"x"}]}],"stream":true,"store":false,"conversation":"c","new":1}'
    )
    assert sent.dropped == ()


def test_history_goes_before_the_callers_own_contents() -> None:
    body = b'{"system_instruction":{"parts":{"text":"own"}},"contents":[ {"parts":[{"text":"x"}]}]}'
    turn = Turn("gemini", read_object(body), gemini.read_ask, model="m")
    history = (
        Message("system", (Text("past"),)),
        Message("user", (Text("a"),), native=Native("gemini", b'{"parts": [{"text": "a"}]}')),
        Message("assistant", (ToolCall("c1", "f", "{}"),)),
        Message("tool", (ToolResult("c1", (Text("1"),)),)),
    )
    sent = gemini.write_ask(Plan(turn, "m", stream=False, history=history)).body
    assert b'[{"parts": [{"text": "a"}]},' in sent
    value = json.loads(sent)
    assert value["system_instruction"] == {"parts": [{"text": "past"}, {"text": "own"}]}
    assert value["contents"][1:] == [
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"output": "1"}}}]},
        {"parts": [{"text": "x"}]},
    ]


def test_stored_calls_of_the_current_turn_are_signed_when_the_caller_only_sends_results() -> None:
    body = b'{"contents":[{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{}}}]}]}'
    turn = Turn("gemini", read_object(body), gemini.read_ask, model="m")
    history = (USER, Message("assistant", (ToolCall("c1", "f", "{}"),)))
    value = json.loads(gemini.write_ask(Plan(turn, "m", stream=False, history=history)).body)
    assert value["contents"][1]["parts"][0]["thoughtSignature"] == gemini.PLACEHOLDER


def test_system_messages_lead_and_later_ones_are_wrapped_and_told() -> None:
    prompt = Prompt((Message("system", (Text("a"),)), Message("developer", (Text("b"),)), USER,
                     Message("assistant", (Text("yo"),)), Message("system", (Text("c"),))))  # fmt: skip
    body, dropped = ask(prompt)
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"][-1] == {"role": "user", "parts": [{"text": t} for t in ("<system>", "c", "</system>")]}
    assert dropped == ("messages[4].role",)


def test_a_later_system_message_of_which_nothing_is_left_leaves_no_empty_wrapping() -> None:
    change = Foreign("tool_addition", State("anthropic_messages", {}))
    prompt = Prompt((USER, Message("assistant", (Text("yo"),)), USER, Message("system", (change,))))
    body, dropped = ask(prompt)
    assert body["contents"][-1] == ask(Prompt((USER,)))[0]["contents"][0]
    assert "tool_addition" in dropped


def test_parallel_calls_and_their_results_are_one_content_each() -> None:
    signed = State("gemini", {"thoughtSignature": "c2ln"})
    messages = (
        USER,
        Message("assistant", (ToolCall("c1", "f", '{"a":1}', state=signed),)),
        Message("assistant", (ToolCall("c2", "g", ""),)),
        Message("tool", (ToolResult("c1", (Text("1"),)),)),
        Message("tool", (ToolResult("c2", (Text("no"), Media("image", "image/png", data="AA==")), is_error=True),)),
    )
    body, dropped = ask(Prompt(messages))
    assert body["contents"][1:] == [
        {"role": "model", "parts": [
            {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"id": "c2", "name": "g", "args": {}}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "1"}}},
            {"functionResponse": {"id": "c2", "name": "g", "response": {"error": "no"},
                                  "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}]},
    ]  # fmt: skip
    assert dropped == ()


def test_unsigned_calls_carry_the_placeholder_in_the_current_turn_only() -> None:
    step = (Message("assistant", (ToolCall("c1", "f"), ToolCall("c2", "f"))), Message("tool", (ToolResult("c1", ()),)))
    body, _ = ask(Prompt((USER, *step, USER, *step)))
    models = [content["parts"] for content in body["contents"] if content["role"] == "model"]
    assert [["thoughtSignature" in part for part in parts] for parts in models] == [[False, False], [True, False]]
    assert models[1][0]["thoughtSignature"] == "skip_thought_signature_validator"


def test_other_issuers_reasoning_stays_at_home_and_their_parts_are_told() -> None:
    foreign = State("anthropic_messages", {"signature": "x"})
    own = State("gemini", {"thoughtSignature": "c2ln"})
    parts = (Reasoning("theirs", state=foreign), Reasoning("bare"), Reasoning("mine", state=own), Refusal("no"),
             Foreign("web_search_call", foreign), Text("ok", cache=Cache()))  # fmt: skip
    body, dropped = ask(Prompt((USER, Message("assistant", parts))))
    assert body["contents"][1]["parts"] == [
        {"text": "mine", "thought": True, "thoughtSignature": "c2ln"}, {"text": "no"}, {"text": "ok"},
    ]  # fmt: skip
    assert dropped == ("web_search_call", "cache_control", "reasoning")


def test_a_result_has_the_name_of_the_call_before_it_where_a_later_call_has_the_same_id() -> None:
    """Some services count their calls from 0 in every answer."""
    said: list[Message] = []
    for name in ("f", "g"):
        said += [Message("assistant", (ToolCall("0", name, "{}"),)), Message("tool", (ToolResult("0", (Text("1"),)),))]
    own = Turn("gemini", read_object(b'{"contents":[{"parts":[{"text":"x"}]}]}'), gemini.read_ask, model="m")
    continued = json.loads(gemini.write_ask(Plan(own, "m", stream=False, history=(USER, *said))).body)
    for body in (ask(Prompt((USER, *said)))[0], continued):
        assert [body["contents"][place]["parts"][0]["functionResponse"]["name"] for place in (2, 4)] == ["f", "g"]


def test_stored_messages_of_this_dialect_keep_their_own_parts() -> None:
    native = Native(
        "gemini", b'{"role":"model","parts":[{"text":"a","thoughtSignature":"s"},{"functionCall":{"name":"f"}}]}'
    )
    result = Message("tool", (ToolResult("call_x_0", (Text("1"),), "f"),))
    body, _ = ask(Prompt((USER, Message("assistant", (Text("a"), ToolCall("call_x_0", "f")), native=native), result)))
    assert body["contents"][1]["parts"][0] == {"text": "a", "thoughtSignature": "s"}
    assert body["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]


def test_media_go_as_data_or_as_addresses() -> None:
    media = (
        Media("image", data="iVBORw0KGgoAAA=="),
        Media("image", url="https://example.org/a.png?x=1", detail="high"),
        Media("file", "application/pdf", data="JVBERi0=", name="a.pdf"),
        Media("image", url="data:image/gif;base64,R0lG"),
        Media("file", file_id="file-openai"),
        Media("file", "application/pdf", file_id="files/abc"),
    )
    body, dropped = ask(Prompt((Message("user", media),)))
    assert body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAA=="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png?x=1"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "files/abc"}},
    ]
    assert dropped == ("detail", "file_id", "messages.content.filename")


def test_tool_schemas_are_sent_untouched() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"const": 1}}}
    before = copy.deepcopy(schema)
    own = State("gemini", {"googleSearch": {}})
    tools = (Tool("f", "d", schema, strict=True), Tool("s", kind="hosted", state=own),
             Tool("web_search", kind="hosted", state=State("openai_responses", {})),
             Tool("c", kind="custom"))  # fmt: skip
    body, dropped = ask(Prompt((USER,), tools))
    assert body["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": before}]},
        {"googleSearch": {}},
    ]
    assert schema == before
    assert dropped == ("strict", "tools.web_search", "tools.c")


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("tool", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("required", ("f", "g")), {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
    ],
)
def test_tool_choice(choice: ToolChoice, config: dict[str, Any]) -> None:
    body, _ = ask(Prompt((USER,), (Tool("f"), Tool("g")), choice))
    assert body["toolConfig"] == {"functionCallingConfig": config}


def test_auto_with_a_list_offers_only_the_listed_functions() -> None:
    body, _ = ask(Prompt((USER,), (Tool("f"), Tool("g")), ToolChoice("auto", ("g",))))
    assert body["tools"] == [{"functionDeclarations": [{"name": "g"}]}]


def test_a_choice_without_functions_is_not_sent() -> None:
    assert "toolConfig" not in ask(Prompt((USER,), (), ToolChoice("auto")))[0]


def test_parameters_become_generation_config() -> None:
    schema = {"type": "object"}
    body, dropped = with_params(
        max_tokens=5, temperature=1.0, top_p=0.5, top_k=3, seed=1, n=2, logprobs=True, top_logprobs=2,
        stop=("a", "b", "c", "d", "e", "f"), format=Format("json_schema", schema, "n", strict=True),
        modalities=("text",), audio={"voice": "Kore", "format": "wav"},
    )  # fmt: skip
    assert body["generationConfig"] == {
        "maxOutputTokens": 5, "temperature": 1.0, "topP": 0.5, "topK": 3, "seed": 1, "candidateCount": 2,
        "stopSequences": ["a", "b", "c", "d", "e"], "responseLogprobs": True, "logprobs": 2,
        "responseModalities": ["TEXT"], "responseMimeType": "application/json", "responseJsonSchema": schema,
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    }  # fmt: skip
    assert dropped == ("stop", "audio.format")
    assert "model" not in body


@pytest.mark.parametrize(
    ("thinking", "model", "config"),
    [
        (Thinking("low"), "gemini-3-flash", {"thinkingLevel": "LOW"}),
        (Thinking("max"), "gemini-3-flash", {"thinkingLevel": "HIGH"}),
        (Thinking("none"), "gemini-3.1-pro-preview", {"thinkingLevel": "LOW"}),
        (Thinking("medium"), "gemini-2.5-flash", {"thinkingBudget": 8192}),
        (Thinking("none"), "models/gemini-2.5-flash", {"thinkingBudget": 0}),
        (Thinking("none"), "gemini-2.5-pro", {"thinkingBudget": 128}),
        (Thinking("low", budget=777), "gemini-3-flash", {"thinkingBudget": 777}),
        (Thinking("low", show=True), "gemini-3-flash", {"thinkingLevel": "LOW", "includeThoughts": True}),
        (Thinking(summary="auto"), "gemini-3-flash", {"includeThoughts": True}),
    ],
)
def test_thinking_is_a_level_or_the_callers_number(thinking: Thinking, model: str, config: dict[str, Any]) -> None:
    body, dropped = ask(Prompt((USER,), params=Params(thinking=thinking)), model=model)
    assert body["generationConfig"]["thinkingConfig"] == config
    cannot_stop = thinking.effort == "none" and "-pro" in model
    assert dropped == (("reasoning_effort",) if cannot_stop else ())


def test_what_google_cannot_take_is_told_by_the_callers_names() -> None:
    params = Params(user="u", service_tier="flex", logit_bias={"1": 1.0}, verbosity="low", cache_key="k",
                    parallel_tools=False, stop=("1", "2", "3", "4", "5", "6"))  # fmt: skip
    prompt = Prompt((USER,), params=params, extras={"store": True})
    _, dropped = ask(prompt, {"metadata": {"user_id": "u"}, "stop_sequences": [], "tool_choice": {}})
    assert dropped == (
        "stop_sequences", "metadata", "service_tier", "logit_bias", "verbosity", "prompt_cache_key", "tool_choice",
        "store",
    )  # fmt: skip


@pytest.mark.parametrize("arguments", ["not json", "[1]", '"x"'])
def test_arguments_that_are_no_object_stay_visible(arguments: str) -> None:
    body, _ = ask(Prompt((USER, Message("assistant", (ToolCall("c", "f", arguments),)))))
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"_raw": arguments}


@pytest.mark.parametrize("arguments", ["", "null", " null ", "{}"])
def test_no_arguments_however_they_are_written_are_an_empty_object(arguments: str) -> None:
    body, _ = ask(Prompt((USER, Message("assistant", (ToolCall("c", "f", arguments),)))))
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {}


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
SIGNED = st.none() | st.builds(lambda word: State("gemini", {"thoughtSignature": word}), WORD)
ARGUMENTS = st.dictionaries(WORD, st.integers(-9, 9) | WORD, max_size=2).map(
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
)
MODEL_PARTS = st.lists(
    st.builds(Text, WORD, state=SIGNED)
    | st.builds(
        lambda text, s: Reasoning(text, summary=True, state=State("gemini", {"thoughtSignature": s})), WORD, WORD
    )
    | st.builds(lambda i, n, a, s: ToolCall("i" + i, "n" + n, a, state=s), WORD, WORD, ARGUMENTS, SIGNED),
    min_size=1,
    max_size=4,
).map(tuple)
USER_PARTS = st.lists(
    st.builds(Text, WORD)
    | st.builds(lambda kind: Media(kind, f"{kind}/x", data="AAAA"), st.sampled_from(["image", "audio"])),
    min_size=1,
    max_size=3,
).map(tuple)


@given(st.lists(st.tuples(USER_PARTS, MODEL_PARTS, WORD | ARGUMENTS, st.booleans()), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_reading_undoes_writing(turns: list[Any]) -> None:
    messages: list[Message] = []
    for number, (user, model, answer, is_error) in enumerate(turns):
        model = tuple(
            replace(p, id=f"{p.id}{number}{i}") if isinstance(p, ToolCall) else p for i, p in enumerate(model)
        )
        messages += [Message("user", user), Message("assistant", model)]
        calls = [part for part in model if isinstance(part, ToolCall)]
        if calls:
            results = tuple(ToolResult(call.id, (Text(answer),), call.name, is_error) for call in calls)
            messages.append(Message("tool", results))
            messages.append(Message("assistant", (Text("done"),)))
    plan = Plan(Turn("elsewhere", {}, lambda _: Prompt(tuple(messages)), model="m"), "m", stream=False)
    body = gemini.write_ask(plan).body
    again = gemini.read_ask(read_object(body))
    assert [(m.role, _plain(m)) for m in again.messages] == [(m.role, _plain(m)) for m in messages]


def _plain(message: Message) -> list[Any]:
    """Without what only Google's form adds: how a result was written, and that nobody signed a call."""
    unsigned = State("gemini", {"thoughtSignature": gemini.PLACEHOLDER})
    return [
        replace(part, state=None) if isinstance(part, ToolResult) or getattr(part, "state", None) == unsigned else part
        for part in message.parts
    ]


# ------------------------------------------------------------------------------------------------------- fine print


def test_schemas_of_every_form_become_json_schema() -> None:
    theirs = {
        "type": "OBJECT",
        "properties": {
            "a": {"any_of": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True},
            "b": {"type": "STRING", "enum": ["x"], "nullable": True, "example": "x"},
            "c": {"ref": "#/$defs/d"},
            "d": {"type": ["STRING", "NULL"], "additional_properties": {"type": "NUMBER"}},
        },
        "defs": {"d": {"type": "BOOLEAN", "nullable": False}},
    }
    tools = [{"functionDeclarations": {"name": "f", "parameters": theirs}}]
    assert read({**says({"text": "x"}), "tools": tools}).tools[0].parameters == {
        "type": "object",
        "properties": {
            "a": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            "b": {"type": ["string", "null"], "enum": ["x", None], "examples": ["x"]},
            "c": {"$ref": "#/$defs/d"},
            "d": {"type": ["string", "null"], "additionalProperties": {"type": "number"}},
        },
        "$defs": {"d": {"type": "boolean"}},
    }


@pytest.mark.parametrize(
    ("config", "choice", "extras"),
    [
        ({"mode": "NONE"}, ToolChoice("none"), {}),
        ({"mode": "AUTO"}, ToolChoice("auto"), {}),
        ({}, ToolChoice("auto"), {}),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("tool", ("f",)), {}),
        ({"mode": "VALIDATED"}, ToolChoice("auto"), {"toolConfig.functionCallingConfig.mode": "VALIDATED"}),
    ],
)
def test_every_calling_mode_is_read(config: Any, choice: ToolChoice, extras: Any) -> None:
    prompt = read({**says({"text": "x"}), "toolConfig": {"functionCallingConfig": config}})
    assert (prompt.tool_choice, prompt.extras) == (choice, extras)


@pytest.mark.parametrize(
    "config",
    [
        {"speechConfig": {"multiSpeakerVoiceConfig": {}}},
        {"speechConfig": {"voiceConfig": {"customVoice": {}}}},
        {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {}}}},
        {"responseMimeType": "text/x.enum"},
    ],
)
def test_configuration_without_a_neutral_word_is_an_extra(config: Any) -> None:
    prompt = read({**says({"text": "x"}), "generationConfig": config})
    assert prompt.extras == {f"generationConfig.{name}": value for name, value in config.items()}


def test_media_in_a_function_response_are_read_and_written() -> None:
    blob = {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}}
    response = {"id": "c", "name": "f", "response": {"kept": 1, "whole": 2}, "willContinue": False, "parts": [blob]}
    body = {"contents": [{"role": "user", "parts": [{"functionResponse": response}]}]}
    message = read(body).messages[0]
    (result,) = message.parts
    assert result.parts == (Text('{"kept":1,"whole":2}'), Media("file", "application/pdf", data="JVBERi0="))
    call = Message("assistant", (ToolCall("c", "f"),))
    written, _ = ask(Prompt((USER, call, replace(message, native=None))))
    assert written["contents"][2]["parts"] == [{"functionResponse": response}]
    with pytest.raises(BadRequest) as caught:
        read(says({"functionResponse": {"name": "f", "parts": [{"functionResponse": {}}]}}))
    assert caught.value.param == "contents[0].parts[0].functionResponse.parts[0]"


@pytest.mark.parametrize("text", ["{broken", '{"output":"x"}', '{"error":1}', "[1]", "", "plain"])
def test_a_tool_result_comes_back_as_the_text_it_was(text: str) -> None:
    messages = (USER, Message("assistant", (ToolCall("c", "f"),)), Message("tool", (ToolResult("c", (Text(text),)),)))
    written, _ = ask(Prompt(messages))
    again = read(written).messages[2].parts[0]
    assert (again.parts, again.is_error, again.name) == ((Text(text),), False, "f")


def test_names_marks_and_unknown_efforts_are_told() -> None:
    user = Message("user", (Text("x"),), name="ann")
    call = Message("assistant", (ToolCall("c", "f", "raw text", kind="custom"),))
    tools = (Tool("f", cache=Cache(), state=State("gemini", {"behavior": "BLOCKING"})),)
    params = Params(thinking=Thinking("gigantic"), format=Format("text"))
    body, dropped = ask(Prompt((user, call), tools, params=params))
    assert dropped == ("messages.name", "cache_control", "reasoning_effort")
    assert body["tools"] == [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}]
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "raw text"}
    assert "generationConfig" not in body


def test_media_without_a_type_get_their_kinds() -> None:
    media = tuple(Media(kind, data="AAAA") for kind in ("image", "audio", "video", "file"))
    body, _ = ask(Prompt((Message("user", media),)))
    types = [part["inlineData"]["mimeType"] for part in body["contents"][0]["parts"]]
    assert types == ["image/jpeg", "audio/wav", "video/mp4", "application/pdf"]


def test_an_empty_conversation_is_still_a_request() -> None:
    body, _ = ask(Prompt((Message("user", (Text(""),)),)))
    assert body["contents"] == [{"role": "user", "parts": [{"text": ""}]}]


def test_a_lone_system_message_is_asked_as_a_user_turn() -> None:
    body, dropped = ask(Prompt((Message("system", (Text("s"),)),)))
    assert body["contents"][0]["parts"][1] == {"text": "s"}
    assert dropped == ("messages[0].role",)


def test_made_up_ids_never_meet_the_callers_own() -> None:
    parts = [{"functionCall": {"id": "call_0", "name": "f"}}, {"functionCall": {"name": "f"}}]
    assert [part.id for part in read(says(*parts, role="model")).messages[0].parts] == ["call_0", "call_1"]
    (orphan,) = read(says({"functionResponse": {"name": "f"}})).messages[0].parts
    assert orphan.id == "call_0"
