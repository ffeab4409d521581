from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.structured import examined, structured
from midstream.core import turn
from midstream.core.errors import Garbled, TimedOut
from midstream.core.events import Answer, Choice
from midstream.core.json_words import unfenced
from midstream.core.parts import Message, Refusal, Text, text_of
from midstream.core.serving import Completed, Target
from midstream.core.turn import Format, Params, Prompt

JSON = Format("json")
NUMBER = Format("json_schema", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
PROMPT = Prompt((Message("user", (Text("Hi"),)),), tools=(turn.Tool("a"),), params=Params(format=NUMBER))


class Model:
    def __init__(self, *answers: str | Exception | Refusal) -> None:
        self.answers = list(answers)
        self.prompts: list[Prompt] = []

    async def ask(self, prompt: Prompt) -> Completed:
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        said = answer if isinstance(answer, Refusal) else Text(answer)
        return Completed(Answer(choices=(Choice((said,)),)), Target("p", "m", "f"))


def check(text: str, form: Format, *answers: str | Exception | Refusal):
    model = Model(*answers)
    return asyncio.run(structured(PROMPT, text, form, model.ask)), model


def test_a_valid_answer_is_asked_for_once():
    made, model = check('{"n": 1}', NUMBER)
    assert (made.text, made.value, made.completed, model.prompts) == ('{"n": 1}', {"n": 1}, None, [])


def test_an_answer_that_does_not_fit_is_repaired_by_asking_again_with_what_is_wrong():
    made, model = check('{"m": 1}', NUMBER, '```json\n{"n": 2}\n```')
    assert (made.text, made.value) == ('{"n": 2}', {"n": 2})
    assert made.completed is not None
    [prompt] = model.prompts
    assert prompt.messages[:2] == (*PROMPT.messages, Message("assistant", (Text('{"m": 1}'),)))
    said = text_of(prompt.messages[2].parts)
    assert "'n' is a required property" in said
    assert '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}' in said
    assert (prompt.tools, prompt.params) == ((), PROMPT.params)


def test_a_long_answer_is_checked_while_others_go_on():
    form = Format("json_schema", {"items": {"properties": {"n": {"type": "integer"}}}})
    text = json.dumps([{"n": n} for n in range(4_000)])

    async def turns() -> int:
        task = asyncio.create_task(structured(PROMPT, text, form, Model().ask))
        count = 0
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        assert (await task).text == text
        return count

    assert asyncio.run(turns()) > 3


@pytest.mark.parametrize("second", ['{"m": 1}', '{"n": "one"}', "", "no", "[1"])
def test_a_second_answer_that_does_not_fit_is_an_error_that_says_why(second):
    with pytest.raises(Garbled, match="does not have the form that was asked for") as caught:
        check("nothing like it", NUMBER, second)
    assert (caught.value.code, caught.value.status) == ("response_invalid", 502)


@pytest.mark.parametrize(("stop", "why"), [("length", "max_tokens"), ("content_filter", "filter")])
def test_an_answer_that_was_ended_early_is_told_as_that_and_not_asked_for_again(stop, why):
    model = Model()
    with pytest.raises(Garbled, match=why) as caught:
        asyncio.run(structured(PROMPT, '{"n": ', NUMBER, model.ask, stop))
    assert (caught.value.code, model.prompts) == ("response_invalid", [])
    whole = asyncio.run(structured(PROMPT, '{"n": 1}', NUMBER, model.ask, stop))
    assert whole.value == {"n": 1}  # it was complete


def test_a_refusal_to_answer_again_is_told_as_one():
    made, model = check('{"m": 1}', NUMBER, Refusal("I cannot help with that."))
    assert (made.text, made.value, made.declined) == ("I cannot help with that.", None, True)
    assert len(model.prompts) == 1
    assert not check("[]", JSON, '{"n": 2}')[0].declined


def test_the_error_of_the_second_call_is_told():
    with pytest.raises(TimedOut):
        check("nothing like it", JSON, TimedOut("late", phase="total"))


@pytest.mark.parametrize(
    "text, problem",
    [
        ("{}", None),
        (' {"a": [1]} \n', None),
        ("[]", "it is no JSON object"),
        ("7", "it is no JSON object"),
        ("", "it is empty"),
        ("```\n```", "it is empty"),
        ("NaN", "it is no JSON"),
        ('{"a": 1} and more', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ('"\udc00"', "it is no JSON"),
    ],
)
def test_json_is_one_object_and_nothing_else(text, problem):
    found = examined(text, JSON)[2]
    assert found is problem is None or str(found).startswith(str(problem))


@given(st.dictionaries(st.text(), st.text() | st.integers(-9, 9)), st.sampled_from(["", "json", "JSON"]))
def test_a_fence_around_an_object_is_no_part_of_it(value, word):
    text = json.dumps(value, indent=1)
    assert unfenced(text) == text.strip()
    assert unfenced(f"\n```{word}\n{text}\n``` ") == text.strip()
    assert examined(f"```{word}\n{text}```", JSON)[1] == value


@given(st.text())
def test_no_answer_raises(text):
    examined(text, JSON)
    examined(text, NUMBER)
