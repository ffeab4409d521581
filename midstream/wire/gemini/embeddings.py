"""embedContent and batchEmbedContents, in both roles."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...core.errors import BadRequest, Garbled
from ...core.events import Embedded
from ...core.parts import Native, Text
from ...core.turn import EmbedAsk, Fields
from ...core.usage import Usage
from ..strict_json import write_object
from .part_in import read_part
from .refusals import refusal
from .shape import ABSENT, NAME, camel, given, listed, members, plain, shaped
from .usage import read_usage

_encode = msgspec.json.Encoder().encode


class _Options(Struct, frozen=True):
    model: str = ""
    taskType: str | None = None
    title: str | None = None
    outputDimensionality: int | None = None


def read_embed_ask(fields: Fields, batch: bool) -> EmbedAsk:
    """batch: the body is {"requests": [...]}, else one request. Every request of a batch must ask for the same
    task, title and size, and hold text only. model is "" where the body names none (it stands in the URL).
    Raises BadRequest with the field's path."""
    if not batch:
        text, options = _request({name: plain(raw, name) for name, raw in fields.items()}, "")
        return _ask([text], options)
    raw = next((raw for name, raw in fields.items() if camel(name) == "requests"), Raw(b"null"))
    items = listed(plain(raw, "requests"), "requests")
    if not items:
        raise BadRequest("requests must hold at least one request", param="requests")
    read = [_request(item, f"requests[{number}]") for number, item in enumerate(items)]
    for number, (_, options) in enumerate(read):
        if options != read[0][1]:
            path = f"requests[{number}]"
            raise BadRequest(f"{path} asks for other options than requests[0]", param=path)
    return _ask([text for text, _ in read], read[0][1])


def _ask(texts: list[str], options: _Options) -> EmbedAsk:
    model = options.model.removeprefix("models/")
    return EmbedAsk(
        model=model,
        inputs=tuple(texts),
        dimensions=options.outputDimensionality,
        task=options.taskType,
        title=options.title,
    )


def _request(value: Any, path: str) -> tuple[str, _Options]:
    dot = f"{path}." if path else ""
    found = members(value, path or "the request")
    nested = members(found.get("embedContentConfig", {}), f"{dot}embedContentConfig")
    options = shaped({**nested, **found}, _Options, path)
    if "content" not in found:
        raise BadRequest(f"{dot}content is missing", param=f"{dot}content")
    content = members(found["content"], f"{dot}content")
    pieces: list[str] = []
    for number, item in enumerate(listed(content.get("parts"), f"{dot}content.parts")):
        at = f"{dot}content.parts[{number}]"
        part = read_part(item, at)
        if not isinstance(part, Text):
            raise BadRequest(f"{at} must be text: other media are not embedded here", param=at)
        pieces.append(part.text)
    return "".join(pieces), options


def write_embed_ask(ask: EmbedAsk) -> bytes:
    """A batchEmbedContents body. Raises BadRequest for token ids, which Google does not take."""
    options = {"taskType": ask.task, "title": ask.title, "outputDimensionality": ask.dimensions}
    given = {name: value for name, value in options.items() if value is not None}
    requests = []
    for number, text in enumerate(ask.inputs):
        if not isinstance(text, str):
            raise BadRequest("this model takes texts, not token ids", param=f"input[{number}]")
        model = ask.model if ask.model.startswith("models/") else f"models/{ask.model}"
        requests.append({"model": model, "content": {"parts": [{"text": text}]}, **given})
    return _encode({"requests": requests})


def relay_embed_ask(fields: Fields, model: str) -> bytes:
    """A batchEmbedContents body of a caller of this dialect, who may have asked for one embedding: every member byte
    for byte but a model's name that is not `model`. fields: as read_embed_ask has taken them."""
    name = next((name for name in fields if camel(name) == "requests"), None)
    if name is None:
        return write_object({"requests": Raw(b"[" + _relayed(fields, model) + b"]")})
    own = bytes(fields[name])
    many = msgspec.json.decode(own, type=list[dict[str, Raw]] | dict[str, Raw])
    requests = many if isinstance(many, list) else [many]
    if not all(_names(request, model) for request in requests):
        own = b"[" + b",".join(_relayed(request, model) for request in requests) + b"]"
    return write_object({**fields, name: Raw(own)})


def _names(request: Fields, model: str) -> bool:
    return "model" in request and msgspec.json.decode(request["model"]) in (model, f"models/{model}")


def _relayed(request: Fields, model: str) -> bytes:
    named = request if _names(request, model) else {**request, "model": Raw(_encode(f"models/{model}"))}
    return write_object(named)


class _Values(Struct):
    values: tuple[float, ...]


class _Body(Struct):
    embeddings: list[_Values] | None = None
    embedding: _Values | None = None
    usageMetadata: Raw = ABSENT
    error: Raw = ABSENT


def read_embedded(body: bytes) -> Embedded:
    """The answer to either request; the model's name is not in it. Raises Refused or Garbled."""
    try:
        found = msgspec.json.decode(body, type=_Body)
        error = msgspec.json.decode(found.error) if given(found.error) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Garbled(f"the answer holds no embeddings: {problem}") from None
    if given(found.error):
        raise refusal(error if isinstance(error, dict) else {"message": error}, body)
    one = [found.embedding] if found.embedding is not None else None
    values = found.embeddings if found.embeddings is not None else one
    if values is None:
        raise Garbled("the answer holds no embeddings")
    usage = read_usage(bytes(found.usageMetadata)) if given(found.usageMetadata) else None
    return Embedded("", tuple(item.values for item in values), usage or Usage(), Native(NAME, body))


def write_embedded(embedded: Embedded, batch: bool) -> bytes:
    """The body of a batchEmbedContents (batch) or embedContent answer. One that came in this dialect and in the
    form that was asked for is given back as it came."""
    native = embedded.native
    if native is not None and native.dialect == NAME and _is_batch(native.raw) == batch:
        return native.raw
    written = [{"values": vector} for vector in embedded.vectors]
    body: dict[str, Any] = {"embeddings": written} if batch else {"embedding": written[0] if written else {}}
    if embedded.usage.input_tokens:
        body["usageMetadata"] = {"promptTokenCount": embedded.usage.input_tokens}
    return _encode(body)


def _is_batch(raw: bytes) -> bool:
    return "embeddings" in msgspec.json.decode(raw, type=dict[str, Raw])
