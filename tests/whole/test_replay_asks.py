"""Recorded requests through the real server to providers of another dialect: what arrives must mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from urllib.parse import quote

import msgspec
import pytest
from msgspec import Raw

from .corpus import Recording, Score, needed, object_of, recordings
from .naive_asks import Meant, Side, meant
from .replaying import Ask, Got, Replaying
from .upstream import stream, whole

pytestmark = needed

SERVICES = (
    *("openai", "groq", "mistral", "open_router", "azure", "deepseek", "cerebras", "huggingface", "zai", "vllm_local"),
    *("anthropic", "gemini"),
)
#: Provider kind -> its dialect and a model there.
TARGETS = {
    "openai": ("openai_chat", "gpt-4.1"),
    "anthropic": ("anthropic_messages", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
    "openai_response": ("openai_responses", "gpt-4.1"),
}
_VIDEO = "a video: of these services only Gemini and OpenRouter take one"
_SOUND = "a sound: Anthropic takes none"
_UPLOADED = "a file by its id at the vendor to which it was uploaded: no other vendor has it"
#: "kind:recording" -> why the request is refused.
REFUSED_ASKS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("anthropic:cb4d9813a8fc", "anthropic:116e13b0d15b", "anthropic:2284c6f122d7", "anthropic:3fa50df7390e"),
            *("anthropic:8a1ef1ee0ccb", "anthropic:8c4218a5dc7a", "anthropic:f004c37229d3"),
        ),
        _VIDEO,
    ),
    **dict.fromkeys(("anthropic:417bc8c01e63", "anthropic:98e90769cb9f", "anthropic:b8c339a0be5e"), _SOUND),
}
#: "kind:recording" -> what is left out of the request, and told.
OTHER_ASKS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("openai:116e13b0d15b", "openai:2284c6f122d7", "openai:3fa50df7390e", "openai:8a1ef1ee0ccb"),
            *("openai:8c4218a5dc7a", "openai:f004c37229d3"),
            *("openai_response:cb4d9813a8fc", "openai_response:116e13b0d15b", "openai_response:2284c6f122d7"),
            *("openai_response:3fa50df7390e", "openai_response:8a1ef1ee0ccb", "openai_response:8c4218a5dc7a"),
            "openai_response:f004c37229d3",
        ),
        _VIDEO,
    ),
    **dict.fromkeys(
        (
            *("anthropic:acb7a69868e7", "gemini:acb7a69868e7", "gemini:63c9e32e073b", "gemini:b54100644334"),
            *("openai:b54100644334", "openai:63c9e32e073b"),
            *("openai_response:63c9e32e073b", "openai_response:b54100644334"),
        ),
        _UPLOADED,
    ),
}
#: How a parameter that was left out may be called in x-midstream-dropped-params.
_NAMES = {
    "temperature": {"temperature"},
    "stop": {"stop", "stop_sequences", "stopsequences"},
    "max_tokens": {"max_tokens", "max_completion_tokens", "maxoutputtokens"},
}


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    with Replaying(tmp_path_factory.mktemp("replaying")) as running:
        yield running


def data(value: object, event: str = "") -> bytes:
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + msgspec.json.encode(value) + b"\n\n"


_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ok", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
#: Some ask for JSON, which is looked for here.
_TEXT = {"type": "text", "text": '{"ok": true}'}
_USED = {"input_tokens": 1, "output_tokens": 1}
_CANDIDATE = {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP", "index": 0}
_CHAT = {"id": "c", "created": 1, "model": "m"}
_OK = {
    "openai_chat": (
        whole({**_CHAT, "object": "chat.completion", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}),
        stream(
            data({**_CHAT, "object": "chat.completion.chunk", "choices": [
                {"index": 0, "delta": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}),
            b"data: [DONE]\n\n",
        ),
    ),
    "anthropic_messages": (
        whole({**_MESSAGE, "content": [_TEXT], "stop_reason": "end_turn", "usage": _USED}),
        stream(
            data({"type": "message_start", "message": {**_MESSAGE, "content": [], "stop_reason": None,
                                                       "usage": _USED}}, "message_start"),
            data({"type": "content_block_start", "index": 0, "content_block": _TEXT}, "content_block_start"),
            data({"type": "content_block_stop", "index": 0}, "content_block_stop"),
            data({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": _USED}, "message_delta"),
            data({"type": "message_stop"}, "message_stop"),
        ),
    ),
    "gemini": (whole({"candidates": [_CANDIDATE]}), stream(data({"candidates": [_CANDIDATE]}))),
    "openai_responses": (
        whole(_RESPONSE),
        stream(
            data({"type": "response.created", "response": {**_RESPONSE, "output": [], "status": "in_progress"},
                  "sequence_number": 0}, "response.created"),
            data({"type": "response.completed", "response": _RESPONSE, "sequence_number": 1}, "response.completed"),
        ),
    ),
}  # fmt: skip


def asked_of(recording: Recording, request: bytes, model: str, provider: str) -> tuple[str, bytes]:
    """The recorded request to its own face, for a model of another dialect."""
    named = f"{provider}/{model}"
    if recording.dialect == "gemini":
        verb = recording.path.rpartition(":")[2]
        query = f"?{recording.query}" if recording.query else ""
        return f"/v1beta/models/{quote(named)}:{verb}{query}", request
    fields = msgspec.json.decode(request, type=dict[str, Raw])
    body = object_of({**fields, "model": Raw(msgspec.json.encode(named))})
    return ("/v1/messages" if recording.dialect == "anthropic_messages" else "/v1/chat/completions"), body


def differences(recording: Recording, request: bytes, dialect: str, got: Got) -> Iterator[str]:
    if got.status == 400 and b'"param":"n"' in got.body and b'"n":' in request.replace(b" ", b""):
        return  # several answers of a service that gives one: refused by name, as the guide says
    if got.status != 200:
        yield f"status {got.status}: {got.body[:400]!r}"
        return
    if len(got.arrived) != 1:
        yield f"{len(got.arrived)} calls upstream"
        return
    said = meant(recording.dialect, msgspec.json.decode(request))
    came = meant(dialect, got.arrived[0].json)
    _put_straight(said, came)
    if came.system != said.system and not (wants_json(recording) and came.system.startswith(said.system)):
        yield f"system {came.system[:300]!r}, not {said.system[:300]!r}"
    if len(came.sides) != len(said.sides):
        yield f"{len(came.sides)} sides, not {len(said.sides)}: {came.sides}, not {said.sides}"[:900]
    for one, other in zip(said.sides, came.sides, strict=False):
        if one != other:
            yield f"side {brief(other)}, not {brief(one)}"
    if came.tools != said.tools and came.tools != [name for name in said.tools if name in said.allowed]:
        yield f"tools {came.tools}, not {said.tools}"
    yield from parameters(said, came, got.headers)
    for name in got.headers.get("x-midstream-dropped-params", "").split(","):
        word = re.escape(name.rpartition(".")[2])
        snake = re.sub("([A-Z])", lambda found: "_" + found[1].lower(), word)  # which Google takes as well
        if not re.search(rf"\b({word}|{snake})\b".encode(), request):
            yield f"{name} is told as dropped, which is no word of the caller's"


def wants_json(recording: Recording) -> bool:
    """Where a dialect has no switch for it, an instruction asks for JSON."""
    return any(word in bytes(recording.request) for word in (b"json_object", b"application/json"))


def _put_straight(said: Meant, came: Meant) -> None:
    """Anthropic's conversations begin with the user: one that does not is given a first word."""
    if came.sides and came.sides[0] == Side(False, "Continue.") and (not said.sides or said.sides[0].model):
        del came.sides[0]


