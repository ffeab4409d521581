from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as each
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.agent.history import LOST, window, with_results
from midstream.agent.pre_tools import early_variables, pre_call
from midstream.agent.prepare import CONFIGURATION, Given, besides, embedded, prepare, reported
from midstream.agent.variables import variables_of
from midstream.core.agents import (
    AgentAsk,
    Fallback,
    Loaded,
    ModelDocument,
    PreTool,
    Range,
    Settings,
    Spec,
    Tool,
    Variable,
)
from midstream.core.errors import BadRequest
from midstream.core.estimates import tokens_of
from midstream.core.parts import Media, Message, State, Text, ToolCall, ToolResult, media_in, text_of
from midstream.core.turn import Format, Params, ToolChoice
from midstream.core.unread import words_for
from tests.growing import lasts_evenly

PLAIN = Settings()
NOON = 1_764_072_000.0  # 2025-11-25 12:00 UTC, a Tuesday
WEATHER = Tool(
    "tool_1",
    "weather",
    "The weather of a place",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "user_id": {"type": "string"}},
        "required": ["city", "user_id"],
    },
)
NEWS = Tool("tool_2", "news", parameters={"type": "object", "properties": {"topic": {"type": "string"}}})


def an_agent(spec: Spec | None = None, **more: Any) -> Loaded:
    spec = spec or Spec(configuration={"model": "m", "prompt": "You are kind."}, service="s")
    return Loaded("org_a", "agt_1", "kind", "Kind", "active", "ver_1", spec, tools=(WEATHER, NEWS), **more)


def configured(settings: Settings = PLAIN, **configuration: Any) -> Loaded:
    return an_agent(Spec(service="s", configuration={"model": "m", **configuration}, settings=settings))


def prepared(loaded: Loaded | None = None, ask: AgentAsk | None = None, **given: Any):
    return prepare(loaded or an_agent(), ask or AgentAsk(text="Hello"), Given(NOON, **given))


def system_of(made) -> str:
    first = made.prompt.messages[0]
    return text_of(first.parts) if first.role == "system" else ""


def refusal(*args: Any, **given: Any) -> tuple[str, str | None, int]:
    with pytest.raises(BadRequest) as caught:
        prepared(*args, **given)
    return caught.value.code, caught.value.param, caught.value.status


# the request wins over the version


def test_the_request_wins_over_the_version_field_by_field():
    loaded = configured(creativity_level=0.2, max_tokens=100, prompt="Stored.")
    ask = AgentAsk(text="Hi", configuration={"temperature": 0.9, "prompt": "Asked."}, model="other", service="t")
    made = prepared(loaded, ask)
    assert (made.service, made.model) == ("t", "other")
    assert made.prompt.params == Params(temperature=0.9, max_tokens=100)
    assert system_of(made).startswith("Asked.")


def test_a_null_in_the_request_takes_nothing_away():
    made = prepared(configured(max_tokens=100), AgentAsk(text="Hi", configuration={"max_tokens": None, "model": None}))
    assert (made.model, made.prompt.params.max_tokens) == ("m", 100)


def test_a_fine_tuned_model_is_the_one_that_is_asked():
    assert prepared(configured(fine_tune_model={"current_model": "ft:m:1"})).model == "ft:m:1"
    loaded = configured(fine_tune_model="ft:m:1")
    assert prepared(loaded, AgentAsk(text="Hi", configuration={"model": "plain"})).model == "plain"
    asked = AgentAsk(text="Hi", configuration={"fine_tune_model": "ft:m:2"})
    for model in ("", "m"):  # beside it, its base
        assert prepared(configured(), replace(asked, model=model)).model == "ft:m:2"
    assert prepared(loaded, AgentAsk(text="Hi", model="m")).model == "m"


def test_defaults_are_those_of_the_contract():
    made = prepared()
    assert (made.rounds, made.format, made.tool_choice, made.fall_back, made.guardrails) == (3, None, None, None, {})


def test_rounds_come_from_the_request_then_the_version_then_the_face():
    assert prepared(configured(Settings(maximum_iterations=5))).rounds == 5
    loaded = configured(Settings(maximum_iterations=5))
    assert prepared(loaded, AgentAsk(text="Hi", configuration={"tool_call_count": 2})).rounds == 2
    assert prepared(configured(tool_call_count=0)).rounds == 0
    assert prepared(configured(), AgentAsk(text="Hi", calls=15)).rounds == 14
    asked = AgentAsk(text="Hi", configuration={"tool_call_count": -1})
    assert refusal(configured(), asked)[:2] == ("configuration_invalid", "configuration.tool_call_count")


def test_the_fallback_is_the_versions_or_the_requests_and_can_be_switched_off():
    stored = Settings(fall_back=Fallback("openai", "gpt"))
    assert prepared(configured(stored)).fall_back == Fallback("openai", "gpt")
    assert prepared(configured(Settings(fall_back=Fallback("openai", "gpt", is_enable=False)))).fall_back is None
    ask = AgentAsk(text="Hi", configuration={"fall_back": {"service": "groq", "model": "x"}})
    assert prepared(configured(stored), ask).fall_back == Fallback("groq", "x")
    assert prepared(configured(stored), AgentAsk(text="Hi", configuration={"fall_back": {}})).fall_back is None


