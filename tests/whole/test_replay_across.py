"""Recorded answers through the real server to callers of other dialects: they must mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from .corpus import Recording, Score, needed, recordings
from .naive_answers import Broken, Heard, Voice, heard
from .replaying import Ask, Got, Replaying
from .upstream import Said

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
FACES = ("openai_chat", "anthropic_messages", "gemini")
#: "face:recording" -> why its answer means something else there, and why that is right.
OTHER_ANSWERS: dict[str, str] = {}
#: What a dialect says where it has no word of its own.
_STOPS = {
    "openai_chat": {"error": "content_filter", "pause": "length"},
    "anthropic_messages": {"error": "content_filter"},
    "gemini": {},
}
_ID = re.compile(r"[a-zA-Z0-9_-]+")


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    with Replaying(tmp_path_factory.mktemp("replaying")) as running:
        yield running


def hello(face: str, recording: Recording, provider: str) -> tuple[str, bytes]:
    """The same small request in the words of a face, as a stream when the recording is one."""
    model, stream = f"{provider}/{recording.model}", recording.streams
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


def differences(face: str, recording: Recording, got: Got) -> Iterator[str]:
    said = told(recording.dialect, recording.body, recording.streams)
    came = told(face, got.body, recording.streams) if got.status == 200 else None
    if said is None or came is None:
        if said is not came:
            yield f"status {got.status}, error: {came is None}, recorded as an error: {said is None}: {got.body[:300]!r}"
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
    if came.stop != _STOPS[face].get(said.stop, said.stop):
        yield f"stop {came.stop}, not {said.stop}"


def usage_difference(said: Heard, came: Heard) -> Iterator[str]:
    if said.usage is not None and came.usage != said.usage:
        yield f"usage {came.usage}, not {said.usage}"


PAIRS = [(service, face) for service in SERVICES for face in FACES]


@pytest.mark.parametrize(("service", "face"), PAIRS)
def test_a_recorded_answer_means_the_same_in_another_dialect(replaying: Replaying, service: str, face: str):
    chats = [one for one in recordings(service) if one.task == "chat" and one.status == 200 and one.dialect != face]
    kinds = {one.id: "openai_response" if one.dialect == "openai_responses" else SERVICES[service] for one in chats}
    asks = [Ask(kinds[one.id], partial(hello, face, one), Said((one.body,), content_type=one.type)) for one in chats]
    score = Score(OTHER_ANSWERS)
    for recording, got in zip(chats, replaying.all(asks), strict=True):
        score.add(f"{face}:{recording.id}", differences(face, recording, got))
    score.hold()
