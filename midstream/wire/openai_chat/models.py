"""GET /v1/models, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.errors import Garbled

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def write_models(ids: Iterable[str]) -> bytes:
    return _encode({"object": "list", "data": [_model(name) for name in ids]})


def write_model(id: str) -> bytes:
    """GET /v1/models/{id}."""
    return _encode(_model(id))


def _model(id: str) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": 0, "owned_by": "midstream"}


def read_models(body: bytes) -> list[str]:
    """Ids in the order given. Takes {data: [...]}, {models: [...]} and a bare list; raises Garbled for others."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(f"the list of models is not valid JSON: {error}") from None
    listed = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise Garbled("the reply is not a list of models")
    ids = (item.get("id", item.get("name")) if isinstance(item, dict) else item for item in listed)
    return [own for own in ids if isinstance(own, str)]
