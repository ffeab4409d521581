from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.loop import PAUSES, Ended, Limits, Round, loop
from midstream.core import turn
from midstream.core.errors import StoreDown
from midstream.core.events import Answer, Choice, Delta, PartEnded, PartStarted, Stopped, fold
from midstream.core.outcome import Step
from midstream.core.parts import Media, Message, Reasoning, State, Text, ToolCall, ToolResult, text_of
from midstream.core.serving import Completed, Target
from midstream.core.toolbox import ToolAnswer
from midstream.core.turn import Prompt, ToolChoice
from midstream.core.usage import Usage

TARGET = Target("rehearsal", "m", "midstream")
PROMPT = Prompt((Message("user", (Text("Hi"),)),), tools=(turn.Tool("a"), turn.Tool("b")))
NO_LIMIT = Limits(rounds=10**9)


def says(*parts: Any, stop: Any = None) -> Answer:
    made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    calls = any(isinstance(part, ToolCall) for part in made)
    return Answer(choices=(Choice(made, stop or ("tool_calls" if calls else "stop")),))


def call(name: str = "a", id: str = "c1", arguments: str = "{}") -> ToolCall:
    return ToolCall(id, name, arguments)


class Script:
    """A model that says one thing after the other, the last for ever, and tools that say what they were called with."""

    def __init__(self, *answers: Answer, spent: Sequence[tuple[int, str | None]] = ()) -> None:
        self.answers = list(answers)
        self.prompts: list[Prompt] = []
        self.rounds: list[tuple[int, list[ToolCall]]] = []
        self.kept: list[tuple[int, Message]] = []
        self.tool_answers: dict[str, ToolAnswer] = {}
        self._spent = list(spent)

    async def ask(self, prompt: Prompt) -> Completed:
        self.prompts.append(prompt)
        return Completed(self.answers[min(len(self.prompts), len(self.answers)) - 1], TARGET)

    async def call_tools(self, round: int, calls: Sequence[ToolCall]) -> list[ToolAnswer]:
        self.rounds.append((round, list(calls)))
        return [self.tool_answers.get(one.name, ToolAnswer("ok", f"{one.name}:{one.id}")) for one in calls]

    def keep(self, round: int, reply: Message) -> None:
        self.kept.append((round, reply))

    def spent(self) -> tuple[Usage, str | None]:
        said = self._spent[: len(self.prompts)]
        tokens, cost = said[-1] if said else (0, "0" if self.prompts else None)
        return Usage(uncached_in=tokens), cost

    def run(self, prompt: Prompt = PROMPT, limits: Limits = NO_LIMIT, done: Sequence[Round] = ()) -> Ended:
        return asyncio.run(loop(prompt, self.ask, self.call_tools, limits, self.spent, done, self.keep))


def text(ended: Ended) -> str:
    return text_of(ended.answer.choices[0].parts)


def test_an_answer_in_text_is_one_call():
    script = Script(says("Hello"))
    ended = script.run()
    assert (text(ended), ended.calls, ended.rounds, ended.stopped_by) == ("Hello", 1, 0, "")
    assert script.prompts == [PROMPT]


def test_tools_run_and_the_model_is_shown_their_results_in_the_order_of_its_calls():
    thought = Reasoning("hm", state=State("gemini", "signed"))
    script = Script(says(thought, call("b", "x"), call("a", "y", '{"k":1}')), says("Done"))
    picture = Media("image", "image/png", url="https://x.example/a.png")
    script.tool_answers["a"] = ToolAnswer("failed", "no such place", error="404", ms=7, media=(picture,))
    ended = script.run()
    reply = Message("assistant", (thought, call("b", "x"), call("a", "y", '{"k":1}')))
    shown = Message(
        "tool",
        (ToolResult("x", (Text("b:x"),), "b"), ToolResult("y", (Text("no such place"), picture), "a", is_error=True)),
    )
    assert script.prompts[1].messages == (*PROMPT.messages, reply, shown)
    assert script.prompts[1].tools == PROMPT.tools
    assert ended.steps == (
        Step("x", "b", {}, "ok", "b:x"),
        Step("y", "a", {"k": 1}, "failed", "no such place", "404", ms=7),
    )
    assert (text(ended), ended.rounds, ended.calls, ended.messages) == ("Done", 1, 2, (reply, shown))


