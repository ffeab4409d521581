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
from midstream.core.parts import Media, Reasoning, Text, ToolCall
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
            ],
        },
        {
            "agent": "a", "conversation": "",
            "media": (
                Media("image", url="https://example.org/a.png"),
                Media("file", "application/pdf", data="aGk=", name="a.pdf"),
                Media("audio", "audio/wav", data="aGk="),
            ),
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
