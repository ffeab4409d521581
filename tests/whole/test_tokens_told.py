"""What callers are told of tokens is what the ledger is told: a service's own count, else our estimate, which is marked
there; and what no service charges for, or would charge twice for, is not charged."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from .agents_at import Agents
from .serving import ADMIN_KEY, Reply, Serving
from .test_answer_forms import CLAUDE, FLASH
from .test_chat import DONE, HI, REPLY, chunk
from .upstream import Said, Upstream, stream, whole
from .waiting import until

TOML = """
[server]
lame_duck_seconds = 0
[providers.up]
kind = "openai_compatible"
base_url = "{url}/v1"
prices = {{ "*" = {{ input = "1", output = "2" }} }}
[providers.anthropic]
api_key = "sk-ant-secret"
base_url = "{url}"
[providers.gemini]
api_key = "goog-secret"
base_url = "{url}"
[providers.openai_response]
api_key = "sk-secret"
base_url = "{url}/v1"
[providers.open_router]
api_key = "sk-or-secret"
base_url = "{url}/v1"
"""
TEXT = "hello world " * 100
NOTHING = {"input_tokens": 0, "output_tokens": 0, "estimated": False}


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("tokens"), TOML.format(url=upstream.url)) as running:
        yield running


def attempts(serving: Serving, reply: Reply) -> list[dict[str, Any]]:
    run = reply.headers["x-run-id"]
    return list(serving.ask("GET", f"/v1/admin/attempts?run_id={run}").json["data"])


def without_usage(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("usage", "usageMetadata")}


# -------------------------------------------------------------------------------------------------- counting tokens


def counting(whom: str, model: str) -> tuple[str, dict[str, Any]]:
    """model: each its own, as one that has failed often is left alone."""
    if whom == "google":
        return f"/v1beta/models/gemini/{model}:countTokens", {"contents": [{"parts": [{"text": TEXT}]}]}
    return "/v1/messages/count_tokens", {"model": f"{whom}/{model}", "messages": [{"role": "user", "content": TEXT}]}


ENDS = {
    "counted": whole({"input_tokens": 700, "totalTokens": 700}),
    "garbled": whole({"nothing": 700}),
    "refused": whole({"error": {"message": "no"}}, 400),
    "failed": whole({"error": {"message": "not today"}}, 500),
    "cut": Said([b'{"input_tok'], cut=True),
    "hung up": Said(raw=True),
}
#: Each has a price.
MODELS = {"anthropic": "claude-sonnet-4-5", "google": "gemini-2.5-pro", "gemini": "gemini-2.5-flash"}


def costs_nothing(attempt: dict[str, Any]) -> bool:
    used = {name: attempt["usage"][name] for name in NOTHING}
    return used == NOTHING and Decimal(attempt["cost"]) == 0 and attempt["price"] is None


@pytest.mark.parametrize("whom", MODELS)
@pytest.mark.parametrize("end", ENDS)
def test_counting_tokens_costs_none_however_it_ends(serving: Serving, upstream: Upstream, whom: str, end: str):
    upstream.answer = lambda asked: ENDS[end]
    reply = serving.ask("POST", *counting(whom, f"{MODELS[whom]}-{end.replace(' ', '-')}"))
    assert (reply.status == 200) is (end == "counted")
    rows = attempts(serving, reply)
    assert rows
    assert all(map(costs_nothing, rows))


def test_counting_tokens_costs_none_when_its_caller_or_its_server_goes(upstream: Upstream, tmp_path: Path):
    upstream.answer = lambda asked: Said((60.0,))
    path, body = counting("anthropic", MODELS["anthropic"])
    with Serving(tmp_path, TOML.format(url=upstream.url)) as serving:
        caller = http.client.HTTPConnection("127.0.0.1", serving.port)
        caller.request("POST", path, msgspec.json.encode(body), {"authorization": f"Bearer {ADMIN_KEY}"})
        until(lambda: len(upstream.asked) == 1)
        caller.close()
        until(lambda: [row["status"] for row in serving.attempts()] == ["partial"])
        with ThreadPoolExecutor() as pool:
            pending = pool.submit(serving.ask, "POST", path, body)
            until(lambda: len(upstream.asked) == 2)
            serving.kill()
            assert isinstance(pending.exception(), OSError | http.client.HTTPException)
        serving.start()
        rows = serving.attempts()
    assert [row["status"] for row in rows] == ["partial", "unknown"]
    assert all(map(costs_nothing, rows))


# ------------------------------------------------------------------------------------------------------- embeddings


def listed(*vectors: tuple[int, float], **usage: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": at, "embedding": [value]} for at, value in vectors]
    return {"object": "list", "model": "e", "data": data, **({"usage": usage} if usage else {})}


ONE = {"embeddings": [{"values": [0.5]}]}
EMBEDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gemini, for OpenAI's clients": (
        "/v1/embeddings", {"model": "gemini/gemini-embedding-001", "input": TEXT}, ONE,
    ),
    "gemini, for its own clients": (
        "/v1beta/models/gemini/gemini-embedding-001:batchEmbedContents",
        {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": TEXT}]}}]}, ONE,
    ),
    "one that says nothing": ("/v1/embeddings", {"model": "up/e", "input": TEXT}, listed((0, 0.5))),
    "one that says 0": ("/v1/embeddings", {"model": "up/e", "input": TEXT}, listed((0, 0.5), prompt_tokens=0)),
    "one that says nothing, for Google's clients": (
        "/v1beta/models/up/e:embedContent", {"content": {"parts": [{"text": TEXT}]}}, listed((0, 0.5)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EMBEDS)
def test_vectors_whose_tokens_nobody_counted_cost_what_they_are_estimated_at(
    serving: Serving, upstream: Upstream, what: str
):
    path, body, said = EMBEDS[what]
    upstream.answer = lambda asked: whole(said)
    reply = serving.ask("POST", path, body)
    [attempt] = attempts(serving, reply)
    used = attempt["usage"]
    assert (used["estimated"], used["output_tokens"]) == (True, 0)
    assert len(TEXT) / 4 <= used["input_tokens"] < len(TEXT) / 3
    per_million = Decimal("0.15") if "gemini" in path or "gemini" in str(body) else Decimal(1)
    assert Decimal(attempt["cost"]) == per_million * used["input_tokens"] / 1_000_000
    if "for" in what and "its own" not in what:
        told = reply.json["usage"] if "usage" in reply.json else reply.json["usageMetadata"]
        assert {told.get("prompt_tokens"), told.get("promptTokenCount")} - {None} == {used["input_tokens"]}
    else:  # in its own dialect the service's bytes are what its client gets
        assert reply.json == said


def test_vectors_whose_tokens_were_counted_cost_what_was_counted(serving: Serving, upstream: Upstream):
    for said, told in (
        ({"prompt_tokens": 8, "total_tokens": 8}, 8),
        ({"total_tokens": 7}, 7),  # Voyage's way
        ({"prompt_tokens": 6.0}, 6),
    ):
        upstream.asked.clear()
        upstream.answer = lambda asked, said=said: whole(listed((0, 0.5), **said))  # type: ignore[misc]
        [attempt] = attempts(serving, serving.ask("POST", "/v1/embeddings", {"model": "up/e", "input": TEXT}))
        assert (attempt["usage"]["input_tokens"], attempt["usage"]["estimated"]) == (told, False)
        assert len(upstream.asked) == 1


UNPAIRED: dict[str, tuple[str, dict[str, Any]]] = {
    "only the second": ("up", listed((1, 22.0), prompt_tokens=8)),
    "one too few": ("up", listed((0, 1.0), prompt_tokens=8)),
    "one too many": ("up", listed((0, 1.0), (1, 2.0), (2, 3.0), prompt_tokens=8)),
    "one twice": ("up", listed((0, 1.0), (0, 2.0), prompt_tokens=8)),
    "none": ("up", listed()),
    "one of Google's": ("gemini", {"embeddings": [{"values": [22.0]}]}),
    "Google's single one": ("gemini", {"embedding": {"values": [22.0]}}),
    "none of Google's": ("gemini", {"embeddings": []}),
}


@pytest.mark.parametrize("what", UNPAIRED)
def test_no_text_is_given_another_ones_vector(serving: Serving, upstream: Upstream, what: str):
    provider, said = UNPAIRED[what]
    model = f"e{[*UNPAIRED].index(what)}"  # one that has failed often is left alone
    upstream.answer = lambda asked: whole(said)
    if provider == "gemini":
        reply = serving.ask("POST", "/v1/embeddings", {"model": f"gemini/{model}", "input": ["a", "b"]})
        assert reply.json["error"]["code"] == "upstream_garbled"
    else:
        requests = [{"content": {"parts": [{"text": text}]}} for text in "ab"]
        reply = serving.ask("POST", f"/v1beta/models/up/{model}:batchEmbedContents", {"requests": requests})
    assert reply.status == 502
    rows = attempts(serving, reply)
    assert {(row["status"], row["error"]["code"]) for row in rows} == {("failed", "upstream_garbled")}
    for row in rows:  # it has been paid for, at what it said
        counted = "usage" in said
        assert (row["usage"]["input_tokens"] == 8, row["usage"]["estimated"]) == (counted, not counted)


def test_vectors_come_in_the_order_of_their_texts(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: whole(listed((1, 2.0), (0, 1.0), prompt_tokens=8))
    requests = [{"content": {"parts": [{"text": text}]}} for text in "ab"]
    reply = serving.ask("POST", "/v1beta/models/up/e:batchEmbedContents", {"requests": requests})
    assert reply.json["embeddings"] == [{"values": [1.0]}, {"values": [2.0]}]


def test_an_agents_vector_is_the_one_of_its_text(serving: Serving, upstream: Upstream):
    ask = {"user": "two words", "service": "up", "model": "e"}
    for said, status in ((listed((0, 3.0), prompt_tokens=2), 200), (listed((0, 3.0), (1, 4.0)), 502)):
        upstream.answer = lambda asked, said=said: whole(said)  # type: ignore[misc]
        reply = serving.ask("POST", "/api/v2/model/embedding", ask)
        assert reply.status == status, reply.body
    upstream.answer = lambda asked: whole(listed((0, 3.0)))
    told = serving.ask("POST", "/api/v2/model/embedding", ask).json["usage"]
    row = serving.attempts()[-1]
    assert (told["input_tokens"], told["cost"]) == (row["usage"]["input_tokens"], row["cost"])
    assert row["usage"]["estimated"]


# ---------------------------------------------------------------------------------------------------------- answers

RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5",
    "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]}],
}  # fmt: skip
#: Each service's answer without a count, and whose own clients it is written for.
SILENT: dict[str, tuple[dict[str, Any], str]] = {
    "up/m": (without_usage(REPLY), "chat"),
    "anthropic/claude-sonnet-4-5": (without_usage(CLAUDE), "messages"),
    "gemini/gemini-2.5-flash": (FLASH, "google"),
    "openai_response/gpt-5": (RESPONSE, ""),
}
#: In its own dialect the service's bytes are what its client gets.
ACROSS = [
    (model, face) for model in SILENT for face in ("chat", "messages", "google", "own") if SILENT[model][1] != face
]


def asked_of(face: str, serving: Serving, model: str, streams: bool) -> tuple[Reply, Any]:
    """The reply, and what it says of tokens: (in, out)."""
    match face:
        case "chat":
            body = {"model": model, "messages": HI, "stream": streams, "stream_options": {"include_usage": True}}
            reply = serving.ask("POST", "/v1/chat/completions", body)
            names = ("prompt_tokens", "completion_tokens")
        case "messages":
            body = {"model": model, "max_tokens": 99, "messages": HI, "stream": streams}
            reply = serving.ask("POST", "/v1/messages", body)
            names = ("input_tokens", "output_tokens")
        case "google":
            verb = "streamGenerateContent?alt=sse" if streams else "generateContent"
            reply = serving.ask("POST", f"/v1beta/models/{model}:{verb}", {"contents": [{"parts": [{"text": "hi"}]}]})
            names = ("promptTokenCount", "candidatesTokenCount")
        case _:
            reply = serving.ask("POST", "/api/v1/completions", {"model": model, "messages": HI, "stream": streams})
            names = ("inputTokens", "outputTokens")
    assert reply.status == 200, reply.body
    lines = [line.removeprefix(b"data: ") for line in reply.body.splitlines()] if streams else [reply.body]
    values = [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]
    found = [value.get("usage") or value.get("usageMetadata") or value for value in values]
    used = next(one for one in reversed(found) if names[0] in one)
    return reply, (used[names[0]], used[names[1]])


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("model", "face"), ACROSS)
def test_who_is_told_of_tokens_that_nobody_counted_is_told_the_ledgers_estimate(
    serving: Serving, upstream: Upstream, model: str, face: str, streams: bool
):
    said, _ = SILENT[model]
    upstream.answer = lambda asked: whole(said)
    reply, told = asked_of(face, serving, model, streams)
    [row] = attempts(serving, reply)
    assert row["usage"]["estimated"]
    assert told == (row["usage"]["input_tokens"], row["usage"]["output_tokens"])
    assert row["usage"]["output_tokens"] == 2  # "Hello!", at four bytes each
    assert row["usage"]["input_tokens"] > 5


def test_what_nobody_counted_is_estimated_by_all_that_the_model_was_shown(serving: Serving, upstream: Upstream):
    """Not by what the caller wrote: an agent's prompt and what was said before are asked with, too."""
    upstream.answer = lambda asked: whole(without_usage(REPLY))
    agents = Agents(serving)
    agent = agents.agent(service="up", configuration={"model": "m", "prompt": "Be kind. " * 4000})
    [row] = attempts(serving, agents.say(agent, "hi"))
    assert row["usage"]["estimated"]
    assert 9_000 <= row["usage"]["input_tokens"] < 9_500

    said: dict[str, Any] = {"model": "up/m", "messages": [{"role": "user", "content": TEXT}], "conversation": {}}
    said["conversation"] = asked_in(serving, said).json["conversation"]["id"]
    [row] = attempts(serving, asked_in(serving, said))
    assert 2 * len(TEXT) / 4 <= row["usage"]["input_tokens"] < 2 * len(TEXT) / 3


