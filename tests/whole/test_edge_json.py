"""Hostile JSON: every value of a rich request, replaced by everything that it should not be."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from . import fault_words
from .outcomes import Got, Read, ask, read
from .serving import ADMIN_KEY, Serving
from .upstream import Asked, Said, Upstream, whole

SEED = 20261121
SAMPLE = 900
AT_ONCE = 16
CANARY = "sk-canary-of-the-json-pack"
TOML = """
[providers.chat]
kind = "openai_compatible"
base_url = "{url}/chat"
[providers.messages]
kind = "anthropic"
base_url = "{url}/messages"
api_key = "sk-canary-of-the-json-pack"
[providers.gemini]
kind = "gemini"
base_url = "{url}/gemini"
api_key = "sk-canary-of-the-json-pack"
[providers.responses]
kind = "openai_response"
base_url = "{url}/responses"
api_key = "sk-canary-of-the-json-pack"
"""
TARGETS = ("chat", "messages", "gemini", "responses", "midstream")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "enum": ["a"]}}, "required": ["city"]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

RICH: dict[str, dict[str, Any]] = {
    "chat": {
        "model": "?", "stream": False, "temperature": 0.5, "top_p": 0.9, "n": 1, "max_completion_tokens": 50,
        "max_tokens": 50, "stop": ["x"], "seed": 7, "user": "u", "store": False, "metadata": {"a": "b"},
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {"50": 1}, "logprobs": True,
        "top_logprobs": 2, "parallel_tool_calls": True, "reasoning_effort": "low", "service_tier": "auto",
        "verbosity": "low", "stream_options": {"include_usage": True}, "conversation": None, "top_k": 5,
        "prediction": {"type": "content", "content": "x"}, "modalities": ["text"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}},
        "tools": [{"type": "function", "function": {"name": "look", "description": "d", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"city\":\"a\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
    },
    "messages": {
        "model": "?", "max_tokens": 50, "stream": False, "temperature": 0.5, "top_p": 0.9, "top_k": 5,
        "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "service_tier": "auto",
        "thinking": {"type": "disabled"},
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "look", "description": "d", "input_schema": SCHEMA}], "tool_choice": {"type": "auto"},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"city": "a"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sunny", "is_error": False},
            ]},
        ],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {
            "temperature": 0.5, "topP": 0.9, "topK": 5, "candidateCount": 1, "maxOutputTokens": 50, "seed": 7,
            "stopSequences": ["x"], "presencePenalty": 0.1, "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
            "thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False},
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "tools": [{"functionDeclarations": [{"name": "look", "description": "d", "parameters": {"type": "OBJECT"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["look"]}},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"city": "a"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"w": "sunny"}}}]},
        ],
    },
}  # fmt: skip

#: JSON text. What no request may hold at all is refused wherever it stands.
LEGAL = {
    "null": b"null", "true": b"true", "zero": b"0", "minus one": b"-1", "a fraction": b"1.5",
    "2^63": b"9223372036854775808",
    "10^30": b"1" + b"0" * 30, "1e308": b"1e308", "empty text": b'""', "text": b'"x"', "a number as text": b'"5"',
    "a megabyte": b'"' + b"x" * 1_000_000 + b'"',
    "line ends": b'"a\\r\\nset-cookie: b"', "controls": b'"\\u0001\\u007f\\u0085"',
    "bidi": b'"\\u202e\\ufeff"', "empty list": b"[]", "a list": b"[1,null,\"x\",{}]", "empty object": b"{}",
    "an object": b'{"a":{"b":[]}}', "__proto__": b'{"__proto__":{"admin":true},"constructor":{}}',
    "60 deep": b"[" * 50 + b"]" * 50, "a thousand": b"[" + b"{}," * 999 + b"{}]", "a path": b'"../../etc/passwd"',
    "an address": b'"http://169.254.169.254/latest"', "a data URL": b'"data:image/png;base64,@@@"',
    "sql": b'"\' OR 1=1 --"',
}  # fmt: skip
NEVER = {
    "NaN": b"NaN", "Infinity": b"-Infinity", "1e999": b"1e999", "NUL": b'"a\\u0000b"', "raw NUL": b'"a\x00b"',
    "lone surrogate": b'"\\ud800"', "invalid UTF-8": b'"\xff\xfe"', "overlong": b'"\xc0\xaf"',
    "key twice": b'{"a":1,"a":2}', "key twice, escaped": b'{"a":1,"\\u0061":2}',
    "10k deep": b"[" * 10_000 + b"]" * 10_000,
    "100 deep": b'{"a":' * 100 + b"1" + b"}" * 100, "leading zero": b"007", "hex": b"0x1", "comment": b"/**/1",
    "single quotes": b"'x'", "trailing comma": b"[1,]", "unquoted": b"{a:1}", "a bare word": b"undefined",
    "open text": b'"x', "raw line end": b'"a\nb"', "bad escape": b'"\\x41"', "NUL key": b'{"\\u0000":1}',
}  # fmt: skip
MISSING = "missing"
EXTRA = "an unknown member"
MARK = "@@here@@"


@dataclass
class Mutation:
    face: str
    target: str
    path: tuple[str | int, ...]
    value: str
    got: Got | None = None
    said: Read | None = None

    @property
    def title(self) -> str:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        return f"{self.face} -> {self.target}: {place} = {self.value}"

    @property
    def body(self) -> bytes:
        body = json.loads(json.dumps(RICH[self.face]))
        if self.face != "gemini":
            body["model"] = model_of(self.target)
        spot: Any = body
        for key in self.path[:-1]:
            spot = spot[key]
        if self.value == MISSING:
            del spot[self.path[-1]]
        elif self.value == EXTRA:
            spot[self.path[-1]] = [{"zz_unknown": {"zz": 1}}]
        else:
            spot[self.path[-1]] = MARK
        return json.dumps(body).encode().replace(f'"{MARK}"'.encode(), (LEGAL | NEVER).get(self.value, b""))


def model_of(target: str) -> str:
    return f"{target}/{'rehearsal' if target == 'midstream' else 'm'}"


def path_of(face: str, target: str) -> str:
    own = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
    return own.get(face) or f"/v1beta/models/{model_of(target)}:generateContent"


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def mutations() -> list[Mutation]:
    values = (MISSING, EXTRA, *LEGAL, *NEVER)
    return [
        Mutation(face, target, path, value)
        for face, target in itertools.product(RICH, TARGETS)
        for path in places(RICH[face])
        for value in values
    ]


#: JSON, as some of the requests come to ask for.
SAID = ('{"a":', "1}")


def answer(asked: Asked) -> Said:
    dialect = asked.path.split("/")[1]
    if b'"stream":true' in asked.body or "streamGenerate" in asked.path:
        return Said([frame for _, frame in fault_words.frames(dialect, SAID)], content_type="text/event-stream")
    return whole(fault_words.whole(dialect, SAID))


@pytest.fixture(scope="module")
def serving(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    upstream.answer = answer
    with Serving(tmp_path_factory.mktemp("json"), TOML.format(url=upstream.url)) as running:
        yield running


async def send(serving: Serving, todo: list[Mutation]) -> None:
    waiting = list(todo)

    async def one() -> None:
        while waiting:
            mutation = waiting.pop()
            path = path_of(mutation.face, mutation.target)
            headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
            mutation.got = await ask(serving.port, "POST", path, mutation.body, headers, 30)
            streamed = mutation.got.headers.get("content-type", "").startswith("text/event-stream")
            mutation.said = read(mutation.face, streamed, mutation.got)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def judged(mutation: Mutation) -> str:
    got, said = mutation.got, mutation.said
    assert got is not None
    assert said is not None
    if got.status >= 500:
        return f"{got.status}: {got.body[:300]!r}"
    if got.status not in (200, 400, 404, 413, 422):
        return f"status {got.status}: {got.body[:200]!r}"
    if mutation.value in NEVER and got.status != 400:
        return f"accepted with {got.status}"
    if got.status != 200 and said.faults:
        return f"{said.faults[0]} {got.body[:200]!r}"
    echoed = got.status == 200 and mutation.target == "midstream"  # the rehearsal says again what it was told
    if len(got.body) > 20_000 and not echoed:
        return f"answered with {len(got.body)} bytes"
    if CANARY.encode() in got.raw or ADMIN_KEY.encode() in got.raw:
        return "a key in the answer"
    if got.seconds > 10:
        return f"took {got.seconds:.1f} s"
    return ""


@pytest.mark.parametrize("size", [SAMPLE, pytest.param(None, marks=pytest.mark.long)], ids=["sample", "whole"])
def test_no_value_at_any_place_is_more_than_a_refusal(serving: Serving, upstream: Upstream, size: int | None):
    upstream.answer = answer
    every = mutations()
    random.Random(SEED).shuffle(every)
    wrong = []
    for at in range(0, size or len(every), 500):
        some = every[at : min(at + 500, size or len(every))]
        asyncio.run(send(serving, some))
        wrong += [f"{one.title}: {found}" for one in some if (found := judged(one))]
        for one in some:
            one.got = one.said = None
        upstream.asked.clear()
    assert not wrong, f"{len(wrong)} of {size or len(every)}:\n" + "\n".join(wrong[:60])
    log = serving.log()
    assert "bug_" not in log
    assert "Traceback" not in log
    assert CANARY not in log
    assert [row for row in serving.attempts() if row["status"] == "started"] == []


@pytest.mark.parametrize("face", RICH)
def test_the_rich_request_itself_is_answered_by_every_provider(serving: Serving, upstream: Upstream, face: str):
    upstream.answer = answer
    for target in TARGETS:
        same = Mutation(face, target, next(places(RICH[face])), "text")
        body = json.loads(same.body)
        key = same.path[0]
        body[key] = RICH[face][key] if key != "model" else body["model"].replace("x", "m")
        if face != "gemini":
            body["model"] = model_of(target)
        reply = serving.ask("POST", path_of(face, target), body)
        assert reply.status == 200, (target, reply.body)


@pytest.mark.parametrize("name", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/x:generateContent"])
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"{", b"{}}", b"{}{}", b"\x00", b"{}\x00", b" " * 100])
def test_what_is_no_object_is_refused(serving: Serving, upstream: Upstream, name: str, body: bytes):
    reply = serving.ask("POST", name, body)
    assert reply.status == 400
    assert msgspec.json.decode(reply.body)["error"]["message"]
    assert not upstream.asked
