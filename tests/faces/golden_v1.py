"""What version 1 of our own format promises, written from its specification: requests, answers, streams, errors."""

from __future__ import annotations

from typing import Any

from midstream.core.errors import BadRequest, Conflict, NotFound, StoreDown
from midstream.core.events import (
    Attempted,
    Concluded,
    Delta,
    Done,
    Event,
    Failed,
    Opened,
    PartEnded,
    PartStarted,
    Started,
    Stopped,
    ToolEnded,
    ToolNoted,
    ToolStarted,
    Used,
)
from midstream.core.outcome import Outcome, Step
from midstream.core.parts import Media, Message, Reasoning, Text, ToolCall, ToolResult
from midstream.core.turn import Params, Prompt, Tool, ToolChoice
from midstream.core.usage import Usage

CONVERSATION, USER, ANSWER = "conv_" + "c" * 24, "msg_" + "a" * 24, "msg_" + "b" * 24
CONVERSATION_UUID = "cccccccc-cccc-8ccc-8ccc-cccccc000000"
USER_UUID = "aaaaaaaa-aaaa-8aaa-8aaa-aaaaaa000000"
ANSWER_UUID = "bbbbbbbb-bbbb-8bbb-8bbb-bbbbbb000000"
AGENT_UUID = "dddddddd-dddd-8ddd-8ddd-dddddd000000"
NOT_OURS = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

USED = Usage(uncached_in=20, cache_read=5, out_text=7, out_reasoning=3)
USAGE = {
    "inputTokens": 25, "outputTokens": 10, "totalTokens": 35, "cachedTokens": 5, "reasoningTokens": 3, "cost": "0.0012",
}  # fmt: skip

#: body -> the members of the ask that it makes (all others as they are by themselves).
ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"message": "Explain kubernetes pods", "conversationId": None, "agentId": AGENT_UUID},
        {"text": "Explain kubernetes pods", "conversation": "", "agent": AGENT_UUID},
    ),
    (
        {"message": "more", "conversationId": CONVERSATION_UUID.upper()},
        {"text": "more", "conversation": CONVERSATION},
    ),
    (
        {
            "message": "see", "agentId": "support", "documentIds": ["doc_1", "doc_2"], "variables": {"a": {"b": 1}},
            "waitForTurn": False, "stream": False,
        },
        {
            "text": "see", "agent": "support", "document_ids": ("doc_1", "doc_2"), "variables": {"a": {"b": 1}},
            "wait": False, "conversation": "",
        },
    ),
    (
        {
            "agentId": "a",
            "attachments": [
                {"type": "image", "url": "https://example.org/a.png"},
                {"data": "aGk=", "mimeType": "application/pdf", "name": "a.pdf"},
                {"url": "data:audio/wav;base64,aGk="},
                {"url": "https://example.org/a.mp4"},
            ],
        },
        {
            "agent": "a", "conversation": "",
            "media": (
                Media("image", url="https://example.org/a.png"),
                Media("file", "application/pdf", data="aGk=", name="a.pdf"),
                Media("audio", "audio/wav", data="aGk="),
                Media("video", "video/mp4", url="https://example.org/a.mp4"),
            ),
            "places": ("attachments[0]", "attachments[1]", "attachments[2]", "attachments[3]"),
        },
    ),
    (
        {"message": "better", "conversationId": CONVERSATION_UUID, "agentId": "a", "editMessageId": USER_UUID},
        {"text": "better", "conversation": CONVERSATION, "agent": "a", "edit": USER},
    ),
    (
        {"conversationId": CONVERSATION_UUID, "agentId": "a", "regenerateMessageId": ANSWER_UUID},
        {"conversation": CONVERSATION, "agent": "a", "regenerate": ANSWER},
    ),
]  # fmt: skip

