from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict, replace

from midstream.core.agents import AgentAsk, Delivery
from midstream.core.dialect import Say
from midstream.core.errors import MidstreamError, StoreDown
from midstream.core.events import (
    Concluded,
    Delta,
    Done,
    Embedded,
    Event,
    Failed,
    Opened,
    PartStarted,
    ToolEnded,
    ToolStarted,
)
from midstream.core.outcome import Outcome, Step
from midstream.core.parts import Text
from midstream.core.usage import Usage
from midstream.core.web import Request
from midstream.faces import completion_v2 as face
from midstream.wire.sse import SSEReader

from . import golden_v2 as golden

SAY = Say("cmpl_1", 1, "asked")
HI = {"user": "hi", "agent_id": "a"}


def read(body: dict[str, Any], task: str = "chat", **params: str) -> Any:
    return face.read(task, Request("POST", "/api/v2/model", {}, {}, params, "req_1", msgspec.json.encode(body)))


def told(written: bytes) -> list[tuple[str, Any]]:
    return [(frame.event.decode(), msgspec.json.decode(frame.data or b"")) for frame in SSEReader().feed(written)]


@pytest.mark.parametrize("body, asked", golden.ASKED)
def test_every_field_reaches_the_ask(body: dict[str, Any], asked: dict[str, Any]):
    turn = read(body)
    assert asdict(turn.agent) == {**asdict(AgentAsk(usual_fallback=True)), **asked}
    assert not turn.stream
    assert read({**body, "stream": True}).stream


@pytest.mark.parametrize("body, refused", golden.REFUSED)
def test_what_does_not_fit_is_refused_by_its_field(body: dict[str, Any], refused: tuple[int, str, str]):
    with pytest.raises(MidstreamError) as error:
        read(body)
    assert (error.value.status, error.value.param, error.value.code) == refused


def test_every_field_may_be_null():
    turn = read({**dict.fromkeys(face.Body.__struct_encode_fields__), "user": "hi"})
    assert turn.agent == AgentAsk(text="hi", usual_fallback=True)


def test_an_agent_may_be_named_twice_in_two_spellings():
    digits = "0123456789abcdef01234567"
    turn = read({"agent_id": f"agt_{digits}", "bridge_id": digits, "user": "hi"})
    assert turn.agent is not None
    assert turn.agent.agent == f"agt_{digits}"


def test_a_key_is_a_secret_at_once_and_nowhere_else():
    turn = read({**HI, "apikey": "sk-very-secret"})
    assert turn.agent.api_key.reveal() == "sk-very-secret"
    assert "sk-very-secret" not in repr(turn.agent)
    assert "apikey" not in turn.fields


def test_the_playground_names_its_agent_in_the_path_and_keeps_nothing():
    turn = read({"user": "hi"}, "playground", bridge_id="b")
    assert (turn.agent.agent, turn.agent.playground) == ("b", True)
    with pytest.raises(MidstreamError, match="two different agents"):
        read({"user": "hi", "agent_id": "other"}, "playground", bridge_id="b")


def test_the_playground_answers_directly_wherever_the_answer_shall_go():
    for type, cred in (("webhook", {"url": "https://x.org"}), ("RTLayer", {"channel": "c"}), ("queue", {"name": "q"})):
        way = {"response_format": {"type": type, "cred": cred}}
        assert read({**HI, **way}).agent.delivery.kind != "default"
        assert read({**HI, **way, "is_playground": True}).agent.delivery == Delivery()
        assert read({"user": "hi", **way}, "playground", bridge_id="b").agent.delivery == Delivery()
    with pytest.raises(MidstreamError, match="must be default, webhook"):
        read({**HI, "response_format": {"type": "pigeon"}, "is_playground": True})


def test_embedding_is_a_turn_of_that_type_and_never_a_stream():
    turn = read({**HI, "stream": True, "configuration": {"model": "e"}}, "embedding")
    assert turn.agent.configuration == {"model": "e", "type": "embedding"}
    assert not turn.stream
    written = msgspec.json.decode(face.write_result(turn, Embedded("e", ((0.5, 1.0),), Usage(uncached_in=2))))
    assert written["success"]
    assert written["data"] == {"embedding": [0.5, 1.0], "model": "e"}
    assert written["usage"]["input_tokens"] == 2


def test_the_reply_has_every_field():
    assert msgspec.json.decode(face.write_outcome(read(HI), golden.OUTCOME, SAY)) == golden.REPLY


def test_what_there_is_only_sometimes_is_told_only_then():
    outcome = replace(golden.OUTCOME, blocked="rude", value={"a": 1}, title="A title", suggestions=("more?",), id="")
    data = msgspec.json.decode(face.write_outcome(read(HI), outcome, SAY))["data"]
    assert data["blocked"] == "rude"
    assert data["value"] == {"a": 1}
    assert (data["title"], data["suggestions"]) == ("A title", ["more?"])
    assert data["id"] == "cmpl_1"


def test_no_call_is_lost_when_a_model_uses_an_id_twice():
    steps = (Step("c", "f", {}, "ok", "one"), Step("c", "f", {}, "ok", "two", round=2))
    data = msgspec.json.decode(face.write_outcome(read(HI), Outcome("", steps=steps), SAY))["data"]
    assert [one["result"] for one in data["tools_data"].values()] == ["one", "two"]


BEGUN: list[Event] = [
    Opened(golden.OUTCOME.conversation, golden.MESSAGE, "t", "s"),
    ToolStarted("call_1", "weather", {"city": "Oslo"}),
    ToolEnded("call_1", "weather", "ok", "sunny", ms=12),
    PartStarted(0, Text("It ")),
    Delta(0, "is sunny."),
]


def test_a_turn_is_told_as_it_happens_and_ends_with_the_reply():
    written = face.writer(read(HI), SAY).write([*BEGUN, Concluded(golden.OUTCOME), Done()])
    step = golden.REPLY["data"]["tools_data"]["call_1"]
    assert told(written) == [
        ("tool_call", {name: step[name] for name in ("id", "name", "arguments", "round")}),
        ("tool_result", {name: step[name] for name in ("id", "name", "status", "result", "error", "round", "ms")}),
        ("delta", {"content": "It "}),
        ("delta", {"content": "is sunny."}),
        ("done", golden.REPLY),
    ]


def test_a_failure_in_the_middle_is_the_last_event_and_names_the_message():
    written = face.writer(read(HI), SAY).write([*BEGUN, Failed(StoreDown("away"))])
    assert told(written)[-1] == (
        "error",
        {"success": False, "error": "away", "code": "store_unavailable", "message_id": golden.MESSAGE},
    )


@pytest.mark.parametrize("error, body", golden.ERRORS)
def test_errors_are_in_the_faces_shape(error: MidstreamError, body: dict[str, Any]):
    assert msgspec.json.decode(face.DIALECT.write_error(error, "req_1")) == body


def test_what_is_accepted_is_named():
    written = msgspec.json.decode(face.write_accepted(read(HI), golden.MESSAGE))
    assert (written["success"], written["message_id"]) == (True, golden.MESSAGE)
    assert set(written) == {"success", "message", "message_id"}
