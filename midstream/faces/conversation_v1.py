"""Conversations with agents, version 1 of our own format: the server keeps what was said."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from ..core.agents import AgentAsk
from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest, NotFound
from ..core.events import Answer, Counted, Embedded, Opened
from ..core.ids import as_uuid, from_uuid
from ..core.outcome import Outcome
from ..core.parts import Media
from ..core.turn import Turn
from ..core.web import Request, Route
from ._known import is_strict
from ._media import media_of
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
    said_by_user,
    step_v1,
    text_v1,
    tool_call_v1,
    tool_result_v1,
    usage_v1,
    vectors_of,
    vectors_v1,
)

NAME = "conversation_v1"
ID_PREFIX = "msg_"
MESSAGES = "messages"
STREAM_TYPE = SSE
PING = HEARTBEAT
MARK = ""
KEY_IN_QUERY = False
OURS = True
TRANSACTIONS = True
CALLED = NAMES_V1
ROUTES = (Route("POST", "/api/v1/conversation", "chat", "Say something to an agent"),)


class Attachment(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    type: str = ""
    url: str | None = None
    data: str | None = None
    mime_type: str = ""
    name: str | None = None


class Body(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    message: str | None = None
    conversation_id: str | None = None
    agent_id: str | None = None
    stream: bool | None = None
    document_ids: list[str] | None = None
    attachments: list[Attachment] | None = None
    variables: dict[str, Any] | None = None
    wait_for_turn: bool | None = None
    edit_message_id: str | None = None
    regenerate_message_id: str | None = None


_body = msgspec.json.Decoder(Body)
BODY: type[Struct] | None = Body


def read(task: str, request: Request) -> Turn:
    """A turn of an agent. Raises BadRequest, NotFound for a UUID that is none of ours."""
    fields, body = read_body(_body, request.body)
    text = body.message or ""
    media = _media(body.attachments or [])
    edit = own_id("msg_", body.edit_message_id, "editMessageId")
    again = own_id("msg_", body.regenerate_message_id, "regenerateMessageId")
    conversation = own_id("conv_", body.conversation_id, "conversationId")
    if again and (text.strip() or media):
        raise BadRequest(
            "message: an answer is made anew from the message that it has; to change that, name it as editMessageId",
            param="message", code="contradictory",
        )  # fmt: skip
    if not text.strip() and not media and not again:
        raise BadRequest("message: a message is needed", param="message", code="user_message_missing")
    if (edit or again) and not conversation:
        raise BadRequest(
            "conversationId: name the conversation in which the message stands", param="conversationId",
            code="missing_required_parameter",
        )  # fmt: skip
    if not body.agent_id and not conversation:
        raise BadRequest(
            "agentId: name the agent that shall answer", param="agentId", code="missing_required_parameter"
        )
    ask = AgentAsk(
        agent=body.agent_id or "",
        text=text,
        media=media,
        places=tuple(f"attachments[{place}]" for place in range(len(media))),
        conversation=conversation,
        wait=body.wait_for_turn is not False,
        edit=edit,
        regenerate=again,
        emptied=_emptied(document_ids=body.document_ids, variables=body.variables),
        variables=body.variables or {},
        document_ids=tuple(body.document_ids or ()),
        strict=is_strict(request.headers),
        calls=CALLS_V1,
    )
    return Turn(
        NAME,
        fields,
        said_by_user(text, media),
        model="",
        stream=body.stream is not False,
        headers=request.headers,
        agent=ask,
    )


def _emptied(**given: Sized | None) -> tuple[str, ...]:
    return tuple(name for name, value in given.items() if value is not None and not value)


def own_id(prefix: str, given: str | None, field: str) -> str:
    """The id behind a UUID; "" for none. Raises BadRequest for what is no UUID, NotFound for one that is not ours."""
    if not given:
        return ""
    try:
        return from_uuid(prefix, given)
    except ValueError:
        pass
    try:
        UUID(given)
    except ValueError:
        raise BadRequest(f"{field}: must be a UUID", param=field) from None
    raise NotFound(f"{field}: nothing has this id: {given}", param=field)


def _media(attachments: list[Attachment]) -> tuple[Media, ...]:
    return tuple(
        media_of(one.type, one.url, one.data, one.mime_type, one.name, f"attachments[{place}]")
        for place, one in enumerate(attachments)
    )


def shown_id(id: str) -> str | None:
    return as_uuid(id) if id else None


def write_outcome(turn: Turn, outcome: Outcome, say: Say) -> bytes:
    if outcome.vectors is not None:
        return vectors_v1(outcome)
    facts = {**_done(outcome), "toolCalls": [step_v1(step) for step in outcome.steps]}
    return encode(facts)


def _done(outcome: Outcome) -> dict[str, Any]:
    return {
        "conversationId": shown_id(outcome.conversation),
        "messageId": shown_id(outcome.answer),
        "text": outcome.text,
        "finishReason": finish_word(outcome.stop),
        "usage": usage_v1(outcome.usage, outcome.cost),
        "iterations": outcome.rounds,
        **more_v1(outcome),
    }


def write_accepted(turn: Turn, id: str) -> bytes:
    return encode({"messageId": shown_id(id)})


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return AgentStream(_WORDS)


def _opened(opened: Opened) -> bytes:
    ids = {"conversationId": shown_id(opened.conversation), "messageId": shown_id(opened.message)}
    return event(b"conversation", ids)


def _concluded(outcome: Outcome) -> bytes:
    return event(b"usage", usage_v1(outcome.usage, outcome.cost)) + event(b"done", _done(outcome))


_WORDS = Words(_opened, text_v1, tool_call_v1, tool_result_v1, _concluded, failed_v1)


def _write_answer(answer: Answer, say: Say) -> bytes:
    return encode(_done(outcome_of(answer)))


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Embedded)
    return vectors_v1(vectors_of(result))


write_models, write_model = models_v1, model_v1
DIALECT = OwnDialect(NAME, no_prompt, _write_answer, lambda say: AgentStream(_WORDS), error_v1)