_HI: dict[str, Any] = {"message": "hi", "agentId": "a"}
#: body -> (status, the field that the message names, the word under `error`).
REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"agentId": "a"}, (400, "message", "user_message_missing")),
    ({"agentId": "a", "message": " "}, (400, "message", "user_message_missing")),
    ({"message": "hi"}, (400, "agentId", "missing_required_parameter")),
    ({**_HI, "mesage": "hi"}, (400, "mesage", "unknown_parameter")),
    ({**_HI, "message": 5}, (400, "message", "invalid_request")),
    ({**_HI, "stream": "yes"}, (400, "stream", "invalid_request")),
    ({**_HI, "conversationId": "conv_1"}, (400, "conversationId", "invalid_request")),
    ({**_HI, "conversationId": NOT_OURS}, (404, "conversationId", "not_found")),
    ({**_HI, "editMessageId": NOT_OURS}, (404, "editMessageId", "not_found")),
    ({**_HI, "regenerateMessageId": "x"}, (400, "regenerateMessageId", "invalid_request")),
    (
        {**_HI, "conversationId": CONVERSATION_UUID, "regenerateMessageId": ANSWER_UUID},
        (400, "message", "contradictory"),
    ),
    ({**_HI, "editMessageId": USER_UUID}, (400, "conversationId", "missing_required_parameter")),
    ({"regenerateMessageId": ANSWER_UUID}, (400, "conversationId", "missing_required_parameter")),
    ({"message": "hi", "editMessageId": USER_UUID}, (400, "conversationId", "missing_required_parameter")),
    ({**_HI, "documentIds": "doc_1"}, (400, "documentIds", "invalid_request")),
    ({**_HI, "documentIds": [1]}, (400, "documentIds", "invalid_request")),
    ({**_HI, "variables": []}, (400, "variables", "invalid_request")),
    ({**_HI, "waitForTurn": 1}, (400, "waitForTurn", "invalid_request")),
    ({**_HI, "attachments": [{}]}, (400, "attachments[0]", "invalid_request")),
    ({**_HI, "attachments": [{"url": "ftp://x"}]}, (400, "attachments[0].url", "invalid_request")),
    ({**_HI, "attachments": [{"url": "data:text/plain,hi"}]}, (400, "attachments[0].url", "invalid_request")),
    ({**_HI, "attachments": [{"data": "aGk="}]}, (400, "attachments[0].mimeType", "invalid_request")),
    ({**_HI, "attachments": [{"data": "%", "mimeType": "a/b"}]}, (400, "attachments[0].data", "invalid_request")),
    ({**_HI, "attachments": [{"url": "https://x", "data": "aGk="}]}, (400, "attachments[0]", "invalid_request")),
    ({**_HI, "attachments": [{"url": "https://x", "type": "pdf"}]}, (400, "attachments[0].type", "invalid_request")),
    ({**_HI, "attachments": [{"uri": "https://x"}]}, (400, "uri", "unknown_parameter")),
]

OUTCOME = Outcome(
    text="It is sunny.",
    model="gpt-4o",
    usage=USED,
    cost="0.0012",
    rounds=2,
    steps=(Step("call_1", "weather", {"city": "Oslo"}, "ok", "sunny", ms=12),),
    conversation=CONVERSATION,
    message=USER,
    answer=ANSWER,
)
#: A turn with one tool: two model calls.
EVENTS: list[Event] = [
    Opened(CONVERSATION, USER, "t", "t"),
    Attempted("openai", "openai_chat"), Started("x", "gpt-4o"),
    PartStarted(0, Reasoning("")), Delta(0, "hidden"), PartEnded(0),
    PartStarted(1, Text("Let me ")), Delta(1, "look."), PartEnded(1),
    PartStarted(2, ToolCall("call_1", "weather")), Delta(2, '{"city":"Oslo"}'), PartEnded(2),
    Stopped("tool_calls"), Used(Usage(uncached_in=9)),
    ToolStarted("call_1", "weather", {"city": "Oslo"}), ToolNoted("call_1", "asking"),
    ToolEnded("call_1", "weather", "ok", "sunny", ms=12),
    Attempted("openai", "openai_chat"), Started("y", "gpt-4o"),
    PartStarted(0, Text("")), Delta(0, "It is "), Delta(0, "sunny."), PartEnded(0), Stopped("stop"), Used(USED),
    Concluded(OUTCOME), Done(),
]  # fmt: skip

_CALL: tuple[str, dict[str, Any]] = ("tool_call", {"id": "call_1", "name": "weather", "arguments": {"city": "Oslo"}})
_RESULT: tuple[str, dict[str, Any]] = (
    "tool_result", {"id": "call_1", "name": "weather", "status": "ok", "summary": "sunny", "durationMs": 12},
)  # fmt: skip
_TOLD: list[tuple[str, dict[str, Any]]] = [
    ("text", {"delta": "Let me "}), ("text", {"delta": "look."}), _CALL, _RESULT,
    ("text", {"delta": "It is "}), ("text", {"delta": "sunny."}), ("usage", USAGE),
]  # fmt: skip
_DONE = {
    "conversationId": CONVERSATION_UUID, "messageId": ANSWER_UUID, "text": "It is sunny.", "finishReason": "stop",
    "usage": USAGE, "iterations": 2,
}  # fmt: skip
_STEPS = [{**_CALL[1], **_RESULT[1]}]