@pytest.mark.parametrize(
    "wrong, path",
    [
        ({"service": 5, "model": "x"}, ".service"), ({"service": "groq", "model": ["x"]}, ".model"),
        ({"is_enable": "no"}, ".is_enable"), ({"service": "groq"}, ".model"), ({"modle": "x"}, ".modle"), ("x", ""),
    ],
)  # fmt: skip
def test_a_fallback_that_could_not_be_read_is_refused_with_its_path(wrong, path):
    asked = AgentAsk(text="Hi", configuration={"fall_back": wrong})
    assert refusal(None, asked) == ("configuration_invalid", f"configuration.fall_back{path}", 400)


def test_that_no_other_model_answers_is_told_from_none_being_named():
    off, on = Settings(fall_back=Fallback(is_enable=False)), Settings(fall_back=Fallback("openai", "gpt"))
    switched = AgentAsk(text="Hi", configuration={"fall_back": {"is_enable": False}})
    assert [prepared(configured(one)).falls_back for one in (Settings(), off, on)] == [True, False, True]
    assert [prepared(configured(one), switched).falls_back for one in (Settings(), off, on)] == [False] * 3
    named = AgentAsk(text="Hi", configuration={"fall_back": {"model": "x"}})
    assert prepared(configured(off), named).falls_back


def test_parameters_are_fitted_to_the_model_and_what_was_done_is_said():
    model = ModelDocument({"creativity_level": Range(0, 1), "top_k": None})
    made = prepared(configured(creativity_level=2, top_k=4), model=model)
    assert made.parameters == {"temperature": 1}
    assert made.dropped == ("top_k",)
    assert made.noted == ("creativity_level 2 is outside of what the model takes: 1 was used",)


@pytest.mark.parametrize("limits", [Range(1, 128, 1), Range(1, 1, 1), None])
@pytest.mark.parametrize("count", [3, "max"])
def test_a_turn_tells_one_answer_and_asks_for_no_more(limits, count):
    model = ModelDocument({"response_count": limits} if limits else {})
    made = prepared(configured(response_count=count), model=model)
    if (limits, count) == (Range(1, 1, 1), "max"):
        assert (made.prompt.params.n, made.dropped) == (1, ())  # and that is one
    else:
        assert (made.prompt.params.n, made.dropped, made.noted) == (None, ("response_count",), ())
    assert prepared(configured(n=1), model=model).dropped == ()
    if count == 3 and limits != Range(1, 1, 1):
        spec = Spec(service="s", configuration={"model": "m", "n": 3}, type="image")
        assert prepared(an_agent(spec), model=model).prompt.params.n == 3  # all pictures are told


def test_what_a_provider_leaves_out_is_reported_in_the_callers_words():
    made = prepared(configured(probability_cutoff=0.5, reasoning="low", stop=["a"], response_type="json", top_k=None))
    late = ("top_p", "reasoning_effort", "stop", "response_format", "tools.x")
    assert reported(made, late) == (("probability_cutoff", "reasoning", "stop", "response_type", "tools.x"), ())


def test_what_a_parameter_was_changed_to_is_said_only_where_it_counted():
    made = prepared(
        configured(creativity_level=2, topP=3), model=ModelDocument({"temperature": Range(0, 1), "top_p": Range(0, 1)})
    )
    heat, cut = made.noted
    assert cut == "topP 3 is outside of what the model takes: 1 was used"
    assert reported(made, ()) == ((), (heat, cut))
    assert reported(made, ("top_p",)) == (("topP",), (heat,))
    assert reported(made, None) == ((), ())  # a guardrail answered


def test_what_a_version_may_say_is_what_a_turn_reads():
    assert {"tool_call_count", "fall_back", "guardrails", "responseStyle", "reasoning_effort"} <= CONFIGURATION
    for name in CONFIGURATION - {"model"}:
        assert name not in prepared(configured(**{name: None})).dropped
    assert not CONFIGURATION & {"stream", "response_format", "apikey"}


def test_a_vector_may_have_a_number_of_dimensions_and_is_floats():
    ask = embedded(configured(dimensions=3, encoding_format="float"), AgentAsk(text="Hi"))
    assert (ask.inputs, ask.dimensions) == (("Hi",), 3)
    for wrong in ({"dimensions": True}, {"dimensions": -1}, {"dimensions": "3"}, {"encoding_format": "base64"}):
        with pytest.raises(BadRequest) as caught:
            embedded(configured(**wrong), AgentAsk(text="Hi"))
        assert caught.value.param == f"configuration.{next(iter(wrong))}"
    assert prepared(configured(dimensions=3)).dropped == ("dimensions",)  # of a chat


def test_of_a_vector_its_guardrails_are_read_and_what_no_vector_has_is_named():
    rails = {"input": {"patterns": ["x"]}, "output": {"patterns": ["y"]}}
    loaded = configured(
        Settings(guardrails=rails, fall_back=Fallback("", "x")), prompt="Be kind.", dimensions=3, top_k=4
    )
    assert besides(loaded, AgentAsk(text="Hi")) == (rails, ("prompt", "fall_back", "guardrails.output", "top_k"))
    asked = AgentAsk(text="Hi", guardrails={"message": "No."}, thread="t", document_ids=("doc_1",), tool_choice="any")
    assert besides(configured(), asked) == (
        {"message": "No."}, ("tool_choice", "thread_id", "document_ids"),
    )  # fmt: skip
    idle = AgentAsk(text="Hi", response_type="text", tool_choice="none", tools=())
    assert besides(configured(), idle) == ({}, ())
    picture = AgentAsk(text="Hi", media=(Media("image", "image/png", data="aGk="),), places=("images[0]",))
    with pytest.raises(BadRequest) as caught:
        besides(configured(), picture)
    assert (caught.value.code, caught.value.param) == ("unsupported_media", "images[0]")


