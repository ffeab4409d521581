from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.parameters import NEUTRAL, NUMBERS, field_of, fit, gathered
from midstream.core.agents import ModelDocument, Range
from midstream.core.errors import BadRequest
from midstream.core.turn import Params, Thinking

MODEL = ModelDocument(
    {
        "creativity_level": Range(0, 2, 1),
        "max_tokens": Range(1, 4096, 1024),
        "token_selection_limit": None,
        "probability_cutoff": Range(0, 1),
    }
)


def fitted(configuration, model=MODEL):
    return fit(gathered(configuration), model)


def test_every_neutral_name_is_sent_as_the_parameter_it_means():
    made = fitted(
        {
            "creativity_level": 0.5, "probability_cutoff": 0.9, "repetition_penalty": 0.1, "novelty_penalty": 0.2,
            "token_selection_limit": 40, "response_count": 2, "additional_stop_sequences": ["END"], "max_tokens": 9,
        },
        ModelDocument(),
    )  # fmt: skip
    assert made.params == Params(
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        top_k=40,
        n=2,
        stop=("END",),
        max_tokens=9,
    )
    assert (made.dropped, made.clamped) == ((), {})


@pytest.mark.parametrize(
    "word, sent", [("default", Params(temperature=1)), ("min", Params(temperature=0)), ("max", Params(temperature=2))]
)
def test_words_stand_for_the_models_own_values(word, sent):
    assert fitted({"creativity_level": word}).params == sent


def test_a_default_that_nobody_knows_is_left_to_the_service():
    made = fitted({"probability_cutoff": "default", "novelty_penalty": "default"})
    assert made.params == Params()
    assert made.dropped == ()


def test_a_bound_that_nobody_knows_is_dropped_and_said():
    assert fitted({"novelty_penalty": "max"}).dropped == ("novelty_penalty",)


def test_what_the_model_does_not_take_is_dropped_and_said_in_the_callers_words():
    assert fitted({"top_k": 3}).dropped == ("top_k",)
    assert fitted({"token_selection_limit": 3}).dropped == ("token_selection_limit",)
    assert fitted({"token_selection_limit": 3}).params.top_k is None


def test_out_of_range_is_clamped_and_said():
    made = fitted({"temperature": 3.5, "max_tokens": 100_000})
    assert made.params == Params(temperature=2.0, max_tokens=4096)
    assert tuple(made.clamped.values()) == (
        "temperature 3.5 is outside of what the model takes: 2.0 was used",
        "max_tokens 100000 is outside of what the model takes: 4096 was used",
    )


@pytest.mark.parametrize(
    "limits, value, sent", [((0.2, 0.9), 1, 0.9), ((0.2, 0.9), 0, 0.2), ((0, 1.5), 2, 1.5), ((0, 2.0), 3, 2)]
)
def test_a_whole_number_that_is_out_of_range_is_clamped_into_it(limits, value, sent):
    made = fitted({"creativity_level": value}, ModelDocument({"creativity_level": Range(*limits)}))
    assert made.params == Params(temperature=sent)
    assert tuple(made.clamped.values()) == (
        f"creativity_level {value} is outside of what the model takes: {sent} was used",
    )


def test_what_is_counted_stays_a_whole_number_when_it_is_clamped():
    model = ModelDocument({"max_tokens": Range(1.5, 99.5), "top_k": Range(1.5, 99.5)})
    assert fitted({"max_tokens": 500, "top_k": 1}, model).params == Params(max_tokens=99, top_k=2)


@pytest.mark.parametrize(
    "configuration, path",
    [
        ({"temperature": "hot"}, "configuration.temperature"),
        ({"temperature": True}, "configuration.temperature"),
        ({"creativity_level": [1]}, "configuration.creativity_level"),
        ({"max_tokens": 1.5}, "configuration.max_tokens"),
        ({"max_tokens": 0}, "configuration.max_tokens"),
        ({"max_tokens": math.inf}, "configuration.max_tokens"),
        ({"additional_stop_sequences": [1]}, "configuration.additional_stop_sequences"),
        ({"stop": 7}, "configuration.stop"),
        ({"logprobs": "yes"}, "configuration.logprobs"),
        ({"logit_bias": {"5": "x"}}, "configuration.logit_bias.5"),
        ({"reasoning": {"power": 1}}, "configuration.reasoning.power"),
        ({"response_count": 0}, "configuration.response_count"),
        ({"creativity_level": 1, "temperature": 2}, "configuration.temperature"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(configuration, path):
    with pytest.raises(BadRequest) as caught:
        fitted(configuration)
    assert caught.value.param == path
    assert caught.value.code == "configuration_invalid"


def test_words_of_effort_are_effort():
    assert fitted({"reasoning_effort": "max"}).params.thinking == Thinking(effort="max")
    assert fitted({"reasoning": {"max_tokens": 100, "summary": "auto"}}).params.thinking == Thinking(
        budget=100, summary="auto"
    )


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([*NEUTRAL, *NUMBERS, "stop", "odd"]), json_values, max_size=4))
def test_anything_is_sent_in_range_or_dropped_or_refused_by_path(configuration):
    try:
        made = fitted(configuration)
    except BadRequest as error:
        refused = str(error.param)
    else:
        refused = ""
    if refused:
        assert refused.startswith("configuration.")
        return
    assert made.params.temperature is None or 0 <= made.params.temperature <= 2
    assert made.params.max_tokens is None or 1 <= made.params.max_tokens <= 4096
    assert made.params.top_k is None
    given_fields = {field_of(name) for name, value in configuration.items() if value is not None} - {None}
    sent = {field for field in given_fields if getattr(made.params, field) not in (None, ())}
    words = {field_of(name) for name, value in configuration.items() if value in ("default", [])}
    assert sent | {field_of(name) for name in made.dropped} | words >= given_fields
