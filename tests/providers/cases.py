"""One table of requests in OpenAI's words, asked of every provider."""

from __future__ import annotations

from typing import Any

HI = [{"role": "user", "content": "What is the weather?"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}},
    ],
}
RESULTS = [
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"$ref": "#/$defs/degrees"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
    "$defs": {"degrees": {"type": "integer"}},
}
CASES: dict[str, dict[str, Any]] = {
    "text": {"messages": HI},
    "stream": {"messages": HI, "stream": True},
    "system": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            *HI,
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "And tomorrow?"},
        ]
    },
    "tools": {
        "messages": HI,
        "tools": [WEATHER, TIME],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    },
    "tools_required": {"messages": HI, "tools": [WEATHER], "tool_choice": "required"},
    "tool_results": {"messages": [*HI, CALLS, *RESULTS], "tools": [WEATHER, TIME]},
    "parallel_off": {"messages": HI, "tools": [WEATHER, TIME], "parallel_tool_calls": False},
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                ],
            }
        ]
    },
    "json_schema": {
        "messages": HI,
        "response_format": {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA, "strict": True}},
    },
    "json_object": {"messages": HI, "response_format": {"type": "json_object"}},
    "reasoning": {"messages": HI, "reasoning_effort": "low", "max_completion_tokens": 9000},
    "sampling": {
        "messages": HI,
        "temperature": 1.8,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END", "\n\n"],
        "max_completion_tokens": 64,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "user": "u-1",
    },
    "probabilities": {"messages": HI, "logprobs": True, "top_logprobs": 3},
    "several_answers": {"messages": HI, "n": 2},
}
