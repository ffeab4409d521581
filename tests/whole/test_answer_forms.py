"""Streams and answers in one piece are told apart by their bytes, whatever their content-type says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from .serving import Serving
from .test_chat import DONE, HI, REPLY, USAGE, chunk
from .upstream import Said, Upstream

STREAM = chunk("Hel") + chunk("lo!") + chunk(None, "stop") + USAGE + DONE
TYPES = ["application/json", "application/json; charset=utf-8", "text/plain", "text/event-stream", ""]
CLAUDE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
    "stop_sequence": None,
    "content": [{"type": "text", "text": "Hello!"}], "usage": {"input_tokens": 9, "output_tokens": 3},
}  # fmt: skip
FLASH: dict[str, Any] = {
    "candidates": [{"index": 0, "content": {"parts": [{"text": "Hello!"}]}, "finishReason": "STOP"}],
    "modelVersion": "f",
}  # fmt: skip


def ask(serving: Serving, stream: bool, model: str = "up/x") -> Any:
    return serving.ask("POST", "/v1/chat/completions", {"model": model, "messages": HI, "stream": stream})


def text_of(body: bytes) -> str:
    chunks = [msgspec.json.decode(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    assert body.endswith(DONE)
    return "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"])


@pytest.mark.parametrize("content_type", TYPES)
def test_a_stream_is_a_stream_under_any_content_type(serving: Serving, upstream: Upstream, content_type: str):
    upstream.answer = lambda asked: Said([STREAM[:3], STREAM[3:90], STREAM[90:]], content_type=content_type)
    reply = ask(serving, stream=True)
    assert reply.status == 200
    assert reply.body == STREAM.replace(USAGE, b"")
    assert serving.attempts()[-1]["status"] == "ok"


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize(("model", "body"), [("up/x", REPLY), ("claude/x", CLAUDE), ("flash/x", FLASH)])
def test_an_answer_in_one_piece_can_be_streamed_under_any_content_type(
    serving: Serving, upstream: Upstream, content_type: str, model: str, body: dict[str, Any]
):
    data = b"\n " + msgspec.json.encode(body)
    upstream.answer = lambda asked: Said([data[:9], data[9:]], content_type=content_type)
    reply = ask(serving, stream=True, model=model)
    assert reply.status == 200
    assert text_of(reply.body) == "Hello!"


@pytest.mark.parametrize("content_type", TYPES)
def test_a_stream_that_nobody_asked_for_is_read_to_its_end(serving: Serving, upstream: Upstream, content_type: str):
    upstream.answer = lambda asked: Said([STREAM], content_type=content_type)
    reply = ask(serving, stream=False)
    assert reply.status == 200
    assert reply.json["choices"][0]["message"]["content"] == "Hello!"
    assert reply.json["usage"]["completion_tokens"] == 2


def test_a_stream_that_nobody_asked_for_and_that_was_cut_is_no_answer(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: Said([chunk("Hel")], content_type="application/json")
    assert ask(serving, stream=False).status == 502


def test_an_error_sent_as_a_stream_keeps_its_words(serving: Serving, upstream: Upstream):
    error = msgspec.json.encode({"error": {"message": "no such model", "type": "invalid_request_error", "code": 404}})
    upstream.answer = lambda asked: Said([error], content_type="text/event-stream")
    reply = ask(serving, stream=True)
    assert (reply.status, reply.json["error"]["message"]) == (404, "no such model")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["up/page", "claude/page", "flash/page", "answers/page"])
def test_a_page_in_place_of_an_answer_is_told_as_one(serving: Serving, upstream: Upstream, model: str, stream: bool):
    page = b"\n<!doctype html><html><title>Chat with us</title></html>"
    upstream.answer = lambda asked: Said([page[:1], page[1:]], content_type="text/html")
    reply = ask(serving, stream, model)
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_garbled")
    assert "a page, not an answer" in reply.json["error"]["message"]
