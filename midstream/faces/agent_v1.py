"""Runs of an agent that is described in the request itself, version 1 of our own format; nothing of it is kept."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..core.agents import AgentAsk
from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest
from ..core.events import Answer, Counted, Embedded, Opened
from ..core.outcome import Outcome
from ..core.turn import Fields, Prompt, Turn
from ..core.web import Request, Route
from ._known import is_strict
from ._messages_v1 import read_messages
from ._own import (
    CALLS_V1,
    HEARTBEAT,
    NAMES_V1,
    SSE,
    AgentStream,
    OwnDialect,
    Words,
    encode,
    error_v1,
    event,
    failed_v1,
    finish_word,
    model_v1,
    models_v1,
    more_v1,
    no_prompt,
    outcome_of,
    read_body,
    step_v1,
    text_v1,
    tool_call_v1,
    tool_result_v1,
    usage_v1,
)

NAME = "agent_v1"
ID_PREFIX = "run_"
MESSAGES = "messages"
STREAM_TYPE = SSE
PING = HEARTBEAT
MARK = ""
KEY_IN_QUERY = False
OURS = True
TRANSACTIONS = True
CALLED = NAMES_V1
ROUTES = (Route("POST", "/api/v1/agent/run", "chat", "Let a model work with tools until it has an answer"),)


class Body(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    model: str | None = None
    messages: list[Raw] | None = None
    instructions: str | None = None
    tools: list[str] | None = None
    tool_choice: str | dict[str, Any] | None = None
    stream: bool | None = None
    context: dict[str, Any] | None = None


_body = msgspec.json.Decoder(Body)
BODY: type[Struct] | None = Body


def read(task: str, request: Request) -> Turn:
    """A turn of an agent that has no name. Raises BadRequest."""
    fields, body = read_body(_body, request.body)
    if not body.model:
        raise BadRequest("model: name the model", param="model", code="missing_required_parameter")
    if not body.messages:
        raise BadRequest("messages: at least one is needed", param="messages", code="missing_required_parameter")
    messages = read_messages(body.messages)
    ask = AgentAsk(
        messages=messages,
        instructions=body.instructions or "",
        model=body.model,
        tools=tuple(body.tools or ()),
        tool_choice=body.tool_choice,
        variables=body.context or {},
        strict=is_strict(request.headers),
        calls=CALLS_V1,
    )

    def asked(fields: Fields) -> Prompt:
        return Prompt(messages)

    return Turn(
        NAME, fields, asked, model=body.model, stream=body.stream is not False, headers=request.headers, agent=ask
    )


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "text": outcome.text,
        "toolCalls": [step_v1(step) for step in outcome.steps],
        "usage": usage_v1(outcome.usage, outcome.cost),
        "iterations": outcome.rounds,
        "finishReason": finish_word(outcome.stop),
        **more_v1(outcome),
    }


def write_outcome(turn: Turn, outcome: Outcome, say: Say) -> bytes:
    return encode(_facts(outcome))


def write_accepted(turn: Turn, id: str) -> bytes:
    return encode({"runId": id})


def _opened(opened: Opened) -> bytes:
    return b""  # there is no conversation to tell of


def _concluded(outcome: Outcome) -> bytes:
    facts = _facts(outcome)
    del facts["toolCalls"]  # each has been told
    return event(b"usage", usage_v1(outcome.usage, outcome.cost)) + event(b"done", facts)


_WORDS = Words(_opened, text_v1, tool_call_v1, tool_result_v1, _concluded, failed_v1)


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return AgentStream(_WORDS)


def _write_answer(answer: Answer, say: Say) -> bytes:
    return encode(_facts(outcome_of(answer)))


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Embedded)
    return encode({"embeddings": result.vectors, "usage": usage_v1(result.usage, None)})


write_models, write_model = models_v1, model_v1
DIALECT = OwnDialect(NAME, no_prompt, _write_answer, lambda say: AgentStream(_WORDS), error_v1)
