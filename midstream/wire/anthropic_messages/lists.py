"""The small answers: models and token counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest, Garbled

#: Models on a page where no limit is asked for, and at most.
USUAL, MOST = 20, 1000
_LIMIT = re.compile(r"[0-9]{1,4}")


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


class _Count(Struct):
    input_tokens: int


_models = msgspec.json.Decoder(_Models).decode
_count = msgspec.json.Decoder(_Count, strict=False).decode
_encode = msgspec.json.Encoder().encode


def write_model(id: str) -> bytes:
    """One model, as GET /v1/models/{id} gives it."""
    return _encode(_model(id))


def write_models(ids: Sequence[str], query: Mapping[str, str]) -> bytes:
    """The page of GET /v1/models that the query asks for. Raises BadRequest."""
    limit = _limit(query)
    after, before = query.get("after_id"), query.get("before_id")
    if after and before:
        raise BadRequest("before_id: give it or after_id, not both", param="before_id", code="contradictory")
    if before:
        end = _place(ids, before, "before_id")
        start = max(0, end - limit)
        more = start > 0  # in the direction that was asked for
    else:
        start = _place(ids, after, "after_id") + 1 if after else 0
        end = start + limit
        more = end < len(ids)
    page = ids[start:end]
    return _encode(
        {
            "data": [_model(id) for id in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def _limit(query: Mapping[str, str]) -> int:
    told = query.get("limit", str(USUAL))
    limit = int(told) if _LIMIT.fullmatch(told) else 0
    if not 1 <= limit <= MOST:
        raise BadRequest(f"limit: must be a whole number from 1 to {MOST}", param="limit")
    return limit


def _place(ids: Sequence[str], id: str, param: str) -> int:
    if id not in ids:
        raise BadRequest(f"{param}: there is no model {id!r} in the list", param=param)
    return ids.index(id)


def _model(id: str) -> dict[str, str]:
    # When a model was made is not known here; the service itself gives the epoch then.
    return {
        "type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active",
    }  # fmt: skip


def read_models(body: bytes) -> list[str]:
    """The ids of one page of GET /v1/models. Raises Garbled."""
    try:
        return [model.id for model in _models(body).data]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"not a list of models: {error}") from None


def read_count(body: bytes) -> int:
    """Tokens from the answer of POST /v1/messages/count_tokens. Raises Garbled."""
    try:
        return _count(body).input_tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"not a token count: {error}") from None


def write_count(tokens: int) -> bytes:
    return _encode({"input_tokens": tokens})