CONVERSATION_TOLD = [
    ("conversation", {"conversationId": CONVERSATION_UUID, "messageId": USER_UUID}), *_TOLD, ("done", _DONE),
]  # fmt: skip
CONVERSATION_REPLY = {**_DONE, "toolCalls": _STEPS}

FAILED = Failed(StoreDown("the store is unavailable, try again"))
FAILED_TOLD = ("error", {"statusCode": 503, "message": "the store is unavailable, try again"})

#: error -> body.
ERRORS: list[tuple[Any, dict[str, Any]]] = [
    (BadRequest("message: needed", code="user_message_missing"),
     {"statusCode": 400, "message": "message: needed", "error": "user_message_missing"}),
    (NotFound("no such agent: a"), {"statusCode": 404, "message": "no such agent: a", "error": "not_found"}),
    (Conflict("busy", code="conversation_busy"), {"statusCode": 409, "message": "busy", "error": "conversation_busy"}),
]  # fmt: skip

# agent/run

AGENT_ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "model": "fast", "instructions": "Be brief.", "tools": ["weather"], "toolChoice": "auto",
            "context": {"city": "Oslo"},
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "toolCalls": [{"id": "c", "name": "f", "arguments": {"a": 1}}]},
                {"role": "tool", "toolCallId": "c", "content": "done"},
            ],
        },
        {
            "model": "fast", "instructions": "Be brief.", "tools": ("weather",), "tool_choice": "auto",
            "variables": {"city": "Oslo"}, "calls": 15,
            "messages": (
                Message("user", (Text("hi"),)),
                Message("assistant", (ToolCall("c", "f", '{"a":1}'),)),
                Message("tool", (ToolResult("c", (Text("done"),), "f"),)),
            ),
        },
    ),
    (
        {"model": "fast", "messages": [{"role": "user", "content": "hi"}]},
        {"model": "fast", "tools": (), "calls": 15, "messages": (Message("user", (Text("hi"),)),)},
    ),
]  # fmt: skip
_MESSAGES = [{"role": "user", "content": "hi"}]
AGENT_REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"messages": _MESSAGES}, (400, "model", "missing_required_parameter")),
    ({"model": "m"}, (400, "messages", "missing_required_parameter")),
    ({"model": "m", "messages": _MESSAGES, "tools": [{"name": "f"}]}, (400, "tools[0]", "invalid_request")),
    ({"model": "m", "messages": _MESSAGES, "agentId": "a"}, (400, "agentId", "unknown_parameter")),
]
AGENT_REPLY = {
    "text": "It is sunny.", "toolCalls": _STEPS, "usage": USAGE, "iterations": 2, "finishReason": "stop",
}  # fmt: skip
AGENT_TOLD = [*_TOLD, ("done", {name: value for name, value in AGENT_REPLY.items() if name != "toolCalls"})]

# completions

