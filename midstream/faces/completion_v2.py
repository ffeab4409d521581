"""Turns of agents, version 2 of our own format: one completion request with everything that it may override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..core.dialect import AnswerWriter, Say
from ..core.errors import MidstreamError
from ..core.events import Answer, Counted, Embedded, Opened, ToolEnded, ToolNoted, ToolStarted
from ..core.outcome import Outcome, Step
from ..core.parts import Citation, address
from ..core.turn import Turn
from ..core.usage import Usage
from ..core.web import Request, Route
from ._ask_v2 import Body, ask_of
from ._known import is_strict
from ._own import (
    HEARTBEAT,
    SSE,
    AgentStream,
    OwnDialect,
    Words,
    encode,
    event,
    finish_word,
    no_prompt,
    outcome_of,
    read_body,
    said_by_user,
    vectors_of,
)

NAME = "completion_v2"
ID_PREFIX = "cmpl_"
MESSAGES = "messages"
STREAM_TYPE = SSE
PING = HEARTBEAT
MARK = ""
KEY_IN_QUERY = False
OURS = True
TRANSACTIONS = True
ROUTES = (
    Route("POST", "/api/v2/model/chat/completion", "chat", "Ask an agent"),
    Route("POST", "/api/v2/model/playground/chat/completion/{bridge_id}", "playground", "Try an agent"),
    Route("POST", "/api/v2/model/embedding", "embedding", "Embed a text", "embeddings"),
)

_body = msgspec.json.Decoder(Body)
BODY: type[Struct] | None = Body


def read(task: str, request: Request) -> Turn:
    """A turn of an agent; of task "embedding", with configuration {"type": "embedding"}. Raises BadRequest."""
    fields, body = read_body(_body, request.body)
    ask = ask_of(body, request.params.get("bridge_id", ""), task == "playground")
    ask = replace(ask, strict=is_strict(request.headers))
    if task == "embedding":
        ask = replace(ask, configuration={**ask.configuration, "type": "embedding"})
    fields.pop("apikey", None)  # it is in the ask, as a secret
    return Turn(
        NAME,
        fields,
        said_by_user(ask.text, ask.media),
        model=ask.model,
        stream=body.stream is True and task != "embedding",
        headers=request.headers,
        agent=ask,
    )


def write_outcome(turn: Turn, outcome: Outcome, say: Say) -> bytes:
    return encode(_reply(outcome, say))


def _reply(outcome: Outcome, say: Say) -> dict[str, Any]:
    data = _data(outcome, say) if outcome.vectors is None else _vector(outcome, outcome.vectors)
    return {"success": True, "data": data, "usage": _usage(outcome.usage, outcome.cost)}


def _vector(outcome: Outcome, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of the one text that was given, none where it was blocked; message_id only where one was promised: the text
    itself is not kept."""
    more = {"message_id": outcome.message, "dropped_parameters": outcome.dropped}
    data: dict[str, Any] = {"embedding": vectors[0] if vectors else None, "model": outcome.model}
    if outcome.blocked:
        data |= {"content": outcome.text, "finish_reason": finish_word(outcome.stop), "blocked": outcome.blocked}
    return data | {name: value for name, value in more.items() if value}


def _data(outcome: Outcome, say: Say) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": outcome.id or say.id,
        "content": outcome.text,
        "model": outcome.model or say.model,
        "role": "assistant",
        "finish_reason": finish_word(outcome.stop),
        "native_finish_reason": outcome.native_stop or finish_word(outcome.stop),
        "tools_data": _steps(outcome.steps),
        "images": [address(image) for image in outcome.images],
        "annotations": [_annotation(one) for one in outcome.annotations],
        "fallback": outcome.fallback,
        "firstAttemptError": outcome.first_error,
        "message_id": outcome.message,
        "thread_id": outcome.thread,
        "sub_thread_id": outcome.sub_thread,
        "missing_variables": outcome.missing,
        "dropped_parameters": outcome.dropped,
    }
    more = {
        "blocked": outcome.blocked, "value": outcome.value, "title": outcome.title, "suggestions": outcome.suggestions,
        "notices": outcome.noted,
    }  # fmt: skip
    return data | {name: value for name, value in more.items() if value not in ("", None, ())}


def _steps(steps: Sequence[Step]) -> dict[str, Any]:
    """By the calls' ids; a second one of the same id gets its round behind it."""
    told: dict[str, Any] = {}
    for step in steps:
        key = step.id if step.id not in told else f"{step.id}#{step.round}"
        told[key] = {
            "id": step.id,
            "name": step.name,
            "arguments": step.arguments,
            "status": step.status,
            "result": step.result,
            "error": step.error,
            "round": step.round,
            "ms": step.ms,
        }
    return told


def _annotation(one: Any) -> Any:
    if not isinstance(one, Citation):
        return one
    known = {"url": one.url, "title": one.title, "quote": one.quote, "start": one.start, "end": one.end}
    return {name: value for name, value in known.items() if value is not None}


def _usage(usage: Usage, cost: str | None) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.out_reasoning,
        "cost": cost,
    }


def write_accepted(turn: Turn, id: str) -> bytes:
    return encode({"success": True, "message": "The answer will be delivered when it is there.", "message_id": id})


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return _stream(say)


def _stream(say: Say) -> AgentStream:
    message = ""

    def opened(event: Opened) -> bytes:
        nonlocal message
        message = event.message
        return b""

    def failed(error: MidstreamError) -> bytes:
        return event(b"error", {**_failure(error), "message_id": message or None})

    def concluded(outcome: Outcome) -> bytes:
        return event(b"done", _reply(outcome, say))

    return AgentStream(Words(opened, _delta, _tool_call, _tool_result, concluded, failed, _tool_noted))


def _delta(text: str) -> bytes:
    return event(b"delta", {"content": text})


def _tool_call(call: ToolStarted) -> bytes:
    return event(b"tool_call", {"id": call.id, "name": call.name, "arguments": call.arguments, "round": call.round})


def _tool_noted(noted: ToolNoted) -> bytes:
    return event(b"tool_progress", {"id": noted.id, "text": noted.text})


def _tool_result(ended: ToolEnded) -> bytes:
    told = {
        "id": ended.id,
        "name": ended.name,
        "status": ended.status,
        "result": ended.text,
        "error": ended.failure,
        "round": ended.round,
        "ms": ended.ms,
    }
    return event(b"tool_result", told)


def _failure(error: MidstreamError) -> dict[str, Any]:
    """With {limit_type, current_usage, limit_value} when a limit was reached."""
    told: dict[str, Any] = {
        "success": False, "error": error.message, "code": error.code, "message_id": error.message_id or None,
    }  # fmt: skip
    if error.param:
        told["param"] = error.param
    return told | (getattr(error, "limit", None) or {})


def _write_error(error: MidstreamError, request_id: str) -> bytes:
    return encode(_failure(error))


def _write_answer(answer: Answer, say: Say) -> bytes:
    return encode(_reply(outcome_of(answer), say))


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Embedded)
    return encode(_reply(vectors_of(result), Say("", 0, "")))


def write_models(ids: list[str], query: Mapping[str, str]) -> bytes:
    return encode({"success": True, "data": [{"id": id} for id in ids]})


def write_model(id: str) -> bytes:
    return encode({"success": True, "data": {"id": id}})


DIALECT = OwnDialect(NAME, no_prompt, _write_answer, _stream, _write_error)
