"""Google's generateContent and its relatives, as google-genai and the Gemini CLI speak them."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Struct

from ..core.dialect import AnswerWriter, Say
from ..core.errors import BadRequest
from ..core.events import Counted, Embedded
from ..core.turn import Turn
from ..core.web import Request, Route
from ..wire import gemini as dialect
from ..wire.strict_json import read_members
from ._known import fresh_messages, is_strict, known_of, own_body

NAME = "gemini"
DIALECT = dialect
ID_PREFIX = ""
MESSAGES = "contents"
STREAM_TYPE = "text/event-stream"
PING = b": keepalive\n\n"
MARK = "x-goog-api-client"
KEY_IN_QUERY = True
OURS = False
TRANSACTIONS = False
#: google-genai says v1 or v1beta, by its own configuration; the lists under /v1 are OpenAI's. Vercel's package leaves
#: `models/` out before a name that has a slash in it.
BODY: type[Struct] | None = None
ROUTES = (
    *(
        Route("POST", f"/{models}/{{model:rest}}:{verb}", task, summary, scope)
        for models in ("v1beta/models", "v1/models", "v1beta")
        for verb, task, summary, scope in (
            ("generateContent", "chat", "Generate content", "chat"),
            ("streamGenerateContent", "stream", "Generate content as a stream", "chat"),
            ("countTokens", "count_tokens", "Count tokens", "chat"),
            ("embedContent", "embedding", "Embed one content", "embeddings"),
            ("batchEmbedContents", "embeddings", "Embed several contents", "embeddings"),
        )
    ),
    Route("GET", "/v1beta/models", "models", "List the models that may be used"),
    Route("GET", "/v1beta/models/{model:rest}", "model", "Describe one model"),
)


class _Known(Struct, frozen=True):
    contents: Any = None


def read(task: str, request: Request) -> Turn:
    """A turn of any kind; the model's name stands in the path. Raises BadRequest."""
    fields, members, contents = read_members(request.body, MESSAGES)
    model = _model(request)
    strict = is_strict(request.headers)
    if task in ("embedding", "embeddings"):
        if (batch := task == "embeddings") != ("requests" in fields):
            path = "requests" if batch else "content"
            raise BadRequest(f"{path} is missing", param=path)
        return Turn(
            NAME, fields, dialect.read_ask, model=model, kind="embedding", strict=strict,
            embed=partial(dialect.read_embed_ask, batch=batch), headers=request.headers,
        )  # fmt: skip
    if task == "count_tokens":
        return Turn(NAME, fields, dialect.read_count_ask, model=model, kind="count_tokens", headers=request.headers)
    known = known_of(members, _Known)
    return Turn(
        NAME,
        fields,
        dialect.read_ask,
        model=model,
        stream=task == "stream",
        strict=strict,
        # Without alt=sse Google streams one JSON array.
        as_array=task == "stream" and request.query.get("alt") != "sse",
        fresh=fresh_messages(NAME, known.contents, contents),
        headers=request.headers,
    )


def _model(request: Request) -> str:
    """Raises BadRequest where its place is empty: what stands before it is then taken for the name."""
    model = request.params["model"]
    if model.strip("/") in ("", "models"):
        raise BadRequest("model: missing in the path, which is /v1beta/models/MODEL:generateContent", param="model")
    return model


def writer(turn: Turn, say: Say) -> AnswerWriter:
    return dialect.answer_writer(say, as_array=turn.as_array)


def write_result(turn: Turn, result: Embedded | Counted) -> bytes:
    if isinstance(result, Counted):
        return own_body(NAME, result) or dialect.write_count(result.tokens)
    return dialect.write_embedded(result, "requests" in turn.fields)


write_models, write_model = dialect.write_models, dialect.write_model
