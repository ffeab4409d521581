"""Structured answers of models that take no JSON schema: a forced tool, unless that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from midstream.core.parts import Message, Text
from midstream.core.turn import Asked, Format, Params, Plan, Prompt, Thinking, Tool, ToolChoice, Turn
from midstream.wire import anthropic_messages as dialect

OLD, NEW = "claude-3-5-haiku-latest", "claude-sonnet-4-5"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORM = Format("json_schema", SCHEMA, "place", "Where it is")
OWN = Tool("look", "d", {"type": "object"})


def ask(
    *, model: str = OLD, caller: str = "openai_chat", fields: dict[str, Raw] | None = None, form: Format = FORM,
    tools: tuple[Tool, ...] = (), choice: ToolChoice | None = None, **params: Any,
) -> tuple[dict[str, Any], Asked]:  # fmt: skip
    prompt = Prompt((Message("user", (Text("hi"),)),), tools, choice, Params(format=form, **params))
    asked = dialect.write_ask(Plan(Turn(caller, fields or {}, lambda _: prompt, model="x"), model, False))
    return json.loads(asked.body), asked


def test_the_schema_is_a_tool_that_must_be_called() -> None:
    body, asked = ask()
    [tool] = body["tools"]
    assert (tool["name"], tool["input_schema"]) == ("place", SCHEMA)
    assert tool["description"].startswith("Where it is\n\n")
    assert body["tool_choice"] == {"type": "tool", "name": "place", "disable_parallel_tool_use": True}
    assert (asked.form_tool, asked.dropped) == ("place", ())
    assert "system" not in body


def test_models_with_schemas_of_their_own_get_no_tool() -> None:
    body, asked = ask(model=NEW)
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert ("tools" in body, "tool_choice" in body, asked.form_tool) == (False, False, "")


@pytest.mark.parametrize(
    ("choice", "parallel", "want"),
    [
        (None, None, {"type": "any"}),
        (ToolChoice("auto"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), None, {"type": "tool", "name": "place", "disable_parallel_tool_use": True}),
    ],
)
def test_the_callers_own_tools_may_be_called_before_the_answer(
    choice: ToolChoice | None, parallel: bool | None, want: dict[str, Any]
) -> None:
    body, asked = ask(tools=(OWN,), choice=choice, parallel_tools=parallel)
    assert [tool["name"] for tool in body["tools"]] == ["look", "place"]
    assert body["tool_choice"] == want
    assert asked.form_tool == "place"


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("tool", ("look",))])
def test_who_demands_a_call_of_the_own_tools_gets_that(choice: ToolChoice) -> None:
    body, asked = ask(tools=(OWN,), choice=choice)
    assert [tool["name"] for tool in body["tools"]] == ["look"]
    assert (asked.form_tool, asked.dropped) == ("", ())


@pytest.mark.parametrize(
    ("caller", "config", "word"),
    [
        ("openai_chat", b"{}", "response_format"),
        ("openai_responses", b"{}", "text.format"),
        ("gemini", b'{"responseSchema":{}}', "responseSchema"),
        ("gemini", b'{"responseJsonSchema":{}}', "responseJsonSchema"),
    ],
)
def test_thinking_forbids_a_forced_call_so_the_schema_is_told_in_words(caller: str, config: bytes, word: str) -> None:
    fields = {"generationConfig": Raw(config)} if caller == "gemini" else {}
    body, asked = ask(model="claude-3-7-sonnet-latest", caller=caller, fields=fields, thinking=Thinking(budget=2000))
    assert body["thinking"]["type"] == "enabled"
    assert '"city"' in body["system"]
    assert ("tools" in body, "tool_choice" in body) == (False, False)
    assert (asked.form_tool, asked.dropped) == ("", (word,))


@pytest.mark.parametrize(
    ("caller", "member", "word"),
    [
        ("openai_chat", "reasoning_effort", "reasoning_effort"),
        ("openai_chat", "reasoning", "reasoning"),
        ("gemini", "generationConfig", "thinkingConfig"),
    ],
)
def test_thinking_for_which_nothing_is_left_is_named_as_its_caller_names_it(
    caller: str, member: str, word: str
) -> None:
    body, asked = ask(caller=caller, fields={member: Raw(b"{}")}, thinking=Thinking(budget=2000), max_tokens=500)
    assert "thinking" not in body
    assert asked.dropped == (word,)


def test_a_schema_that_is_no_object_cannot_be_a_tools_input() -> None:
    body, asked = ask(form=Format("json_schema", {"type": "array", "items": {"type": "string"}}))
    assert '"array"' in body["system"]
    assert (asked.form_tool, asked.dropped) == ("", ("response_format",))


@pytest.mark.parametrize(
    ("given", "want"), [(None, "answer"), ("a b!", "a_b_"), ("look", "look_2"), ("x" * 99, "x" * 60)]
)
def test_the_tool_has_a_name_that_is_allowed_and_free(given: str | None, want: str) -> None:
    body, asked = ask(form=Format("json_schema", SCHEMA, given), tools=(OWN,))
    assert (body["tools"][-1]["name"], asked.form_tool) == (want, want)
