from __future__ import annotations

import time
from typing import Any

import pytest

from midstream.core.json_schema import broken, misfit

CITY = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema, value, word",
    [
        (CITY, {"a": [1]}, None),
        (CITY, {"a": [1, "x"]}, "a.1: 'x' is not of type 'integer'"),
        (CITY, {}, "'a' is a required property"),
        ({}, {"x": 1}, None),
        ({"type": "object"}, [], "[] is not of type 'object'"),
        ({"additionalProperties": False, "properties": {"b": {}}}, {"b": 1, "c": 2}, "there is no field 'c'"),
        ({"additionalProperties": {"type": "string"}}, {"c": 2}, "c: 2 is not of type 'string'"),
        ({"properties": {"c": {"pattern": "^a+$"}}}, {"c": "ab"}, "c: 'ab' does not match '^a+$'"),
        ({"properties": {"c": {"pattern": "^(?=a)a$"}}}, {"c": "b"}, None),
        ({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False}, {"xa": 1}, "xa: 1 is not"),
        ({"properties": {"c": {"uniqueItems": True}}}, {"c": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, "c: the items"),
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"c": {"$ref": "#/$defs/n"}}}, {"c": "x"}, "c: 'x'"),
    ],
)
def test_a_misfit_is_named_by_its_path(schema: dict[str, Any], value: Any, word: str | None):
    problem = misfit(schema, value)
    assert problem is word is None or (problem is not None and word is not None and problem.startswith(word))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "#/nowhere"},
        {"type": "spaghetti"},
        {"properties": 7},
        {"$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)}, "$ref": "#/$defs/a0"},
        {"enum": ["x" * 300_000]},
    ],
)
def test_a_schema_that_cannot_be_used_fits_nothing_is_broken_and_ends(schema: dict[str, Any]):
    schema = {"$defs": {"a30": {}}, **schema} if "$defs" not in schema else schema
    schema.get("$defs", {}).setdefault("a30", {})
    problem = misfit(schema, {"a": 1})
    assert problem is not None
    assert "schema" in problem or broken(schema)
    assert broken(schema) is not None


def test_a_schema_is_whole_or_says_what_is_wrong():
    assert broken(CITY) is None
    assert broken([]) == "a JSON Schema is an object"
    assert "required" in str(broken({"required": "a"}))


@pytest.mark.parametrize("draft", [f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4, 6, 7)])
def test_a_schema_within_that_names_its_draft_is_checked_as_safely(draft: str):
    known_to_python_alone = {"$schema": draft, "pattern": "^(?=a)a$"}
    assert misfit({"properties": {"c": known_to_python_alone}}, {"c": "b"}) is None
    doubled = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(14)}
    schema = {"$defs": {**doubled, "a14": {}}, "not": {"$schema": draft, "not": {"$ref": "#/$defs/a0"}}}
    assert misfit(schema, {"a": 1}) == "the schema asks for more work than a check may be"


MANY = [f"{n}" for n in range(5_000)]
THINGS = {"a": [{"b": n} for n in range(5_000)]}


def often(schema: Any, times: int = 8_000) -> dict[str, Any]:
    return {"$defs": {"one": schema}, "allOf": [{"$ref": "#/$defs/one"}] * times}


@pytest.mark.parametrize(
    "schema, value",
    [
        (often({"required": MANY}), {"a": 1}),
        (often({"enum": MANY}), THINGS),
        (often({"const": THINGS}), THINGS),
        (often({"properties": {"a": {"uniqueItems": True}}}), THINGS),
        (often({"properties": {"a": {"items": {}}}}), THINGS),
        (often({"anyOf": [{"type": "string"}, {"type": "object"}]}), THINGS),
        (often({"additionalProperties": False, "patternProperties": {name: {} for name in MANY}}), {"a": 1, "b": 2}),
        ({"patternProperties": {f"\\p{{L}}{n}": {} for n in range(9_000)}}, {"a": 1}),
        ({**often({"$ref": "#there"}), "properties": {name: {} for name in MANY}, "items": {"$anchor": "there"}}, {}),
    ],
    ids=["required", "enum", "const", "uniqueItems", "items", "messages", "names", "expressions", "anchors"],
)
def test_what_a_check_costs_is_bounded_whatever_its_keywords_are(schema: dict[str, Any], value: Any):
    before = time.process_time()
    misfit(schema, value)
    assert time.process_time() - before < 6  # each would take from ten seconds to many minutes


def test_an_expression_made_to_backtrack_costs_nothing():
    before = time.process_time()
    assert misfit({"properties": {"c": {"pattern": "^(a+)+$"}}}, {"c": "a" * 50_000 + "!"}) is not None
    assert misfit({"patternProperties": {"^(a+)+$": False}}, {"a" * 50_000 + "!": 1}) is None
    assert time.process_time() - before < 20  # the interpreter's own engine would take longer than the universe
