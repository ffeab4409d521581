"""GET /v1/models, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...core.errors import Garbled

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def write_models(ids: Iterable[str], *, created: int = 0, owner: str = "midstream") -> bytes:
    """created: unix seconds."""
    return _encode({"object": "list", "data": [model_object(name, created, owner) for name in ids]})


def write_model(name: str, *, created: int = 0, owner: str = "midstream") -> bytes:
    """GET /v1/models/{id}."""
    return _encode(model_object(name, created, owner))


def model_object(name: str, created: int = 0, owner: str = "midstream") -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


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
