from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.providers._instance import MAX_ITEMS, MAX_LENGTH, instance_of

from .checking import FORMATS, fits

names = st.text("abcxyz/~_", min_size=1, max_size=4)
small = st.integers(-50, 50)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["integer", "number"]))
    low = draw(small)
    schema: dict[str, Any] = {"type": kind}
    step = draw(st.sampled_from([None, 1, 3, 5])) if kind == "integer" else draw(st.sampled_from([None, 0.5, 3]))
    if step is not None:
        schema["multipleOf"] = step
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + draw(st.integers(12, 40))
    return schema


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"type": "string", "format": draw(st.sampled_from(sorted(FORMATS)))}
    least = draw(st.integers(0, 20))
    return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 5))}


values = st.one_of(st.none(), st.booleans(), small, names)
leaves = st.one_of(
    numbers(), strings(), st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, {"type": ["null", "string"]}]),
    st.builds(lambda value: {"const": value}, values),
    st.builds(lambda some: {"enum": some}, st.lists(values, min_size=1)),
)  # fmt: skip


@st.composite
def objects(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, inside, max_size=3))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    if properties and draw(st.booleans()):
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    return schema


@st.composite
def arrays(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> dict[str, Any]:
    least = draw(st.integers(0, 3))
    schema: dict[str, Any] = {"type": "array", "items": draw(inside), "minItems": least}
    if draw(st.booleans()):
        schema["maxItems"] = least + draw(st.integers(0, 2))
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inside, max_size=2))
        schema["maxItems"] = max(schema.get("maxItems", 9), least)
    return schema


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        leaves,
        lambda inside: st.one_of(
            objects(inside),
            arrays(inside),
            st.builds(lambda some: {"anyOf": some}, st.lists(inside, min_size=1, max_size=3)),
            st.builds(lambda one: {"allOf": [one]}, inside),
        ),
        max_leaves=8,
    )


@given(schemas())
def test_an_instance_is_valid_and_the_same_each_time(schema: dict[str, Any]):
    made = instance_of(schema)
    assert fits(made, schema), made
    assert instance_of(schema) == made
    msgspec.json.encode(made)


@given(names, schemas())
def test_a_reference_is_followed_by_its_pointer(name: str, schema: dict[str, Any]):
    pointer = "#/$defs/" + name.replace("~", "~0").replace("/", "~1")
    whole = {"$defs": {name: schema}, "type": "object", "properties": {"x": {"$ref": pointer}}, "required": ["x"]}
    assert fits(instance_of(whole), whole)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "maximum": -5},
        {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 0.75},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "items": {}, "maxItems": 0},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "allOf": [{"required": ["a"]}]},
        {
            "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"],
            "anyOf": [{"required": ["b"]}, {"required": ["c"]}],
        },
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer", "minimum": 3}}, "maximum": 9},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"properties": {"a": {"type": "boolean"}}},
    ],
)  # fmt: skip
def test_what_schemas_say_together_holds_together(schema: dict[str, Any]):
    assert fits(instance_of(schema), schema), instance_of(schema)


LIST = {
    "type": "object", "required": ["value", "next"], "additionalProperties": False,
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
}  # fmt: skip
BOX = {
    "type": "object", "required": ["kind", "children"], "additionalProperties": False,
    "properties": {"kind": {"enum": ["div"]}, "children": {"type": "array", "items": {"$ref": "#"}}},
}  # fmt: skip
SUM = {"type": "object", "properties": {one: {"$ref": "#/$defs/term"} for one in "ab"}, "required": ["a", "b"]}
TERM = {
    "oneOf": [{"$ref": "#/$defs/sum"}, {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}]
}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/n", "$defs": {"n": LIST}},
        {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 2, "$defs": {"n": LIST}},
        BOX,
        {"type": "object", "properties": {"name": {"type": "string"}, "parent": {"$ref": "#"}}},
        {"$ref": "#/$defs/term", "$defs": {"term": TERM, "sum": SUM}},
        {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "array", "items": {"$ref": "#"}}]}}, "required": ["a"]},
    ],
    ids=["list", "lists", "box", "parent", "term", "nested"],
)  # fmt: skip
def test_what_may_hold_its_like_ends_where_it_may(schema: dict[str, Any]):
    made = instance_of(schema)
    assert fits(made, schema), made
    assert len(msgspec.json.encode(made)) < 200


LOOP: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}}
TREE = {
    "$defs": {"n": {"type": "object", "properties": {name: {"$ref": "#/$defs/n"} for name in "abcdefghij"}}},
    "$ref": "#/$defs/n",
}
CUBE: dict[str, Any] = {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9, "items": {
    "type": "array", "minItems": 10**9, "items": {}}}}  # fmt: skip


@pytest.mark.parametrize("schema", [LOOP, TREE, CUBE, {"$ref": "#"}, {"type": "string", "minLength": 10**12}])
def test_a_schema_without_an_end_has_a_small_instance_soon(schema: dict[str, Any]):
    began = time.monotonic()
    made = instance_of(schema)
    assert time.monotonic() - began < 5
    assert len(msgspec.json.encode(made)) < 100 * (MAX_ITEMS + MAX_LENGTH)


anything = st.recursive(
    values | st.floats(allow_nan=False), lambda inside: st.lists(inside, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "required", "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength",
             "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "examples",
             "anyOf", "oneOf", "allOf", "$ref", "uniqueItems"]
        ) | names, inside, max_size=5,
    ), max_leaves=12,
)  # fmt: skip


@given(anything | st.builds(lambda more: {"$ref": "#/a/0", **more}, st.dictionaries(names, anything)))
def test_no_schema_however_wrong_is_more_than_it_can_take(schema: Any):
    msgspec.json.encode(instance_of(schema))
