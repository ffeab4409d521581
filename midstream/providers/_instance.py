"""A small valid instance of a JSON Schema, the same for the same schema: for the offline model's tool calls and
structured answers."""

from __future__ import annotations

import math
from typing import Any

#: Schemas are written by callers: those that go on for ever, or grow with every level, end here.
MAX_DEPTH, MAX_NODES, MAX_ITEMS, MAX_LENGTH = 12, 2000, 100, 10_000
_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.org",
}
_STEPS = {"~1": "/", "~0": "~"}
Schema = dict[str, Any]


def instance_of(schema: Any) -> Any:
    """Keywords read: $ref, const, enum, default, examples, anyOf, oneOf, allOf, type, properties, required, items,
    prefixItems, minItems, maxItems, uniqueItems, minLength, maxLength, format, minimum, maximum, exclusiveMinimum,
    exclusiveMaximum, multipleOf. Others, and words of the wrong type, are passed over. What may hold its like (a list's
    next one, a tree's children) ends as soon as it may."""
    return _Maker(schema).make(schema, "value", 0)


class _Maker:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._nodes = 0
        #: References to what is being made.
        self._open = ["#"]

    def make(self, schema: Any, name: str, depth: int) -> Any:
        self._nodes += 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self._nodes > MAX_NODES:
            return name
        around = len(self._open)
        value = self._value(self._whole(schema, 0), name, depth)
        del self._open[around:]
        return value

    def _value(self, schema: Schema, name: str, depth: int) -> Any:
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        for keyword in ("enum", "examples"):
            if _list(schema, keyword):
                return schema[keyword][0]
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return _number(schema, 1)
            case "number":
                return float(_number(schema, 0))
            case "boolean":
                return True
            case "null":
                return None
        return _string(schema, name)

    def _object(self, schema: Schema, depth: int) -> Schema:
        properties = _dict(schema, "properties")
        if "required" in schema:
            wanted = _list(schema, "required")
        else:
            wanted = [one for one, inside in properties.items() if not self._is_within_itself(inside)]
        names = [name for name in wanted if isinstance(name, str)]
        return {name: self.make(properties.get(name, {}), name, depth + 1) for name in names}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        most = _count(schema, "maxItems", MAX_ITEMS)
        usual = 0 if self._is_within_itself(schema.get("items")) else 1
        least = min(_count(schema, "minItems", usual), most, MAX_ITEMS)
        made = [self.make(one, name, depth + 1) for one in _list(schema, "prefixItems")[:most]]
        unlike = schema.get("uniqueItems") is True
        while len(made) < least and self._nodes <= MAX_NODES:
            item = self.make(schema.get("items", {}), name, depth + 1)
            made.append(_another(self._whole_of(schema.get("items")), item, made) if unlike else item)
        return made

    def _is_within_itself(self, schema: Any) -> bool:
        """Does it ask for what is being made, whatever is chosen?"""
        if not isinstance(schema, dict):
            return False
        choices = _list(schema, "anyOf") or _list(schema, "oneOf")
        return schema.get("$ref") in self._open or (bool(choices) and all(map(self._is_within_itself, choices)))

    def _chosen(self, choices: list[Any]) -> list[Any]:
        """The first that has an end, or the first."""
        return [one for one in choices if not self._is_within_itself(one)][:1] or choices[:1]

    def _whole_of(self, schema: Any) -> Schema:
        around = len(self._open)
        whole = self._whole(schema, 0) if isinstance(schema, dict) else {}
        del self._open[around:]
        return whole

    def _whole(self, schema: Schema, depth: int) -> Schema:
        """One schema that says what this one, its reference, all of its allOf and one of its choices say. The
        references that it follows are open then."""
        reference = schema.get("$ref")
        parts = _list(schema, "allOf")
        if isinstance(reference, str):
            parts = [*parts, self._referred(reference)]
            self._open.append(reference)
        parts = [*parts, *self._chosen(_list(schema, "anyOf")), *self._chosen(_list(schema, "oneOf"))]
        whole = schema
        for part in parts if depth < MAX_DEPTH else []:
            self._nodes += 1
            if isinstance(part, dict) and self._nodes <= MAX_NODES:
                whole = _merged(whole, self._whole(part, depth + 1))
        return whole

    def _referred(self, reference: str) -> Any:
        found = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            for written, meant in _STEPS.items():
                step = step.replace(written, meant)
            if isinstance(found, list) and step.isascii() and step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            else:
                found = found.get(step) if isinstance(found, dict) else None
        return found


def _merged(one: Schema, two: Schema) -> Schema:
    merged = {**two, **one}
    if "properties" in one and "properties" in two:
        merged["properties"] = {**_dict(two, "properties"), **_dict(one, "properties")}
    if "required" in one and "required" in two:
        merged["required"] = [*_list(one, "required"), *_list(two, "required")]
    return merged


def _dict(schema: Schema, keyword: str) -> Schema:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def _list(schema: Schema, keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def _count(schema: Schema, keyword: str, otherwise: int) -> int:
    value = schema.get(keyword)
    return value if isinstance(value, int) and value >= 0 else otherwise


def _bound(schema: Schema, keyword: str) -> float | int | None:
    value = schema.get(keyword)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema or "prefixItems" in schema else "string"


def _number(schema: Schema, whole: int) -> int | float:
    """The number within the bounds that is nearest to 1. whole: 1 for an integer, else 0."""
    least, most = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    step = _bound(schema, "multipleOf") or whole
    if step:  # as a multiple of it: bounds become whole numbers of steps
        lows = [math.ceil(least / step)] if least is not None else []
        lows += [math.floor(above / step) + 1] if above is not None else []
        highs = [math.floor(most / step)] if most is not None else []
        highs += [math.ceil(below / step) - 1] if below is not None else []
        times = max([min([max(1, round(1 / step)), *highs]), *lows])
        return int(times * step) if whole and float(times * step).is_integer() else times * step
    low = max([bound for bound in (least, above) if bound is not None], default=None)
    high = min([bound for bound in (most, below) if bound is not None], default=None)
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return max(1, low + 1)
    return 1 if high is None else min(1, high - 1)


def _string(schema: Schema, name: str) -> str:
    form = schema.get("format")
    value = _FORMATS.get(form, name) if isinstance(form, str) else name
    value = value.ljust(min(_count(schema, "minLength", 0), MAX_LENGTH), "x")
    return value[: _count(schema, "maxLength", len(value))]


def _another(schema: Schema, item: Any, made: list[Any]) -> Any:
    """An item like this one that is not among those made, where that is easily had."""
    for choice in _list(schema, "enum"):
        if choice not in made:
            return choice
    if isinstance(item, str):
        return item + str(len(made) + 1) if item in made else item
    if isinstance(item, int | float) and not isinstance(item, bool):
        return item + len(made) * (_bound(schema, "multipleOf") or 1)
    return not item if isinstance(item, bool) and item in made else item
