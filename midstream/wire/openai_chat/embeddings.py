"""POST /v1/embeddings, both ways."""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Sequence
from operator import itemgetter
from sys import byteorder
from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest, Garbled
from ...core.events import Embedded
from ...core.parts import Native
from ...core.turn import Asked, EmbedAsk, Fields, Plan
from ...core.usage import Usage
from ..counts import unpaired
from ..strict_json import read_field
from .errors import error_in_reply
from .quirks import NAME, OPENAI, Quirks
from .shapes import Tokens
from .usage import read_billed, readable

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_READ = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


class _Vector(Struct, gc=False):
    embedding: str | list[float]
    index: int | None = None


class _Body(Struct, gc=False):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: Tokens | None = None
    error: Any = None


_body = msgspec.json.Decoder(_Body).decode


def read_embed_ask(fields: Fields) -> EmbedAsk:
    """Raises BadRequest with the field's path."""
    model: str = read_field(fields, "model", str, "")
    if not model:
        raise BadRequest("model is missing", param="model")
    form: str = read_field(fields, "encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise BadRequest("encoding_format must be float or base64", param="encoding_format")
    return EmbedAsk(
        model=model,
        inputs=_inputs(fields),
        dimensions=read_field(fields, "dimensions", int | None, None),  # type: ignore[arg-type]
        as_base64=form == "base64",
        user=read_field(fields, "user", str | None, None),  # type: ignore[arg-type]
        extras={name: _decode(raw) for name, raw in fields.items() if name not in _READ},
    )


def _inputs(fields: Fields) -> tuple[str | list[int], ...]:
    told: Any = read_field(fields, "input", object, None)
    if isinstance(told, str):
        return (told,)
    if not isinstance(told, list) or not told:
        raise BadRequest("input must be a string, or an array of strings or of token ids", param="input")
    if all(type(item) is int for item in told):
        return (told,)
    for at, item in enumerate(told):
        if not isinstance(item, str) and not (isinstance(item, list) and all(type(token) is int for token in item)):
            raise BadRequest(f"input[{at}] must be a string or an array of token ids", param=f"input[{at}]")
    return tuple(told)


def write_embed_ask(plan: Plan, quirks: Quirks = OPENAI) -> Asked:
    """The fields of a caller of this dialect are sent on byte for byte but for the model and what the service has
    another name for, or none. Raises BadRequest for what another dialect asks to embed that is no text."""
    if plan.turn.dialect == NAME:
        return _patched(plan, quirks)
    ask = plan.turn.embed or EmbedAsk(())
    body: dict[str, Any] = {"model": plan.model, "input": list(ask.inputs)}
    if ask.dimensions is not None:
        body[quirks.dimensions] = ask.dimensions
    if ask.as_base64:
        body["encoding_format"] = "base64"
    if ask.user is not None and "user" not in quirks.lacks:
        body["user"] = ask.user
    unsaid = {"user": ask.user if "user" not in body else None, "taskType": ask.task, "title": ask.title}
    return Asked(_encode(body), (*(name for name, value in unsaid.items() if value is not None), *ask.extras))


def _patched(plan: Plan, quirks: Quirks) -> Asked:
    body: dict[str, Any] = {}
    dropped: list[str] = []
    fields = plan.turn.fields
    for name, raw in fields.items():
        taken = quirks.dimensions if name == "dimensions" else name
        if name in quirks.lacks or (taken != name and taken in fields):
            dropped.append(name)
        else:
            body[taken] = raw
    return Asked(_encode({**body, "model": plan.model}), tuple(dropped))


def read_embedded(body: bytes, texts: int | None = None) -> Embedded:
    """texts: how many were to be embedded; None: whoever asked reads the body himself.
    Raises Refused for an error inside a 200, Garbled for anything else than an embedding of each text."""
    try:
        reply = _decoded(body)
        if reply.error is not None:
            raise error_in_reply(reply.error, body)
        if reply.data is None:
            raise Garbled("the reply holds no embeddings")
        used = _used(reply.usage or Tokens())
        numbers = [at if vector.index is None else vector.index for at, vector in enumerate(reply.data)]
        if texts is not None and sorted(numbers) != [*range(texts)]:
            raise unpaired(texts, used)
        ordered = sorted(zip(numbers, reply.data, strict=True), key=itemgetter(0))
        vectors = tuple(_floats(vector.embedding) for _, vector in ordered)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError) as error:
        raise Garbled(f"the reply is not a list of embeddings: {error}") from None
    return Embedded(reply.model or "", vectors, used, Native(NAME, body), read_billed(reply.usage))


def _used(tokens: Tokens) -> Usage:
    """Some services say the total alone."""
    return Usage(uncached_in=max(tokens.prompt_tokens or tokens.total_tokens or 0, 0))


def _decoded(body: bytes) -> _Body:
    try:
        return _body(body)
    except msgspec.ValidationError:
        return readable(_decode(body), _Body)


def _floats(vector: str | list[float]) -> tuple[float, ...]:
    """base64 holds little-endian float32 numbers."""
    if isinstance(vector, list):
        return tuple(vector)
    numbers = array("f", base64.b64decode(vector, validate=True))
    if byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


def _base64(vector: Sequence[float]) -> str:
    numbers = array("f", vector)
    if byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def write_embedded(embedded: Embedded, ask: EmbedAsk) -> bytes:
    """Vectors in the encoding that was asked for."""
    data = [
        {"object": "embedding", "index": at, "embedding": _base64(vector) if ask.as_base64 else vector}
        for at, vector in enumerate(embedded.vectors)
    ]
    tokens = embedded.usage.input_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode({"object": "list", "data": data, "model": embedded.model or ask.model, "usage": usage})
