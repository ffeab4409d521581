"""How much to think is asked of every model in the words that it takes: what it refuses is not sent, and what it cannot
do is named by the caller's own word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from midstream.core.turn import Plan, Turn
from midstream.providers import anthropic, gemini, groq, mistral, openai, openai_response
from midstream.providers._service import Service
from midstream.wire import anthropic_messages, openai_chat
from midstream.wire import gemini as googles
from midstream.wire.strict_json import read_object

OFF = {"thinking": {"type": "disabled"}}
ON = {"thinking": {"type": "enabled", "budget_tokens": 5000}}


def asked(
    service: Service, model: str, said: dict[str, Any], dialect: Any = anthropic_messages
) -> tuple[dict[str, Any], set[str]]:
    """What a model is sent of a caller's request, and what is named to the caller."""
    contents = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    hi = contents if dialect is googles else {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9000}
    turn = Turn(dialect.NAME, read_object(msgspec.json.encode(hi | said)), dialect.read_ask, model="m")
    written = (service.write or service.dialect.write_ask)(Plan(turn, model, stream=False))
    return msgspec.json.decode(written.body), set(written.dropped)


def effort(model: str, said: dict[str, Any], dialect: Any = anthropic_messages) -> tuple[str | None, set[str]]:
    """The word of effort that OpenAI is sent, which is the same in both of its formats, and so is what is named."""
    chat, dropped = asked(openai.SERVICE, model, said, dialect)
    body, also = asked(openai_response.SERVICE, model, said, dialect)
    assert body.get("reasoning") == ({"effort": chat["reasoning_effort"]} if "reasoning_effort" in chat else None)
    assert also == dropped
    return chat.get("reasoning_effort"), dropped


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest", "gpt-5-chat-latest", "ft:gpt-4o:a::b"]
)
def test_a_model_of_openai_that_does_not_reason_is_not_told_how_much(model: str) -> None:
    assert effort(model, OFF) == (None, set())
    assert effort(model, ON) == (None, {"thinking"})
    assert effort(model, {"output_config": {"effort": "high"}}) == (None, {"output_config.effort"})
    level = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}
    assert effort(model, level, googles) == (None, {"thinkingConfig"})


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        (1, "low"),
        (2048, "low"),
        (2049, "medium"),
        (10000, "medium"),
        (12288, "medium"),
        (12289, "high"),
        (31999, "high"),
    ],
)
def test_a_number_of_tokens_is_the_same_effort_in_both_formats_of_openai(budget: int, word: str) -> None:
    assert effort("gpt-5.1", {"thinking": {"type": "enabled", "budget_tokens": budget}}) == (word, set())


@pytest.mark.parametrize(
    ("model", "word"),
    [("o3", "low"), ("o1", "low"), ("o4-mini-2025-04-16", "low"), ("gpt-5", "minimal"), ("gpt-5-nano", "minimal"),
     ("gpt-5-codex", "low"), ("gpt-5.1-codex", "low"), ("gpt-5.3-codex", "low"), ("gpt-5-pro", "high"),
     ("gpt-5.2-pro", "medium"), ("o4-mini-deep-research", "medium"), ("ft:o4-mini:a::b", "low")],
)  # fmt: skip
def test_one_that_cannot_stop_reasoning_does_as_little_as_it_can_and_that_is_told(model: str, word: str) -> None:
    assert effort(model, OFF) == (word, {"thinking"})


@pytest.mark.parametrize("model", ["gpt-5.1", "gpt-5.2", "gpt-5.4-mini", "gpt-5.6-sol", "gpt-6", "a-model-of-ours"])
def test_one_that_can_is_told_to_stop(model: str) -> None:
    assert effort(model, OFF) == ("none", set())
    # how much effort there shall be without thinking is nothing that can be said
    assert effort(model, OFF | {"output_config": {"effort": "high"}}) == ("none", {"output_config.effort"})


@pytest.mark.parametrize(
    ("model", "asked_for", "word"),
    [("gpt-5", "minimal", "minimal"), ("gpt-5.1", "minimal", "none"), ("gpt-5.1", "xhigh", "high"),
     ("o3", "max", "high"), ("gpt-5-mini", "xhigh", "high"), ("gpt-5.2", "xhigh", "xhigh"),
     ("gpt-5.4", "max", "xhigh"), ("gpt-5.6", "max", "max")],
)  # fmt: skip
def test_a_word_that_a_model_does_not_know_becomes_the_nearest_that_it_knows(
    model: str, asked_for: str, word: str
) -> None:
    assert effort(model, {"output_config": {"effort": asked_for}}) == (word, set())


