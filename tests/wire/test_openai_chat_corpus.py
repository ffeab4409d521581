"""Recorded real exchanges of OpenAI-compatible services: nothing may be lost or changed in meaning."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Delta, Done, Event, Failed, Fold
from midstream.core.parts import Reasoning, Refusal, ToolCall, text_of
from midstream.core.turn import Plan, Turn
from midstream.wire import openai_chat
from midstream.wire.strict_json import read_object

CORPUS = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS") or Path(__file__).parents[3] / "shared" / "wire")
FILES = (
    *("openai", "groq", "mistral", "open_router", "azure"),
    *("deepseek", "cerebras", "huggingface", "zai", "vllm_local"),
)
SAY = Say(id="chatcmpl-1", created=1, model="m", include_usage=True)

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded exchanges at {CORPUS}")


def exchanges() -> Iterator[dict[str, Any]]:
    for name in FILES:
        path = CORPUS / f"{name}.jsonl"
        for line in path.read_text().splitlines() if path.is_file() else ():
            exchange = json.loads(line)
            if "chat/completions" in exchange["path"]:
                yield exchange | {"service": name}


ALL = list(exchanges())
STREAMS = [one for one in ALL if one["stream"] and one["status"] == 200]
WHOLE = [one for one in ALL if not one["stream"] and one["status"] == 200]
REFUSED = [one for one in ALL if one["status"] != 200]


def read(body: str, pieces: int = 0) -> tuple[list[Event], Answer]:
    reader, data = openai_chat.answer_reader(), body.encode()
    events: list[Event] = []
    for at in range(0, len(data), pieces or len(data) or 1):
        events += reader.feed(data[at : at + (pieces or len(data))])
    events += reader.finish()
    folding = Fold()
    for event in events:
        folding.add(event)
    return events, folding.answer()


def test_the_corpus_is_there() -> None:
    assert len(STREAMS) > 80
    assert len(WHOLE) > 350


def test_every_request_is_read_and_goes_out_as_it_came() -> None:
    for exchange in ALL:
        if exchange["request"] is None:
            continue
        asked = exchange["request"]
        body = json.dumps(asked, ensure_ascii=False).encode()
        fields = read_object(body)
        prompt = openai_chat.read_ask(fields)
        assert len(prompt.messages) == len(asked["messages"])
        natives = [message.native.raw for message in prompt.messages if message.native is not None]
        assert [json.loads(raw) for raw in natives] == asked["messages"]
        turn = Turn(openai_chat.NAME, fields, openai_chat.read_ask, model=asked["model"])
        sent = openai_chat.write_ask(Plan(turn, "another", exchange["stream"]))
        expected = asked | {"model": "another"}
        if exchange["stream"]:
            expected |= {"stream": True, "stream_options": asked.get("stream_options", {}) | {"include_usage": True}}
        assert json.loads(sent.body) == expected
        assert sent.dropped == ()
        again = read_object(sent.body)
        for name, raw in fields.items():
            if name not in ("model", "stream", "stream_options"):
                assert bytes(again[name]) == bytes(raw)


def naive(message: dict[str, Any]) -> dict[str, Any]:
    """What a message says, read without any of the code under test."""
    content, thought = message.get("content") or "", message.get("reasoning_content") or message.get("reasoning") or ""
    if isinstance(content, list):
        thinking = [item["thinking"] for item in content if item["type"] == "thinking"]
        thought += "".join(piece["text"] for pieces in thinking for piece in pieces)
        content = "".join(item["text"] for item in content if item["type"] == "text")
    if not thought:
        thought = "".join(
            item.get("text") or item.get("summary") or "" for item in message.get("reasoning_details") or []
        )
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or []
    ]
    legacy = message.get("function_call")
    if legacy:
        calls.append(("", legacy["name"], legacy["arguments"]))
    return {"text": content, "thought": thought, "calls": calls, "refusal": message.get("refusal") or ""}


def merged(response: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The choices and the usage of a stream, added up naively."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for line in response.splitlines():
        if not line.startswith("data: {"):
            continue
        chunk = json.loads(line[6:])
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for piece in chunk.get("choices", ()):
            empty: dict[str, Any] = {"content": "", "reasoning": "", "refusal": "", "tool_calls": []}
            choice = choices.setdefault(piece["index"], {"message": empty, "finish_reason": None})
            message, said = choice["message"], naive({**piece["delta"], "tool_calls": None, "function_call": None})
            message["content"] += said["text"]
            message["reasoning"] += said["thought"]
            message["refusal"] += said["refusal"]
            for call in piece["delta"].get("tool_calls") or ():
                if call.get("id"):
                    message["tool_calls"].append({"id": call["id"], "function": {"name": "", "arguments": ""}})
                known = message["tool_calls"][call["index"]]["function"]
                known["name"] += call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
            choice["finish_reason"] = choice["finish_reason"] or piece["finish_reason"]
    return [choices[number] for number in sorted(choices)], usage


def as_lists(response: str) -> bool:
    """Does it tell its content as a list, which clients of this dialect do not read?"""
    return re.search(r'"content":\[\{"(type|thinking)"', "".join(response.split())) is not None


WORDS = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}


def check(answer: Answer, choices: list[dict[str, Any]], usage: dict[str, Any] | None, mark: str) -> None:
    assert len(answer.choices) == len(choices)
    for choice, told_choice in zip(answer.choices, choices, strict=True):
        said, reason = naive(told_choice["message"]), told_choice["finish_reason"]
        parts = choice.parts
        assert text_of(parts) == said["text"], mark
        assert "".join(part.text for part in parts if isinstance(part, Reasoning)) == said["thought"], mark
        assert "".join(part.text for part in parts if isinstance(part, Refusal)) == said["refusal"], mark
        calls = [part for part in parts if isinstance(part, ToolCall)]
        assert [(call.name, call.arguments) for call in calls] == [told[1:] for told in said["calls"]], mark
        assert all(call.id == told[0] for call, told in zip(calls, said["calls"], strict=True) if told[0]), mark
        assert choice.stop == ("tool_calls" if calls and reason == "stop" else WORDS[reason]), mark
    told = usage or {}
    assert answer.usage.input_tokens == told.get("prompt_tokens", 0), mark
    inside, outside = told.get("prompt_tokens_details") or {}, told.get("completion_tokens_details") or {}
    cached = inside.get("cached_tokens") or told.get("num_cached_tokens") or told.get("prompt_cache_hit_tokens") or 0
    assert answer.usage.cache_read == cached, mark
    assert answer.usage.out_reasoning == (outside.get("reasoning_tokens") or 0), mark
    assert answer.usage.output_tokens == told.get("completion_tokens", 0), mark


def test_every_whole_answer_means_the_same_and_goes_back_as_it_came() -> None:
    for exchange in WHOLE:
        body = exchange["response"]
        answer, told = openai_chat.read_answer(body.encode()), json.loads(body)
        check(answer, told["choices"], told.get("usage"), exchange["id"])
        assert (answer.id, answer.model, answer.created) == (told["id"], told["model"], told["created"])
        if as_lists(body):
            again = openai_chat.write_answer(answer, SAY)
            assert not as_lists(again.decode())
            assert openai_chat.read_answer(again).choices == answer.choices
        else:
            assert openai_chat.write_answer(answer, SAY) == body.encode()


def test_every_stream_means_the_same() -> None:
    for exchange in STREAMS:
        events, answer = read(exchange["response"])
        if '"error":' in exchange["response"]:
            assert isinstance(events[-1], Failed)
            assert events[-1].error.status == 400
            continue
        assert isinstance(events[-1], Done), exchange["id"]
        check(answer, *merged(exchange["response"]), exchange["id"])


def test_every_stream_is_relayed_byte_for_byte() -> None:
    for exchange in STREAMS:
        for pieces in (0, 1460):
            events, _ = read(exchange["response"], pieces)
            writer = openai_chat.answer_writer(SAY)
            sent = writer.write([Attempted("p", openai_chat.NAME)]) + b"".join(
                writer.write([event]) for event in events
            )
            if as_lists(exchange["response"]):
                assert read(sent.decode())[1] == read(exchange["response"])[1]
                assert not as_lists(sent.decode())
            else:
                assert sent.decode() == exchange["response"], exchange["id"]


def test_every_stream_written_anew_means_the_same() -> None:
    for exchange in STREAMS:
        events, answer = read(exchange["response"])
        _, again = read(openai_chat.answer_writer(SAY).write(events).decode())
        if not isinstance(events[-1], Failed):
            assert again == replace(answer, tier="", billed=""), exchange["id"]


def test_every_refusal_keeps_its_message_code_and_body() -> None:
    for exchange in REFUSED:
        body = exchange["response"].encode()
        told = json.loads(body)["error"]
        error = openai_chat.read_error(exchange["status"], {}, body)
        assert (error.status, error.message, error.kind) == (exchange["status"], told["message"], told["type"])
        assert error.param == told.get("param")
        assert openai_chat.write_error(error, "req") == body


SHORT = [one for one in STREAMS if len(one["response"]) < 20_000]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_stream_split_anywhere_gives_the_same_events(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(SHORT))["response"].encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    reader = openai_chat.answer_reader()
    events = [event for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) for event in reader.feed(body[a:b])]
    whole, _ = read(body.decode())
    assert repr(joined(events + reader.finish())) == repr(joined(whole))


def joined(events: list[Event]) -> list[Event]:
    """Text that came together is one event: so many are as good as one."""
    out: list[Event] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Delta) and isinstance(last, Delta) and last.index == event.index:
            native = (last.native or b"") + (event.native or b"")
            out[-1] = replace(last, text=last.text + event.text, native=native)
        else:
            out.append(event)
    return out
