"""JSON schemas for structured answers: the service takes a strict subset and refuses the rest."""

from __future__ import annotations

from typing import Any

#: Keywords that the service refuses in an answer's schema; as words in the description they still guide the model.
_REFUSED = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")


def closed_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy in which every object says additionalProperties: false (demanded) and limits stand in descriptions."""
    copy = {name: _inner(name, value) for name, value in schema.items()}
    if copy.get("type") == "object" or "properties" in copy:
        copy.setdefault("additionalProperties", False)
    limits = {name: copy.pop(name) for name in _REFUSED if name in copy}
    if copy.get("minItems") not in (None, 0, 1):
        limits["minItems"] = copy.pop("minItems")
    if limits:
        words = "{" + ", ".join(f"{name}: {value}" for name, value in limits.items()) + "}"
        before = copy.get("description")
        copy["description"] = f"{before}\n\n{words}" if before else words
    return copy


def _inner(name: str, value: Any) -> Any:
    if name in _LISTS and isinstance(value, list):
        return [closed_schema(item) if isinstance(item, dict) else item for item in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: closed_schema(item) if isinstance(item, dict) else item for key, item in value.items()}
    if name == "items" and isinstance(value, dict):
        return closed_schema(value)
    return value
