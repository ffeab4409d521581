"""What every face promises."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.app.faces import AgentFace, Face, all_faces
from midstream.core.dialect import Dialect, FaceDialect, Say
from midstream.core.errors import BadRequest, MidstreamError, NotFound
from midstream.core.events import Concluded, Counted, Delta, Done, Embedded, Failed, Opened, PartStarted
from midstream.core.outcome import Outcome
from midstream.core.parts import Text
from midstream.core.turn import Turn
from midstream.core.usage import Usage
from midstream.core.web import Request, Route
from midstream.faces._own import OwnDialect

FACES = all_faces()
ROUTES = [(name, route) for name, face in FACES.items() for route in face.ROUTES]
#: The faces of agents, each with the least that it can be asked.
ASKS: dict[str, dict[str, Any]] = {
    "conversation_v1": {"message": "hi", "agentId": "agt_1"},
    "completion_v2": {"user": "hi", "agent_id": "agt_1"},
    "agent_v1": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
}
TASKS = {"chat", "stream", "playground", "embedding", "embeddings", "count_tokens", "models", "model"}
MESSAGE: dict[str, Any] = {"role": "user", "content": "hi", "parts": [{"text": "hi"}]}
#: Members that make a whole request of each task, whatever the face calls them.
BODIES: dict[str, dict[str, Any]] = {
    "embedding": {"input": "hi", "content": {"parts": [{"text": "hi"}]}, "model": "m"},
    "embeddings": {"requests": [{"model": "models/m", "content": {"parts": [{"text": "hi"}]}}]},
}


def request_of(route: Route, body: bytes, **headers: str) -> Request:
    return Request(route.method, route.path, {}, headers, {"model": "m"}, "req_1", body)


def body_of(face: Face, route: Route) -> bytes:
    value = ASKS.get(face.NAME) or BODIES.get(route.task) or chat_of(face, [MESSAGE])
    return msgspec.json.encode(value)


def chat_of(face: Face, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A chat as its face takes it: our own formats take nothing that they do not know."""
    if isinstance(face.DIALECT, OwnDialect):
        return {"model": "m", "messages": [{name: one[name] for name in ("role", "content")} for one in messages]}
    return {"model": "m", "max_tokens": 9, face.MESSAGES: messages}


posts = pytest.mark.parametrize(
    "name, route", [(name, route) for name, route in ROUTES if route.method == "POST"], ids=lambda one: str(one)[:60]
)


@pytest.mark.parametrize("name", FACES)
def test_a_face_has_all_that_the_spine_asks_of_it(name: str):
    face: Any = FACES[name]
    for member, kind in get_type_hints(Face).items():
        value = getattr(face, member)
        if kind in (str, bytes, bool):
            assert type(value) is kind
    for function in ("read", "writer", "write_result", "write_models", "write_model"):
        assert (
            list(inspect.signature(getattr(face, function)).parameters)
            == list(inspect.signature(getattr(Face, function)).parameters)[1:]
        )
    assert face.__doc__


@pytest.mark.parametrize("name", FACES)
def test_its_dialect_reads_and_answers_and_asks_too_where_providers_speak_it(name: str):
    dialect: Any = FACES[name].DIALECT
    assert dialect.NAME == FACES[name].NAME
    kinds = (FaceDialect, Dialect) if inspect.ismodule(dialect) else (FaceDialect,)
    functions = [
        one for kind in kinds for one, value in vars(kind).items() if inspect.isfunction(value) and one[0] != "_"
    ]
    assert len(functions) == 4 * len(kinds)
    for function in functions:
        assert callable(getattr(dialect, function)), function


@pytest.mark.parametrize("name, route", ROUTES, ids=lambda one: str(one)[:60])
def test_every_route_says_what_it_is_and_can_be_found(name: str, route: Route):
    assert route.summary
    assert route.summary[0].isupper()
    assert not route.summary.endswith(".")
    assert route.method in ("GET", "POST", "DELETE", "PUT", "PATCH")
    assert route.task in TASKS
    assert re.fullmatch(r"(/[\w.:-]*(\{\w+(:rest)?\})?[\w.:-]*)+", route.path)


