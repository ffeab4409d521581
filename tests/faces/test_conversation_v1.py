from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict, replace

from midstream.core.agents import AgentAsk
from midstream.core.dialect import Say
from midstream.core.errors import MidstreamError
from midstream.core.events import Attempted, Concluded, Done, Event, Whole, fold
from midstream.core.outcome import Outcome
from midstream.core.web import Request
from midstream.faces import conversation_v1 as face
from midstream.wire.sse import SSEReader

from . import golden_v1 as golden

SAY = Say("msg_1", 1, "")


def read(body: dict[str, Any]) -> Any:
    return face.read("chat", Request("POST", "/api/v1/conversation", {}, {}, {}, "req_1", msgspec.json.encode(body)))


def told(written: bytes) -> list[tuple[str, Any]]:
    return [(frame.event.decode(), msgspec.json.decode(frame.data or b"")) for frame in SSEReader().feed(written)]


@pytest.mark.parametrize("body, asked", golden.ASKED)
def test_every_field_reaches_the_ask(body: dict[str, Any], asked: dict[str, Any]):
    turn = read(body)
    assert asdict(turn.agent) == {**asdict(AgentAsk(calls=15)), **asked}
    assert turn.stream is body.get("stream", True)


@pytest.mark.parametrize("body, refused", golden.REFUSED)
def test_what_does_not_fit_is_refused_by_its_field(body: dict[str, Any], refused: tuple[int, str, str]):
    with pytest.raises(MidstreamError) as error:
        read(body)
    status, field, word = refused
    written = msgspec.json.decode(face.DIALECT.write_error(error.value, "req_1"))
    assert (written["statusCode"], written["error"]) == (status, word)
    assert written["message"].startswith(field) or f".{field}:" in written["message"]
    assert set(written) == {"statusCode", "message", "error"}


def test_null_is_the_same_as_absent():
    names = ["conversationId", "stream", "documentIds", "attachments", "variables", "waitForTurn", "editMessageId"]
    turn = read({"message": "hi", "agentId": "a", **dict.fromkeys(names)})
    assert turn.agent == AgentAsk(text="hi", agent="a", conversation="", calls=15)
    assert turn.stream


def test_nothing_is_more_than_to_say_nothing_of_documents_and_variables():
    said = {"message": "hi", "agentId": "a"}
    assert read({**said, "documentIds": [], "variables": {}}).agent.emptied == ("document_ids", "variables")
    assert read({**said, "documentIds": ["doc_1"], "variables": {"a": None}}).agent.emptied == ()


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_turn_is_told_as_it_happens(size: int):
    writer = face.writer(read({"message": "hi", "agentId": "a"}), SAY)
    written = b"".join(writer.write(golden.EVENTS[at : at + size]) for at in range(0, len(golden.EVENTS), size))
    assert told(written) == golden.CONVERSATION_TOLD


def test_the_same_facts_in_one_piece():
    assert fold(golden.EVENTS)
    written = face.write_outcome(read({"message": "hi", "agentId": "a"}), golden.OUTCOME, SAY)
    assert msgspec.json.decode(written) == golden.CONVERSATION_REPLY


def test_why_a_guardrail_refused_it_is_told_in_both():
    outcome, turn = replace(golden.OUTCOME, blocked="card numbers"), read({"message": "hi", "agentId": "a"})
    assert msgspec.json.decode(face.write_outcome(turn, outcome, SAY))["blocked"] == "card numbers"
    [_, (name, done)] = told(face.writer(turn, SAY).write([Concluded(outcome), Done()]))
    assert (name, done["blocked"]) == ("done", "card numbers")


def test_a_failure_in_the_middle_is_the_last_event():
    writer = face.writer(read({"message": "hi", "agentId": "a"}), SAY)
    events: list[Event] = [*golden.EVENTS[:4], golden.FAILED]
    assert told(writer.write(events))[-1] == golden.FAILED_TOLD


def test_an_answer_that_came_in_one_piece_is_told_too():
    writer = face.writer(read({"message": "hi", "agentId": "a"}), SAY)
    whole = Whole(fold(golden.EVENTS))
    written = told(writer.write([Attempted("p", ""), whole, Concluded(golden.OUTCOME), Done()]))
    assert written == [("text", {"delta": "It is sunny."}), *golden.CONVERSATION_TOLD[-2:]]


@pytest.mark.parametrize("error, body", golden.ERRORS)
def test_errors_are_in_the_faces_shape(error: MidstreamError, body: dict[str, Any]):
    assert msgspec.json.decode(face.DIALECT.write_error(error, "req_1")) == body


@pytest.mark.parametrize("stop, word", [("stop", "stop"), ("pause", "length"), ("content_filter", "content_filter")])
def test_finish_reasons_are_one_set_of_words(stop: Any, word: str):
    written = msgspec.json.decode(face.write_outcome(read({"message": "hi", "agentId": "a"}), Outcome("", stop), SAY))
    assert written["finishReason"] == word
    assert written["conversationId"] is None


def test_a_long_answer_of_a_tool_is_told_in_short():
    long = "word " * 500
    [(_, result)] = told(face.tool_result_v1(golden.ToolEnded("c", "t", "ok", long)))
    assert len(result["summary"]) == 300
    assert result["summary"].endswith("…")