def test_what_a_stored_configuration_holds_besides_is_reported_and_asked_for_is_refused():
    assert prepared(configured(is_rich_text=True)).dropped == ("is_rich_text",)
    asked = AgentAsk(text="Hi", configuration={"warmth": 3})
    assert refusal(None, asked) == ("configuration_invalid", "configuration.warmth", 400)


# errors


def test_errors_have_the_contracts_names():
    assert refusal(None, AgentAsk())[:2] == ("user_message_missing", "user")
    assert refusal(None, AgentAsk(text=" \n"))[:2] == ("user_message_missing", "user")
    assert refusal(an_agent(Spec()))[0] == "model_unknown"
    assert refusal(None, AgentAsk(text="Hi", template="tpl_x")) == ("template_unknown", "template_id", 404)
    assert refusal(None, AgentAsk(text="Hi", tools=("weather", "gone")))[:2] == ("tool_unknown", "tools.1")
    among = AgentAsk(text="Hi", tools=("weather", "gone"), tool_places=(1, 3))  # two whole ones stand between
    assert refusal(None, among)[:2] == ("tool_unknown", "tools.3")
    assert refusal(None, AgentAsk(text="Hi", built_in_tools=("gone",)))[:2] == ("tool_unknown", "built_in_tools.0")
    assert refusal(None, AgentAsk(text="Hi", tool_choice="gone"))[:2] == ("tool_choice_invalid", "tool_choice")
    assert refusal(None, AgentAsk(text="Hi", tool_choice=7))[:2] == ("tool_choice_invalid", "tool_choice")
    assert refusal(None, AgentAsk(text="Hi", response_type="xml"))[:2] == ("response_type_invalid", "response_type")
    assert refusal(None, AgentAsk(text="Hi", response_type="json_schema"))[0] == "response_type_invalid"
    broken = AgentAsk(text="Hi", response_type={"type": "json_schema", "json_schema": {"type": "spaghetti"}})
    assert refusal(None, broken)[:2] == ("response_type_invalid", "response_type")
    for name, value in (
        ("prompt", 5), ("type", "vision"), ("type", 5), ("tone", {"value": "kind"}), ("response_style", 5),
        ("responseStyle", {"value": "short"}),
    ):  # fmt: skip
        assert refusal(None, AgentAsk(text="Hi", configuration={name: value}))[:2] == (
            "configuration_invalid", f"configuration.{name}",
        )  # fmt: skip


@pytest.mark.parametrize("tools", [None, ()])
def test_what_is_no_choice_of_a_tool_is_refused_with_tools_and_without(tools):
    for wrong in (7, {}, {"a": 5}, {"type": 5}):
        assert refusal(None, AgentAsk(text="Hi", tools=tools, tool_choice=wrong))[0] == "tool_choice_invalid"


def test_the_path_of_what_is_wrong_is_where_it_was_said():
    for name, value in (("tool_choice", 7), ("response_type", "xml")):
        beside = AgentAsk(text="Hi", **{name: value})
        assert refusal(None, beside)[1] == name
        assert refusal(None, AgentAsk(text="Hi", configuration={name: value}))[1] == f"configuration.{name}"
        assert refusal(configured(**{name: value}), AgentAsk(text="Hi"))[1] == f"configuration.{name}"


def test_a_picture_alone_is_a_message():
    picture = Media("image", "image/png", url="https://x.example/a.png")
    assert prepared(None, AgentAsk(media=(picture,))).prompt.messages[-1] == Message("user", (picture,))


def test_a_message_is_answered_once_more_without_a_new_one():
    history = (Message("user", (Text("Hi"),)),)
    made = prepared(None, AgentAsk(regenerate="msg_1"), history=history)
    assert made.prompt.messages[1:] == history
    assert refusal(None, AgentAsk(regenerate="msg_1"))[0] == "user_message_missing"


# the system message


def test_the_prompt_ends_with_the_current_time_of_the_org_or_of_the_caller():
    assert system_of(prepared()) == "You are kind.\n\nCurrent time: Tuesday, 2025-11-25 12:00 (UTC, UTC+00:00)"
    berlin = an_agent(timezone="Europe/Berlin")
    assert "13:00 (Europe/Berlin, UTC+01:00)" in system_of(prepared(berlin))
    ask = AgentAsk(text="Hi", variables={"timezone": "Asia/Kolkata"})
    assert "17:30 (Asia/Kolkata" in system_of(prepared(berlin, ask))


def test_an_unknown_time_zone_is_utc_and_said():
    made = prepared(None, AgentAsk(text="Hi", variables={"timezone": "Mars/Base"}))
    assert "12:00 (UTC" in system_of(made)
    assert made.noted == ("unknown time zone Mars/Base: UTC was used",)


def test_the_time_is_said_once_where_the_prompt_wants_it():
    text = system_of(prepared(configured(prompt="Now: {{current_time}}.")))
    assert text == "Now: Tuesday, 2025-11-25 12:00 (UTC, UTC+00:00)."


def test_a_configuration_without_an_agent_is_asked_as_it_is():
    bare = Loaded("org_a", "", "", "", "active", "", Spec())
    made = prepared(bare, AgentAsk(text="Hi", model="m"))
    assert made.prompt.messages == (Message("user", (Text("Hi"),)),)
    made = prepared(bare, AgentAsk(text="Hi", model="m", instructions="Use {{ braces }}."))
    assert system_of(made) == "Use {{ braces }}."
    assert made.missing == ()


