"""Anthropic's Messages, as Claude Code and the Anthropic SDKs speak them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest
from ..core.events import Counted, Embedded
from ..core.turn import Turn
from ..core.web import Request, Route
from ..wire import anthropic_messages as dialect
from ..wire.strict_json import read_members
from ._known import fresh_messages, is_strict, known_of, own_body

NAME = "anthropic_messages"
DIALECT = dialect
ID_PREFIX = "msg_"
MESSAGES = "messages"
STREAM_TYPE = "text/event-stream; charset=utf-8"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
MARK = "anthropic-version"
KEY_IN_QUERY = False
OURS = False
TRANSACTIONS = False
BODY: type[Struct] | None = None
ROUTES = (
    Route("POST", "/v1/messages", "chat", "Create a message"),
    Route("POST", "/v1/messages/count_tokens", "count_tokens", "Count the tokens of a message"),
)


class _Known(Struct, frozen=True):
    model: str = ""
    messages: list[Any] | None = None
    stream: bool | None = None


def read(task: str, request: Request) -> Turn:
    """A turn of kind "chat" or "count_tokens". Raises BadRequest."""
    fields, members, messages = read_members(request.body, MESSAGES)
    known = known_of(members, _Known)
    if not known.model:
        raise BadRequest("model: Field required", param="model")
    if known.messages is None:
        raise BadRequest("messages: Field required", param="messages")
    return Turn(
        NAME,
        fields,
        dialect.read_ask,
        model=known.model,
        stream=known.stream is True and task == "chat",
        strict=is_strict(request.headers),
        kind="count_tokens" if task == "count_tokens" else "chat",
        fresh=fresh_messages(NAME, known.messages, messages),
        headers=request.headers,
    )


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return dialect.answer_writer(say)


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Counted)
    return own_body(NAME, result) or dialect.write_count(result.tokens)


write_models, write_model = dialect.write_models, dialect.write_model
