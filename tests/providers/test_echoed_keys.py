"""A service that repeats the key that it is asked with: in an error's status, in a good answer's place, in a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest

from midstream.core.errors import MAX_TOLD, MidstreamError, Refused, UpstreamError
from midstream.core.events import Event, Failed
from midstream.core.http import Incoming, Outgoing, Sink
from midstream.core.turn import EmbedAsk, Plan, Turn
from midstream.providers._concealed import secrets_of
from midstream.providers._service import Provider

from .asking import ADDRESS, MODEL, SERVICES, plan_of, turn_of

KEY = 'sk-operator/key+with="signs"0123'
OWN = "own-gate-token-77"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
#: How services write the key within JSON.
WAYS = [json.dumps(KEY)[1:-1], json.dumps(KEY)[1:-1].replace("/", "\\/"), quote(KEY, safe=""), f"Bearer {OWN}"]
WAYS += [json.dumps(json.dumps({"said": KEY}))[1:-1]]


class Answer(Incoming):
    def __init__(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.status, self.headers, self._data = status, headers or {}, data

    async def pump(self, sink: Sink) -> None:
        sink(self._data)

    async def read(self, limit: int = 0) -> bytes:
        return self._data

    def resume(self) -> None: ...
    def close(self) -> None: ...


class Heard:
    """What comes of one exchange: its events, and the error that it raised. meanwhile: done before it answers."""

    def __init__(self, kind: str, answer: Answer, plan: Plan, meanwhile: Any = None) -> None:
        self.events: list[Event] = []
        self.error: MidstreamError | None = None
        base_url = SERVICES[kind].base_url or ADDRESS
        headers = (("authorization", f"Bearer {OWN}"),)
        provider = Provider("up", SERVICES[kind], self._send, base_url=base_url, headers=headers)
        provider.lend("lent", KEY)
        self._answer = answer
        self._meanwhile = lambda: meanwhile and meanwhile(provider)
        try:
            asyncio.run(provider.complete(None, "lent", plan, self))  # type: ignore[arg-type]
        except UpstreamError as error:
            self.error = error

    async def _send(self, outgoing: Outgoing) -> Incoming:
        self._meanwhile()
        return self._answer

    async def leaving(self) -> None: ...
    def opened(self, resume: Any) -> None: ...

    def emit(self, events: Sequence[Event], size: int) -> bool:
        self.events += events
        return True

    @property
    def failure(self) -> MidstreamError:
        failed = [event.error for event in self.events if isinstance(event, Failed)]
        [failure] = [*failed, *([self.error] if self.error is not None else [])]
        return failure

    def is_silent_of(self, way: str) -> bool:
        """Nothing that can be read of it has the key or a part of it; it is still told that there was one."""
        error = self.failure
        told = [error.message, str(error), repr(error), error.code, error.param, getattr(error, "kind", None)]
        told += [getattr(error, "native", None), *(getattr(event, "native", None) for event in self.events)]
        text = " ".join(one.decode() if isinstance(one, bytes) else str(one) for one in told)
        return not any(part in text for part in (way, KEY, OWN, "operator", "0123", "own-gate")) and "***" in text


def error_body(way: str) -> bytes:
    return f'{{"error":{{"message":"Incorrect API key provided: {way}.","type":"{way}","param":"{way}"}}}}'.encode()


def anthropic_stream(way: str) -> bytes:
    start = '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"c"}}'
    error = f'{{"type":"error","error":{{"type":"invalid_request_error","message":"key {way} bad"}}}}'
    return f"event: message_start\ndata: {start}\n\nevent: error\ndata: {error}\n\n".encode()


def responses_stream(way: str) -> bytes:
    error = f'"error":{{"code":"invalid_prompt","message":"key {way} bad"}}'
    usage = '"usage":{"input_tokens":3,"output_tokens":0,"total_tokens":3}'
    failed = f'"response":{{"id":"r","object":"response","status":"failed","output":[],{usage},{error}}}'
    return f'event: response.failed\ndata: {{"type":"response.failed","sequence_number":0,{failed}}}\n\n'.encode()


STREAMS = {
    "openai_compatible": lambda way: b"data: " + error_body(way) + b"\n\ndata: [DONE]\n\n",
    "openai": lambda way: b"error: " + error_body(way) + b"\n\n",
    "anthropic": anthropic_stream,
    "openai_response": responses_stream,
    "gemini": lambda way: b'data: {"error":{"code":400,"message":"key ' + way.encode() + b' bad"}}\n\n',
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("status", [400, 401, 503])
def test_an_error_that_repeats_the_key_is_told_without_it(kind: str, status: int, way: str):
    heard = Heard(kind, Answer(status, error_body(way)), plan_of(turn_of({**ASK, "max_tokens": 9})))
    assert heard.is_silent_of(way), heard.failure.message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STREAMS)
def test_an_error_in_an_answers_place_is_told_without_the_key(kind: str, way: str):
    if kind == "anthropic":
        body = f'{{"type":"error","error":{{"type":"api_error","message":"key {way} bad"}}}}'.encode()
    else:
        body = error_body(way)
    for stream in (False, True):
        plan = plan_of(turn_of({**ASK, "max_tokens": 9, "stream": stream}))
        heard = Heard(kind, Answer(200, body), plan)
        assert heard.is_silent_of(way), (stream, heard.failure.message)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STREAMS)
def test_an_error_within_a_stream_is_told_without_the_key(kind: str, way: str):
    for stream in (True,) if kind == "openai" else (True, False):  # its bare line is no answer in one piece
        plan = plan_of(turn_of({**ASK, "max_tokens": 9, "stream": stream}))
        heard = Heard(kind, Answer(200, STREAMS[kind](way)), plan)
        assert heard.is_silent_of(way), (stream, heard.failure.message)


def test_vectors_that_fail_say_no_key():
    turn = Turn("openai_chat", {}, lambda fields: turn_of(ASK).prompt, model=MODEL, kind="embedding",
                embed=EmbedAsk(("a",), MODEL))  # fmt: skip
    heard = Heard("openai", Answer(200, error_body(WAYS[1])), Plan(turn, MODEL, False))
    assert heard.is_silent_of(WAYS[1])


def test_a_key_in_which_what_is_told_is_cut_leaves_no_part_of_it():
    for taken in range(1, len(KEY) + 30):
        lead = "x" * (MAX_TOLD - taken)
        way = json.dumps(KEY)[1:-1]
        for answer in (Answer(200, error_body(f"{lead} {way}")), Answer(400, error_body(f"{lead} {way}"))):
            heard = Heard("openai", answer, plan_of(turn_of(ASK)))
            assert "sk-" not in heard.failure.message
            assert isinstance(heard.failure, Refused)
            assert KEY not in str(heard.failure.native)


def test_a_key_that_is_taken_back_meanwhile_is_kept_all_the_same():
    answer = Answer(200, error_body(WAYS[0]), {"x-ratelimit-key": KEY, "x-request-id": "req-1"})
    for stream in (True, False):
        plan = plan_of(turn_of({**ASK, "stream": stream}))
        heard = Heard("openai", answer, plan, lambda provider: provider.take_back("lent"))
        assert heard.is_silent_of(WAYS[0])
        assert KEY not in str(heard.events)
        assert KEY not in str(heard.failure.told)  # type: ignore[attr-defined]


def test_a_list_of_models_that_is_refused_says_no_key():
    for status in (401, 200):

        async def send(outgoing: Outgoing, status: int = status) -> Incoming:
            return Answer(status, error_body(WAYS[1]))

        provider = Provider("up", SERVICES["openai"], send, base_url=ADDRESS, keys={"0": KEY})
        with pytest.raises(UpstreamError) as raised:
            asyncio.run(provider.models())
        assert "operator" not in raised.value.message


def test_the_number_of_an_account_is_no_secret():
    assert secrets_of("sk-abcdef", [("x-goog-user-project", "123456789012"), ("x-team", "red-team")]) == (
        "sk-abcdef", "red-team",
    )  # fmt: skip