_TOOL = {"name": "f", "description": "does", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}
PROMPTS: list[tuple[dict[str, Any], Prompt]] = [
    (
        {"model": "m", "messages": _MESSAGES, "temperature": 0.5, "maxOutputTokens": 90},
        Prompt((Message("user", (Text("hi"),)),), params=Params(max_tokens=90, temperature=0.5)),
    ),
    (
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user", "name": "Ann",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image", "url": "https://example.org/a.png"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                        {"type": "file", "data": "aGk=", "mimeType": "application/pdf", "name": "a.pdf"},
                    ],
                },
                {"role": "assistant", "content": "calling", "toolCalls": [{"id": "c", "name": "f", "arguments": "{}"}]},
                {"role": "tool", "toolCallId": "c", "content": [{"type": "text", "text": "no"}], "isError": True},
            ],
            "tools": [_TOOL],
            "toolChoice": {"name": "f"},
        },
        Prompt(
            (
                Message("system", (Text("Be brief."),)),
                Message(
                    "user",
                    (
                        Text("see"), Media("image", url="https://example.org/a.png", place="messages[1]"),
                        Media("image", "image/png", data="aGk=", place="messages[1]"),
                        Media("file", "application/pdf", data="aGk=", name="a.pdf", place="messages[1]"),
                    ),
                    name="Ann",
                ),
                Message("assistant", (Text("calling"), ToolCall("c", "f", "{}"))),
                Message("tool", (ToolResult("c", (Text("no"),), "f", is_error=True),)),
            ),
            (Tool("f", "does", _TOOL["parameters"]),),  # type: ignore[arg-type]
            ToolChoice("tool", ("f",)),
        ),
    ),
    (  # as OpenAI writes tools and calls
        {
            "model": "m",
            "messages": [
                *_MESSAGES,
                {
                    "role": "assistant", "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "yes"},
            ],
            "tools": [{"type": "function", "function": _TOOL}],
            "toolChoice": {"type": "function", "function": {"name": "f"}},
        },
        Prompt(
            (
                Message("user", (Text("hi"),)),
                Message("assistant", (ToolCall("c", "f", "{}"),)),
                Message("tool", (ToolResult("c", (Text("yes"),), "f"),)),
            ),
            (Tool("f", "does", _TOOL["parameters"]),),  # type: ignore[arg-type]
            ToolChoice("tool", ("f",)),
        ),
    ),
]  # fmt: skip