def test_three_rounds_are_three_rounds_and_then_one_call_without_tools():
    script = Script(*(says(call(id=f"c{n}")) for n in range(3)), says("Enough"))
    ended = script.run(limits=Limits(rounds=3))
    assert [round for round, _ in script.rounds] == [1, 2, 3]
    assert [bool(prompt.tools) for prompt in script.prompts] == [True, True, True, False]
    assert script.prompts[3].tool_choice is None
    assert (text(ended), ended.rounds, ended.calls, ended.stopped_by) == ("Enough", 3, 4, "rounds")


@given(st.integers(0, 6), st.none() | st.integers(1, 8))
def test_a_model_that_never_stops_calling_gets_no_round_more_than_the_limit(rounds, calls):
    script = Script(says(call()))
    ended = script.run(limits=Limits(rounds=rounds, calls=calls))
    made = rounds if calls is None else min(rounds, calls - 1)
    assert len(script.rounds) == ended.rounds == made
    assert len(script.prompts) == ended.calls == made + 1
    assert [bool(prompt.tools) for prompt in script.prompts] == [True] * made + [False]
    assert text(ended).startswith("There is no answer: the model asked for more tools")
    assert ended.answer.choices[0].stop == "stop"


def test_the_sixteenth_model_call_never_happens():
    script = Script(says(call()))
    ended = script.run(limits=Limits(rounds=10**9, calls=15))
    assert len(script.prompts) == 15
    assert not script.prompts[14].tools
    assert ended.stopped_by == "calls"


def test_pauses_count_as_calls_too():
    script = Script(says("part ", stop="pause"))
    ended = script.run(limits=Limits(rounds=3, calls=4))
    assert len(script.prompts) == 4
    assert text(ended) == "part part part part "
    assert ended.answer.choices[0].stop == "length"


def test_the_words_of_a_function_call_are_never_the_answer():
    script = Script(says(call(arguments='{"city":"Bonn"}')))
    ended = script.run(limits=Limits(rounds=1))
    assert "Bonn" not in text(ended)
    assert not any(isinstance(part, ToolCall) for part in ended.answer.choices[0].parts)
    script = Script(says("Let me see.", call()))
    assert text(script.run(limits=Limits(rounds=0))) == "Let me see."


def test_calls_of_a_model_that_was_offered_no_tools_are_not_run():
    for prompt in (Prompt(PROMPT.messages), Prompt(PROMPT.messages, PROMPT.tools, ToolChoice("none"))):
        script = Script(says(call()))
        ended = script.run(prompt)
        assert script.rounds == []
        assert text(ended) == "There is no answer: the model asked for tools that it does not have."


@pytest.mark.parametrize("stop", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ["", '{"city": "Os', '{"city": "Oslo"}'])
def test_no_call_of_an_answer_that_was_cut_or_filtered_is_run_and_the_turn_ends_as_it_did(stop: str, arguments: str):
    for said in ((), ("Let me look.",)):
        script = Script(says(*said, call(id="c1"), call("b", "c2", arguments), stop=stop), says("never"))
        ended = script.run()
        assert (script.rounds, script.kept, len(script.prompts), ended.steps) == ([], [], 1, ())
        assert ended.answer.choices[0].stop == stop
        assert not any(isinstance(part, ToolCall) for part in ended.answer.choices[0].parts)
        assert text(ended) == "Let me look." if said else text(ended).startswith("There is no answer: the model asked")


def test_tokens_and_money_are_ceilings():
    for limits, spent, why in (
        (Limits(rounds=9, tokens=100), [(50, "0"), (100, "0")], "tokens"),
        (Limits(rounds=9, cost="0.10"), [(1, "0.05"), (1, "0.10")], "cost"),
    ):
        script = Script(says(call()), says(call(id="c2")), says("Enough"), spent=spent)
        ended = script.run(limits=limits)
        assert (ended.stopped_by, ended.rounds, text(ended)) == (why, 2, "Enough")
        assert [bool(prompt.tools) for prompt in script.prompts] == [True, True, False]


def test_what_was_spent_before_the_first_call_leaves_one_without_tools():
    async def ended(script: Script) -> Ended:
        return await loop(
            PROMPT, script.ask, script.call_tools, Limits(tokens=100), lambda: (Usage(uncached_in=100), "0")
        )

    script = Script(says(call()))
    assert asyncio.run(ended(script)).stopped_by == "tokens"
    assert [bool(prompt.tools) for prompt in script.prompts] == [False]


