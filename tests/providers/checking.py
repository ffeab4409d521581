"""Is a value an instance of a JSON Schema? Written for the keywords that the tests use; refuses to guess at others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

KNOWN = {
    "$ref", "$defs", "const", "enum", "default", "examples", "anyOf", "oneOf", "allOf", "type", "properties",
    "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "minLength",
    "maxLength", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "title",
    "description",
}  # fmt: skip
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}
FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "date": lambda text: datetime.strptime(text, "%Y-%m-%d"),
    "email": lambda text: text.index("@"),
    "uri": lambda text: text.index("://"),
    "uuid": lambda text: text.index("-"),
}


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    if isinstance(schema, bool):
        return schema
    root = schema if root is None else root
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema and not fits(value, _referred(schema["$ref"], root), root):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = schema.get("type", [])
    if kinds and not any(TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if not all(fits(value, one, root) for one in schema.get("allOf", [])):
        return False
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and not any(fits(value, one, root) for one in schema[keyword]):
            return False
    if isinstance(value, dict):
        return _object_fits(value, schema, root)
    if isinstance(value, list):
        return _array_fits(value, schema, root)
    if isinstance(value, str):
        return _string_fits(value, schema)
    return not TYPES["number"](value) or _number_fits(value, schema)


def _referred(reference: str, root: Any) -> Any:
    for step in reference.removeprefix("#").split("/")[1:]:
        root = root[step.replace("~1", "/").replace("~0", "~")]
    return root


def _object_fits(value: dict[str, Any], schema: Any, root: Any) -> bool:
    properties = schema.get("properties", {})
    if not set(schema.get("required", [])) <= set(value):
        return False
    if schema.get("additionalProperties") is False and not set(value) <= set(properties):
        return False
    return all(fits(value[name], one, root) for name, one in properties.items() if name in value)


def _array_fits(value: list[Any], schema: Any, root: Any) -> bool:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if schema.get("uniqueItems") and any(value[at] in value[:at] for at in range(len(value))):
        return False
    prefix = schema.get("prefixItems", [])
    items = [*prefix, *[schema.get("items", True)] * max(len(value) - len(prefix), 0)]
    return all(fits(one, form, root) for one, form in zip(value, items, strict=False))


def _string_fits(value: str, schema: Any) -> bool:
    if "format" in schema:
        try:
            FORMATS[schema["format"]](value)
        except ValueError:
            return False
    return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))


def _number_fits(value: float, schema: Any) -> bool:
    step = schema.get("multipleOf", 0)
    return bool(
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and (not step or abs(value / step - round(value / step)) < 1e-9)
    )