@pytest.mark.parametrize(
    ("model", "said", "config", "dropped"),
    [
        ("gemini-2.5-flash", OFF, {"thinkingBudget": 0}, set()),
        ("gemini-3-flash-preview", OFF, {"thinkingBudget": 0}, set()),
        ("gemini-2.5-pro", OFF, {"thinkingBudget": 128}, {"thinking"}),
        ("gemini-3-pro-preview", OFF, {"thinkingLevel": "LOW"}, {"thinking"}),
        ("gemini-pro-latest", OFF, {"thinkingLevel": "LOW"}, {"thinking"}),
        ("gemini-3.5-flash-lite", OFF, {"thinkingLevel": "MINIMAL"}, set()),
        ("gemini-2.0-flash", OFF, None, set()),
        ("gemini-2.0-flash", ON, None, {"thinking"}),
        ("gemini-2.5-flash-image", ON, None, {"thinking"}),
        ("gemini-2.0-flash", {"output_config": {"effort": "low"}}, None, {"output_config.effort"}),
        ("gemini-3.8-flash", {"output_config": {"effort": "minimal"}}, {"thinkingLevel": "LOW"}, set()),
        ("gemini-2.5-pro", OFF | {"output_config": {"effort": "high"}}, {"thinkingBudget": 128},
         {"thinking", "output_config.effort"}),
        ("gemini-2.5-flash", OFF | {"output_config": {"effort": "high"}}, {"thinkingBudget": 0},
         {"output_config.effort"}),
    ],
)  # fmt: skip
def test_gemini_stops_thinking_where_it_can(
    model: str, said: dict[str, Any], config: dict[str, Any] | None, dropped: set[str]
) -> None:
    body, told = asked(gemini.SERVICE, model, said)
    config_sent = body.get("generationConfig", {}).get("thinkingConfig")
    assert config_sent is None or config_sent.pop("includeThoughts", True)
    assert (config_sent, told) == (config, dropped)


def test_the_word_that_stops_it_is_the_least_level_that_a_model_knows() -> None:
    none = {"reasoning_effort": "none"}
    for model, level, dropped in (
        ("gemini-3-flash-preview", "MINIMAL", set[str]()),
        ("gemini-3.6-flash", "MINIMAL", set[str]()),
        ("gemini-3.8-flash", "LOW", {"reasoning_effort"}),
        ("gemini-3.1-pro-preview", "LOW", {"reasoning_effort"}),
    ):
        body, told = asked(gemini.SERVICE, model, none, openai_chat)
        assert (body["generationConfig"]["thinkingConfig"], told) == ({"thinkingLevel": level}, dropped)


@pytest.mark.parametrize("said", [{"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}])
def test_a_claude_model_that_always_thinks_is_told_to_think_as_little_as_it_can(said: dict[str, Any]) -> None:
    for model in ("claude-fable-5", "claude-mythos-5-1", "claude-mythos-preview", "claude-opus-5-5"):
        body, dropped = asked(anthropic.SERVICE, model, said, openai_chat)
        assert ("thinking" in body, body["output_config"], dropped) == (False, {"effort": "low"}, set(said))
    for model, kind in (
        ("claude-opus-5", "disabled"),
        ("claude-opus-4-8", "disabled"),
        ("claude-sonnet-4-5", "disabled"),
        ("claude-haiku-5-5", "disabled"),
        ("claude-sonnet-5-5", "between_tools"),
    ):
        body, dropped = asked(anthropic.SERVICE, model, said, openai_chat)
        assert (body["thinking"], "output_config" in body, dropped) == ({"type": kind}, False, set())


def test_a_thought_of_the_history_is_not_taken_for_the_wish_to_think() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
    said = {"messages": [{"role": "user", "content": "hi"}, thought, {"role": "user", "content": "and?"}]}
    assert "reasoning_effort" not in asked(openai_response.SERVICE, "m", said, openai_chat)[1]


def test_a_callers_own_format_is_left_to_its_service() -> None:
    body, dropped = asked(openai.SERVICE, "gpt-4o", {"reasoning_effort": "none"}, openai_chat)
    assert (body["reasoning_effort"], dropped) == ("none", set())
    body, dropped = asked(anthropic.SERVICE, "claude-fable-5", OFF)
    assert (body["thinking"], dropped) == ({"type": "disabled"}, set())
    zero = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}
    body, dropped = asked(gemini.SERVICE, "gemini-2.5-pro", zero, googles)
    assert (body["generationConfig"], dropped) == (zero["generationConfig"], set())


TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]}
MUST: Any = ("required", {"type": "function", "function": {"name": "f"}})


