"""Recorded real exchanges of /responses, replayed through every function of the dialect."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Done, Event, Whole, fold, visible
from midstream.core.parts import Foreign, Media, Reasoning, Text, ToolCall, text_of
from midstream.core.turn import Plan, Turn
from midstream.wire import openai_responses as dialect

CORPUS = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS", Path(__file__).parents[3] / "shared" / "wire"))
SAY = Say("resp_0f", 1_700_000_000, "m")
OURS = {"conversation", "previous_response_id", "background"}

if not CORPUS.is_dir():
    pytest.skip(f"the recorded exchanges are not at {CORPUS}", allow_module_level=True)


def _recorded() -> list[dict[str, Any]]:
    files = [(CORPUS / f"{name}.jsonl").read_bytes() for name in ("openai_response", "deepseek")]
    exchanges = [json.loads(line) for file in files for line in file.splitlines()]
    return [each for each in exchanges if each["path"].endswith("/responses")]


RECORDED = _recorded()
ASKED = [each for each in RECORDED if each["request"]]
STREAMED = [each for each in RECORDED if each["status"] == 200 and "event-stream" in each["content_type"]]
WHOLE = [each for each in RECORDED if each["status"] == 200 and "event-stream" not in each["content_type"]]
REFUSED = [each for each in RECORDED if each["status"] >= 400]


def _turn(request: dict[str, Any]) -> Turn:
    fields = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in request.items()}
    return Turn(dialect.NAME, fields, dialect.read_ask, model=request["model"], stream=bool(request.get("stream")))


def _events(body: bytes) -> list[Event]:
    reader = dialect.answer_reader()
    return [*reader.feed(body), *reader.finish()]


def _final(body: str) -> dict[str, Any]:
    """The response object of the terminal event, read without any of our code."""
    frames = [json.loads(line[6:]) for line in body.splitlines() if line.startswith('data: {"type":"response.')]
    return next(frame["response"] for frame in frames if frame["type"] == "response.completed")


def test_the_corpus_is_there() -> None:
    assert len(ASKED) > 270
    assert len(STREAMED) > 50
    assert len(WHOLE) > 200
    assert len(REFUSED) > 5


def test_a_request_is_sent_on_byte_for_byte() -> None:
    for each in ASKED:
        turn = _turn(each["request"])
        asked = dialect.write_ask(Plan(turn, "upstream/model", stream=turn.stream))
        assert not asked.dropped
        sent = msgspec.json.decode(asked.body, type=dict[str, msgspec.Raw])
        assert bytes(sent.pop("model")) == b'"upstream/model"'
        expected = {name: bytes(raw) for name, raw in turn.fields.items() if name not in {"model", *OURS}}
        assert {name: bytes(raw) for name, raw in sent.items()} == expected, each["id"]


def test_the_stream_flag_is_patched() -> None:
    for each in ASKED:
        for stream in (True, False):
            sent = json.loads(dialect.write_ask(Plan(_turn(each["request"]), "m", stream=stream)).body)
            assert bool(sent.get("stream")) is stream


def test_history_written_from_messages_is_the_input_they_were_read_from() -> None:
    """Reading items and inserting them again as history keeps every byte, however they were grouped."""
    for each in ASKED:
        given = each["request"]["input"]
        if isinstance(given, str):
            continue
        turn = _turn({"model": "m", "input": given})
        asked = dialect.write_ask(Plan(_turn({"model": "m", "input": "next"}), "m", False, turn.prompt.messages))
        sent = json.loads(asked.body)["input"]
        assert sent == [*given, {"role": "user", "content": "next"}], each["id"]


def test_every_request_can_be_understood() -> None:
    for each in ASKED:
        prompt = _turn(each["request"]).prompt
        given = each["request"]["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        calls = [item["call_id"] for item in items if item.get("type") in ("function_call", "custom_tool_call")]
        told = [part for message in prompt.messages for part in message.parts]
        assert [part.id for part in told if isinstance(part, ToolCall)] == calls, each["id"]
        texts = [item["content"] for item in items if isinstance(item.get("content"), str)]
        assert set(texts) <= {part.text for part in told if isinstance(part, Text)}
        assert len(prompt.tools) == len(each["request"].get("tools") or [])


def test_relayed_bytes_are_identical() -> None:
    for each in STREAMED:
        body = each["response"].encode()
        assert dialect.answer_writer(SAY).write([Attempted("p", dialect.NAME), *_events(body)]) == body, each["id"]


def test_a_whole_answer_of_this_dialect_is_written_as_it_came() -> None:
    for each in WHOLE:
        body = each["response"].encode()
        assert dialect.write_answer(dialect.read_answer(body), SAY) == body


def test_folds_say_what_the_recorded_object_says() -> None:
    for each in STREAMED:
        _says_the_same(fold(_events(each["response"].encode())), _final(each["response"]), each["id"])
    for each in WHOLE:
        _says_the_same(dialect.read_answer(each["response"].encode()), json.loads(each["response"]), each["id"])


def _says_the_same(answer: Answer, recorded: dict[str, Any], label: str) -> None:
    """An independent, naive reading of the recorded response object."""
    items = recorded["output"]
    parts = answer.choices[0].parts
    content = [part for item in items if item["type"] == "message" for part in item["content"]]
    assert text_of(parts) == "".join(part["text"] for part in content), label
    calls = [item for item in items if item["type"] == "function_call"]
    assert [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCall)] == [
        (item["call_id"], item["name"], item["arguments"]) for item in calls
    ]
    annotated = [(note.get("url"), note.get("start_index")) for part in content for note in part.get("annotations", [])]
    assert [(c.url, c.start) for part in parts if isinstance(part, Text) for c in part.citations] == annotated
    _reasons_the_same(parts, [item for item in items if item["type"] == "reasoning"], label)
    usual = ("message", "function_call", "reasoning")
    hosted = [part for part in parts if isinstance(part, Foreign | Media)]
    assert len(hosted) == sum(1 for item in items if item["type"] not in usual), label
    assert (answer.id, answer.created) == (recorded["id"], int(recorded["created_at"]))
    if recorded.get("status") == "completed":
        assert answer.choices[0].stop == ("tool_calls" if calls else "stop")
    usage = recorded["usage"] or {}
    assert answer.usage.input_tokens == usage.get("input_tokens", 0)
    assert answer.usage.output_tokens == usage.get("output_tokens", 0)
    assert answer.usage.total_tokens == usage.get("total_tokens", 0)
    assert answer.usage.cache_read == usage.get("input_tokens_details", {}).get("cached_tokens", 0)
    assert answer.usage.out_reasoning == usage.get("output_tokens_details", {}).get("reasoning_tokens", 0)


def _reasons_the_same(parts: tuple[Any, ...], recorded: list[dict[str, Any]], label: str) -> None:
    """The issuer seals its reasoning anew in each event, so of a stream's sealed text only the presence is equal."""
    thoughts = [part for part in parts if isinstance(part, Reasoning)]
    assert len(thoughts) == len(recorded), label
    for part, item in zip(thoughts, recorded, strict=True):
        shown = item["summary"] or item.get("content") or []
        assert part.text == "\n\n".join(piece["text"] for piece in shown)
        assert part.state is not None
        assert part.state.payload["id"] == item["id"]
        assert bool(part.state.payload.get("encrypted_content")) == bool(item.get("encrypted_content"))


