from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs
from msgspec.structs import asdict

from midstream.core.agents import AgentAsk
from midstream.core.dialect import Say
from midstream.core.errors import BadRequest, MidstreamError
from midstream.core.events import Failed
from midstream.core.web import Request
from midstream.faces import agent_v1 as face
from midstream.wire.sse import SSEReader

from . import golden_v1 as golden

SAY = Say("run_1", 1, "m")


def read(body: dict[str, Any]) -> Any:
    return face.read("chat", Request("POST", "/api/v1/agent/run", {}, {}, {}, "req_1", msgspec.json.encode(body)))


@pytest.mark.parametrize("body, asked", golden.AGENT_ASKED)
def test_every_field_reaches_the_ask(body: dict[str, Any], asked: dict[str, Any]):
    turn = read(body)
    assert asdict(turn.agent) == {**asdict(AgentAsk()), **asked}
    assert turn.stream
    assert not read({**body, "stream": False}).stream


@pytest.mark.parametrize("body, refused", golden.AGENT_REFUSED)
def test_what_does_not_fit_is_refused_by_its_field(body: dict[str, Any], refused: tuple[int, str, str]):
    with pytest.raises(MidstreamError) as error:
        read(body)
    assert (error.value.status, error.value.param, error.value.code) == refused


def test_a_run_is_told_as_it_happens_and_in_one_piece():
    turn = read({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    written = face.writer(turn, SAY).write(golden.EVENTS)
    told = [(frame.event.decode(), msgspec.json.decode(frame.data or b"")) for frame in SSEReader().feed(written)]
    assert told == golden.AGENT_TOLD
    assert msgspec.json.decode(face.write_outcome(turn, golden.OUTCOME, SAY)) == golden.AGENT_REPLY


def test_what_is_told_only_when_there_is_such():
    outcome = structs.replace(golden.OUTCOME, dropped=("tool_choice", "top_k"), missing=("name",), noted=("n",))
    written = msgspec.json.decode(face.write_outcome(read(golden.AGENT_ASKED[0][0]), outcome, SAY))
    more = {"droppedParameters": ["toolChoice", "top_k"], "missingVariables": ["name"], "notices": ["n"]}
    assert written == {**golden.AGENT_REPLY, **more}


def test_a_refusal_names_the_field_as_it_is_called_here():
    error = BadRequest("tool_choice: no such tool: gone", param="tool_choice", code="tool_choice_invalid")
    written = msgspec.json.decode(face.DIALECT.write_error(error, ""))
    assert written == {"statusCode": 400, "message": "toolChoice: no such tool: gone", "error": "tool_choice_invalid"}
    failed = face.writer(read(golden.AGENT_ASKED[0][0]), SAY).write([Failed(error)])
    [frame] = SSEReader().feed(failed)
    assert msgspec.json.decode(frame.data or b"") == {"statusCode": 400, "message": "toolChoice: no such tool: gone"}
