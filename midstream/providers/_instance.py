"""A small valid instance of a JSON Schema, the same for the same schema: for the offline model's tool calls and
structured answers."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 12
_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.org",
}


def instance_of(schema: Any) -> Any:
    """Keywords read: $ref, const, enum, default, examples, anyOf, oneOf, allOf, type, properties, required, items,
    prefixItems, minItems, minLength, maxLength, format, minimum, exclusiveMinimum, maximum, multipleOf."""
    return _Maker(schema if isinstance(schema, dict) else {}).make(schema, "value", 0)


class _Maker:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def make(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return name
        schema = self._resolved(schema)
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        for keyword in ("enum", "examples"):
            if schema.get(keyword):
                return schema[keyword][0]
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self.make(schema[keyword][0], name, depth + 1)
        return self._typed(schema, name, depth)

    def _typed(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number":
                return _number(schema, kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
        return _string(schema, name)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        wanted = schema.get("required")
        wanted = wanted if isinstance(wanted, list) else list(properties)
        return {key: self.make(properties.get(key, {}), key, depth + 1) for key in wanted}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        prefix = [self.make(one, name, depth + 1) for one in schema.get("prefixItems", [])]
        missing = max(schema.get("minItems", 1) - len(prefix), 0)
        return prefix + [self.make(schema.get("items", {}), name, depth + 1) for _ in range(min(missing, 100))]

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            found: Any = self._root
            for piece in reference[2:].split("/"):
                found = found.get(piece, {}) if isinstance(found, dict) else {}
            schema = found if isinstance(found, dict) else {}
        merged = dict(schema)
        for part in schema.get("allOf", []):
            resolved = self._resolved(part) if isinstance(part, dict) else {}
            properties = {**merged.get("properties", {}), **resolved.get("properties", {})}
            required = [*merged.get("required", []), *resolved.get("required", [])]
            merged = {**merged, **resolved}
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = required
        return merged


def _number(schema: dict[str, Any], whole: bool) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    value = low + 1 if "exclusiveMinimum" in schema else max(low, 1) if "maximum" not in schema else low
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if whole else float(value)


def _string(schema: dict[str, Any], name: str) -> str:
    value = _FORMATS.get(schema.get("format", ""), name)
    value = value.ljust(schema.get("minLength", 0), "x")
    longest = schema.get("maxLength")
    return value if longest is None else value[:longest]
