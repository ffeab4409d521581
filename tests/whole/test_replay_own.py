"""Recorded exchanges through the real server, asked in the provider's own dialect: nothing may be lost, in either
direction, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from msgspec import Raw

from .corpus import Recording, Score, needed, object_of, recordings
from .naive_answers import Broken, heard
from .replaying import Ask, Got, Replaying, recorded

pytestmark = needed

#: Service -> the provider kinds that its recordings are replayed through.
KINDS = {
    "openai": ("openai",),
    "groq": ("groq",),
    "mistral": ("mistral",),
    "open_router": ("open_router",),
    "azure": ("openai_compatible",),
    "deepseek": ("openai_compatible",),
    "cerebras": ("openai_compatible",),
    "huggingface": ("openai_compatible",),
    "zai": ("openai_compatible",),
    "vllm_local": ("openai_compatible",),
    "openai_embeddings": ("openai",),
    "anthropic": ("anthropic",),
    "gemini": ("gemini",),
}
#: Recordings that differ, and why that is right.
LOST_ASKS: dict[str, str] = {}
LOST_ANSWERS: dict[str, str] = dict.fromkeys(
    ("63977b7d07b5", "894a25c099f2"),
    "content as a list is written anew: clients of OpenAI Chat read it as reasoning_content and text",
)
_FACES = {"openai_chat": ("/v1/chat/completions", "/v1/embeddings")}


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replaying]:
    with Replaying(tmp_path_factory.mktemp("replaying")) as running:
        yield running


def own(recording: Recording, kind: str) -> Ask:
    return Ask(kind, partial(as_recorded, recording), recorded(recording))


def as_recorded(recording: Recording, provider: str) -> tuple[str, bytes]:
    """The path at our server and the recorded body; only the model's name says which provider shall answer."""
    model = f"{provider}/{recording.model}"
    if recording.dialect == "gemini":
        verb = recording.path.rpartition(":")[2]
        query = f"?{recording.query}" if recording.query else ""
        return f"/v1beta/models/{quote(model)}:{verb}{query}", bytes(recording.request)
    body = object_of({**recording.fields, "model": Raw(msgspec.json.encode(model))})
    if recording.dialect == "anthropic_messages":
        return "/v1/messages" + ("/count_tokens" if recording.task == "count_tokens" else ""), body
    return ("/v1/embeddings" if recording.task == "embedding" else "/v1/chat/completions"), body


def lost_of_ask(recording: Recording, got: Got) -> Iterator[str]:
    if len(got.arrived) != 1:
        yield f"{len(got.arrived)} calls upstream, the caller got {got.status} {got.body[:300]!r}"
        return
    [arrived] = got.arrived
    sent, came = recording.fields, msgspec.json.decode(arrived.body, type=dict[str, Raw])
    for name in {**sent, **came}:
        if name == "stream_options" and recording.stream:
            if name in came and msgspec.json.decode(came[name]) != {**options_of(recording), "include_usage": True}:
                yield f"stream_options arrived as {bytes(came[name])!r}"
        elif name == "model" and recording.dialect != "gemini":
            if msgspec.json.decode(came[name]) != recording.model:
                yield f"model arrived as {bytes(came[name])!r}"
        elif name not in came:
            yield f"{name} did not arrive"
        elif name not in sent:
            yield f"{name} was added"
        elif bytes(came[name]) != bytes(sent[name]):
            yield f"{name} arrived as {bytes(came[name])[:200]!r}, not {bytes(sent[name])[:200]!r}"
    if [name for name in sent if name in came] != [name for name in came if name in sent]:
        yield f"the members changed places: {list(came)}"


def options_of(recording: Recording) -> dict[str, Any]:
    return recording.asked.get("stream_options") or {}


def lost_of_answer(recording: Recording, got: Got) -> Iterator[str]:
    if got.status != recording.status:
        yield f"status {got.status}, not {recording.status}: {got.body[:300]!r}"
    elif got.body != recording.body:
        yield difference(recording.body, got.body)


def wrong_in_account(recording: Recording, attempt: dict[str, Any]) -> Iterator[str]:
    """What was spent is written down as the service told it; where it told nothing, it is marked as an estimate."""
    used = attempt["usage"]
    try:
        told = heard(recording.dialect, recording.body, recording.streams).usage
    except Broken:
        return
    if attempt["status"] != "ok":
        yield f"status {attempt['status']}"
    if bool(used["estimated"]) != (told is None):
        yield f"estimated: {used['estimated']}, told: {told}"
    counted = (used["input_tokens"], used["output_tokens"], used["cached_tokens"])
    if told is not None and counted != told:
        yield f"counted {counted}, told {told}"


def difference(recorded: bytes, came: bytes) -> str:
    at = next((place for place, (a, b) in enumerate(zip(recorded, came, strict=False)) if a != b), None)
    at = min(len(recorded), len(came)) if at is None else at
    near = slice(max(at - 60, 0), at + 120)
    return f"byte {at} of {len(recorded)} ({len(came)} came): {recorded[near]!r} came as {came[near]!r}"


PAIRS = [(service, kind) for service, kinds in KINDS.items() for kind in kinds]


@pytest.mark.parametrize(("service", "kind"), PAIRS)
def test_a_recorded_exchange_loses_nothing_in_its_own_dialect(replaying: Replaying, service: str, kind: str):
    replayed = [one for one in recordings(service) if one.dialect != "openai_responses"]
    assert replayed
    asks, answers, accounts = Score(LOST_ASKS), Score(LOST_ANSWERS), Score({})
    outcomes = replaying.all([own(one, kind) for one in replayed])
    attempts = replaying.attempts()
    for recording, got in zip(replayed, outcomes, strict=True):
        asks.add(recording.id, lost_of_ask(recording, got))
        answers.add(recording.id, lost_of_answer(recording, got))
        if recording.task == "chat" and recording.status == 200:
            accounts.add(recording.id, wrong_in_account(recording, attempts[got.headers["x-run-id"]]))
    asks.hold()
    answers.hold()
    accounts.hold()


def without_asking_for_usage(recording: Recording, provider: str) -> tuple[str, bytes]:
    path, body = as_recorded(recording, provider)
    fields = msgspec.json.decode(body, type=dict[str, Raw])
    return path, object_of({name: raw for name, raw in fields.items() if name != "stream_options"})


def holds_only_usage(frame: bytes) -> bool:
    data = frame.strip().removeprefix(b"data: ")
    return data[:1] == b"{" and (value := msgspec.json.decode(data))["choices"] == [] and bool(value.get("usage"))


def test_who_did_not_ask_for_usage_gets_every_byte_but_the_usage_chunk(replaying: Replaying):
    told = [one for one in recordings("openai") if options_of(one).get("include_usage") and one.status == 200]
    assert told
    asks = [Ask("openai", partial(without_asking_for_usage, one), recorded(one)) for one in told]
    answers = Score({})
    for recording, got in zip(told, replaying.all(asks), strict=True):
        frames = recording.body.split(b"\n\n")
        rest = b"\n\n".join(frame for frame in frames if not holds_only_usage(frame))
        answers.add(recording.id, [difference(rest, got.body)] if got.body != rest else [])
    answers.hold()
