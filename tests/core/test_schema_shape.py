from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY

from midstream.core.json_schema import broken
from midstream.core.schema_shape import _LISTED, _NAMED, _ONE, misshapen

#: The library's word on it, keyword by keyword through the metaschema.
ORACLE = Draft202012Validator(Draft202012Validator.META_SCHEMA)
KEYWORDS = set(Draft202012Validator.META_SCHEMA["properties"]).union(
    *(REGISTRY.contents(f"https://json-schema.org/draft/2020-12/{part['$ref']}")["properties"]
      for part in Draft202012Validator.META_SCHEMA["allOf"])
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "object", "string", "_c", "7", "a#", "#", ""])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 0.5, -1.0, 10**400]), NAMES
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    held = {
        **dict.fromkeys(_ONE, inner),
        **dict.fromkeys(_LISTED, st.lists(inner, max_size=3)),
        **dict.fromkeys(_NAMED, st.dictionaries(NAMES, inner, max_size=3)),
    }
    words = sorted({*KEYWORDS, "unheard-of"})
    return st.one_of(
        JSON,
        st.lists(st.sampled_from(words), max_size=3, unique=True).flatmap(
            lambda chosen: st.fixed_dictionaries({word: st.one_of(JSON, held.get(word, JSON)) for word in chosen})
        ),
    )


@given(st.recursive(st.booleans(), schemas, max_leaves=6))
@settings(max_examples=500, deadline=None)
def test_it_is_a_schema_where_the_metaschema_says_so(schema: Any):
    assert (misshapen(schema, lambda expression: True) is None) == ORACLE.is_valid(schema)


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_every_keyword_has_the_shape_that_the_metaschema_gives_it(word: str):
    values: list[Any] = [
        None,
        True,
        0,
        -1,
        1.0,
        0.5,
        "",
        "a",
        "object",
        "#",
        "a#b",
        "http://a.example/b",
        [],
        ["a"],
        [{}],
    ]
    values += [["a", "a"], ["object", "null"], ["object", 1], {}, {"a": {}}, {"a": []}, {"a": ["b"]}, {"a": True}]
    for value in values:
        for schema in ({word: value}, {"properties": {"p": {"items": {word: value}}}}):
            assert (misshapen(schema, lambda expression: True) is None) == ORACLE.is_valid(schema), schema


def test_what_is_wrong_is_named_by_its_path():
    for schema, words in (
        ({"properties": {"a": {"type": "spaghetti"}}}, "properties.a.type: 'spaghetti' is no type"),
        ({"allOf": [{}, {"required": ["a", "a"]}]}, "allOf.1.required: ['a', 'a'] is no list of different names"),
        ({"properties": {"a": 7}}, "properties.a: 7 is no JSON Schema"),
        ({"items": {"pattern": "(a"}}, "items.pattern: '(a' is no regular expression"),
        ({"patternProperties": {"a**": {}}}, "patternProperties: 'a**' is no regular expression"),
    ):
        assert str(broken(schema)).startswith(words)


@pytest.mark.parametrize(
    "pattern", [r"^(?=a)", r"\u00e4", r"(?<year>\d{4})", r"\p{L}+", "a{2000}", r"(a)\1", "^[^]]*$"]
)
def test_an_expression_that_only_other_engines_know_is_none_the_less_one(pattern: str):
    assert broken({"pattern": pattern}) is None


def test_a_large_schema_costs_what_it_is_long():
    """By the metaschema the first two took seconds, and the last by the interpreter's engine."""
    before = time.process_time()
    assert broken({"$defs": {"a": {"allOf": [{}] * 15_000}}}) is None
    assert broken({"$defs": {f"{n}": {"type": "object", "properties": {"a": {}}} for n in range(5_000)}}) is None
    assert broken({"pattern": "(?i)" + "[\0-\uffff]" * 20_000}) is None
    assert broken({"pattern": r"\p{L}" * 40_000}) is None
    assert time.process_time() - before < 3
