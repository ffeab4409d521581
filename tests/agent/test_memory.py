from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midstream.agent.memory import MAX_MEMORY, remembered, remembering, reminder
from midstream.agent.prepare import Given, prepare
from midstream.core.agents import AgentAsk, Loaded, Settings, Spec
from midstream.core.parts import Message, Text, ToolCall, ToolResult, text_of


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def test_one_who_remembers_sees_the_memory_the_words_and_the_tools():
    said = (
        Message("system", (Text("hidden"),)),
        user("I am Ada"),
        Message("assistant", (Text("Let me look."), ToolCall("c", "find", '{"q":1}'))),
        Message("tool", (ToolResult("c", (Text("found"),), "find"),)),
    )
    prompt = remembering("Her dog is Rex.", said, "Remember names.")
    system, asked = (text_of(message.parts) for message in prompt.messages)
    assert "Remember names." in system
    for piece in ("Her dog is Rex.", "User: I am Ada", '[calls find: {"q":1}]', "[find answers: found]"):
        assert piece in asked
    assert "hidden" not in asked
    assert "(empty)" in text_of(remembering("", said).messages[1].parts)


def test_an_answer_that_says_nothing_leaves_the_memory_as_it_was():
    for answer in ("NOTHING", " nothing.\n", "", '"NOTHING"'):
        assert remembered(answer, "old") == "old"
    assert remembered(" new \n", "old") == "new"
    assert remembered("NOTHING new under the sun", "old") == "NOTHING new under the sun"


@given(st.text())
def test_a_memory_is_bounded(text):
    assert len(remembered(text * 2000, "")) <= MAX_MEMORY
    assert len(reminder("x" * 100_000)) < MAX_MEMORY + 200
    assert reminder("") == ""


def test_a_fact_of_turn_one_is_known_at_turn_twenty_with_history_cut():
    """The model that remembers is played by one that keeps every line a user said about a name."""
    spec = Spec(service="s", configuration={"model": "m"}, memory=True, settings=Settings(history_messages=2))
    loaded = Loaded("org", "agt", "a", "A", "active", "ver", spec)
    memory, history = "", []
    for turn in range(1, 21):
        text = "My name is Ada." if turn == 1 else f"Question {turn}"
        made = prepare(loaded, AgentAsk(text=text), Given(0.0, history=tuple(history), memory=memory))
        new = [user(text), Message("assistant", (Text(f"Answer {turn}"),))]
        asked = text_of(remembering(memory, new).messages[1].parts)
        memory = remembered("The user's name is Ada." if "Ada" in asked else "NOTHING", memory)
        history += new
    assert "The user's name is Ada." in text_of(made.prompt.messages[0].parts)
    assert all("My name is Ada" not in text_of(message.parts) for message in made.prompt.messages[1:])