def brief(side: Side) -> str:
    return repr(side)[:400]


def parameters(said: Meant, came: Meant, headers: Mapping[str, str]) -> Iterator[str]:
    dropped = {name.rpartition(".")[2].lower() for name in headers.get("x-midstream-dropped-params", "").split(",")}
    for name, names in _NAMES.items():
        one, other = getattr(said, name), getattr(came, name)
        usual = name == "temperature" and (one, other) == (1.0, None)  # what is sampled with when nothing is said
        if one not in (None, []) and other != one and not usual and not names & dropped:
            yield f"{name} {other}, not {one}"


PAIRS = [
    (service, kind)
    for service in SERVICES
    for kind, (dialect, _) in TARGETS.items()
    if {"anthropic": "anthropic_messages", "gemini": "gemini"}.get(service, "openai_chat") != dialect
]


@pytest.mark.parametrize(("service", "kind"), PAIRS)
def test_a_recorded_request_means_the_same_to_a_provider_of_another_dialect(
    replaying: Replaying, service: str, kind: str
):
    dialect, model = TARGETS[kind]
    told = [one for one in recordings(service) if one.task == "chat" and one.dialect != "openai_responses"]
    requests = [replaying.local(object_of(one.fields)) for one in told]
    asks = [
        Ask(kind, partial(asked_of, one, request, model), _OK[dialect][one.streams])
        for one, request in zip(told, requests, strict=True)
    ]
    score = Score(REFUSED_ASKS | OTHER_ASKS)
    for recording, request, got in zip(told, requests, replaying.all(asks), strict=True):
        score.add(f"{kind}:{recording.id}", differences(recording, request, dialect, got))
        if f"{kind}:{recording.id}" in OTHER_ASKS:
            assert got.headers["x-midstream-dropped-params"], "left out without a word"
        if f"{kind}:{recording.id}" in REFUSED_ASKS:
            assert got.status == 400
            assert b"messages.content" in got.body
    assert score.total
    score.hold()
