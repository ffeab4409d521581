"""OpenAI's Chat Completions, Embeddings and Models, as every OpenAI SDK speaks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest
from ..core.events import Counted, Embedded
from ..core.turn import EmbedAsk, Turn
from ..core.web import Request, Route
from ..wire import openai_chat as dialect
from ..wire.strict_json import SHORT, read_members
from ._known import ConversationRef, StreamOptions, conversation_of, fresh_messages, is_strict, known_of, own_body

NAME = "openai_chat"
DIALECT = dialect
ID_PREFIX = "chatcmpl-"
MESSAGES = "messages"
STREAM_TYPE = "text/event-stream; charset=utf-8"
PING = b": keepalive\n\n"
MARK = ""
KEY_IN_QUERY = False
OURS = False
TRANSACTIONS = False
BODY: type[Struct] | None = None
ROUTES = (
    Route("POST", "/v1/chat/completions", "chat", "Create a chat completion"),
    Route("POST", "/v1/embeddings", "embedding", "Create embeddings", "embeddings"),
    Route("GET", "/v1/models", "models", "List the models that may be used"),
    Route("GET", "/v1/models/{model:rest}", "model", "Describe one model"),
)


#: Roles that every service of this format takes as they are.
_TEXT_ROLES = ("system", "user", "assistant")


class _Known(Struct, frozen=True):
    model: str = ""
    messages: list[Any] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    conversation: str | ConversationRef | None = None


class _KnownEmbedding(Struct, frozen=True):
    model: str = ""


def read(task: str, request: Request) -> Turn:
    """A turn of kind "chat" or "embedding". Raises BadRequest."""
    if task == "embedding":
        return _read_embedding(request)
    fields, members, messages = read_members(request.body, MESSAGES)
    known = known_of(members, _Known)
    if not known.model:
        raise BadRequest("model: name the model that shall answer", param="model", code="missing_required_parameter")
    if known.messages is None:
        raise BadRequest("messages: required", param="messages", code="missing_required_parameter")
    for place, message in enumerate(known.messages):
        if type(message) is not dict:
            raise BadRequest(f"messages[{place}]: expected an object with a role", param=f"messages[{place}]")
    conversation = conversation_of(known.conversation)
    return Turn(
        NAME,
        fields,
        dialect.read_ask,
        model=known.model,
        stream=known.stream is True,
        conversation=conversation,
        store=known.store,
        strict=is_strict(request.headers),
        include_usage=known.stream_options is not None and known.stream_options.include_usage is True,
        function_call=dialect.offers_functions(fields),
        fresh=fresh_messages(NAME, known.messages, messages, begins=conversation == ""),
        only_texts=len(request.body) > SHORT and all(map(_is_text, known.messages)),
        headers=request.headers,
    )


def _is_text(message: dict[str, Any]) -> bool:
    return len(message) == 2 and type(message.get("content")) is str and message.get("role") in _TEXT_ROLES


def _read_embedding(request: Request) -> Turn:
    fields, members, _ = read_members(request.body)
    known = known_of(members, _KnownEmbedding)
    if not known.model:
        raise BadRequest("model: name the model that shall embed", param="model", code="missing_required_parameter")
    return Turn(
        NAME, fields, dialect.read_ask, model=known.model, kind="embedding", embed=dialect.read_embed_ask,
        strict=is_strict(request.headers), headers=request.headers,
    )  # fmt: skip


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return dialect.answer_writer(say)


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    assert isinstance(result, Embedded)
    return own_body(NAME, result) or dialect.write_embedded(result, turn.embed or EmbedAsk(()))


def write_models(ids: list[str], query: Mapping[str, str]) -> bytes:
    return dialect.write_models(ids)


write_model = dialect.write_model
