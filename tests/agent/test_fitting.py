from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as each
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.agent.fitting import held, readable
from midstream.agent.prepare import Given, Prepared, prepare
from midstream.core.agents import AgentAsk, Loaded, ModelDocument, Settings, Spec
from midstream.core.errors import BadRequest
from midstream.core.estimates import MEDIA_TOKENS, size_of
from midstream.core.parts import Media, Message, Text, ToolCall, ToolResult
from midstream.core.turn import Prompt
from midstream.core.unread import unread_in

PICTURE = Media("image", "image/png", url="https://x.example/a.png")
SETTINGS = Settings()


def prepared(
    model: ModelDocument, ask: AgentAsk | None = None, settings: Settings = SETTINGS, history: Any = (), **said: Any
) -> Prepared:
    spec = Spec(service="s", configuration={"model": "m", **said}, settings=settings)
    loaded = Loaded("org_a", "", "", "", "active", "", spec)
    return prepare(loaded, ask or AgentAsk(text="Hello"), Given(0.0, history=tuple(history), model=model))


def refused(*args: Any, **more: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        prepared(*args, **more)
    return caught.value


def turn(size: int) -> list[Message]:
    """Of about so many tokens."""
    return [Message(role, (Text("x" * (size * 2 - 16)),)) for role in ("user", "assistant")]


def talk(turns: int, size: int) -> list[Message]:
    return [message for _ in range(turns) for message in turn(size)]


# the answer


def test_an_answer_is_no_longer_than_the_models_output_and_max_is_that():
    made = prepared(ModelDocument(output=500), max_completion_tokens=900)
    assert made.prompt.params.max_tokens == 500
    assert made.noted == ("max_completion_tokens 900 is outside of what the model takes: 500 was used",)
    assert prepared(ModelDocument(output=500), max_tokens="max").prompt.params.max_tokens == 500
    assert prepared(ModelDocument(output=500), max_tokens=400).noted == ()
    assert prepared(ModelDocument(output=500)).prompt.params.max_tokens is None
    assert prepared(ModelDocument({"max_tokens": None}, output=500), max_tokens=9).dropped == ("max_tokens",)


def test_an_answer_is_lowered_to_what_the_context_leaves_and_that_is_said_once():
    model = ModelDocument(context=1000, output=900)
    made = prepared(model, AgentAsk(text="x" * 2000), max_tokens=5000)
    left = 1000 - size_of(made.prompt)
    assert made.prompt.params.max_tokens == left < 500
    assert made.parameters == {"max_tokens": left}
    assert made.noted == (f"max_tokens 5000 is more than the model's context leaves: {left} was used",)


# the prompt


def test_the_oldest_turns_are_left_out_until_prompt_and_answer_fit():
    history = talk(20, 100)
    made = prepared(ModelDocument(context=1000), history=history, max_tokens=300)
    kept = made.prompt.messages[:-1]
    assert kept == tuple(history[-len(kept) :])
    assert kept[0].role == "user"
    assert size_of(made.prompt) + 300 <= 1000 < size_of(made.prompt) + 300 + 100
    assert made.prompt.params.max_tokens == 300
    assert made.noted == ()
    assert len(prepared(ModelDocument(), history=history).prompt.messages) == 41


def test_a_long_answer_takes_at_most_half_of_the_context_from_what_was_said_before():
    made = prepared(ModelDocument(context=1000), history=talk(20, 100), max_tokens=1000)
    assert 380 <= size_of(made.prompt) <= 500
    assert made.prompt.params.max_tokens == 1000 - size_of(made.prompt)


def test_an_answer_of_no_given_length_has_room_too():
    assert 380 <= size_of(prepared(ModelDocument(context=1000), history=talk(20, 100)).prompt) <= 500
    assert 780 <= size_of(prepared(ModelDocument(context=1000, output=100), history=talk(20, 100)).prompt) <= 900


def test_the_orgs_own_limit_of_the_history_holds_within_the_context():
    made = prepared(ModelDocument(context=1000), settings=Settings(history_tokens=200), history=talk(20, 100))
    assert len(made.prompt.messages) == 1 + 2 * 2


def test_a_prompt_that_cannot_fit_is_refused_and_says_by_how_much():
    error = refused(ModelDocument(context=500), AgentAsk(text="x" * 4000), history=talk(2, 100))
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert "it has 1004 tokens" in error.message
    assert "500, its context" not in error.message
    assert "500, the model's context" in error.message
    messages = (*talk(20, 100), Message("user", (Text("Well?"),)))
    assert refused(ModelDocument(context=500), AgentAsk(messages=messages)).code == "context_length_exceeded"


def test_tools_and_forms_take_room_as_well():
    form = {"type": "json_schema", "json_schema": {"type": "object", "description": "x" * 4000}}
    assert refused(ModelDocument(context=900), response_type=form).code == "context_length_exceeded"


def test_of_a_threads_files_those_are_kept_in_sight_that_fit():
    files = [Media("file", "text/plain", data=f"{number:04d}") for number in range(5)]
    history = [Message("user", (one, Text("x"))) for one in files]
    made = prepared(ModelDocument(context=4 * MEDIA_TOKENS), history=history, max_tokens=900)
    shown = [part for message in made.prompt.messages for part in message.parts if isinstance(part, Media)]
    assert shown == files[-3:]
    assert size_of(made.prompt) + 900 <= 4 * MEDIA_TOKENS


def test_a_message_that_is_answered_once_more_is_never_left_out():
    history = [*talk(3, 100), Message("user", (Text("Why?"),))]
    made = prepared(ModelDocument(context=100), AgentAsk(regenerate="msg_1"), history=history)
    assert made.prompt.messages[-1] == history[-1]
    assert len(made.prompt.messages) == 1


@each(st.integers(1, 4000), st.none() | st.integers(1, 4000), st.none() | st.integers(1, 4000), st.integers(0, 12))
def test_what_is_asked_fits_or_is_refused(context: int, output: int | None, wanted: int | None, turns: int):
    said = {} if wanted is None else {"max_tokens": wanted}
    model, history = ModelDocument(context=context, output=output), talk(turns, 150)
    if context <= size_of(Prompt((Message("user", (Text("Hello"),)),))):
        assert refused(model, history=history, **said).code == "context_length_exceeded"
        return
    made = prepared(model, history=history, **said)
    answer = made.prompt.params.max_tokens
    assert size_of(made.prompt) + (answer or 1) <= context
    assert (answer is None) == (wanted is None)
    assert answer is None or answer <= min(wanted or 0, output or 4000)


def test_a_turn_that_grows_leaves_more_of_the_past_out_and_nothing_of_itself():
    model = ModelDocument(context=1000)
    made = prepared(model, history=talk(20, 100), max_tokens=300, prompt="Be kind.")
    call = Message("assistant", (ToolCall("c", "t", "{}"),))
    result = Message("tool", (ToolResult("c", (Text("x" * 1000),)),))
    grown = replace(made.prompt, messages=(*made.prompt.messages, call, result))
    fitted = held(grown, made.first, made.past, model)
    assert fitted.messages[0] == made.prompt.messages[0]
    assert fitted.messages[-3:] == (made.prompt.messages[-1], call, result)
    assert size_of(fitted) + (fitted.params.max_tokens or 0) <= 1000
    assert 3 < len(fitted.messages) < len(grown.messages)


# media


def test_media_that_the_model_does_not_read_are_refused_where_they_were_written():
    model = ModelDocument(modalities=("text", "file"))
    paper = Media("file", "application/pdf", data="AAAA")
    ask = AgentAsk(text="See", media=(paper, PICTURE), places=("files[0]", "images[0]"))
    error = refused(model, ask)
    assert (error.status, error.code, error.param) == (400, "unsupported_media", "images[0]")
    assert "text, file" in error.message
    assert refused(model, replace(ask, places=())).param == "user"
    said = (Message("user", (Text("a"),)), Message("tool", (ToolResult("c", (PICTURE,)),)))
    assert refused(model, AgentAsk(messages=said)).param == "messages[1]"
    assert prepared(ModelDocument(), ask).prompt.messages[-1].parts == (paper, PICTURE, Text("See"))
    assert prepared(ModelDocument(modalities=("image", "file")), ask).dropped == ()


def test_words_stand_for_earlier_media_that_the_model_does_not_read_and_they_are_reported():
    history = [Message("user", (PICTURE, Text("See"))), Message("assistant", (Text("Seen"),))]
    made = prepared(ModelDocument(modalities=("text",)), history=history)
    assert made.dropped == ("messages.image",)
    first = made.prompt.messages[0]
    assert [type(part) for part in first.parts] == [Text, Text]
    assert "image" in first.parts[0].text
    result = Message("tool", (ToolResult("c", (Text("here"), PICTURE), "t"),))
    [shown] = readable([result], ModelDocument(modalities=("text",)))
    assert shown.parts[0].id == "c"
    assert [type(part) for part in shown.parts[0].parts] == [Text, Text]
    assert unread_in([shown]) == ("messages.image",)
    assert readable([result], ModelDocument()) == (result,)
    assert unread_in([result]) == ()


def test_media_that_no_model_would_be_shown_are_not_reported():
    history = [Message("user", (PICTURE, Text("See"))), *talk(2, 100)]
    model = ModelDocument(modalities=("text",))
    assert prepared(model, settings=Settings(history_messages=4), history=history).dropped == ()
    paper = Message("user", (Media("file", "text/plain", data="AAAA"), Text("Read")))
    made = prepared(model, settings=Settings(history_messages=4), history=[paper, *talk(2, 100)])
    assert [type(part) for message in made.prompt.messages for part in message.parts] == [Text] * 5