def asked_in(serving: Serving, body: dict[str, Any]) -> Reply:
    reply = serving.ask("POST", "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    return reply


def test_a_picture_of_a_call_that_was_cut_is_not_charged_by_its_bytes(serving: Serving, upstream: Upstream):
    upstream.answer = lambda asked: stream(chunk("Hel"), cut=True)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 100_000}}
    body = {"model": "up/m", "messages": [{"role": "user", "content": [picture]}], "stream": True}
    [row] = attempts(serving, asked_in(serving, body))
    assert (row["status"], row["usage"]["estimated"]) == ("partial", True)
    assert 1000 <= row["usage"]["input_tokens"] < 1100


@pytest.mark.parametrize("face", ["messages", "google", "own"])
def test_a_stream_without_a_count_is_told_of_the_same_way(serving: Serving, upstream: Upstream, face: str):
    upstream.answer = lambda asked: stream(chunk("Hel"), chunk("lo!"), chunk(None, "stop"), DONE)
    reply, told = asked_of(face, serving, "up/m", True)
    [row] = attempts(serving, reply)
    assert row["usage"]["estimated"]
    assert told == (row["usage"]["input_tokens"], row["usage"]["output_tokens"])
    assert told[0] > 5
    assert told[1] == 2


LONG = "word " * 400
#: Streams whose last count is missing, as they are written.
COUNTED_EARLY: dict[str, list[dict[str, Any]]] = {
    "anthropic/claude-sonnet-4-5": [
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [],
                                              "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": LONG}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ],
    "gemini/gemini-2.5-flash": [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "a"}]}}],
         "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}},
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": LONG}]}, "finishReason": "STOP"}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("model", COUNTED_EARLY)
def test_a_stream_whose_last_count_is_missing_is_not_billed_by_its_first(
    serving: Serving, upstream: Upstream, model: str
):
    frames = [f"event: {one['type']}\n" if "type" in one else "" for one in COUNTED_EARLY[model]]
    data = [b"data: " + msgspec.json.encode(one) + b"\n\n" for one in COUNTED_EARLY[model]]
    upstream.answer = lambda asked: stream(*(name.encode() + one for name, one in zip(frames, data, strict=True)))
    reply, told = asked_of("chat", serving, model, True)
    [row] = attempts(serving, reply)
    used = row["usage"]
    assert (row["status"], used["estimated"], used["input_tokens"]) == ("ok", True, 9)
    assert told == (9, used["output_tokens"])
    assert used["output_tokens"] in (500, 501)


