"""What providers want back is put back: for the org that got it, where the client has left it out."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from midstream.app.stash import Stash
from midstream.core.events import Answer, Choice
from midstream.core.parts import Cache, Citation, Message, Part, Reasoning, State, Text, ToolCall, ToolResult
from midstream.core.said import all_said
from midstream.core.turn import Prompt
from midstream.wire.anthropic_messages.names import wire_id

SIGNED = Reasoning("hm", state=State("anthropic_messages", {"signature": "s"}))
ENCRYPTED = Reasoning("hm", state=State("openai_responses", {"encrypted_content": "e"}))
MARKED = ToolCall("b", "f", "{}", state=State("gemini", {"thoughtSignature": "t"}))
CALL = ToolCall("a", "f", "{}")
NOTHING_SAID = partial(all_said, ())


def told(*parts: Part) -> Stash:
    stash = Stash()
    stash.remember("org", Answer(choices=(Choice(parts=parts),)), NOTHING_SAID)
    return stash


def restored(stash: Stash, *parts: Part, org: str = "org", role: str = "assistant") -> tuple[Part, ...]:
    (message,) = stash.restore(org, Prompt((Message(role, parts),))).messages  # type: ignore[arg-type]
    return message.parts


def test_thoughts_stand_before_their_call_again() -> None:
    stash = told(Text("so"), SIGNED, CALL, MARKED)
    assert restored(stash, Text("so"), CALL) == (Text("so"), SIGNED, CALL)
    assert restored(stash, CALL, ToolCall("b", "f", "{}")) == (SIGNED, CALL, MARKED)


def test_thoughts_that_came_before_the_text_stand_before_it_again() -> None:
    """Claude refuses a turn that does not begin with them."""
    for thought in (SIGNED, ENCRYPTED):
        stash = told(thought, Text("so"), CALL)
        for text in (Text("so"), Text("changed")):
            assert restored(stash, text, CALL) == (thought, text, CALL)
            assert restored(stash, Reasoning("hm"), text, CALL) == (thought, text, CALL)
        assert restored(stash, CALL) == (thought, CALL)
    # Some clients keep a stream's pieces apart.
    assert restored(told(SIGNED, Text("so"), CALL), Text("s"), Text("o"), CALL) == (SIGNED, Text("s"), Text("o"), CALL)


def test_thoughts_stand_among_texts_and_calls_as_they_were_said() -> None:
    again = Reasoning("oh", state=State("anthropic_messages", {"signature": "s2"}))
    stash = told(SIGNED, Text("so"), again, CALL)
    for parts in ((), (Reasoning("hmoh"),), (Reasoning("hm"), Reasoning("oh")), (Reasoning("h"), Reasoning("moh"))):
        assert restored(stash, *parts, Text("so"), CALL) == (SIGNED, Text("so"), again, CALL)
    assert restored(stash, Text("changed"), CALL) == (SIGNED, Text("changed"), again, CALL)
    assert restored(stash, CALL) == (SIGNED, again, CALL)
    other = ToolCall("b", "f", "{}")
    stash = told(SIGNED, Text("so"), CALL, again, other)
    assert restored(stash, Text("so"), CALL, other) == (SIGNED, Text("so"), CALL, again, other)
    stash = told(SIGNED, CALL, Text("so"), again, other)  # Chat Completions has one text, before all calls
    assert restored(stash, Text("so"), CALL, other) == (SIGNED, Text("so"), CALL, again, other)
    assert restored(stash, CALL, Text("so"), other) == (SIGNED, CALL, Text("so"), again, other)


def test_texts_that_a_client_has_joined_are_parted_where_a_thought_stood() -> None:
    again = Reasoning("oh", state=State("anthropic_messages", {"signature": "s2"}))
    stash = told(SIGNED, Text("so "), again, Text("then"), CALL)
    joined = Text("so then", cache=Cache())
    assert restored(stash, joined, CALL) == (SIGNED, Text("so "), again, Text("then", cache=Cache()), CALL)
    assert restored(stash, Text("so "), Text("then"), CALL) == (SIGNED, Text("so "), again, Text("then"), CALL)
    cited = Text("so then", citations=(Citation("https://a.example", start=3, end=7),))
    assert restored(stash, cited, CALL) == (SIGNED, cited, again, CALL)
    # The service refuses a text of white space alone: none is made.
    for said in ((SIGNED, Text("so"), again, Text("\n"), CALL), (SIGNED, Text("\n"), again, Text("so"), CALL)):
        text = Text("".join(part.text for part in said if isinstance(part, Text)))
        parts = restored(told(*said), text, CALL)
        assert [part for part in parts if isinstance(part, Text)] == [text]
        assert (parts[0], parts[-1], again in parts) == (SIGNED, CALL, True)


def test_nobody_else_gets_them() -> None:
    stash = told(SIGNED, CALL)
    assert restored(stash, CALL, org="other") == (CALL,)
    assert restored(stash, ToolCall("c", "f", "{}")) == (ToolCall("c", "f", "{}"),)
    assert restored(stash, CALL, role="user") == (CALL,)


def test_what_the_client_carries_itself_is_not_doubled() -> None:
    stash = told(SIGNED, CALL, MARKED)
    other = Reasoning("mine", state=State("anthropic_messages", {"signature": "z"}))
    assert restored(stash, other, CALL) == (other, CALL)
    own = ToolCall("b", "f", "{}", state=State("gemini", {"thoughtSignature": "mine"}))
    assert restored(stash, own) == (own,)


def test_the_bare_text_of_a_thought_makes_room_for_the_thought() -> None:
    stash = told(ENCRYPTED, CALL)
    unsigned = Reasoning("hm", state=State("anthropic_messages", {"signature": ""}))
    assert restored(stash, unsigned, CALL) == (ENCRYPTED, CALL)
    assert restored(stash, Reasoning("hm"), CALL) == (ENCRYPTED, CALL)
    assert restored(stash, Reasoning("else"), CALL) == (Reasoning("else"), ENCRYPTED, CALL)


def test_the_oldest_are_forgotten() -> None:
    stash = Stash(entries=2)
    for id in "abc":
        stash.remember("org", Answer(choices=(Choice(parts=(SIGNED, ToolCall(id, "f"))),)), NOTHING_SAID)
    assert restored(stash, ToolCall("a", "f")) == (ToolCall("a", "f"),)
    assert restored(stash, ToolCall("c", "f")) == (SIGNED, ToolCall("c", "f"))


def test_an_answer_without_states_takes_no_room() -> None:
    assert not told(Reasoning("hm"), Text("x"), CALL)._calls


def test_a_counted_call_behind_words_that_nobody_has_read_takes_no_room() -> None:
    for id, kept in (("call_0", 0), ("call_0_2f1c9b7e-11", 1)):
        stash = Stash()
        stash.remember("org", Answer(choices=(Choice(parts=(SIGNED, ToolCall(id, "f", "{}"))),)), bytes)
        assert len(stash._calls) == kept


def test_no_arguments_however_they_are_written_are_the_same_call() -> None:
    for said in ("", "null", "{}", " { } "):
        for again in ("", "null", "{}"):
            call = ToolCall("b", "f", again)
            assert restored(told(SIGNED, ToolCall("b", "f", said)), call) == (SIGNED, call)


def test_one_id_that_a_service_uses_again_does_not_mix_up_conversations() -> None:
    """Some services count their calls from 0 in every answer."""
    stash = Stash()
    rome, oslo = (ToolCall("functions.f:0", "f", f'{{"city":"{city}"}}') for city in ("Rome", "Oslo"))
    other = Reasoning("of Oslo", state=State("openai_chat", {"reasoning_details": [1]}))
    for thought, call in ((SIGNED, rome), (other, oslo)):
        stash.remember("org", Answer(choices=(Choice(parts=(thought, call)),)), NOTHING_SAID)
    assert restored(stash, rome) == (SIGNED, rome)
    assert restored(stash, oslo) == (other, oslo)
    for stranger in (ToolCall("functions.f:0", "f", '{"city":"Bern"}'), ToolCall("functions.f:0", "g", rome.arguments)):
        assert restored(stash, stranger) == (stranger,)


def test_a_call_is_known_again_however_its_arguments_are_written() -> None:
    call = ToolCall("a", "f", '{"n":1,"m":[2.5,"x"]}')
    stash = told(SIGNED, call)
    again = ToolCall("a", "f", '{ "m": [2.5, "x"], "n": 1.0 }')
    assert restored(stash, again) == (SIGNED, again)
    for written, sent in (("", "{}"), ("free words", '{"input":"free words"}'), ("{oops", '{"_raw":"{oops"}')):
        stash = told(SIGNED, ToolCall("a", "f", written))
        assert restored(stash, ToolCall("a", "f", sent)) == (SIGNED, ToolCall("a", "f", sent))


def test_a_call_nested_without_end_is_known_again_as_it_was_written_and_as_it_is_carried() -> None:
    for depth in (100, 900, 985, 5000):
        text = '{"a":' * depth + "1" + "}" * depth
        stash = told(SIGNED, ToolCall("a", "f", text))
        for sent in (text, msgspec.json.encode({"input": text}).decode()):
            call = ToolCall("a", "f", sent)
            assert restored(stash, call) == (SIGNED, call)


def asked(*words: str) -> tuple[Message, ...]:
    return tuple(Message("user", (Text(one),)) for one in words)


COUNTED = (
    "functions.get_profile:0",
    "0",
    "call_0",
    "call_get_profile_1",
    "call_a1b2c3_0",
    "12345678901234567890",
    "abcdefghijkl",
)


@pytest.mark.parametrize("id", COUNTED)
def test_the_thoughts_of_one_conversation_are_not_put_into_another_with_the_same_id_and_arguments(id: str) -> None:
    stash = Stash()
    call = ToolCall(id, "get_profile", "{}")
    thoughts = {name: Reasoning(name, state=State("openai_chat", {"reasoning_details": [name]})) for name in ("A", "B")}
    for name, thought in thoughts.items():
        stash.remember(
            "org", Answer(choices=(Choice(parts=(thought, call)),)), partial(all_said, asked(f"I am {name}"))
        )
    bare = Message("assistant", (call,))
    for name, thought in thoughts.items():
        # texts are cut and joined anew, and more may follow
        (_, told, _) = stash.restore("org", Prompt((*asked(f" I am {name} "), bare, *asked("and?")))).messages
        assert told.parts == (thought, call)
    (_, told) = stash.restore("org", Prompt((*asked("I am C"), bare))).messages
    assert told.parts == (call,)


@pytest.mark.parametrize("id", ["call_0_2f1c9b7e-11", "toolu_01A09q90qw90lq917835lq9", "chatcmpl-tool-9f86d081884c"])
def test_an_id_of_chance_is_known_whatever_is_said_before_it(id: str) -> None:
    """Clients cut old messages off, and change them."""
    stash = Stash()
    call = ToolCall(id, "f", "{}")
    stash.remember("org", Answer(choices=(Choice(parts=(SIGNED, call)),)), partial(all_said, asked("a", "b")))
    (_, told) = stash.restore("org", Prompt((*asked("b"), Message("assistant", (call,))))).messages
    assert told.parts == (SIGNED, call)


def test_an_id_that_a_dialect_does_not_take_comes_back_to_its_issuer_with_its_result() -> None:
    stash = Stash()
    call = ToolCall("functions.f:0", "f", "{}")
    other = ToolCall("functions.f:1", "f", "{}")
    stash.remember("org", Answer(choices=(Choice(parts=(call, other)),)), partial(all_said, asked("q")))
    sent = [replace(one, id=wire_id(one.id)) for one in (call, other)]
    assert sent[0].id != call.id
    results = [Message("tool", (ToolResult(one.id, (Text("r"),)),)) for one in (*sent, ToolCall("x", "f"))]
    prompt = Prompt((*asked("q"), Message("assistant", tuple(sent)), *results))
    _, told, *answered = stash.restore("org", prompt).messages
    assert told.parts == (call, other)
    assert [one.parts[0].id for one in answered] == [call.id, other.id, "x"]  # type: ignore[union-attr]
