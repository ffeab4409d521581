"""Every request field of the official SDKs is honoured in another dialect, named as dropped, or refused by its name:
none is lost. The fields are read off the SDKs, so a new version of one brings its new fields here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai.types import GenerateContentConfig
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from midstream.core.errors import BadRequest
from midstream.core.turn import Plan, Turn
from midstream.providers import open_router
from midstream.wire import anthropic_messages, gemini, openai_chat, openai_responses
from midstream.wire.strict_json import read_object

DIALECTS: dict[str, ModuleType] = {one.NAME: one for one in (openai_chat, openai_responses, anthropic_messages, gemini)}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
HI: dict[str, dict[str, Any]] = {
    openai_chat.NAME: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    anthropic_messages.NAME: {"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]},
    gemini.NAME: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
#: Where a value of no particular form would be refused, or say nothing.
CHAT: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.5,
    "function_call": {"name": "f"},
    "functions": [FUNCTION],
    "logit_bias": {"5": 1},
    "logprobs": True,
    "max_completion_tokens": 4001,
    "max_tokens": 4001,
    "metadata": {"a": "b"},
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    "seed": 5,
    "service_tier": "flex",
    "stop": ["x"],
    "store": True,
    "stream_options": {"include_obfuscation": False},
    "temperature": 0.5,
    "tool_choice": "required",
    "tools": [{"type": "function", "function": FUNCTION}],
    "top_logprobs": 2,
    "top_p": 0.5,
    "web_search_options": {"search_context_size": "low"},
}
CLAUDE: dict[str, Any] = {
    "cache_control": {"type": "ephemeral"},
    "metadata": {"user_id": "u"},
    "output_config": {"effort": "high"},
    "service_tier": "standard_only",
    "stop_sequences": ["x"],
    "system": "be kind",
    "temperature": 0.5,
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "tool_choice": {"type": "any"},
    "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
    "top_k": 5,
    "top_p": 0.5,
}
GOOGLE: dict[str, Any] = {
    "candidateCount": 2,
    "enableEnhancedCivicAnswers": True,
    "audioTimestamp": True,
    "frequencyPenalty": 0.5,
    "imageConfig": {"aspectRatio": "1:1"},
    "logprobs": 2,
    "maxOutputTokens": 4001,
    "mediaResolution": "MEDIA_RESOLUTION_LOW",
    "presencePenalty": 0.5,
    "responseLogprobs": True,
    "responseMimeType": "application/json",
    "responseJsonSchema": SCHEMA,
    "responseModalities": ["TEXT", "IMAGE"],
    "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
    "routingConfig": {"manualMode": {"modelName": "x"}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "seed": 5,
    "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
    "stopSequences": ["x"],
    "systemInstruction": {"parts": [{"text": "be kind"}]},
    "temperature": 0.5,
    "thinkingConfig": {"thinkingBudget": 2000},
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}],
    "topK": 5,
    "topP": 0.5,
    "labels": {"a": "b"},
    "modelSelectionConfig": {"featureSelectionPreference": "BALANCED"},
    "modelArmorConfig": {"promptTemplateName": "x"},
    "serviceTier": "flex",
}
#: What stands beside generationConfig in a request.
BESIDE = frozenset({"systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "labels",
                    "modelArmorConfig", "serviceTier"})  # fmt: skip
#: What the SDKs keep to themselves, or what means something only with another field.
NOT_SENT = frozenset({"httpOptions", "automaticFunctionCalling", "shouldReturnHttpResponse"})
#: What this server does itself, whoever answers.
OURS = frozenset({"stream", "stream_options", "store"})
WITH: dict[str, dict[str, Any]] = {
    "tool_choice": {"tools": None},
    "parallel_tool_calls": {"tools": None},
    "function_call": {"functions": None},
    "top_logprobs": {"logprobs": None},
    "toolConfig": {"tools": None},
    "logprobs": {"responseLogprobs": None},
    "responseSchema": {"responseMimeType": None},
    "responseJsonSchema": {"responseMimeType": None},
}
VALUES = {openai_chat.NAME: CHAT, anthropic_messages.NAME: CLAUDE, gemini.NAME: GOOGLE}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def fields() -> Iterator[tuple[str, str]]:
    for kind, dialect in (
        (CompletionCreateParamsNonStreaming, openai_chat.NAME),
        (MessageCreateParamsNonStreaming, anthropic_messages.NAME),
    ):
        for name in sorted(kind.__required_keys__ | kind.__optional_keys__):
            if name not in HI[dialect] and name not in OURS:
                yield dialect, name
    for name in sorted(map(camel, GenerateContentConfig.model_fields)):
        if name not in NOT_SENT:
            yield gemini.NAME, name


def asked(dialect: str, *names: str) -> dict[str, Any]:
    body = json.loads(json.dumps(HI[dialect]))
    for name in names:
        value = VALUES[dialect].get(name, "x")
        place = body if dialect != gemini.NAME or name in BESIDE else body.setdefault("generationConfig", {})
        place[name] = value
    return body


def written(dialect: str, target: str, body: dict[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    turn = Turn(dialect, read_object(json.dumps(body).encode()), DIALECTS[dialect].read_ask, model="m")
    out = DIALECTS[target].write_ask(Plan(turn, "m", False))
    return out.body, out.dropped


CASES = [(dialect, name, target) for dialect, name in fields() for target in DIALECTS if target != dialect]


@pytest.mark.parametrize(("dialect", "name", "target"), CASES)
def test_no_field_is_lost(dialect: str, name: str, target: str) -> None:
    beside = [other for other in WITH.get(name, {}) if other in VALUES[dialect]]
    plain, before = written(dialect, target, asked(dialect, *beside))
    try:
        body, dropped = written(dialect, target, asked(dialect, *beside, name))
    except BadRequest as refused:
        body, dropped = plain, (f"{refused.param}",) if refused.code == "unsupported" else ()
    told = set(dropped) - set(before)
    assert body != plain or told, f"{name} is lost on the way to {target}"


def test_what_openrouter_alone_understands_reaches_it_and_is_named_elsewhere() -> None:
    chosen = {"models": ["a/b", "c/d"], "provider": {"order": ["x"], "allow_fallbacks": False}}
    body = {**HI[openai_chat.NAME], **chosen, "usage": {"include": True}}
    turn = Turn(openai_chat.NAME, read_object(json.dumps(body).encode()), openai_chat.read_ask, model="m")
    assert open_router.SERVICE.write is not None
    asked = open_router.SERVICE.write(Plan(turn, "m", False))
    assert (json.loads(asked.body), asked.dropped) == (body, ())
    for target in DIALECTS:
        if target != openai_chat.NAME:
            sent, dropped = written(openai_chat.NAME, target, body)
            assert set(dropped) == {"models", "provider", "usage"}
            assert b"a/b" not in sent


@pytest.mark.parametrize("target", [openai_chat.NAME, openai_responses.NAME])
def test_a_sound_that_cannot_be_sent_is_not_named_as_the_voice_that_was_asked_for(target: str) -> None:
    sound = {"fileData": {"mimeType": "audio/mpeg", "fileUri": "gs://bucket/a.mp3"}}
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}, sound]}]}
    assert written(gemini.NAME, target, body)[1] == ("audio",)
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
    _, dropped = written(gemini.NAME, openai_responses.NAME, body | {"generationConfig": {"speechConfig": voice}})
    assert dropped == ("audio", "speechConfig")
