"""Recorded answers through the real server to callers of other dialects: they must mean the same."""

from __future__ import annotations

import base64
import json
import re
from array import array
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from .corpus import Recording, Score, needed, recordings
from .naive_answers import Broken, Heard, Voice, heard
from .replaying import Ask, Got, Replaying, recorded

pytestmark = needed

#: Service -> the provider kind that its recordings are replayed through, by the recording's dialect.
SERVICES = {
    "openai": "openai",
    "groq": "groq",
    "mistral": "mistral",
    "open_router": "open_router",
    "azure": "openai_compatible",
    "deepseek": "openai_compatible",
    "cerebras": "openai_compatible",
    "huggingface": "openai_compatible",
    "zai": "openai_compatible",
    "vllm_local": "openai_compatible",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "openai_response": "openai_response",
}
OWN = {"anthropic": "anthropic_messages", "gemini": "gemini", "openai_response": ""}
FACES = ("openai_chat", "anthropic_messages", "gemini")
#: "face:recording" -> why its answer means something else there, and why that is right.
OTHER_ANSWERS: dict[str, str] = {}
OTHER_STREAMS: dict[str, str] = {}
#: What a dialect says where it has no word of its own.
_STOPS = {
    "openai_chat": {"error": "content_filter", "pause": "length"},
    "anthropic_messages": {"error": "content_filter"},
    "gemini": {"tool_calls": "stop"},
}
_ID = re.compile(r"[a-zA-Z0-9_-]+")


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    with Replaying(tmp_path_factory.mktemp("replaying")) as running:
        yield running


def hello(face: str, recording: Recording, stream: bool, provider: str) -> tuple[str, bytes]:
    """The same small request in the words of a face."""
    model = f"{provider}/{recording.model}"
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    if face == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        return f"/v1beta/models/{model}:{verb}", msgspec.json.encode(body)
    body = {"model": model, "messages": messages, "stream": stream}
    if face == "openai_chat":
        more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
        return "/v1/chat/completions", msgspec.json.encode(body | more)
    return "/v1/messages", msgspec.json.encode(body | {"max_tokens": 100})


def differences(face: str, recording: Recording, stream: bool, got: Got) -> Iterator[str]:
    said = told(recording.dialect, recording.body, recording.streams)
    came = told(face, got.body, stream) if got.status == 200 else None
    if said is None or came is None:
        if said is not came:
            yield f"status {got.status}, an error: {came is None}, not {said is None}: {got.body[:300]!r}"
        return
    voices = said.voices[:1] if face == "anthropic_messages" else said.voices
    if len(came.voices) != len(voices):
        yield f"{len(came.voices)} choices, not {len(voices)}"
    for one, other in zip(voices, came.voices, strict=False):
        yield from voice_differences(face, one, other)
    yield from usage_difference(said, came)


def told(dialect: str, body: bytes, stream: bool) -> Heard | None:
    """None when the answer is, or ends in, an error."""
    try:
        return heard(dialect, body, stream)
    except Broken:
        return None


def voice_differences(face: str, said: Voice, came: Voice) -> Iterator[str]:
    if came.text != said.text:
        yield f"text {came.text[:300]!r}, not {said.text[:300]!r}"
    if came.thought != said.thought:
        yield f"thought {came.thought[:300]!r}, not {said.thought[:300]!r}"
    if [(call.name, call.arguments) for call in came.calls] != [(call.name, call.arguments) for call in said.calls]:
        yield f"calls {came.calls}, not {said.calls}"
    for one, other in zip(said.calls, came.calls, strict=False):
        if other.id != one.id and one.id and (face != "anthropic_messages" or _ID.fullmatch(one.id)):
            yield f"call id {other.id!r}, not {one.id!r}"
    # That tools were called tells more than the word: a forced call says "stop" in some dialects.
    stop = "tool_calls" if said.calls and said.stop == "stop" else said.stop
    if said.declined and stop == "stop" and face != "openai_chat":
        stop = "content_filter"  # where a refusal is no part of its own, only the end can say that it is one
    if came.stop != _STOPS[face].get(stop, stop):
        yield f"stop {came.stop}, not {stop}"


def usage_difference(said: Heard, came: Heard) -> Iterator[str]:
    # A service that counts no tokens at all has not counted: then its caller is told our estimate.
    if said.usage is not None and any(said.usage) and came.usage != said.usage:
        yield f"usage {came.usage}, not {said.usage}"


PAIRS = [(service, face) for service in SERVICES for face in FACES]
#: The file deepseek also holds OpenAI Responses.
ACROSS = [
    (service, face) for service, face in PAIRS if OWN.get(service, "openai_chat") != face or service == "deepseek"
]