def _asked(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": _MESSAGES, **more}


def _said(**message: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [message]}


COMPLETIONS_REFUSED: list[tuple[dict[str, Any], tuple[int, str, str]]] = [
    ({"messages": _MESSAGES}, (400, "model", "missing_required_parameter")),
    ({"model": "m"}, (400, "messages", "missing_required_parameter")),
    (_asked(max_tokens=1), (400, "max_tokens", "unknown_parameter")),
    (_asked(temperature="hot"), (400, "temperature", "invalid_request")),
    (_asked(temperature=3), (400, "temperature", "invalid_request")),
    (_asked(maxOutputTokens=0), (400, "maxOutputTokens", "invalid_request")),
    (_asked(tools=[{"description": "x"}]), (400, "tools[0].name", "missing_required_parameter")),
    (_asked(tools=[{"name": "f", "params": {}}]), (400, "tools[0].params", "unknown_parameter")),
    (_asked(tools=[_TOOL, _TOOL]), (400, "tools[1].name", "invalid_request")),
    (_asked(toolChoice="f"), (400, "toolChoice", "invalid_request")),
    (_asked(toolChoice=5), (400, "toolChoice", "invalid_request")),
    (_said(role="user"), (400, "messages[0].content", "invalid_request")),
    (_said(role="critic", content="x"), (400, "messages[0].role", "invalid_request")),
    (_said(content="x"), (400, "messages[0].role", "missing_required_parameter")),
    (_said(role="user", content="x", text="y"), (400, "messages[0].text", "unknown_parameter")),
    (_said(role="user", content=5), (400, "messages[0].content", "invalid_request")),
    (_said(role="user", content=[{"type": "x"}]), (400, "messages[0].content[0].type", "invalid_request")),
    (_said(role="user", content=[{"type": "text"}]),
     (400, "messages[0].content[0].text", "missing_required_parameter")),
    (_said(role="tool", content="x"), (400, "messages[0].toolCallId", "missing_required_parameter")),
    (_said(role="user", content="x", toolCalls=[{"id": "c", "name": "f"}]),
     (400, "messages[0].toolCalls", "invalid_request")),
    (_said(role="user", content=[{"type": "image_url", "image_url": {"url": "https://e.org/a.png", "size": 1}}]),
     (400, "messages[0].content[0].image_url.size", "unknown_parameter")),
    (_said(role="user", content=[{"type": "image_url"}]),
     (400, "messages[0].content[0].image_url", "missing_required_parameter")),
    (_said(role="user", content=[{"type": "image_url", "image_url": "a.png"}]),
     (400, "messages[0].content[0].image_url.url", "invalid_request")),
    (_said(role="user", content=[{"type": "text", "text": "x", "url": "https://e.org/a.png"}]),
     (400, "messages[0].content[0].url", "invalid_request")),
    (_said(role="user", content=[{"type": "image", "url": "https://e.org/a.png", "text": "x"}]),
     (400, "messages[0].content[0].text", "invalid_request")),
    (_said(role="user", content=[{"type": "image_url", "image_url": "https://e.org/a.png", "mimeType": "image/png"}]),
     (400, "messages[0].content[0].mimeType", "invalid_request")),
    (_said(role="user", content="x", toolCallId="c"), (400, "messages[0].toolCallId", "invalid_request")),
    (_said(role="user", content="x", tool_call_id="c"), (400, "messages[0].tool_call_id", "invalid_request")),
    (_said(role="assistant", content="x", isError=True), (400, "messages[0].isError", "invalid_request")),
    (_said(role="tool", toolCallId="c", content="x", toolCalls=[{"id": "d", "name": "f"}]),
     (400, "messages[0].toolCalls", "invalid_request")),
    (_said(role="assistant", toolCalls=[{"id": "c", "name": "f"}], tool_calls=[{"id": "d", "name": "g"}]),
     (400, "messages[0].toolCalls", "contradictory")),
    (_said(role="tool", content="x", toolCallId="c", tool_call_id="d"),
     (400, "messages[0].toolCallId", "contradictory")),
    (_said(role="assistant", toolCalls=[{"id": "c", "name": "f", "function": {"name": "g"}}]),
     (400, "messages[0].toolCalls[0].name", "contradictory")),
    (_said(role="assistant", tool_calls=[{"id": "c", "function": {"name": "g", "strict": True}}]),
     (400, "messages[0].tool_calls[0].function.strict", "unknown_parameter")),
    (_said(role="assistant", tool_calls=[{"id": "c", "type": "custom", "name": "g"}]),
     (400, "messages[0].tool_calls[0].type", "invalid_request")),
    (_asked(tools=[{"name": "f", "function": {"name": "g"}}]), (400, "tools[0].name", "contradictory")),
    (_asked(tools=[{"type": "web_search", "name": "f"}]), (400, "tools[0].type", "invalid_request")),
    (_asked(tools=[{"function": {"name": "g", "arguments": "{}"}}]),
     (400, "tools[0].function.arguments", "unknown_parameter")),
    (_asked(tools=[_TOOL], toolChoice={"name": "f", "times": 2}), (400, "toolChoice.times", "unknown_parameter")),
    (_asked(tools=[_TOOL], toolChoice={"name": "f", "function": {"name": "g"}}),
     (400, "toolChoice.name", "contradictory")),
    (_said(role="assistant", toolCalls=[{"id": "c"}]),
     (400, "messages[0].toolCalls[0].name", "missing_required_parameter")),
]  # fmt: skip

#: A model's answer with a text and a call, as events, as lines, and as one JSON.
ANSWERED: list[Event] = [
    Attempted("openai", "openai_chat"), Started("x", "gpt-4o"),
    PartStarted(0, Reasoning("")), Delta(0, "hidden"), PartEnded(0),
    PartStarted(1, Text("")), Delta(1, "Let "), Delta(1, "me."), PartEnded(1),
    PartStarted(2, ToolCall("c1", "f")), Delta(2, '{"a"'), Delta(2, ":1}"), PartEnded(2),
    Used(USED), Stopped("tool_calls"), Done(),
]  # fmt: skip
LINES: list[dict[str, Any]] = [
    {"type": "text_delta_start", "id": "1"},
    {"type": "text_delta", "id": "1", "delta": "Let "},
    {"type": "text_delta", "id": "1", "delta": "me."},
    {"type": "text_delta_end", "id": "1"},
    {"type": "tool_call_start", "id": "c1", "name": "f"},
    {"type": "tool_call_delta", "id": "c1", "delta": '{"a"'},
    {"type": "tool_call_delta", "id": "c1", "delta": ":1}"},
    {"type": "tool_call_end", "id": "c1", "name": "f", "arguments": {"a": 1}},
    {"type": "usage", "inputTokens": 25, "outputTokens": 10},
    {"type": "finish", "finishReason": "tool_calls", "model": "gpt-4o"},
]
COMPLETION: dict[str, Any] = {
    "outputText": "Let me.",
    "output": [
        {"type": "text", "text": "Let me."},
        {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
    ],
    "usage": {"inputTokens": 25, "outputTokens": 10},
    "model": "gpt-4o",
    "finishReason": "tool_calls",
}
FAILED_LINE = {
    "type": "error", "statusCode": 503, "message": "the store is unavailable, try again", "error": "store_unavailable",
}  # fmt: skip