def test_no_two_faces_claim_the_same_route():
    claims = [(route.method, re.sub(r"\{.*?\}", "{}", route.path)) for _, route in ROUTES]
    assert len(claims) == len(set(claims))


@posts
def test_a_whole_request_is_read_to_a_turn_of_its_dialect(name: str, route: Route):
    face = FACES[name]
    turn = face.read(route.task, request_of(route, body_of(face, route)))
    assert isinstance(turn, Turn)
    assert turn.dialect == face.NAME
    assert (turn.agent is not None) == isinstance(face, AgentFace) == (name in ASKS)
    if turn.agent is not None:
        assert turn.agent.text == "hi" or turn.agent.messages
        assert turn.prompt.messages[0].role == "user"
        assert turn.conversation is None
        assert turn.fresh == ()
        return
    assert turn.model == "m"
    assert turn.kind == {"stream": "chat", "embeddings": "embedding"}.get(route.task, route.task)
    assert (turn.embed is not None) == (turn.kind == "embedding")
    if turn.kind == "chat":
        assert [role for role, _ in turn.fresh] == ["user"]
        assert turn.prompt.messages[0].role == "user"


@posts
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"{} {}", b'{"model": NaN}', b"\xff{}", b"{" * 999]
)
def test_what_is_no_json_object_is_refused(name: str, route: Route, body: bytes):
    with pytest.raises(MidstreamError) as refused:
        FACES[name].read(route.task, request_of(route, body))
    assert refused.value.status == 400


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text("ab\u00e9", max_size=3),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(
        st.sampled_from(["role", "content", "parts", "text", "type", "model", "id", "name", "url"]), inside, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip
MEMBERS = ["model", "messages", "contents", "stream", "stream_options", "store", "conversation", "input", "content",
           "requests", "max_tokens", "tools", "system", "metadata", "generationConfig", "message", "agentId",
           "conversationId", "variables", "attachments", "documentIds", "editMessageId", "regenerateMessageId",
           "waitForTurn", "toolChoice", "context", "instructions", "temperature", "maxOutputTokens", "user",
           "agent_id", "thread_id", "extra_tools", "response_format", "images", "configuration",
           "tool_choice"]  # fmt: skip


@given(st.sampled_from(ROUTES), st.dictionaries(st.sampled_from(MEMBERS), values, max_size=6))
def test_any_body_is_a_turn_or_a_refusal_in_the_callers_terms(claim: tuple[str, Route], body: dict[str, Any]):
    name, route = claim
    if route.method != "POST":
        return
    refusal = None
    try:
        turn = FACES[name].read(route.task, request_of(route, msgspec.json.encode(body)))
        _ = turn.prompt
    except MidstreamError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 501) or (refusal.status == 404 and name in ASKS)
        FACES[name].DIALECT.write_error(refusal, "req_1")


@posts
@pytest.mark.parametrize("word, strict", [("1", True), ("true", True), ("TRUE", True), ("0", False), ("", False)])
def test_a_caller_may_ask_to_be_refused_rather_than_half_understood(name: str, route: Route, word: str, strict: bool):
    if route.task not in ("chat", "stream") or name in ASKS:
        return
    face = FACES[name]
    headers = {"x-midstream-strict": word} if word else {}
    turn = face.read(route.task, request_of(route, body_of(face, route), **headers))
    assert turn.strict is strict


@posts
def test_a_request_that_does_not_say_whether_to_be_strict_is_refused_by_the_headers_name(name: str, route: Route):
    face = FACES[name]
    with pytest.raises(BadRequest) as refused:
        face.read(route.task, request_of(route, body_of(face, route), **{"x-midstream-strict": "on"}))
    assert refused.value.param == "x-midstream-strict"
    assert "x-midstream-strict" in face.DIALECT.write_error(refused.value, "req_1").decode()


