from __future__ import annotations

from msgspec import Raw
from msgspec.structs import replace

from midstream.core.parts import Foreign, Message, Refusal, State, Text, text_of
from midstream.core.turn import Format, Prompt, Turn, described


def test_a_prompt_is_read_when_it_is_first_needed_and_once():
    read = []

    def reading(fields: object) -> Prompt:
        read.append(fields)
        return Prompt((Message("user", (Text("hi"),)),))

    turn = Turn("d", {"x": Raw(b"1")}, reading, model="m")
    assert read == []
    assert turn.prompt is turn.prompt
    assert len(read) == 1


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