def test_a_ceiling_of_those_who_have_called_the_agent_is_one_of_its_own():
    async def ended(script: Script) -> Ended:
        def above() -> str:
            return "cost" if script.rounds else ""

        return await loop(PROMPT, script.ask, script.call_tools, NO_LIMIT, script.spent, above=above)

    script = Script(says(call()), says("Enough"))
    assert (asyncio.run(ended(script)).stopped_by, len(script.rounds)) == ("cost", 1)


def test_a_cost_that_is_not_known_stops_nothing():
    script = Script(says(call()), says("Done"), spent=[(1, None)])
    assert script.run(limits=Limits(rounds=9, cost="0")).stopped_by == ""


# ids


def ids(script: Script) -> list[list[str]]:
    return [[one.id for one in calls] for _, calls in script.rounds]


def test_ids_that_are_given_twice_or_not_at_all_become_the_calls_places():
    script = Script(says(call("a", "x"), call("b", "x"), call("a", "")), says(call("a", "x")), says("Done"))
    ended = script.run()
    assert ids(script) == [["x", "call_1_1", "call_1_2"], ["call_2_0"]]
    assert [step.id for step in ended.steps] == ["x", "call_1_1", "call_1_2", "call_2_0"]
    assert [step.name for step in ended.steps] == ["a", "b", "a", "a"]


def test_ids_of_the_history_are_not_used_again():
    history = (Message("assistant", (call("a", "x"), call("a", "call_1_0"))), Message("user", (Text("Hi"),)))
    script = Script(says(call("a", "x")), says("Done"))
    script.run(Prompt(history, PROMPT.tools))
    assert ids(script) == [["call_1_0_"]]


@given(st.lists(st.lists(st.sampled_from(["", "x", "y", "call_1_0", "call_2_1"]), min_size=1, max_size=4), max_size=4))
def test_whatever_the_ids_each_result_answers_its_own_call(rounds):
    answers = [says(*(call(f"t{n}", id) for n, id in enumerate(given))) for given in rounds]
    script = Script(*answers, says("Done"))
    ended = script.run()
    seen: set[str] = set()
    for reply, shown in zip(ended.messages[::2], ended.messages[1::2], strict=True):
        calls = [part for part in reply.parts if isinstance(part, ToolCall)]
        for one, result in zip(calls, shown.parts, strict=True):
            assert isinstance(result, ToolResult)
            assert (result.id, result.name) == (one.id, one.name)
            assert one.id not in seen
            seen.add(one.id)


def test_arguments_that_arrive_in_turns_are_joined_by_their_index():
    pieces = [(0, '{"a"'), (1, '{"b"'), (1, ":2}"), (0, ":1}")]
    events = [
        PartStarted(0, ToolCall("x", "a")),
        PartStarted(1, ToolCall("y", "b")),
        *(Delta(index, piece) for index, piece in pieces),
        PartEnded(1),
        PartEnded(0),
        Stopped("tool_calls"),
    ]
    script = Script(fold(events), says("Done"))
    assert [step.arguments for step in script.run().steps] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("arguments", ["{", "[1]", '"null"', '"x"', "words"])
def test_arguments_that_are_no_object_reach_the_tools_as_they_are_and_are_shown(arguments):
    script = Script(says(call(arguments=arguments)), says("Done"))
    script.tool_answers["a"] = ToolAnswer("failed", "arguments: must be a JSON object")
    ended = script.run()
    assert script.rounds[0][1][0].arguments == arguments
    assert ended.steps[0].arguments == {"input": arguments}
    assert text_of(script.prompts[1].messages[-1].parts[0].parts) == "arguments: must be a JSON object"


@pytest.mark.parametrize("arguments", ["", "null", "{}"])
def test_no_arguments_however_they_are_written_are_shown_as_none(arguments):
    script = Script(says(call(arguments=arguments)), says("Done"))
    assert script.run().steps[0].arguments == {}


# pauses, choices, transfer


def test_a_model_that_pauses_is_asked_to_go_on_and_its_text_is_one():
    script = Script(says("One, ", stop="pause"), says("two.", stop="stop"))
    ended = script.run()
    assert script.prompts[1].messages[-1] == Message("assistant", (Text("One, "),))
    assert (text(ended), ended.answer.choices[0].stop) == ("One, two.", "stop")