@posts
def test_only_what_was_said_since_the_model_last_spoke_is_new(name: str, route: Route):
    face = FACES[name]
    if route.task not in ("chat", "stream") or name in ASKS:
        return
    model = "model" if face.MESSAGES == "contents" else "assistant"
    said = [MESSAGE, {**MESSAGE, "role": model}, {**MESSAGE, "content": "more"}, {**MESSAGE, "content": "and"}]
    body = msgspec.json.encode(chat_of(face, said))
    turn = face.read(route.task, request_of(route, body))
    assert [(role, msgspec.json.decode(native.raw)) for role, native in turn.fresh] == [
        ("user", msgspec.json.decode(body)[face.MESSAGES][2]),
        ("user", msgspec.json.decode(body)[face.MESSAGES][3]),
    ]
    assert {native.dialect for _, native in turn.fresh} == {face.NAME}


@posts
def test_a_result_is_written_in_the_faces_own_words(name: str, route: Route):
    face = FACES[name]
    turn = face.read(route.task, request_of(route, body_of(face, route)))
    if turn.kind == "embedding" or (turn.agent is not None and route.task == "embedding"):
        assert b"0.5" in face.write_result(turn, Embedded("m", ((0.5, 1.0),), Usage(uncached_in=1)))
    elif turn.kind == "count_tokens":
        assert b"42" in face.write_result(turn, Counted(42))


@pytest.mark.parametrize("name", FACES)
def test_models_and_errors_are_json(name: str):
    face = FACES[name]
    assert "p/m" in face.write_models(["p/m", "q"], {}).decode()
    assert "p/m" in face.write_model("p/m").decode()
    for written in (
        face.write_models(["p/m"], {}), face.write_model("p/m"), face.DIALECT.write_error(NotFound("gone"), "req_1")
    ):  # fmt: skip
        assert isinstance(msgspec.json.decode(written), dict)


@pytest.mark.parametrize("name", FACES)
def test_a_ping_means_nothing_to_a_stream(name: str):
    ping = FACES[name].PING
    if "ndjson" in FACES[name].STREAM_TYPE:
        assert ping == b"\n"
        return
    assert ping.endswith(b"\n\n")
    assert ping.startswith((b":", b"event: ping\n"))


@pytest.mark.parametrize("name", FACES)
def test_a_writer_begins_with_nothing_to_say(name: str):
    face = FACES[name]
    [route] = [route for route in face.ROUTES if route.task == "chat"][:1]
    turn = face.read("chat", request_of(route, body_of(face, route)))
    writer = face.writer(turn, Say("id", 1, "m"))
    assert writer.write([]) == b""
    assert isinstance(writer.write([Done()]), bytes)


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_face_of_agents_says_the_same_as_a_stream_and_in_one_piece(name: str, stream: bool):
    face: Any = FACES[name]
    route = next(route for route in face.ROUTES if route.task == "chat")
    turn = face.read("chat", request_of(route, msgspec.json.encode({**ASKS[name], "stream": stream})))
    assert turn.stream is stream
    id = f"{5:024x}"
    outcome = Outcome("an answer", conversation=f"conv_{id}", message=f"msg_{id}", answer=f"msg_{id}", rounds=2)
    say = Say("id", 1, "m")
    events = [Opened(outcome.conversation, outcome.message), PartStarted(0, Text("")), Delta(0, "an answer")]
    told = face.writer(turn, say).write([*events, Concluded(outcome), Done()])
    assert b"an answer" in told
    assert b"done" in told
    assert b"an answer" in face.write_outcome(turn, outcome, say)
    assert isinstance(msgspec.json.decode(face.write_outcome(turn, outcome, say)), dict)
    assert isinstance(msgspec.json.decode(face.write_accepted(turn, outcome.message)), dict)
    broken = face.writer(turn, say).write([*events, Failed(NotFound("went wrong"))])
    assert b"went wrong" in broken
    assert b"done" not in broken


@pytest.mark.parametrize("name", ASKS)
def test_a_face_of_our_own_refuses_what_it_does_not_know_by_name(name: str):
    face = FACES[name]
    route = next(route for route in face.ROUTES if route.task == "chat")
    with pytest.raises(MidstreamError, match="surprise") as refused:
        face.read("chat", request_of(route, msgspec.json.encode({**ASKS[name], "surprise": 1})))
    assert (refused.value.status, refused.value.param) == (400, "surprise")