@pytest.mark.parametrize("choice", MUST)
def test_a_forced_call_and_adaptive_thinking_go_together(choice: Any) -> None:
    said = TOOLS | {"tool_choice": choice, "reasoning_effort": "high"}
    for model in ("claude-opus-4-6", "claude-opus-4-8", "claude-opus-5", "claude-fable-5", "claude-haiku-5-5"):
        body, dropped = asked(anthropic.SERVICE, model, said, openai_chat)
        assert (body["thinking"], dropped) == ({"type": "adaptive"}, set())
        assert body["tool_choice"]["type"] == ("any" if choice == "required" else "tool")


@pytest.mark.parametrize("choice", MUST)
def test_a_model_that_cannot_be_made_to_call_a_tool_is_left_to_choose_and_that_is_told(choice: Any) -> None:
    said = TOOLS | {"tool_choice": choice, "parallel_tool_calls": False}
    for model in ("claude-fable-5-1", "claude-mythos-5-1", "claude-opus-5-5", "claude-sonnet-5-5"):
        body, dropped = asked(anthropic.SERVICE, model, said, openai_chat)
        assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
        assert ([tool["name"] for tool in body["tools"]], dropped) == (["f", "g"], {"tool_choice"})
    google = {
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }
    assert asked(anthropic.SERVICE, "claude-opus-5-5", google, googles)[1] == {"toolConfig"}


def test_thoughts_that_claude_shows_by_itself_are_asked_for_at_gemini() -> None:
    def config(thinking: dict[str, Any], model: str = "gemini-2.5-pro") -> Any:
        return asked(gemini.SERVICE, model, {"thinking": thinking})[0].get("generationConfig", {}).get("thinkingConfig")

    on = ON["thinking"]
    assert config(on) == {"thinkingBudget": 5000, "includeThoughts": True}
    assert config(on | {"display": "summarized"}) == {"thinkingBudget": 5000, "includeThoughts": True}
    assert config(on | {"display": "omitted"}) == {"thinkingBudget": 5000, "includeThoughts": False}
    assert config({"type": "adaptive"}) == {"thinkingBudget": -1}
    assert config(on, "gemini-2.0-flash") is None


def test_a_summary_is_asked_of_openai_only_by_who_speaks_of_one() -> None:
    for said, summary in (
        (ON, None),
        ({"thinking": ON["thinking"] | {"display": "summarized"}}, "auto"),
        ({"thinking": ON["thinking"] | {"display": "omitted"}}, None),
    ):
        assert asked(openai_response.SERVICE, "gpt-5", said)[0]["reasoning"].get("summary") == summary
    assert asked(openai.SERVICE, "gpt-5", ON)[1] == set()


@pytest.mark.parametrize(
    ("service", "model", "asked_for", "word", "named"),
    [
        (groq.SERVICE, "llama-3.3-70b-versatile", "high", None, {"output_config.effort"}),
        (groq.SERVICE, "meta-llama/llama-4-scout-17b-16e-instruct", "none", None, set()),
        (groq.SERVICE, "openai/gpt-oss-120b", "xhigh", "high", set()),
        (groq.SERVICE, "openai/gpt-oss-20b", "none", "low", {"thinking"}),
        (groq.SERVICE, "qwen/qwen3-32b", "none", "none", set()),
        (groq.SERVICE, "qwen/qwen3-32b", "low", "default", set()),
        (groq.SERVICE, "a-new-model", "medium", "medium", set()),
        (mistral.SERVICE, "mistral-small-latest", "low", "high", set()),
        (mistral.SERVICE, "mistral-small-2603", "none", "none", set()),
        (mistral.SERVICE, "mistral-small-2506", "none", None, set()),
        (mistral.SERVICE, "mistral-medium-3.5", "medium", "high", set()),
        (mistral.SERVICE, "mistral-medium-2508", "medium", None, {"output_config.effort"}),
        (mistral.SERVICE, "magistral-medium-2509", "high", None, {"output_config.effort"}),
        (mistral.SERVICE, "mistral-large-2512", "high", None, {"output_config.effort"}),
        (mistral.SERVICE, "mistral-large-4-0", "medium", "medium", set()),
    ],
)
def test_groq_and_mistral_are_told_the_words_that_each_of_their_models_knows(
    service: Service, model: str, asked_for: str, word: str | None, named: set[str]
) -> None:
    said = OFF if asked_for == "none" else {"output_config": {"effort": asked_for}}
    body, dropped = asked(service, model, said)
    assert (body.get("reasoning_effort"), dropped) == (word, named)
    # who speaks their own format is told by themselves
    own = asked(service, model, {"reasoning_effort": asked_for}, openai_chat)
    assert (own[0]["reasoning_effort"], own[1]) == (asked_for, set())
