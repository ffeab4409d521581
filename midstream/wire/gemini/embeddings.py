"""embedContent and batchEmbedContents, in both roles."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...core.errors import BadRequest, Garbled
from ...core.events import Embedded
from ...core.parts import Native, Text
from ...core.turn import Asked, EmbedAsk, Fields, Plan
from ...core.usage import Usage
from ..counts import unpaired
from ..strict_json import write_object
from .part_in import read_part
from .refusals import refusal
from .shape import ABSENT, NAME, given, listed, members, plain, shaped
from .usage import read_usage

_encode = msgspec.json.Encoder().encode
_NULL = Raw(b"null")


class _Options(Struct, frozen=True):
    model: str = ""
    taskType: str | None = None
    title: str | None = None
    outputDimensionality: int | None = None


_READ = frozenset({"content", "embedContentConfig", *_Options.__struct_fields__})


def read_embed_ask(fields: Fields, batch: bool) -> EmbedAsk:
    """batch: the body is {"requests": [...]}, else one request. Every request of a batch must ask for the same
    task, title and size, and hold text only. model is "" where the body names none (it stands in the URL).
    Raises BadRequest with the field's path."""
    extras: dict[str, Any] = {}
    body = {name: plain(raw, name) for name, raw in fields.items()}
    if not batch:
        text, options = _request(body, "", extras)
        return _ask([text], options, extras)
    items = listed(body.pop("requests", None), "requests")
    if not items:
        raise BadRequest("requests must hold at least one request", param="requests")
    read = [_request(item, f"requests[{number}]", extras) for number, item in enumerate(items)]
    for number, (_, options) in enumerate(read):
        if options != read[0][1]:
            path = f"requests[{number}]"
            raise BadRequest(f"{path} asks for other options than requests[0]", param=path)
    return _ask([text for text, _ in read], read[0][1], extras | body)


def _ask(texts: list[str], options: _Options, extras: dict[str, Any]) -> EmbedAsk:
    model = options.model.removeprefix("models/")
    return EmbedAsk(
        model=model,
        inputs=tuple(texts),
        dimensions=options.outputDimensionality,
        task=options.taskType,
        title=options.title,
        extras=extras,
    )


def _request(value: Any, path: str, extras: dict[str, Any]) -> tuple[str, _Options]:
    """The text and the options of one request; members without a neutral meaning go to extras."""
    dot = f"{path}." if path else ""
    found = members(value, path or "the request")
    nested = members(found.get("embedContentConfig", {}), f"{dot}embedContentConfig")
    options = shaped({**nested, **found}, _Options, path)
    extras |= {name: member for name, member in found.items() if name not in _READ}
    extras |= {f"embedContentConfig.{name}": member for name, member in nested.items() if name not in _READ}
    if "content" not in found:
        raise BadRequest(f"{dot}content is missing", param=f"{dot}content")
    content = members(found["content"], f"{dot}content")
    pieces: list[str] = []
    for number, item in enumerate(listed(content.get("parts"), f"{dot}content.parts")):
        at = f"{dot}content.parts[{number}]"
        part = read_part(item, at)
        if not isinstance(part, Text):
            raise BadRequest(f"{at} must be text: this provider embeds no other media", param=at, code="unsupported")
        pieces.append(part.text)
    return "".join(pieces), options


def embeds_several(plan: Plan) -> bool:
    """Does what is sent stand in a list of requests? A caller of this dialect has said it in either form."""
    return plan.turn.dialect != NAME or "requests" in plan.turn.fields


def write_embed_ask(plan: Plan) -> Asked:
    """The body for embedContent or batchEmbedContents (embeds_several): a caller of this dialect gets theirs sent on
    byte for byte but for the model's name. Raises BadRequest for token ids, which Google does not take."""
    if plan.turn.dialect == NAME:
        return Asked(_relayed(plan))
    ask = plan.turn.embed or EmbedAsk(())
    options = {"taskType": ask.task, "title": ask.title, "outputDimensionality": ask.dimensions}
    given = {name: value for name, value in options.items() if value is not None}
    requests = []
    for number, text in enumerate(ask.inputs):
        if not isinstance(text, str):
            path = f"input[{number}]"
            raise BadRequest(f"{path}: this provider takes texts, not token ids", param=path, code="unsupported")
        requests.append({"model": f"models/{plan.model}", "content": {"parts": [{"text": text}]}, **given})
    dropped = (*(("user",) if ask.user is not None else ()), *ask.extras)
    return Asked(_encode({"requests": requests}), dropped)


def _relayed(plan: Plan) -> bytes:
    fields = plan.turn.fields
    if "requests" not in fields:
        return write_object(_named(fields, plan))
    own = bytes(fields["requests"])
    try:
        many = msgspec.json.decode(own, type=list[dict[str, Raw]] | dict[str, Raw])
    except msgspec.ValidationError:
        return write_object(fields)  # the service itself says what is wrong with it
    given = many if isinstance(many, list) else [many]
    requests = [_named(request if "model" in request else {**request, "model": _NULL}, plan) for request in given]
    if requests != given:
        own = b"[" + b",".join(write_object(request) for request in requests) + b"]"
    return write_object({**fields, "requests": Raw(own)})


def _named(request: Fields, plan: Plan) -> Fields:
    """The request with the upstream's name for the model, where it has the caller's or none. One that names quite
    another is the service's to judge."""
    if "model" not in request:
        return request
    name = plain(request["model"], "model")
    ours = (None, "", plan.turn.model, f"models/{plan.turn.model}")
    return {**request, "model": Raw(_encode(f"models/{plan.model}"))} if name in ours else request


class _Values(Struct):
    values: tuple[float, ...]


class _Body(Struct):
    embeddings: list[_Values] | None = None
    embedding: _Values | None = None
    usageMetadata: Raw = ABSENT
    error: Raw = ABSENT


def read_embedded(body: bytes, texts: int | None = None) -> Embedded:
    """The answer to either request; the model's name is not in it. texts: how many were to be embedded; None: whoever
    asked reads the body himself. Raises Refused, or Garbled for anything else than a vector of each text."""
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
    used = (read_usage(bytes(found.usageMetadata)) if given(found.usageMetadata) else None) or Usage()
    if texts is not None and len(values) != texts:
        raise unpaired(texts, used)
    return Embedded("", tuple(item.values for item in values), used, Native(NAME, body))


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