def test_in_its_own_dialect_a_stream_without_a_count_stays_as_it_is(serving: Serving, upstream: Upstream):
    said = chunk("Hello!") + chunk(None, "stop") + DONE
    upstream.answer = lambda asked: stream(said)
    body = {"model": "up/m", "messages": HI, "stream": True, "stream_options": {"include_usage": True}}
    assert serving.ask("POST", "/v1/chat/completions", body).body == said


#: usage as it is written, then what the ledger has: (in, -1 = estimated; out; whether something is an estimate).
ODD: dict[str, tuple[Any, int, int, bool]] = {
    "whole fractions": ({"prompt_tokens": 12.0, "completion_tokens": 5.0}, 12, 5, False),
    "a half": ({"prompt_tokens": 12.5, "completion_tokens": 5}, -1, 5, True),
    "below zero": ({"prompt_tokens": -3, "completion_tokens": 5}, -1, 5, True),
    "output below zero": ({"prompt_tokens": 12, "completion_tokens": -5}, 12, 2, True),
    "words": ({"prompt_tokens": "many", "completion_tokens": "5"}, -1, 5, True),
    "no object": ([1], -1, 2, True),
    "details": ({"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": []}, 12, 5, False),
}  # fmt: skip


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("what", ODD)
def test_a_good_answer_is_not_paid_for_again_for_the_sake_of_its_count(
    serving: Serving, upstream: Upstream, what: str, streams: bool
):
    usage, tokens_in, tokens_out, estimated = ODD[what]
    last = b"data: " + msgspec.json.encode({"choices": [], "usage": usage}) + b"\n\n"
    said = stream(chunk("Hello!"), chunk(None, "stop"), last, DONE) if streams else whole({**REPLY, "usage": usage})
    for face in ("chat", "messages"):
        upstream.answer = lambda asked: said
        upstream.asked.clear()
        body = {"model": "up/m", "messages": HI, "stream": streams, "max_tokens": 99}
        reply = serving.ask("POST", "/v1/messages" if face == "messages" else "/v1/chat/completions", body)
        assert reply.status == 200
        assert b"Hello!" in reply.body
        assert len(upstream.asked) == 1
        [row] = attempts(serving, reply)
        used = row["usage"]
        assert (row["status"], used["estimated"], used["output_tokens"]) == ("ok", estimated, tokens_out)
        assert used["input_tokens"] == tokens_in or (tokens_in < 0 and used["input_tokens"] > 5)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("anthropic/claude-sonnet-4-5", {**CLAUDE, "usage": {"input_tokens": 9.0, "output_tokens": 3.0}}),
        ("gemini/gemini-2.5-flash", {**FLASH, "usageMetadata": {"promptTokenCount": 9.0, "candidatesTokenCount": 3.0}}),
        ("openai_response/gpt-5", {**RESPONSE, "usage": {"input_tokens": 9.0, "output_tokens": 3.0}}),
    ],
)
def test_counts_written_as_fractions_are_counts_of_every_service(
    serving: Serving, upstream: Upstream, model: str, said: Any
):
    upstream.answer = lambda asked: whole(said)
    reply, told = asked_of("own", serving, model, False)
    [row] = attempts(serving, reply)
    assert told == (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (9, 3)
    assert not row["usage"]["estimated"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_service_that_says_what_it_charges_is_believed_where_no_price_is_known(
    serving: Serving, upstream: Upstream, streams: bool
):
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 1.4e-05}
    last = b"data: " + msgspec.json.encode({"choices": [], "usage": usage}) + b"\n\n"
    said = stream(chunk("Hello!"), chunk(None, "stop"), last, DONE) if streams else whole({**REPLY, "usage": usage})
    upstream.answer = lambda asked: said
    ask = {"messages": HI, "stream": streams}
    costs = {}
    for model in ("open_router/nobody/knows-it", "open_router/openai/gpt-4o-2024-11-20", "up/m"):
        [row] = attempts(serving, serving.ask("POST", "/v1/chat/completions", {"model": model, **ask}))
        costs[model] = (row["cost"], row["price"]["source"].split()[0])
    assert costs == {
        "open_router/nobody/knows-it": ("0.000014000", "the"),
        "open_router/openai/gpt-4o-2024-11-20": ("0.000052500", "genai-prices"),
        "up/m": ("0.000015000", "midstream.toml"),
    }
    del usage["cost"]
    upstream.answer = lambda asked: whole({**REPLY, "usage": usage})
    body = {"model": "open_router/nobody/knows-it", "messages": HI}
    [row] = attempts(serving, serving.ask("POST", "/v1/chat/completions", body))
    assert (row["cost"], row["price"]) == (None, None)