def test_placeholders_without_values_are_found_in_one_look_at_the_prompt():
    def preparing(n: int):
        prompt = " ".join(f"{{{{v{at}}}}}" for at in range(n))
        ask = AgentAsk(text="Hello", configuration={"model": "m", "prompt": prompt})
        bare = replace(an_agent(Spec()), id="")
        return lambda: prepared(bare, ask)

    assert lasts_evenly(preparing, 250)


def test_placeholders_of_a_requests_own_prompt_are_missing_too():
    bare = Loaded("org_a", "", "", "", "active", "", Spec(), templates={"tpl_1": "{{rules}} {{system_prompt}}"})
    ask = AgentAsk(text="Hi", model="m", configuration={"prompt": "Help {{name}} {{of.it}}."}, variables={"of": {}})
    assert prepared(bare, ask).missing == ("name", "of.it")
    assert prepared(bare, replace(ask, variables={"name": "Ada", "of": {"it": 1}})).missing == ()
    ask = replace(ask, template="tpl_1", instructions="Use {{ braces }}, {{name}}.")
    assert prepared(bare, ask).missing == ("rules", "name", "of.it")


def test_tone_style_template_and_instructions_have_their_places():
    loaded = an_agent(
        Spec(
            service="s",
            configuration={"model": "m", "prompt": "Help {{name}}."},
            settings=Settings(tone="warm", response_style="short"),
        ),
        templates={"tpl_1": "RULES\n{{system_prompt}}\nEND"},
    )
    ask = AgentAsk(text="Hi", template="tpl_1", instructions="In French.", variables={"name": "Ada"})
    assert system_of(prepared(loaded, ask)).startswith(
        "RULES\nHelp Ada.\nEND\n\nIn French.\n\nTone: warm\nResponse style: short\n\nCurrent time:"
    )


def test_a_versions_own_template_holds_until_the_request_names_another():
    spec = Spec(service="s", configuration={"model": "m", "prompt": "P", "template_id": "tpl_1"})
    loaded = an_agent(spec, templates={"tpl_1": "One: {{prompt}}", "tpl_2": "Two: {{prompt}}"})
    assert system_of(prepared(loaded)).startswith("One: P\n")
    assert system_of(prepared(loaded, AgentAsk(text="Hi", template="tpl_2"))).startswith("Two: P\n")


def test_the_users_message_is_a_variable_and_is_no_template():
    made = prepared(
        configured(prompt="Asked: {{_user_message}}"), AgentAsk(text="{{secret}}", variables={"secret": "x"})
    )
    assert system_of(made).startswith("Asked: {{secret}}\n")
    assert made.prompt.messages[-1] == Message("user", (Text("{{secret}}"),))


def test_memory_is_told_as_notes_and_never_filled_in():
    loaded = an_agent(Spec(service="s", configuration={"model": "m", "prompt": "P"}, memory=True))
    text = system_of(prepared(loaded, AgentAsk(text="Hi", variables={"x": "y"}), memory="Her dog is {{x}}."))
    assert "<memory>\nHer dog is {{x}}.\n</memory>" in text
    assert "memory" not in system_of(prepared(an_agent(), memory="Her dog is Rex."))


# variables


def states(**named: Variable) -> Loaded:
    return an_agent(
        Spec(service="s", configuration={"model": "m", "prompt": "{{a}}|{{b}}|{{c}}|{{d}}"}, variables_state=named)
    )


def test_defaults_fill_in_and_what_is_required_and_missing_is_said_and_stops_nothing():
    loaded = states(a=Variable(default="1"), b=Variable(required=True), c=Variable(), e=Variable(required=True))
    made = prepared(loaded, AgentAsk(text="Hi", variables={"d": "4"}))
    assert system_of(made).startswith("1|{{b}}||4\n")
    assert made.missing == ("b", "e")


def test_a_placeholder_that_nobody_declared_is_missing_too():
    assert prepared(states(), AgentAsk(text="Hi", variables={"a": 0, "b": "", "c": None})).missing == ("c", "d")


def test_results_of_pre_tools_are_variables():
    made = prepared(states(), AgentAsk(text="Hi", variables={"a": "ask"}), variables={"a": "tool", "b": {"k": 1}})
    assert system_of(made).startswith('tool|{"k":1}|')
    assert made.variables["b"] == {"k": 1}


def test_pre_tools_get_their_arguments_from_the_variables():
    pre = PreTool("tool_1", {"city": "{{user.city}}", "question": "About: {{_user_message}}", "n": 3})
    loaded = replace(an_agent(), pre_tools=((pre, WEATHER),))
    ask = AgentAsk(text="rain?", variables={"user": {"city": "Bonn"}})
    told = pre_call(loaded, ask, pre, WEATHER, variables_of(loaded, ask))
    assert told == (WEATHER, {"city": "Bonn", "question": "About: rain?", "n": 3})


