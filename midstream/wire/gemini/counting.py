"""countTokens in both roles, and the list of models."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...core.errors import BadRequest, Garbled
from ...core.turn import Fields, Plan, Prompt
from ..strict_json import write_object
from .ask_in import read_ask
from .ask_out import own_fields, write_ask
from .shape import NAME, camel, members, plain

_encode = msgspec.json.Encoder().encode


def read_count_ask(fields: Fields) -> Prompt:
    """What to count: `generateContentRequest` when it is given, else `contents`. Raises BadRequest."""
    inner = _inner(fields)
    return read_ask(fields if inner is None else inner)


def _inner(fields: Fields) -> Fields | None:
    for name, raw in fields.items():
        if camel(name) == "generateContentRequest" and bytes(raw) != b"null":
            members(plain(raw, "generateContentRequest"), "generateContentRequest")
            return msgspec.json.decode(raw, type=dict[str, Raw])
    return None


def write_count_ask(plan: Plan) -> bytes:
    """A countTokens body for plan.model, which generateContentRequest must name. A caller of this dialect: their own
    members byte for byte."""
    model = plan.model if plan.model.startswith("models/") else f"models/{plan.model}"
    if plan.turn.dialect == NAME:
        fields = plan.turn.fields
        inner = _inner(fields)
        if inner is None and all(camel(name) == "contents" for name in fields):
            return write_object(own_fields(plan, fields, {}))
        whole = own_fields(plan, fields if inner is None else inner, {})
    else:
        whole = msgspec.json.decode(write_ask(plan).body, type=dict[str, Raw])
    # Its place stays the caller's; a bare name is none here.
    named = {**whole, "model": model} if "model" in whole else {"model": model, **whole}
    return _encode({"generateContentRequest": named})


class _Total(Struct):
    totalTokens: int


def read_count(body: bytes) -> int:
    """Raises Garbled."""
    try:
        return max(0, msgspec.json.decode(body, type=_Total, strict=False).totalTokens)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbled(f"the answer holds no token count: {error}") from None


def write_count(tokens: int) -> bytes:
    """The body of a countTokens answer."""
    return _encode({"totalTokens": tokens})


class _Model(Struct):
    name: str


class _Models(Struct):
    models: list[_Model] = []


_METHODS = ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"]


#: Models on a page where no size is asked for, and at most: who asks for more gets these, as from Google.
USUAL, MOST = 50, 1000
_SIZE = re.compile(r"[0-9]{1,10}")


def write_models(ids: Sequence[str], query: Mapping[str, str]) -> bytes:
    """The page of the models list that the query asks for. Raises BadRequest."""
    told = {camel(name): value for name, value in query.items()}
    size, token = _size(told.get("pageSize", "0")), told.get("pageToken")
    start = _place_after(ids, token) if token else 0
    page = ids[start : start + size]
    listed: dict[str, Any] = {"models": [_described(name) for name in page]}
    if start + size < len(ids):
        listed["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return _encode(listed)


def _size(told: str) -> int:
    if _SIZE.fullmatch(told) is None:
        raise BadRequest("pageSize: must be a whole number, 0 or more", param="pageSize")
    return min(int(told) or USUAL, MOST)


def _place_after(ids: Sequence[str], token: str) -> int:
    """A token is the last model of the page before: a list that has become longer goes on where it was left."""
    try:
        last = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        return ids.index(last) + 1
    except (binascii.Error, ValueError):  # also a model that is gone
        raise BadRequest("pageToken: is none of this list; begin again without it", param="pageToken") from None


def write_model(id: str) -> bytes:
    """The body of one model."""
    return _encode(_described(id))


def _described(name: str) -> dict[str, Any]:
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": _METHODS}


def read_models(body: bytes) -> list[str]:
    """The ids of a models list, without "models/". Raises Garbled."""
    try:
        return [model.name.removeprefix("models/") for model in msgspec.json.decode(body, type=_Models).models]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbled(f"the answer is not a list of models: {error}") from None