def test_sealed_reasoning_is_the_one_of_the_items_own_event() -> None:
    for each in STREAMED:
        frames = [json.loads(line[6:]) for line in each["response"].splitlines() if line.startswith("data: {")]
        done = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
        parts = fold(_events(each["response"].encode())).choices[0].parts
        told = [part.state.payload for part in parts if isinstance(part, Reasoning) and part.state]
        assert told == [item for item in done if item["type"] == "reasoning"]


def test_a_translated_stream_reads_back_as_the_same_answer() -> None:
    for each in STREAMED:
        events = _events(each["response"].encode())
        written = dialect.answer_writer(SAY).write([Attempted("p", "another"), *events])
        _same_meaning(fold(_events(written)), fold(events), each["id"])


def test_a_translated_whole_answer_reads_back_as_the_same_answer() -> None:
    for each in WHOLE:
        answer = dialect.read_answer(each["response"].encode())
        if answer.choices[0].stop == "pause":
            continue
        written = dialect.answer_writer(SAY).write([Attempted("p", "another"), Whole(answer), Done()])
        _same_meaning(fold(_events(written)), answer, each["id"])
        again = dialect.read_answer(dialect.write_answer(msgspec.structs.replace(answer, native=None), SAY))
        _same_meaning(again, answer, each["id"])


def _same_meaning(mine: Answer, theirs: Answer, label: str) -> None:
    a, b = mine.choices[0], theirs.choices[0]
    assert a.parts == b.parts, label
    assert a.stop == b.stop
    assert a.logprobs == b.logprobs
    assert mine.usage == theirs.usage


def test_nothing_is_visible_before_the_first_output() -> None:
    for each in STREAMED:
        events = _events(each["response"].encode())
        first = next(number for number, event in enumerate(events) if visible(event))
        before = b"".join(event.native or b"" for event in events[:first])
        assert b"response.output_text.delta" not in before
        assert b"response.function_call_arguments.delta" not in before


def test_a_recorded_stream_cut_anywhere_is_an_error() -> None:
    for each in STREAMED[:8]:
        body = each["response"].encode()
        frames = body.split(b"\n\n")
        for keep in range(1, len(frames) - 2, max(1, len(frames) // 7)):
            last = _events(b"\n\n".join(frames[:keep]) + b"\n\n")[-1]
            assert type(last).__name__ == "Failed", each["id"]


def test_recorded_errors_keep_status_code_and_message() -> None:
    for each in REFUSED:
        body = each["response"].encode()
        refused = dialect.read_error(each["status"], {}, body)
        said = json.loads(body)["error"]
        assert refused.message == said["message"]
        assert refused.status == each["status"]
        assert refused.kind == said["type"]
        assert refused.param == said["param"]
        assert refused.code == (said["code"] or "upstream_error")
        assert dialect.write_error(refused, "req_1") == body