def test_pre_tools_know_the_time_at_which_the_turn_began():
    noon = "Tuesday, 2025-11-25 12:00 (UTC, UTC+00:00)"
    for variables, found, time in (
        ({}, {}, noon),
        ({"timezone": "Asia/Tokyo"}, {}, "Tuesday, 2025-11-25 21:00 (Asia/Tokyo, UTC+09:00)"),
        ({}, {"timezone": "Asia/Tokyo"}, "Tuesday, 2025-11-25 21:00 (Asia/Tokyo, UTC+09:00)"),
        ({"timezone": "Nowhere"}, {}, noon),
        ({"current_time": "late"}, {}, "late"),
    ):
        ask = AgentAsk(text="rain?", variables=variables, arguments={"current_time": "a model's"})
        assert early_variables(an_agent(), ask, found, NOON)["current_time"] == time
    timed = PreTool("tool_1", {"at": "{{current_time}}"})
    assert prepared(replace(an_agent(), pre_tools=((timed, WEATHER),))).missing == ()


def test_what_arguments_of_pre_tools_want_and_nobody_has_is_missing():
    pre = PreTool("tool_1", {"city": "{{user.city}}", "more": [{"x": "{{other}} {{_user_message}}"}, 3]})
    loaded = replace(configured(prompt="In {{place}}"), pre_tools=((pre, WEATHER),))
    assert prepared(loaded).missing == ("place", "user.city", "other")
    assert prepared(loaded, variables={"other": 1}).missing == ("place", "user.city")


def test_a_variable_that_may_be_left_out_is_never_missing_and_is_nothing_in_arguments_too():
    args = {"city": "{{city}}", "days": "{{days}}", "in": ["{{user.zip}}", "at {{user.city}}{{ days }}!"], "x": None}
    pre = PreTool("tool_1", args)
    spec = Spec(
        service="s",
        configuration={"model": "m", "prompt": "{{user.name}}|{{days}}|{{daystar}}"},
        variables_state={"user": Variable(), "days": Variable(), "city": Variable(required=True)},
    )
    loaded = an_agent(spec, pre_tools=((pre, WEATHER),))
    ask = AgentAsk(text="Hi")
    assert prepared(loaded, ask).missing == ("city", "daystar")
    assert system_of(prepared(loaded, ask)).startswith("||{{daystar}}\n")
    told = {"city": "{{city}}", "in": ["at !"], "x": None}
    assert pre_call(loaded, ask, pre, WEATHER, variables_of(loaded, ask)) == (WEATHER, told)
    given = replace(ask, variables={"user": {"zip": 5}, "days": 3, "city": "Bonn"})
    assert prepared(loaded, given).missing == ("user.name", "daystar", "user.city")
    told = {"city": "Bonn", "days": 3, "in": [5, "at {{user.city}}3!"], "x": None}
    assert pre_call(loaded, given, pre, WEATHER, variables_of(loaded, given)) == (WEATHER, told)


# tools


def schema_of(made, name: str) -> dict[str, Any]:
    return next(tool.parameters for tool in made.prompt.tools if tool.name == name)


@pytest.mark.parametrize("key", ["weather", "tool_1"])
@pytest.mark.parametrize("where", ["version", "request"])
def test_a_mapped_argument_is_hidden_from_the_model_and_kept_for_the_call(key, where):
    path = {key: {"user_id": "user.id"}}
    spec = Spec(service="s", configuration={"model": "m"}, variables_path=path if where == "version" else {})
    made = prepared(an_agent(spec), AgentAsk(text="Hi", variables_path=path if where == "request" else {}))
    shown = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert schema_of(made, "weather") == shown
    assert made.tools[0].mapped == {"user_id": "user.id"}
    assert made.tools[0].parameters == WEATHER.parameters
    assert "user_id" in WEATHER.parameters["properties"]


def test_a_mapped_argument_of_a_tool_that_the_turn_does_not_have_is_refused_or_named_where_it_may_be_away():
    lost = AgentAsk(text="Hi", variables_path={"news": {}, "wether": {"city": "at"}})
    assert refusal(None, lost) == ("tool_unknown", "variables_path.wether", 400)
    assert refusal(None, replace(lost, tools=())) == ("tool_unknown", "variables_path.news", 400)
    served = Spec(service="s", configuration={"model": "m"}, mcp_servers=("wiki",))
    assert prepared(an_agent(served), lost).dropped == ("variables_path.wether",)
    before = an_agent(pre_tools=((PreTool("tool_3"), replace(WEATHER, id="tool_3", name="wether")),))
    assert prepared(before, lost).dropped == ()


def test_a_tools_own_mapping_is_hidden_and_the_request_wins_over_it():
    extra = replace(WEATHER, name="extra", id="", mapped={"user_id": "one", "city": "place"})
    made = prepared(None, AgentAsk(text="Hi", extra_tools=(extra,), variables_path={"extra": {"user_id": "two"}}))
    assert schema_of(made, "extra") == {"type": "object", "properties": {}}
    assert made.tools[-1].mapped == {"user_id": "two", "city": "place"}


def test_the_request_replaces_the_set_and_adds_to_it():
    names = lambda made: [tool.name for tool in made.prompt.tools]  # noqa: E731
    extra, builtin = Tool("", "extra"), Tool("b", "web_search", kind="builtin")
    assert names(prepared()) == ["weather", "news"]
    assert names(prepared(None, AgentAsk(text="Hi", tools=("tool_2",)))) == ["news"]
    assert names(prepared(None, AgentAsk(text="Hi", tools=()))) == []
    ask = AgentAsk(text="Hi", tools=("news",), extra_tools=(extra,), built_in_tools=("web_search",))
    assert names(prepared(None, ask, built_in=(builtin,))) == ["news", "web_search", "extra"]


