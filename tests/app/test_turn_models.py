from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from midstream.agent.prepare import Given, Prepared, prepare
from midstream.app.turn_models import TurnModels, asked
from midstream.core.agents import AgentAsk, Loaded, ModelDocument, Spec
from midstream.core.errors import BadRequest
from midstream.core.parts import Media, Message, Text, ToolCall, ToolResult
from midstream.core.serving import Target
from midstream.core.turn import Prompt, Turn

FIRST, SECOND = Target("p", "first", ""), Target("p", "second", "", max_tokens=4096)


def prepared(document: ModelDocument) -> Prepared:
    loaded = Loaded("org_a", "", "", "", "active", "", Spec(configuration={"model": "first", "max_tokens": 900}))
    return prepare(loaded, AgentAsk(text="x" * 400), Given(0.0, model=document))


def models(first: ModelDocument, second: ModelDocument) -> TurnModels:
    return TurnModels([FIRST, SECOND], prepared(first), lambda target: second, prepared)


def called(one: TurnModels, *since: Message) -> tuple[Turn, list[Target]]:
    prompt = one.prepared(None).prompt
    grown = replace(prompt, messages=(*prompt.messages, *since))
    return one.asks(grown, lambda made: asked(made, "first", False))


def answer(*parts: Any) -> tuple[Message, Message]:
    call = Message("assistant", (ToolCall("c", "t", "{}"),))
    return call, Message("tool", (ToolResult("c", parts, "t"),))


def test_models_of_which_the_same_is_known_are_asked_the_same():
    turn, targets = called(models(ModelDocument(output=500), ModelDocument(output=500)))
    assert targets == [replace(FIRST, max_tokens=500), replace(SECOND, max_tokens=500)]
    assert not turn.instead
    assert called(models(ModelDocument(), ModelDocument()))[1] == [FIRST, SECOND]


def test_another_model_is_asked_as_it_is_described_with_all_that_has_come_since():
    since = answer(Text("done"))
    turn, targets = called(models(ModelDocument(), ModelDocument(output=50)), *since)
    other: Prompt = turn.instead[("p", "second")].prompt
    assert (turn.prompt.params.max_tokens, other.params.max_tokens) == (900, 50)
    assert turn.prompt.messages[-2:] == other.messages[-2:] == since
    assert [target.max_tokens for target in targets] == [FIRST.max_tokens, 50]


def test_a_model_that_does_not_hold_what_has_come_is_left_out_and_the_first_one_is_refused():
    small, long = ModelDocument(context=1000), answer(Text("y" * 8000))
    one = models(ModelDocument(), small)
    assert called(one)[1] == [FIRST, replace(SECOND, max_tokens=1000 - 104)]
    assert called(one, *long)[1] == [FIRST]
    with pytest.raises(BadRequest) as refused:
        called(models(small, ModelDocument()), *long)
    assert refused.value.code == "context_length_exceeded"


def test_a_picture_of_a_tool_is_left_out_for_a_model_that_sees_none_and_that_is_reported():
    picture = Media("image", "image/png", data="AAAA")
    one = models(ModelDocument(), ModelDocument(modalities=("text",)))
    turn, _ = called(one, *answer(picture))
    other = turn.instead[("p", "second")].prompt
    assert turn.prompt.messages[-1].parts[0].parts == (picture,)  # type: ignore[union-attr]
    assert type(other.messages[-1].parts[0].parts[0]) is Text  # type: ignore[union-attr]
    assert one.prepared(FIRST).dropped == ()
    assert one.prepared(SECOND).dropped == ("messages.image",)
