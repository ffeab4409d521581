from __future__ import annotations

from midstream.app.stash import Stash
from midstream.core.events import Answer, Choice
from midstream.core.parts import Message, Part, Reasoning, State, Text, ToolCall
from midstream.core.turn import Prompt

SIGNED = Reasoning("hm", state=State("anthropic_messages", {"signature": "s1"}))
MARK = State("gemini", {"thoughtSignature": "s2"})


def answer(*parts: Part) -> Answer:
    return Answer(choices=(Choice(parts),))


def prompt(*parts: Part) -> Prompt:
    return Prompt((Message("user", (Text("hi"),)), Message("assistant", parts)))


def restored(stash: Stash, *parts: Part, org: str = "o") -> tuple[Part, ...]:
    return stash.restore(org, prompt(*parts)).messages[1].parts


def test_signed_thoughts_come_back_before_the_call_that_they_led_to():
    stash = Stash()
    stash.remember("o", answer(SIGNED, Text("so"), ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}")))
    back = restored(stash, Text("so"), ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"))
    assert back == (Text("so"), SIGNED, ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}"))


def test_a_mark_on_a_call_comes_back_on_that_call():
    stash = Stash()
    stash.remember("o", answer(ToolCall("1", "f", "{}", state=MARK), ToolCall("2", "f", "{}")))
    back = restored(stash, ToolCall("1", "f", "{}"), ToolCall("2", "f", "{}"))
    assert back == (ToolCall("1", "f", "{}", state=MARK), ToolCall("2", "f", "{}"))


def test_what_the_client_carries_itself_is_left_alone():
    stash = Stash()
    stash.remember("o", answer(SIGNED, ToolCall("1", "f", "{}", state=MARK)))
    own = (SIGNED, ToolCall("1", "f", "{}", state=State("gemini", "its own")))
    assert restored(stash, *own) == own


def test_another_org_gets_nothing_though_it_knows_the_id():
    stash = Stash()
    stash.remember("o", answer(SIGNED, ToolCall("1", "f", "{}", state=MARK)))
    assert restored(stash, ToolCall("1", "f", "{}"), org="other") == (ToolCall("1", "f", "{}"),)


def test_only_what_the_model_said_is_completed():
    stash = Stash()
    stash.remember("o", answer(SIGNED, ToolCall("1", "f", "{}")))
    said = Prompt((Message("user", (ToolCall("1", "f", "{}"),)),))
    assert stash.restore("o", said).messages == said.messages


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    stash = Stash(entries=10)
    for number in range(25):
        stash.remember("o", answer(ToolCall(str(number), "f", "{}", state=MARK)))
    assert len(stash._calls) == 10
    assert restored(stash, ToolCall("14", "f", "{}")) == (ToolCall("14", "f", "{}"),)
    assert restored(stash, ToolCall("15", "f", "{}")) == (ToolCall("15", "f", "{}", state=MARK),)


def test_an_answer_without_states_takes_no_room():
    stash = Stash()
    stash.remember("o", answer(Reasoning("hm"), Text("x"), ToolCall("1", "f", "{}")))
    assert not stash._calls


def test_an_answer_without_states_takes_no_room() -> None:
    assert not told(Reasoning("hm"), Text("x"), CALL)._calls