@pytest.mark.parametrize("strict", [True, False, None])
def test_how_strictly_a_tool_is_to_be_called_reaches_the_model(strict: bool | None):
    mine = replace(WEATHER, name="mine", strict=strict, mapped={"user_id": "user.id"})
    made = prepared(None, AgentAsk(text="Hi", extra_tools=(mine,)))
    assert [tool.strict for tool in made.prompt.tools] == [None, None, strict]


def test_of_two_tools_with_one_name_the_requests_counts():
    mine = Tool("", "news", "mine")
    made = prepared(None, AgentAsk(text="Hi", extra_tools=(mine,)))
    assert [tool.name for tool in made.tools] == ["weather", "news"]
    assert made.tools[1] == mine


@pytest.mark.parametrize(
    "asked, choice",
    [
        ("auto", None),
        ("default", None),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("weather", ToolChoice("tool", ("weather",))),
        ("tool_2", ToolChoice("tool", ("news",))),
        ({"type": "function", "function": {"name": "news"}}, ToolChoice("tool", ("news",))),
        ({"type": "tool", "name": "news"}, ToolChoice("tool", ("news",))),
        ({"type": "any"}, ToolChoice("required")),
    ],
)
def test_tool_choice_is_a_mode_or_a_tool(asked, choice):
    assert prepared(None, AgentAsk(text="Hi", tool_choice=asked)).prompt.tool_choice == choice


def test_a_word_of_tool_choice_means_what_it_says_whatever_a_tool_is_called():
    odd = tuple(replace(WEATHER, id=f"tool_{word}", name=word) for word in ("none", "auto", "required"))
    loaded = replace(an_agent(), tools=odd)
    for word, mode in (
        ("none", "none"),
        ("auto", None),
        ("default", None),
        ("required", "required"),
        ("any", "required"),
    ):
        for asked in (word, {"type": word}, {"mode": word}):
            assert prepared(loaded, AgentAsk(text="Hi", tool_choice=asked)).tool_choice == (mode and ToolChoice(mode))  # type: ignore[arg-type]
    assert prepared(loaded, AgentAsk(text="Hi", tool_choice="tool_none")).tool_choice == ToolChoice("tool", ("none",))


def test_there_is_no_choice_without_tools():
    assert prepared(None, AgentAsk(text="Hi", tools=(), tool_choice="required")).tool_choice is None


def test_what_cannot_be_chosen_without_tools_is_named():
    for harmless in ("auto", "none", "", None):
        made = prepared(None, AgentAsk(text="Hi", tools=(), tool_choice=harmless))
        assert (made.tool_choice, made.dropped) == (None, ())
    made = prepared(None, AgentAsk(text="Hi", tools=(), tool_choice="required"))
    assert (made.tool_choice, made.dropped) == (None, ("tool_choice",))