@pytest.mark.parametrize(("service", "face"), ACROSS)
def test_a_recorded_answer_means_the_same_in_another_dialect(replaying: Replaying, service: str, face: str):
    chats = [one for one in recordings(service) if one.task == "chat" and one.status == 200 and one.dialect != face]
    kinds = {one.id: "openai_response" if one.dialect == "openai_responses" else SERVICES[service] for one in chats}
    asks = [Ask(kinds[one.id], partial(hello, face, one, one.streams), recorded(one)) for one in chats]
    score = Score(OTHER_ANSWERS)
    for recording, got in zip(chats, replaying.all(asks), strict=True):
        score.add(f"{face}:{recording.id}", differences(face, recording, recording.streams, got))
    assert score.total
    score.hold()


@pytest.mark.parametrize(("service", "face"), PAIRS)
def test_a_whole_answer_means_the_same_to_who_asked_for_a_stream(replaying: Replaying, service: str, face: str):
    """Also of its own dialect: some servers do not stream what they are asked to stream."""
    wholes = [one for one in recordings(service) if one.task == "chat" and one.status == 200 and not one.streams]
    kinds = {one.id: "openai_response" if one.dialect == "openai_responses" else SERVICES[service] for one in wholes}
    asks = [Ask(kinds[one.id], partial(hello, face, one, True), recorded(one)) for one in wholes]
    score = Score(OTHER_STREAMS)
    for recording, got in zip(wholes, replaying.all(asks), strict=True):
        score.add(f"{face}:{recording.id}", differences(face, recording, True, got))
    score.hold()


def error_message(body: bytes) -> str:
    """Wherever the service has it: most say {"error": {"message": ...}}."""
    value = json.loads(body)
    value = value[0] if isinstance(value, list) else value
    error = value.get("error") or value
    told = error if isinstance(error, str) else error.get("message") or error.get("detail")
    return str(told)


@pytest.mark.parametrize("face", FACES)
def test_a_recorded_error_keeps_its_status_and_its_words_in_another_dialect(replaying: Replaying, face: str):
    refused = [
        (one, kind)
        for service, kind in SERVICES.items()
        for one in recordings(service)
        if one.task == "chat" and one.status >= 400 and face != one.dialect != "openai_responses"
    ]
    asks = [Ask(kind, partial(hello, face, one, one.streams), recorded(one)) for one, kind in refused]
    score = Score({})
    for (recording, _), got in zip(refused, replaying.all(asks), strict=True):
        words = error_message(recording.body)
        same = got.status == recording.status and words in error_message(got.body)
        score.add(recording.id, [] if same else [f"{got.status} {got.body[:300]!r}, not {recording.status} {words}"])
    assert score.total
    score.hold()


def vectors(body: bytes) -> list[list[float]]:
    """In single precision, which is what services compute in and base64 carries."""
    value = json.loads(body)
    if "data" in value:
        found = [one["embedding"] for one in value["data"]]
    else:
        found = [one["values"] for one in value["embeddings"]]
    return [list(array("f", base64.b64decode(one) if isinstance(one, str) else one)) for one in found]


def embed(face: str, recording: Recording, count: int, provider: str) -> tuple[str, bytes]:
    model, texts = f"{provider}/{recording.model}", [f"text {number}" for number in range(count)]
    if face == "openai_chat":
        return "/v1/embeddings", msgspec.json.encode({"model": model, "input": texts})
    requests = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}} for text in texts]
    return f"/v1beta/models/{model}:batchEmbedContents", msgspec.json.encode({"requests": requests})


@pytest.mark.parametrize(
    ("service", "kind", "face"),
    [
        ("openai_embeddings", "openai", "gemini"),
        ("mistral", "mistral", "gemini"),
        ("vllm_local", "openai_compatible", "gemini"),
        ("gemini", "gemini", "openai_chat"),
    ],
)
def test_recorded_vectors_are_the_same_in_another_dialect(replaying: Replaying, service: str, kind: str, face: str):
    told = [one for one in recordings(service) if one.task == "embedding" and one.status == 200]
    counts = [len(vectors(one.body)) for one in told]
    asks = [Ask(kind, partial(embed, face, one, count), recorded(one)) for one, count in zip(told, counts, strict=True)]
    score = Score({})
    for recording, got in zip(told, replaying.all(asks), strict=True):
        same = got.status == 200 and vectors(got.body) == vectors(recording.body)
        score.add(recording.id, [] if same else [f"{got.status} {got.body[:300]!r}, not {recording.body[:300]!r}"])
    assert score.total
    score.hold()
