"""The small answers: models and token counts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ...core.errors import Garbled


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


def write_models(ids: Sequence[str]) -> bytes:
    """All models as one page of GET /v1/models."""
    return _encode(
        {
            "data": [_model(id) for id in ids],
            "has_more": False,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }
    )


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
