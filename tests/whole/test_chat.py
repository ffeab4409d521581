"""The chat face over a real server, a real database and a provider on loopback."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openai import OpenAI

from .serving import ADMIN_KEY, Serving
from .upstream import Asked, Said, Upstream, stream, whole

HI = [{"role": "user", "content": "hi"}]
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "up-model-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello!", "zz_new": 1}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    "zz_vendor": {"b": 1, "a": [1.0, 2e3]},
}
EMBEDDED = {"object": "list", "model": "b", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    return said({} if content is None else {"content": content}, finish, **more)


def said(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    value = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


USAGE = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def ask(serving: Serving, **body: Any) -> Any:
    return serving.ask("POST", "/v1/chat/completions", {"model": "up/x", "messages": HI, **body})


def last_attempt(serving: Serving) -> dict[str, Any]:
    deadline = time.monotonic() + 5
    while True:
        attempt = serving.attempts()[-1]
        if attempt["status"] != "started" or time.monotonic() > deadline:
            return attempt
        time.sleep(0.02)


def raw_stream(serving: Serving, body: dict[str, Any]) -> socket.socket:
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", serving.port), timeout=10)
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (ADMIN_KEY.encode(), len(data), data)
    )
    return connection


def test_the_same_dialect_is_relayed_byte_for_byte_both_ways(serving: Serving, upstream: Upstream):
    answer = json.dumps(REPLY, indent=1).encode()
    upstream.answer = lambda asked: whole(answer)
    body = b'{"zz_first": 1.50, "model": "up/x", "messages": [{"role":"user",  "content":"h\\u00e9", "zz":1e2}]}'
    reply = serving.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 200
    assert reply.body == answer
    [asked] = upstream.asked
    assert asked.body == b'{"zz_first":1.50,"model":"x","messages":[{"role":"user",  "content":"h\\u00e9", "zz":1e2}]}'
    assert asked.headers["authorization"] == "Bearer sk-upstream-secret"


def test_a_stream_is_relayed_byte_for_byte_and_our_usage_chunk_is_kept_from_who_did_not_ask(
    serving: Serving, upstream: Upstream
):
    pieces = [chunk("Hel", zz=1), b": comment\n\n", chunk("lo"), chunk(None, "stop")]
    upstream.answer = lambda asked: stream(*pieces, USAGE, DONE)
    reply = ask(serving, stream=True)
    assert reply.body == b"".join(pieces) + DONE
    assert upstream.asked[0].json["stream_options"] == {"include_usage": True}
    asked_for = ask(serving, stream=True, stream_options={"include_usage": True})
    assert asked_for.body == b"".join(pieces) + USAGE + DONE
    assert last_attempt(serving)["usage"]["output_tokens"] == 2


def test_the_first_token_leaves_before_the_providers_second_arrives(serving: Serving, upstream: Upstream):
    heard = threading.Event()

    def pieces() -> Iterator[bytes | float]:
        yield chunk("one")
        deadline = time.monotonic() + 10  # for a server that holds it back
        while not heard.is_set() and time.monotonic() < deadline:
            yield 0.01
        yield from (chunk("two"), chunk(None, "stop"), DONE)

    upstream.answer = lambda asked: Said(pieces(), content_type="text/event-stream")
    with raw_stream(serving, {"model": "up/x", "messages": HI, "stream": True}) as connection:
        received = b""
        while b"one" not in received:
            received += connection.recv(65536)
        assert b"two" not in received
        heard.set()


def sound(**audio: Any) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"audio": audio}, "finish_reason": None}])


BEGUN = chunk(choices=[{"index": 0, "delta": {"role": "assistant", "refusal": None}, "finish_reason": None}])


def test_a_spoken_answer_is_relayed_and_accounted_for_though_it_never_says_why_it_stopped(
    serving: Serving, upstream: Upstream
):
    pieces = [BEGUN, sound(id="s1", transcript="Hi"), sound(data="QUJD"), USAGE, sound(expires_at=9), DONE]
    upstream.answer = lambda asked: stream(*pieces)
    reply = ask(serving, stream=True, stream_options={"include_usage": True}, modalities=["text", "audio"])
    assert (reply.status, reply.body) == (200, b"".join(pieces))
    assert len(upstream.asked) == 1
    attempt = last_attempt(serving)
    assert (attempt["status"], attempt["usage"]["output_tokens"]) == ("ok", 2)


def test_sound_leaves_as_it_comes_and_is_not_asked_for_again(serving: Serving, upstream: Upstream):
    heard = threading.Event()

    def pieces() -> Iterator[bytes | float]:
        yield BEGUN + sound(id="s1", transcript="Hi")
        deadline = time.monotonic() + 10  # for a server that holds it back
        while not heard.is_set() and time.monotonic() < deadline:
            yield 0.01
        yield sound(data="QUJD")

    upstream.answer = lambda asked: Said(pieces(), content_type="text/event-stream", cut=True)
    with raw_stream(serving, {"model": "up/x", "messages": HI, "stream": True}) as connection:
        received = b""
        while b"transcript" not in received:
            received += connection.recv(65536)
        assert b"QUJD" not in received
        heard.set()
        while b'"error"' not in received:
            received += connection.recv(65536)
    assert b"QUJD" in received
    assert len(upstream.asked) == 1
    assert last_attempt(serving)["status"] == "partial"


def test_every_attempt_is_recorded_with_its_tokens_and_its_exact_cost(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    reply = ask(serving)
    attempt = serving.attempts()[-1]
    assert attempt["run_id"] == reply.headers["x-run-id"]
    assert (attempt["status"], attempt["usage"]["input_tokens"], attempt["usage"]["output_tokens"]) == ("ok", 9, 3)
    assert attempt["cost"] == "0.000002100"
    assert attempt["price"]["source"] == "midstream.toml"


def test_a_client_that_hangs_up_stops_the_provider_and_what_was_spent_is_kept(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: stream(chunk("one"), 30.0, DONE)
    with raw_stream(serving, {"model": "up/x", "messages": HI, "stream": True}) as connection:
        while b"one" not in connection.recv(65536):
            pass
    assert upstream.asked[0].gone.wait(0.25)
    attempt = last_attempt(serving)
    assert attempt["status"] == "partial"
    assert attempt["usage"]["estimated"]
    assert attempt["usage"]["output_tokens"] >= 1


def test_a_client_that_hangs_up_before_a_whole_answer_stops_the_provider_too(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: Said((30.0,))
    with raw_stream(serving, {"model": "up/x", "messages": HI}) as connection:
        while not upstream.asked:
            time.sleep(0.005)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert upstream.asked[0].gone.wait(0.25)
    assert last_attempt(serving)["status"] == "partial"


@pytest.mark.parametrize("end", [(), (chunk(None, None),), (DONE,)])
def test_a_truncated_answer_is_an_error_in_the_stream_never_a_stop(serving: Serving, upstream: Upstream, end: Any):
    upstream.answer = lambda asked: stream(chunk("one"), *end, cut=end == ())
    body = ask(serving, stream=True).body
    assert b'"error"' in body
    assert b"[DONE]" not in body
    assert b'"stop"' not in body
    assert last_attempt(serving)["status"] == "partial"


def test_what_the_provider_refuses_reaches_the_caller_with_its_status_and_words(serving: Serving, upstream: Upstream):
    error = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    upstream.answer = lambda asked: whole(error, 400)
    reply = ask(serving)
    assert (reply.status, reply.json) == (400, error)
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/messages", {"max_tokens": 9, "messages": HI}),
        ("/v1beta/models/{model}:", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ],
)
def test_how_long_a_provider_wants_to_be_left_alone_reaches_the_caller(
    serving: Serving, upstream: Upstream, path: str, body: dict[str, Any], stream: bool
):
    upstream.answer = lambda asked: whole({"error": {"message": "busy"}}, 429, retry_after="120")
    model = f"up/busy{len(path)}{stream}"  # each rests for as long
    if path.endswith(":"):
        path = path.format(model=model) + ("streamGenerateContent" if stream else "generateContent")
    else:
        body = {**body, "model": model, "stream": stream}
    reply = serving.ask("POST", path, body)
    assert (reply.status, reply.headers["retry-after"], reply.headers["retry-after-ms"]) == (429, "120", "120000")
    assert reply.headers["x-should-retry"] == "false"
    assert b"busy" in reply.body


def test_a_busy_provider_is_asked_again_and_both_attempts_are_billed(serving: Serving, upstream: Upstream):
    answers = [whole({"error": {"message": "busy"}}, 503), whole(REPLY)]
    upstream.answer = lambda asked: answers[min(len(upstream.asked), 2) - 1]
    reply = ask(serving)
    assert reply.headers["x-midstream-attempts"] == "2"
    assert [attempt["status"] for attempt in serving.attempts()[-2:]] == ["failed", "ok"]


def test_an_alias_falls_back_to_its_next_target(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    reply = ask(serving, model="two")
    assert reply.json["choices"][0]["message"]["content"] == "Hello!"
    assert upstream.asked[0].json["model"] == "b"


def test_what_the_first_target_of_an_alias_cannot_do_the_next_one_is_asked_for(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY if "messages" in asked.json else EMBEDDED)
    assert ask(serving, model="single", n=2).status == 200
    assert serving.ask("POST", "/v1/embeddings", {"model": "single", "input": "a"}).status == 200
    assert [asked.json["model"] for asked in upstream.asked] == ["b", "b"]
    assert ask(serving, model="claude/a", n=2).json["error"]["code"] == "unsupported"


def test_a_conversation_is_continued_from_the_store_and_named_in_the_reply(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    first = ask(serving, conversation={}, messages=[{"role": "user", "content": "my name is Ada", "zz": 1}])
    id = first.headers["x-conversation-id"]
    assert first.json["conversation"] == {"id": id, "title": "my name is Ada"}
    assert "conversation" not in upstream.asked[0].json
    second = ask(serving, conversation=id, messages=[{"role": "user", "content": "who am I?"}])
    sent = upstream.asked[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[0] == {"role": "user", "content": "my name is Ada", "zz": 1}
    assert sent[1]["content"] == "Hello!"
    assert second.headers["x-conversation-id"] == id


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def strictly(asked: Asked) -> Said:
    """As OpenAI does: no call without its results right behind it."""
    open_calls: list[str] = []
    for message in asked.json["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return whole({"error": {"message": "nobody has called that", "type": "invalid_request_error"}}, 400)
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            break
        else:
            open_calls = [call["id"] for call in message.get("tool_calls", ())]
    if open_calls:
        return whole({"error": {"message": "tool_calls must be followed by tool messages"}}, 400)
    return whole(REPLY)


@pytest.mark.parametrize("broken", ["hung up", "cut"])
def test_a_conversation_goes_on_after_an_answer_that_broke_off_inside_a_call(
    serving: Serving, upstream: Upstream, broken: str
):
    begun = {**CALL, "index": 0, "function": {"name": "f", "arguments": '{"a":"he'}}
    pieces: list[bytes | float] = [said({"content": "Well "}), said({"tool_calls": [begun]})]
    if broken == "hung up":
        pieces.append(30.0)
    upstream.answer = lambda asked: stream(*pieces, cut=True)
    heard = b""
    with raw_stream(
        serving, {"model": "up/x", "messages": HI, "tools": TOOLS, "conversation": {}, "stream": True}
    ) as connection:
        while b'\\"he' not in heard:
            heard += connection.recv(65536)
    [id] = re.findall(rb"x-conversation-id: (\S+)", heard)
    last_attempt(serving)
    upstream.answer = strictly
    for words in ("go on", "hello?"):
        reply = ask(serving, conversation=id.decode(), tools=TOOLS, messages=[{"role": "user", "content": words}])
        assert reply.status == 200, reply.body
    sent = upstream.asked[-1].json["messages"]
    assert [(one["role"], one["content"]) for one in sent[:2]] == [("user", "hi"), ("assistant", "Well ")]
    assert all("tool_calls" not in one for one in sent)


def test_a_result_reaches_its_call_also_when_a_turn_has_failed_between_them(serving: Serving, upstream: Upstream):
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    upstream.answer = lambda asked: whole(
        {**REPLY, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    )
    id = ask(serving, conversation={}, tools=TOOLS).headers["x-conversation-id"]
    upstream.answer = lambda asked: whole({"error": {"message": "no"}}, 400)
    assert ask(serving, conversation=id, tools=TOOLS, messages=[{"role": "user", "content": "go on"}]).status == 400
    upstream.answer = strictly
    told = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    assert ask(serving, conversation=id, tools=TOOLS, messages=[told]).status == 200
    sent = upstream.asked[-1].json["messages"]
    assert [one["role"] for one in sent] == ["user", "user", "assistant", "tool"]
    assert ask(serving, conversation=id, tools=TOOLS).status == 200


def test_a_conversation_that_is_not_there_is_a_404_and_nothing_goes_upstream(serving: Serving, upstream: Upstream):
    assert ask(serving, conversation="conv_other").status == 404
    assert not upstream.asked


@pytest.mark.parametrize("conversation", ["", {"x": 1}, {"ID": "conv_1"}, 7])
def test_what_names_no_conversation_begins_none(serving: Serving, upstream: Upstream, conversation: Any):
    reply = ask(serving, conversation=conversation)
    assert reply.status == 400
    assert reply.json["error"]["param"].startswith("conversation")
    assert not upstream.asked


def test_the_conversation_of_a_reply_can_be_sent_back_as_it_is(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    told = ask(serving, conversation={}).json["conversation"]
    assert ask(serving, conversation=told).headers["x-conversation-id"] == told["id"]


def test_a_model_without_a_name_is_not_there(serving: Serving, upstream: Upstream):
    assert ask(serving, model="up/").status == 404
    asked = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert serving.ask("POST", "/v1beta/models/flash/:generateContent", asked).status == 404
    assert not upstream.asked


def test_store_is_ours_and_stays_here(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    ask(serving, store=True)
    assert "store" not in upstream.asked[0].json


def test_an_unknown_model_is_a_404_naming_near_misses(serving: Serving, upstream: Upstream):
    reply = ask(serving, model="nowhere/x")
    # A bare name goes to the provider of this dialect that takes any; a provider of ours without the model does not.
    assert reply.status in (200, 404)
    missing = ask(serving, model="midstream/rehersal")
    assert missing.status == 404
    assert "midstream/rehearsal" in missing.json["error"]["message"]


def test_the_openai_sdk_in_strict_mode_takes_every_answer(serving: Serving):
    client = OpenAI(base_url=serving.url + "/v1", api_key=ADMIN_KEY, _strict_response_validation=True)
    answer = client.chat.completions.create(model="midstream/rehearsal", messages=HI)  # type: ignore[arg-type]
    assert "rehearsal model" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    chunks = client.chat.completions.create(model="midstream/rehearsal", messages=HI, stream=True)  # type: ignore[call-overload]
    text = "".join(piece.choices[0].delta.content or "" for piece in chunks if piece.choices)
    assert text == answer.choices[0].message.content
    assert [model.id for model in client.models.list()][-1] == "midstream/rehearsal"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b'{"model":"up/x","model":"up/y","messages":[]}', 400, "model"),
        (b'{"model":"up/x"}', 400, "messages"),
        (b'{"messages":[]}', 400, "model"),
        (b'{"model":5,"messages":[]}', 400, "model"),
        (b'{"model":"up/x","messages":"hi"}', 400, "messages"),
        (b'{"model":"up/x","messages":["hi"]}', 400, "messages[0]"),
        (b'{"model":"up/x","messages":[],"temperature":NaN}', 400, None),
    ],
)
def test_bad_input_is_refused_with_the_path_of_the_field(
    serving: Serving, upstream: Upstream, body: bytes, status: int, param: str | None
):
    reply = serving.ask("POST", "/v1/chat/completions", body)
    assert reply.status == status
    assert reply.json["error"]["param"] == param
    assert not upstream.asked


def test_the_edge_refuses_in_the_faces_grammar(serving: Serving):
    assert serving.ask("POST", "/v1/chat/completions", {}, key="wrong").status == 401
    assert serving.ask("GET", "/v1/chat/completions").status == 405
    for path in ("/v1/models", "/v1/admin/runs", "/api/v1/conversation/chat-history"):  # faces, and others
        got, head = serving.ask("GET", path), serving.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    for method, path, kind in (
        ("GET", "/v1/nothing", "invalid_request_error"),
        ("POST", "/v1/batches", "server_error"),
    ):
        error = serving.ask(method, path).json["error"]
        assert (error["code"], error["type"]) == ("unknown_path" if method == "GET" else "not_implemented", kind)
    assert serving.ask("POST", "/v1/chat/completions", b"a=1", content_type="text/plain").status == 415
    reply = serving.ask("POST", "/v1/messages", {}, key="wrong")
    assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (401, "error", "authentication_error")
    reply = serving.ask("POST", "/v1beta/models/x:generateContent", {}, key="wrong")
    assert reply.json["error"]["status"] == "UNAUTHENTICATED"


def test_every_reply_has_a_request_id_and_keeps_the_callers_own(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    assert ask(serving).headers["x-request-id"].startswith("req_")
    assert serving.ask("GET", "/healthz", x_request_id="mine-1").headers["x-request-id"] == "mine-1"
    assert serving.ask("GET", "/healthz", x_request_id="a b").headers["x-request-id"] != "a b"


def _no_key_in(asked: Asked) -> bool:
    return ADMIN_KEY.encode() not in asked.body and all(ADMIN_KEY not in value for value in asked.headers.values())


def test_the_callers_key_never_travels_upstream(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(REPLY)
    ask(serving)
    assert all(_no_key_in(asked) for asked in upstream.asked)


def test_strict_refuses_what_cannot_be_honoured_before_anything_is_called_or_recorded(
    serving: Serving, upstream: Upstream
):
    made = len(serving.attempts())
    body = {"model": "claude/x", "messages": HI, "logit_bias": {"1": 5}}
    refused = serving.ask("POST", "/v1/chat/completions", body, x_midstream_strict="true")
    assert refused.status == 400
    assert "logit_bias" in refused.json["error"]["message"]
    assert refused.headers["x-midstream-attempts"] == "0"
    assert not upstream.asked
    assert len(serving.attempts()) == made


@pytest.mark.parametrize(
    ("path", "near"),
    [("/chat/completions", "/v1/chat/completions"), ("/v1/v1/messages", "/v1/messages"), ("/elsewhere", "")],
)
def test_who_has_a_wrong_base_url_is_told_the_path(serving: Serving, path: str, near: str):
    reply = serving.ask("POST", path, {"model": "up/x", "messages": HI})
    assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_path")
    assert reply.json["error"]["message"] == f"no such path: {path}" + (f"; did you mean {near}?" if near else "")