def test_a_model_that_only_pauses_is_not_asked_for_ever():
    script = Script(says("x", stop="pause"))
    ended = script.run()
    assert len(script.prompts) == PAUSES + 1
    assert ended.answer.choices[0].stop == "length"


@pytest.mark.parametrize("prompt", [PROMPT, Prompt(PROMPT.messages)])
@pytest.mark.parametrize(
    ("limits", "above"),
    [(Limits(tokens=500), ""), (Limits(cost="0.001"), ""), (NO_LIMIT, "tokens")],
)
def test_a_model_that_pauses_is_not_asked_to_go_on_above_a_ceiling(prompt: Prompt, limits: Limits, above: str):
    script = Script(says("x", stop="pause"), spent=[(1_100 * n, f"{0.01 * n:f}") for n in range(1, 20)])
    turn = loop(
        prompt, script.ask, script.call_tools, limits, script.spent, above=lambda: above if script.prompts else ""
    )
    ended = asyncio.run(turn)
    assert (len(script.prompts), text(ended), ended.answer.choices[0].stop) == (2, "xx", "length")


def test_a_tool_that_must_be_called_must_be_once():
    script = Script(says(call()), says("Done"))
    script.run(Prompt(PROMPT.messages, PROMPT.tools, ToolChoice("tool", ("a",))))
    assert [prompt.tool_choice for prompt in script.prompts] == [ToolChoice("tool", ("a",)), None]


def test_an_agent_that_takes_over_ends_the_turn():
    script = Script(says(call("a"), call("b", "c2")))
    script.tool_answers["b"] = ToolAnswer("ok", "I go on.", transfer=True)
    ended = script.run()
    assert ended.transferred == ToolAnswer("ok", "I go on.", transfer=True)
    assert (len(script.prompts), len(ended.steps)) == (1, 2)


def test_an_answer_without_any_choice_ends_the_turn():
    assert Script(Answer()).run().rounds == 0


# after a crash


def test_a_turn_goes_on_after_the_rounds_that_were_done():
    first = Script(*(says(call(id=f"c{n}")) for n in range(3)), says("Done"))
    whole = first.run(limits=Limits(rounds=3))
    for count in range(4):
        done = [Round(reply, (ToolAnswer("ok", f"a:c{n}"),)) for n, (_, reply) in enumerate(first.kept[:count])]
        again = Script(*first.answers[count:])
        ended = again.run(limits=Limits(rounds=3), done=done)
        assert again.prompts == first.prompts[count:]
        assert (ended.steps, ended.rounds, ended.calls) == (whole.steps, whole.rounds, whole.calls)


def test_tools_of_a_round_that_was_cut_are_called_again_under_the_same_place():
    reply = Message("assistant", (call("a", "x"), call("b", "y")))
    script = Script(says("Done"))
    ended = script.run(done=[Round(reply)])
    assert script.rounds == [(1, [call("a", "x"), call("b", "y")])]
    assert [step.result for step in ended.steps] == ["a:x", "b:y"]


def test_rounds_of_before_count_to_the_calls():
    done = [Round(Message("assistant", (call(id=f"c{n}"),)), (ToolAnswer("ok", "r"),)) for n in range(14)]
    script = Script(says("Done"))
    script.run(limits=Limits(rounds=99, calls=15), done=done)
    assert [bool(prompt.tools) for prompt in script.prompts] == [False]


def test_a_reply_is_kept_before_its_tools_run():
    order: list[str] = []
    script = Script(says(call()), says("Done"))

    def keep(round: int, reply: Message) -> None:
        order.append(f"keep {round}")

    async def call_tools(round: int, calls: Sequence[ToolCall]) -> list[ToolAnswer]:
        order.append(f"call {round}")
        return [ToolAnswer("ok", "r")]

    asyncio.run(loop(PROMPT, script.ask, call_tools, NO_LIMIT, script.spent, keep=keep))
    assert order == ["keep 1", "call 1"]


def test_what_ask_and_tools_raise_is_raised():
    async def refuses(*args: Any) -> Any:
        raise StoreDown

    script = Script(says(call()))
    with pytest.raises(StoreDown):
        asyncio.run(loop(PROMPT, refuses, script.call_tools, NO_LIMIT, script.spent))
    with pytest.raises(StoreDown):
        asyncio.run(loop(PROMPT, script.ask, refuses, NO_LIMIT, script.spent))