@pytest.mark.parametrize("name", ["weather", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_that_the_request_chooses_must_be_there_also_when_there_are_none(name):
    assert refusal(None, AgentAsk(text="Hi", tools=(), tool_choice=name))[:2] == ("tool_choice_invalid", "tool_choice")
    within = AgentAsk(text="Hi", tools=(), configuration={"tool_choice": name})
    assert refusal(None, within)[:2] == ("tool_choice_invalid", "configuration.tool_choice")


def test_a_stored_choice_of_a_tool_that_the_request_took_away_is_dropped_and_named():
    made = prepared(configured(tool_choice="weather"), AgentAsk(text="Hi", tools=()))
    assert (made.tool_choice, made.dropped) == (None, ("tool_choice",))


# the form of the answer

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    "asked, form",
    [
        ("text", None),
        ("json", Format("json")),
        ("json_object", Format("json")),
        ({"type": "json_schema", "json_schema": SCHEMA}, Format("json_schema", SCHEMA, "answer")),
        (
            {"type": "json_schema", "json_schema": {"name": "num", "schema": SCHEMA, "strict": True}},
            Format("json_schema", SCHEMA, "num", strict=True),
        ),
        (
            {"type": "json_schema", "json_schema": '{"type":"object"}'},
            Format("json_schema", {"type": "object"}, "answer"),
        ),
    ],
)
def test_response_types(asked, form):
    made = prepared(None, AgentAsk(text="Hi", response_type=asked))
    assert made.format == made.prompt.params.format == form
    stored = prepared(configured(response_type=asked))
    assert stored.format == form


def test_a_schema_stands_beside_the_word_or_in_the_version():
    ask = AgentAsk(text="Hi", configuration={"response_type": "json_schema", "json_schema": SCHEMA})
    assert prepared(None, ask).format == Format("json_schema", SCHEMA, "answer")
    loaded = configured(response_type={"type": "json_schema", "json_schema": SCHEMA})
    assert prepared(loaded, AgentAsk(text="Hi", response_type="json_schema")).format.schema == SCHEMA
    assert prepared(loaded, AgentAsk(text="Hi", response_type="text")).format is None


# history and attachments


def test_attached_documents_and_media_are_in_the_users_message():
    picture = Media("image", "image/png", url="https://x.example/a.png")
    made = prepared(None, AgentAsk(text="Sum up", media=(picture,)), documents=(("a.txt", "alpha {{x}}"),))
    assert made.prompt.messages[-1] == Message(
        "user", (Text("Attached document a.txt:\n\nalpha {{x}}"), picture, Text("Sum up"))
    )


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(*parts: Any) -> Message:
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def results(*ids: str) -> Message:
    return Message("tool", tuple(ToolResult(id, (Text("r"),)) for id in ids))


def test_a_whole_transcript_goes_in_place_of_the_history():
    said = (user("one"), assistant("two"), user("three"))
    made = prepared(None, AgentAsk(messages=said), history=(user("never"),))
    assert made.prompt.messages[1:] == said


def test_history_is_cut_by_count_where_a_user_speaks():
    history = tuple(message for n in range(6) for message in (user(f"q{n}"), assistant(f"a{n}")))
    made = prepared(configured(Settings(history_messages=5)), history=history)
    assert made.prompt.messages[1:] == (*history[-4:], user("Hello"))
    assert prepared(configured(Settings(history_messages=0)), history=history).prompt.messages[1:] == (user("Hello"),)


def test_history_is_cut_by_tokens():
    history = tuple(message for n in range(6) for message in (user("q" * 400), assistant("a" * 400)))
    made = prepared(configured(Settings(history_tokens=450)), history=history)
    assert made.prompt.messages[1:-1] == history[-4:]
    assert sum(tokens_of(message) for message in made.prompt.messages[1:-1]) <= 450


def drawing(n: int) -> Media:
    return Media("image", "image/png", data=f"{n:04}")


def painter(**settings: Any) -> Loaded:
    spec = Spec(service="s", configuration={"model": "m"}, settings=Settings(**settings), type="image")
    return an_agent(spec)


def test_an_agent_that_draws_has_no_form_of_its_answer_and_no_usual_fallback():
    made = prepared(painter(), AgentAsk(text="Hi", response_type="json"))
    assert (made.format, made.prompt.params.format, made.dropped) == (None, None, ("response_type",))
    assert "JSON" not in system_of(made)
    assert not made.falls_back
    assert refusal(painter(), AgentAsk(text="Hi", response_type="xml"))[0] == "response_type_invalid"
    named = AgentAsk(text="Hi", configuration={"fall_back": {"model": "gpt-image-1"}})
    assert prepared(painter(), named).fall_back == Fallback("", "gpt-image-1")


def test_a_model_that_draws_sees_its_newest_pictures_as_its_users():
    history = tuple(one for n in range(6) for one in (user(f"q{n}"), assistant(f"a{n}", drawing(n))))
    made = prepared(painter(), history=history)
    assert [one.parts for one in made.prompt.messages if one.role == "user"] == [
        (Text("q0"),), (Text("q1"),), (Text("q2"),), (drawing(2), Text("q3")), (drawing(3), Text("q4")),
        (drawing(4), Text("q5")), (drawing(5), Text("Hello")),
    ]  # fmt: skip
    assert [one for one in made.prompt.messages if one.role == "assistant"] == [assistant(f"a{n}") for n in range(6)]
    # as a picture of anybody, without what its service had signed: nor twice when it is sent again
    signed = replace(drawing(5), state=State("gemini", {"thoughtSignature": "x"}))
    history = (*history[:-1], assistant("a5", signed))
    again = prepared(painter(), AgentAsk(text="bluer", media=(drawing(5),)), history=history)
    assert again.prompt.messages[-1].parts == (drawing(5), Text("bluer"))


def test_a_question_that_is_answered_once_more_has_the_picture_that_came_before_it():
    history = (user("q0"), assistant(drawing(0)), user("bluer"))
    made = prepared(painter(), AgentAsk(regenerate="msg_1"), history=history)
    assert made.prompt.messages == (user("q0"), Message("user", (drawing(0), Text("bluer"))))


def test_pictures_are_seen_as_far_as_the_history_is():
    history = (user("q0"), assistant(drawing(0)), user("q1"), assistant(drawing(1), "a1"))
    assert prepared(painter(history_messages=2), history=history).prompt.messages == (
        user("q1"), assistant("a1"), Message("user", (drawing(1), Text("Hello"))),
    )  # fmt: skip
    assert prepared(painter(history_messages=0), history=history).prompt.messages == (user("Hello"),)
    cut = prepared(painter(history_tokens=1100), history=history).prompt.messages
    assert [one for message in cut for one in media_in(message.parts)] == [drawing(1)]


def test_a_model_that_does_not_draw_is_shown_no_pictures_of_answers_but_words_where_they_are_all():
    link, sound = Media("image", url="https://example.org/a.png"), Media("audio", "audio/wav", data="AA==")
    history = (user("q0"), assistant(drawing(0)), user("q1"), assistant(link, sound, "a1"))
    asked = prepared(configured(), history=history).prompt.messages[-5:]
    words = Message("assistant", (words_for(drawing(0)),))
    assert asked == (user("q0"), words, user("q1"), assistant("a1"), user("Hello"))


def test_a_model_that_draws_is_not_shown_addresses_of_pictures_as_they_die():
    link, sound = Media("image", url="https://example.org/a.png"), Media("audio", "audio/wav", data="AA==")
    history = (user("q0"), assistant(drawing(0)), user("q1"), assistant(link, sound, "a1"), user("q2"), assistant(link))
    drawn = prepared(painter(), history=history).prompt.messages
    assert [one for message in drawn for one in media_in(message.parts)] == [drawing(0)]


def test_a_call_is_never_cut_from_its_result():
    history = (user("q"), assistant(ToolCall("c1", "news", "{}")), results("c1"), assistant("a"))
    for count in range(5):
        kept = window(history, count)
        assert [message.role for message in kept if message.role == "tool"] == [
            "tool" for message in kept if any(isinstance(part, ToolCall) for part in message.parts)
        ]


def test_a_result_that_was_lost_is_said_to_be():
    calls = assistant(ToolCall("c1", "news", "{}"), ToolCall("c2", "news", "{}"))
    whole = with_results((user("q"), calls, results("c1", "stray"), user("again")))
    assert whole == (
        user("q"), calls, results("c1"),
        Message("tool", (ToolResult("c2", (Text(LOST),), "news", is_error=True),)), user("again"),
    )  # fmt: skip


turns = st.lists(
    st.sampled_from(
        [
            (user("hello"),),
            (user("x" * 50), assistant("y" * 30)),
            (user("q"), assistant(ToolCall("c", "t", "{}")), results("c"), assistant("done")),
            (user("q"), assistant("thinking", ToolCall("c", "t"), ToolCall("d", "t")), results("c"), results("d")),
            (user("q"), assistant(ToolCall("lost", "t"))),
            (results("stray"),),
        ]
    ),
    max_size=8,
)


@each(turns, st.none() | st.integers(0, 30), st.none() | st.integers(0, 200))
def test_whatever_the_window_every_call_has_its_result_and_the_rest_is_the_newest(turns, count, tokens):
    messages = [message for turn in turns for message in turn]
    kept = window(messages, count, tokens)
    lost = [part for message in kept for part in message.parts if isinstance(part, ToolResult) and part.is_error]
    if count is not None:
        assert len(kept) <= count + len(lost)
    open_calls: list[str] = []
    for message in kept:
        if message.role == "tool":
            for part in message.parts:
                assert isinstance(part, ToolResult)
                open_calls.remove(part.id)
        else:
            assert open_calls == []
            open_calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
    assert open_calls == []
    spoken = [message for message in kept if message.role != "tool"]
    all_spoken = [message for message in messages if message.role != "tool"]
    assert spoken == all_spoken[len(all_spoken) - len(spoken) :]


PAPER = Media("file", "application/pdf", data="AAAA", name="paper.pdf")
LETTER = Media("file", "application/pdf", data="BBBB", name="letter.pdf")
PICTURE_OF = Media("image", "image/png", data="CCCC")


def long_thread(*first: Message) -> tuple[Message, ...]:
    talk = [Message("user" if turn % 2 == 0 else "assistant", (Text(f"turn {turn}"),)) for turn in range(20)]
    return (*first, *talk)


def test_files_of_a_thread_stay_in_sight_when_its_history_is_cut():
    history = long_thread(
        Message("user", (PAPER, PICTURE_OF, Text("Read this."))), Message("assistant", (Text("Read."),)),
        Message("user", (LETTER, PAPER, Text("And this."))), Message("assistant", (Text("Read, too."),)),
    )  # fmt: skip
    made = prepared(configured(Settings(history_messages=4)), history=history)
    assert made.prompt.messages[-1].parts == (LETTER, PAPER, Text("Hello"))
    assert len(made.prompt.messages) == 1 + 4 + 1


def test_files_that_are_shown_anyway_are_not_shown_twice():
    history = long_thread(Message("user", (PAPER, Text("Read this."))), Message("assistant", (Text("Read."),)))
    assert prepared(history=history).prompt.messages[-1].parts == (Text("Hello"),)
    again = prepared(configured(Settings(history_messages=4)), AgentAsk(text="Hello", media=(PAPER,)), history=history)
    assert again.prompt.messages[-1].parts == (PAPER, Text("Hello"))
    assert prepared(configured(Settings(history_messages=0)), history=history).prompt.messages[-1].parts == (
        Text("Hello"),
    )


def test_many_files_of_a_thread_are_not_compared_with_each_other():
    def preparing(n: int):
        files = tuple(Media("file", url=f"https://a.example/{at}.pdf") for at in range(n))
        return lambda: prepared(files=files)

    assert lasts_evenly(preparing)


def test_of_many_files_the_newest_stay():
    files = [Media("file", "text/plain", data=f"{number:04d}") for number in range(30)]
    history = long_thread(*(Message("user", (one, Text("x"))) for one in files))
    made = prepared(configured(Settings(history_messages=2)), history=history)
    assert made.prompt.messages[-1].parts == (*files[-10:], Text("Hello"))


def test_files_that_were_given_before_the_history_begins_stay_in_sight_before_those_of_it():
    history = long_thread(Message("user", (LETTER, Text("x"))), Message("assistant", (Text("Read."),)))
    cut = configured(Settings(history_messages=4))
    assert prepared(cut, history=history, files=(PAPER,)).prompt.messages[-1].parts == (PAPER, LETTER, Text("Hello"))
    assert prepared(cut, history=history[2:], files=(PAPER, LETTER)).prompt.messages[-1].parts[:2] == (PAPER, LETTER)
    older = tuple(Media("file", "text/plain", data=f"{number:04d}") for number in range(10))
    assert prepared(cut, history=history, files=older).prompt.messages[-1].parts[:-1] == (*older[1:], LETTER)
    again = prepared(cut, AgentAsk(text="Hello", media=(PAPER,)), history=history, files=(PAPER,))
    assert again.prompt.messages[-1].parts == (LETTER, PAPER, Text("Hello"))


def test_files_from_before_the_history_are_not_shown_to_a_model_that_does_not_read_them():
    known = ModelDocument(modalities=("text", "image"))
    made = prepared(configured(), history=long_thread(), files=(PAPER,), model=known)
    assert made.prompt.messages[-1].parts == (Text("Hello"),)
    assert made.dropped == ()
