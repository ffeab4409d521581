"""What test_fields_across asks of a request's own fields, asked of every field inside them: of messages' parts, tools,
choices, forms and configurations, to any depth. The fields are read off the SDKs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import (
    MessageParam,
    OutputConfigParam,
    TextBlockParam,
    ThinkingConfigParam,
    ToolChoiceParam,
    ToolUnionParam,
)
from google.genai.types import Content, GenerateContentConfig
from openai.types.chat import (
    ChatCompletionMessageParam,
    ChatCompletionToolChoiceOptionParam,
    ChatCompletionToolUnionParam,
)
from openai.types.chat.completion_create_params import ResponseFormat

from midstream.core.errors import BadRequest
from midstream.wire import anthropic_messages, gemini, openai_chat

from .sdk_fields import Walk
from .test_fields_across import BESIDE, DIALECTS, FUNCTION, HI, SCHEMA, written

CHAT_TOOL = {"type": "function", "function": FUNCTION}
PNG = "iVBORw0KGgo="
SAMPLES: dict[str, dict[str, Any]] = {
    openai_chat.NAME: {
        "arguments": ('{"a":"x"}', '{"a":"y"}'),
        "ImageURL.detail": "low",
        "ImageURL.url": ("https://x.example/a.png", "https://x.example/b.png"),
        "InputAudio.data": (PNG, "JVBERi0="),
        "FileFile.file_data": f"data:application/pdf;base64,{PNG}",
        "parameters": SCHEMA,
        "JSONSchema.schema": SCHEMA,
        "ChatCompletionAllowedToolsParam.tools": [CHAT_TOOL],
    },
    anthropic_messages.NAME: {
        "data": (PNG, "JVBERi0="),
        "url": ("https://x.example/a.png", "https://x.example/b.png"),
        "input_schema": SCHEMA,
        "schema": SCHEMA,
        "signature": "c2ln",
        "role": "user",
        "budget_tokens": (2000, 9000),
        "ttl": "1h",
        "ThinkingConfigAdaptiveParam.display": "summarized",
        "ThinkingConfigEnabledParam.display": ("summarized", "omitted"),
    },
    gemini.NAME: {
        "data": (PNG, "JVBERi0="),
        "fileUri": "https://x.example/a.png",
        "mimeType": "image/png",
        "thoughtSignature": "c2ln",
        "args": {"a": "x"},
        "response": {"a": "x"},
        "parametersJsonSchema": SCHEMA,
        "parameters": {"type": "OBJECT"},
        "responseJsonSchema": SCHEMA,
        "responseSchema": {"type": "OBJECT"},
        "topK": 5,
        "thinkingLevel": ("HIGH", "LOW"),
        "FunctionCallingConfig.mode": ("ANY", "NONE"),
        "allowedFunctionNames": ["f"],
        "systemInstruction": {"parts": [{"text": "be kind"}]},
    },
}
NEEDED = frozenset(
    {
        "FileFile.file_data", "Blob.data", "Blob.mimeType", "FileData.fileUri", "FunctionCall.name",
        "FunctionResponse.name", "FunctionResponse.response", "FunctionResponseBlob.data",
        "FunctionResponseBlob.mimeType", "FunctionResponseFileData.fileUri", "FunctionDeclaration.name",
        "Content.parts", "FunctionResponsePart.inlineData", "ThinkingConfig.thinkingLevel",
        "ToolConfig.functionCallingConfig", "FunctionCallingConfig.mode", "JSONSchema.schema",
        "ThinkingConfigEnabledParam.display",
    }
)  # fmt: skip
#: What says nothing to another service: a form's label and how strictly it is kept where it always is, the default
#: type of a tool, a name that its call has told, a signature, which vouches for words to its own service only. And what
#: is refused beside another one: a budget beside a level, a file beside data.
SAYING_NOTHING = frozenset(
    {
        "JSONSchema.name", "JSONSchema.strict", "ToolParam.type", "FunctionResponse.name", "Content.role",
        "Part.thoughtSignature", "ThinkingConfig.thinkingBudget", "FunctionResponsePart.fileData",
    }
)  # fmt: skip
CALLED = {"role": "assistant", "tool_calls": [{"id": "x", "type": "function",
                                               "function": {"name": "x", "arguments": "{}"}}]}  # fmt: skip
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "x", "input": {}}]}


def _said(message: Any) -> dict[str, Any]:
    hi = HI[openai_chat.NAME]["messages"]
    before = [CALLED] if message["role"] == "tool" else []
    return {"messages": [*hi, *before, message, *hi]}


def _blocks(message: Any) -> dict[str, Any]:
    hi = HI[anthropic_messages.NAME]["messages"]
    kinds = {block["type"] for block in message["content"]} if isinstance(message["content"], list) else set()
    if kinds & {"tool_use", "thinking", "redacted_thinking", "server_tool_use"}:
        message = {**message, "role": "assistant"}
    before = [USED] if "tool_result" in kinds else []
    return {"messages": [*hi, *before, message, *hi]}


def _content(content: Any) -> dict[str, Any]:
    hi = HI[gemini.NAME]["contents"]
    calls = any("functionCall" in part or part.get("thought") for part in content.get("parts", []))
    calls = calls or any("thoughtSignature" in part for part in content.get("parts", []))
    return {"contents": [*hi, {**content, "role": "model" if calls else "user"}, *hi]}


def _config(config: Any) -> dict[str, Any]:
    tool = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}
    out: dict[str, Any] = {"tools": [tool]} if "toolConfig" in config else {}
    for name, value in config.items():
        (out if name in BESIDE else out.setdefault("generationConfig", {}))[name] = value
    return out


CLAUDE_TOOL = {"name": "f", "input_schema": SCHEMA}
PLACES: list[tuple[str, str, Any, Any]] = [
    (openai_chat.NAME, "messages", ChatCompletionMessageParam, _said),
    (openai_chat.NAME, "tools", ChatCompletionToolUnionParam, lambda tool: {"tools": [tool]}),
    (openai_chat.NAME, "tool_choice", ChatCompletionToolChoiceOptionParam,
     lambda choice: {"tools": [CHAT_TOOL], "tool_choice": choice}),
    (openai_chat.NAME, "response_format", ResponseFormat, lambda form: {"response_format": form}),
    (anthropic_messages.NAME, "messages", MessageParam, _blocks),
    (anthropic_messages.NAME, "system", TextBlockParam, lambda block: {"system": [block]}),
    (anthropic_messages.NAME, "tools", ToolUnionParam, lambda tool: {"tools": [tool]}),
    (anthropic_messages.NAME, "tool_choice", ToolChoiceParam,
     lambda choice: {"tools": [CLAUDE_TOOL], "tool_choice": choice}),
    (anthropic_messages.NAME, "thinking", ThinkingConfigParam, lambda thinking: {"thinking": thinking}),
    (anthropic_messages.NAME, "output_config", OutputConfigParam, lambda config: {"output_config": config}),
    (gemini.NAME, "contents", Content, _content),
    (gemini.NAME, "config", GenerateContentConfig, _config),
]  # fmt: skip


def cases() -> Iterator[Any]:
    for dialect, place, kind, body in PLACES:
        walk = Walk(SAMPLES[dialect], SAYING_NOTHING, NEEDED)
        for path, without, within in walk.cases(kind):
            for target in DIALECTS:
                if target != dialect:
                    yield pytest.param(dialect, body(without), body(within), target, id=f"{place}-{path}-{target}")


def written_or_refused(dialect: str, target: str, body: dict[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    """What cannot be carried may also be refused; nothing else may."""
    try:
        return written(dialect, target, body)
    except BadRequest as refused:
        if refused.code not in ("unsupported", "unsupported_media"):
            raise
        return b"", (f"{refused.param}",)


@pytest.mark.parametrize(("dialect", "without", "within", "target"), list(cases()))
def test_no_field_within_a_field_is_lost(
    dialect: str, without: dict[str, Any], within: dict[str, Any], target: str
) -> None:
    _, before = written(dialect, target, HI[dialect])
    plain, _ = written_or_refused(dialect, target, {**HI[dialect], **without})
    body, dropped = written_or_refused(dialect, target, {**HI[dialect], **within})
    assert body != plain or set(dropped) - set(before), f"lost in {json.dumps(within)}"
