from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.variables import (
    NOTHING,
    filled,
    own_variables,
    placeholders,
    substitute,
    value_at,
    variables_of,
)
from midstream.core.agents import AgentAsk, Loaded, Spec, Variable, beneath

from .injections import PAYLOADS

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "text, variables, becomes",
    [
        ("Hi {{name}}!", {"name": "Ada"}, "Hi Ada!"),
        ("{{ name }}{{name}}", {"name": "Ada"}, "AdaAda"),
        ("{{a.b}}", {"a": {"b": "deep"}}, "deep"),
        ("{{a.1.c}}", {"a": [0, {"c": "x"}]}, "x"),
        ("{{a.b}}", {"a.b": "whole", "a": {"b": "deep"}}, "whole"),
        ("{{n}} {{t}} {{f}}", {"n": 3, "t": True, "f": 0.5}, "3 true 0.5"),
        ("{{list}} {{object}}", {"list": [1, "a"], "object": {"k": None}}, '[1,"a"] {"k":null}'),
        ("{{имя}}", {"имя": "Ада"}, "Ада"),
        ("{{empty}}|", {"empty": ""}, "|"),
        ("{single} {{{name}}}", {"name": "x"}, "{single} {x}"),
    ],
)
def test_placeholders_become_values(text, variables, becomes):
    assert substitute(text, variables) == (becomes, ())


def test_what_has_no_value_stays_as_written_and_is_named_once():
    text = "{{gone}} {{a.b}} {{gone}} {{null}}"
    assert substitute(text, {"a": {}, "null": None}) == (text, ("gone", "a.b", "null"))


def test_a_value_is_put_in_literally_and_only_once():
    variables = {"a": "{{b}} \\1 \\g<0> {{a}} $1 %s {0}", "b": "never"}
    assert substitute("<{{a}}>", variables) == (f"<{variables['a']}>", ())


@given(st.text(alphabet="ab{}. -\n%\\$"), st.dictionaries(names, values, max_size=3))
def test_text_outside_of_placeholders_is_never_touched(text, variables):
    made, _ = substitute(text, {})
    assert made == text
    if not placeholders(text):
        assert substitute(text, variables) == (text, ())


@given(names, values, st.text(), st.text())
def test_any_value_stands_in_the_text_as_it_is_or_as_json(name, value, before, after):
    before, after = before.replace("{", ""), after.replace("}", "")
    made, missing = substitute(f"{before}{{{{{name}}}}}{after}", {name: value})
    inner = made[len(before) : len(made) - len(after)]
    assert missing == ()
    assert inner == value if isinstance(value, str) else json.loads(inner) == value


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_template_of_another_language_comes_back_as_it_was(payload):
    assert substitute(payload, {"a": "1", "user": {"name": "x"}})[0] == payload


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_as_a_value_is_only_text(payload):
    assert substitute("<{{x}}>", {"x": payload, "a": "1"}) == (f"<{payload}>", ())
    assert substitute("{{x.0.y}}", {"x": [{"y": payload}]}) == (payload, ())


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_as_a_name_is_no_way_in(payload):
    text = "{{" + payload + "}}"
    assert substitute(text, {"x": "1"})[0] == text


@pytest.mark.parametrize(
    "path", ["__class__", "a.__class__", "a.b.__len__", "a.keys", "l.__class__", "l.-1", "l.9", "l.x"]
)
def test_a_path_reaches_what_is_in_the_values_and_nothing_of_their_types(path):
    assert value_at({"a": {"b": "text"}, "l": [1, 2]}, path) is NOTHING


def test_arguments_are_filled_at_any_depth_and_a_lone_placeholder_keeps_its_type():
    variables = {"n": 3, "who": {"name": "Ada"}}
    args = {"count": "{{n}}", "deep": [{"to": "Dear {{who.name}}", "all": "{{who}}"}], "gone": "{{gone}}", "plain": 1}
    assert filled(args, variables) == {
        "count": 3, "deep": [{"to": "Dear Ada", "all": {"name": "Ada"}}], "gone": "{{gone}}", "plain": 1,
    }  # fmt: skip


def test_many_open_braces_take_no_more_than_one_look():
    text = "{{" * 50_000 + "a" * 50_000
    assert substitute(text, {"a": "x"}) == (text, ())


def test_what_a_model_has_said_is_in_the_prompt_and_stands_behind_the_callers_own_for_mapped_arguments():
    states = {"city": Variable(default="Paris"), "plan": Variable(default="free"), "user": Variable()}
    loaded = Loaded("org", "agt_1", "a", "A", "active", "ver_1", Spec(variables_state=states))
    said = {"city": "Rome", "user": {"id": 666}, "user.id": 667, "items[0]": 3, "plan": None, "x": None}
    ask = AgentAsk(text="hi", variables={"user": {"id": 7}, "items": [1]}, arguments=said)
    shown = {"city": "Rome", "plan": "free", "user": {"id": 666}, "user.id": 667, "items": [1], "items[0]": 3}
    assert variables_of(loaded, ask) == {**shown, "_user_message": "hi"}
    own = {"plan": "free", "user": {"id": 7}, "items": [1], "_user_message": "hi"}
    assert own_variables(loaded, ask) == own
    assert beneath(own, said) == {"city": "Rome", **own}
    assert own_variables(loaded, ask, {"city": "tool"})["city"] == variables_of(loaded, ask, {"city": "tool"})["city"]
