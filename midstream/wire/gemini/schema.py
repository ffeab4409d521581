"""Google's OpenAPI-like Schema objects as JSON Schema, which the other dialects speak."""

from __future__ import annotations

from typing import Any

from ...core.errors import BadRequest
from .shape import members

_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_MAX_DEPTH = 64
#: By the numbers that Google's own REST clients send in their place.
_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")


def json_schema_of(schema: Any, path: str, depth: int = 0) -> dict[str, Any]:
    """A new JSON Schema with the meaning of `schema`: type names in lower case, nullable as a type of its own,
    counts as numbers, Google's own ordering hint left out. Already valid JSON Schema keeps its meaning.
    Raises BadRequest."""
    if depth > _MAX_DEPTH:
        raise BadRequest(f"{path} is nested too deep", param=path)
    out: dict[str, Any] = {}
    found = members(schema, path)
    for name, value in found.items():
        at = f"{path}.{name}"
        if name in {"nullable", "propertyOrdering"}:
            continue
        if name == "type":
            out["type"] = _type(value)
        elif name in {"properties", "defs", "$defs"}:
            if not isinstance(value, dict):
                raise BadRequest(f"{at} must be an object", param=at)
            key = "properties" if name == "properties" else "$defs"
            out[key] = {key: json_schema_of(child, f"{at}.{key}", depth + 1) for key, child in value.items()}
        elif name in {"items", "additionalProperties"} and isinstance(value, dict):
            out[name] = json_schema_of(value, at, depth + 1)
        elif name in {"anyOf", "oneOf", "allOf"} and isinstance(value, list):
            out[name] = [json_schema_of(child, f"{at}[{i}]", depth + 1) for i, child in enumerate(value)]
        elif name == "ref":
            out["$ref"] = value
        elif name == "example":
            out["examples"] = [value]
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            out[name] = int(value)
        else:
            out[name] = value
    return _nullable(out) if found.get("nullable") is True else out


def _type(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    if type(value) is int and 0 < value < len(_TYPES):
        return _TYPES[value]
    if isinstance(value, list):
        return [item.lower() if isinstance(item, str) else item for item in value]
    return value


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"]
        if "enum" in schema and isinstance(schema["enum"], list):
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
