from __future__ import annotations

from msgspec import Raw
from msgspec.structs import replace

from midstream.core.parts import Foreign, Message, Refusal, State, Text, text_of
from midstream.core.said import all_said
from midstream.core.turn import Format, Prompt, Tool, Turn, described


def test_a_prompt_is_read_when_it_is_first_needed_and_once():
    read = []

    def reading(fields: object) -> Prompt:
        read.append(fields)
        return Prompt((Message("user", (Text("hi"),)),))

    turn = Turn("d", {"x": Raw(b"1")}, reading, model="m")
    assert read == []
    assert turn.prompt is turn.prompt
    assert len(read) == 1


def test_what_was_said_is_known_when_its_words_are_let_go():
    prompt = Prompt((Message("user", (Text("hi"),)),), tools=(Tool("f"),))
    for asked, said in ((prompt, all_said(prompt.messages)), (replace(prompt, tools=()), b"")):
        turn = Turn("d", {"x": Raw(b"1")}, lambda fields, asked=asked: asked, model="m")
        assert turn.said == b""  # nobody has read it
        assert turn.prompt is asked
        assert turn.said == said
        turn.release()
        assert (turn.said, turn.fields, turn._prompt) == (said, {}, None)
        turn.release()
        assert turn.said == said


def test_what_the_callers_dialect_cannot_carry_is_put_back_into_the_prompt():
    turn = Turn("d", {}, lambda fields: Prompt(()), model="m")
    turn.amend = lambda prompt: replace(prompt, messages=(Message("user", ()),))
    assert turn.prompt.messages == (Message("user", ()),)


def test_the_text_of_parts_is_what_the_caller_sees_of_them():
    assert text_of((Text("a"), Refusal("no"), Foreign("k", State("d", 1)), Text("b"))) == "ab"


def test_what_is_said_of_a_form_goes_with_its_schema_also_when_that_says_something_itself():
    said = Format("json_schema", {"type": "object"}, "n", description="a place")
    assert described(said) == {"type": "object", "description": "a place"}
    both = replace(said, schema={"description": "of the world", "type": "object"})
    assert described(both) == {"type": "object", "description": "a place\n\nof the world"}
    assert described(replace(both, description=None)) == both.schema
