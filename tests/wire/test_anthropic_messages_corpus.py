"""Every recorded exchange with the real service, replayed against an independent, naive reading of it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Done, Whole, fold
from midstream.core.parts import Foreign, Reasoning, Text, ToolCall
from midstream.core.turn import Plan, Turn
from midstream.core.usage import Usage
from midstream.wire import anthropic_messages as dialect
from midstream.wire.strict_json import read_object

CORPUS = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "wire"))
FILE = CORPUS / "anthropic.jsonl"
SAY = Say("msg_ours", 1, "asked-model", request_id="req_ours")

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no recorded exchanges at {FILE}")


def exchanges() -> list[dict]:
    return [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []


ALL = exchanges()
ANSWERED = [one for one in ALL if one["status"] == 200 and not one["path"].endswith("count_tokens")]
STREAMS = [one for one in ANSWERED if one["stream"]]
WHOLES = [one for one in ANSWERED if not one["stream"]]


def body_of(one: dict) -> bytes:
    return json.dumps(one["request"], ensure_ascii=False).encode()


def turn_of(one: dict, name: str = dialect.NAME) -> Turn:
    return Turn(name, read_object(body_of(one)), dialect.read_ask, model=one["request"]["model"])


def naive_message(one: dict) -> dict:
    """The message object that a stream makes, put together without any tolerance."""
    if not one["stream"]:
        return json.loads(one["response"])
    message: dict = {}
    partial: dict[int, str] = {}
    for line in one["response"].splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                for name in ("text", "thinking"):
                    if name in delta:
                        block[name] += delta[name]
                if "signature" in delta:
                    block["signature"] = delta["signature"]
                if "citation" in delta:
                    block["citations"].append(delta["citation"])
                if "partial_json" in delta:
                    partial[event["index"]] = partial.get(event["index"], "") + delta["partial_json"]
            case "message_delta":
                message.update(event["delta"])
                message["usage"].update(event["usage"])
    for index, text in partial.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return message


def naive_usage(usage: dict) -> Usage:
    # The sums leave out what another model has advised, as all recordings show that hold any.
    advice = [naive_usage(one) for one in usage.get("iterations") or () if one["type"] == "advisor_message"]
    return sum(advice, _naive(usage))


def _naive(usage: dict) -> Usage:
    split = usage.get("cache_creation") or {}
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    written = usage.get("cache_creation_input_tokens", 0)
    hour = split.get("ephemeral_1h_input_tokens", 0)
    return Usage(
        uncached_in=usage["input_tokens"],
        cache_read=usage.get("cache_read_input_tokens", 0),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        out_text=usage["output_tokens"] - thinking,
        out_reasoning=thinking,
        searches=(usage.get("server_tool_use") or {}).get("web_search_requests", 0),
    )


def read(one: dict) -> Answer:
    body = one["response"].encode()
    if not one["stream"]:
        return dialect.read_answer(body)
    reader = dialect.answer_reader()
    return fold([*reader.feed(body), *reader.finish()])


def reread(data: bytes) -> Answer:
    reader = dialect.answer_reader()
    return fold([*reader.feed(data), *reader.finish()])


def bare(answer: Answer) -> Answer:
    """Without its bytes, and without what is for the bill and is not said to callers of other dialects."""
    return msgspec.structs.replace(answer, native=None, tier="", inner=())


def assert_means(answer: Answer, message: dict) -> None:
    """The answer says what the provider's message says, block by block."""
    (choice,) = answer.choices
    assert (answer.id, answer.model) == (message["id"], message["model"])
    assert choice.native_stop == (message["stop_reason"] or "")
    assert choice.sequence == message["stop_sequence"]
    assert answer.usage == naive_usage(message["usage"])
    assert len(choice.parts) == len(message["content"])
    for part, block in zip(choice.parts, message["content"], strict=True):
        match block["type"]:
            case "text":
                assert isinstance(part, Text)
                assert part.text == block["text"]
                assert [one.state.payload for one in part.citations] == (block.get("citations") or [])
                assert [one.url for one in part.citations] == [c["url"] for c in block.get("citations") or []]
            case "thinking":
                assert isinstance(part, Reasoning)
                assert part.text == block["thinking"]
                assert part.state.payload == {"signature": block["signature"]}
            case "redacted_thinking":
                assert isinstance(part, Reasoning)
                assert part.state.payload == block
            case "tool_use":
                assert isinstance(part, ToolCall)
                assert (part.id, part.name) == (block["id"], block["name"])
                assert json.loads(part.arguments or "{}") == block["input"]
            case kind:
                assert isinstance(part, Foreign)
                assert (part.kind, part.state.payload) == (kind, block)


def case_id(one: dict) -> str:
    return one["id"]


def test_the_recordings_are_all_there() -> None:
    assert len(ALL) == 263
    assert len(STREAMS) == 45


def test_every_request_goes_to_the_same_service_with_only_the_model_changed() -> None:
    for one in ALL:
        asked = dialect.write_ask(Plan(turn_of(one), "other-model", bool(one["request"].get("stream"))))
        want = dict(read_object(body_of(one)))
        got = read_object(asked.body)
        assert asked.dropped == ()
        assert bytes(got.pop("model")) == b'"other-model"'
        want.pop("model")
        if "max_tokens" not in want:
            assert bytes(got.pop("max_tokens")) == b"4096"
        assert {name: bytes(raw) for name, raw in got.items()} == {name: bytes(raw) for name, raw in want.items()}
        assert list(got) == list(want)


def test_every_request_written_anew_carries_its_messages_byte_for_byte() -> None:
    """Not relayed (as for an agent's turn): the messages' own bytes still go back to the service that knows them."""
    for one in ALL:
        asked = dialect.write_ask(Plan(turn_of(one, "another"), "m", False))
        got, want = json.loads(asked.body), one["request"]
        roles = [message["role"] for message in got["messages"]]
        assert roles[0] == "user"
        assert all(a != b for a, b in pairwise(roles))
        blocks = [block for message in got["messages"] for block in listed(message["content"])]
        wanted = [block for message in want["messages"] for block in listed(message["content"])]
        if want["messages"][0]["role"] != "user":
            wanted.insert(0, {"type": "text", "text": "Continue."})
        assert blocks == wanted
        assert [tool["name"] for tool in got.get("tools", [])] == [tool["name"] for tool in want.get("tools", [])]
        assert set(asked.dropped) <= {
            "cache_control", "container", "context_management", "mcp_servers", "output_config", "thinking"
        }  # fmt: skip


def listed(content: object) -> list:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def test_every_tool_is_read_and_written_back_the_same() -> None:
    for one in ALL:
        if "tools" in one["request"]:
            asked = dialect.write_ask(Plan(turn_of(one, "another"), "m", False))
            want = [
                {name: value for name, value in tool.items() if not (name == "type" and value == "custom")}
                for tool in one["request"]["tools"]
            ]
            got = json.loads(asked.body)["tools"]
            assert [without_defaults(tool) for tool in got] == [without_defaults(tool) for tool in want]


def without_defaults(tool: dict) -> dict:
    return {name: value for name, value in tool.items() if value not in (None, False)}


@pytest.mark.parametrize("one", ANSWERED, ids=case_id)
def test_an_answer_is_read_as_a_naive_reader_reads_it(one: dict) -> None:
    assert_means(read(one), naive_message(one))


def test_an_answer_relayed_keeps_every_byte() -> None:
    for one in ANSWERED:
        body = one["response"].encode()
        if one["stream"]:
            reader, writer = dialect.answer_reader(), dialect.answer_writer(SAY)
            events = [Attempted("p", dialect.NAME), *reader.feed(body), *reader.finish()]
            assert writer.write(events) == body
        else:
            assert dialect.write_answer(dialect.read_answer(body), SAY) == body


def test_a_stream_written_anew_means_the_same() -> None:
    for one in STREAMS:
        reader, writer = dialect.answer_reader(), dialect.answer_writer(SAY)
        events = [*reader.feed(one["response"].encode()), *reader.finish()]
        out = writer.write([Attempted("p", "another"), *events])
        assert reread(out) == bare(fold(events))


def test_an_answer_in_one_piece_written_anew_means_the_same() -> None:
    for one in WHOLES:
        answer = bare(dialect.read_answer(one["response"].encode()))
        assert bare(dialect.read_answer(dialect.write_answer(answer, SAY))) == answer


def test_an_answer_in_one_piece_streams_and_means_the_same() -> None:
    for one in WHOLES:
        answer = dialect.read_answer(one["response"].encode())
        writer = dialect.answer_writer(SAY)
        out = writer.write([Attempted("p", dialect.NAME), Whole(answer), Done()])
        want = bare(answer)
        if not want.choices[0].native_stop:  # recorded without a stop reason: a finished stream has one
            assert [choice.parts for choice in reread(out).choices] == [choice.parts for choice in want.choices]
        else:
            assert spaceless(reread(out)) == spaceless(want)


def spaceless(answer: Answer) -> Answer:
    """Arguments in one spelling: blocks hold an object, deltas hold its text."""
    choices = tuple(
        msgspec.structs.replace(
            choice,
            parts=tuple(
                msgspec.structs.replace(part, arguments=json.dumps(json.loads(part.arguments or "{}")))
                if isinstance(part, ToolCall)
                else part
                for part in choice.parts
            ),
        )
        for choice in answer.choices
    )
    return msgspec.structs.replace(answer, choices=choices)


def test_recorded_errors_are_read_and_given_back() -> None:
    failed = [one for one in ALL if one["status"] != 200]
    assert len(failed) == 2
    for one in failed:
        error = dialect.read_error(one["status"], {}, one["response"].encode())
        want = json.loads(one["response"])["error"]
        assert (error.message, error.kind, error.status) == (want["message"], want["type"], one["status"])
        assert not error.retryable
        assert dialect.write_error(error, "req_x") == one["response"].encode()


def test_recorded_counts_are_read() -> None:
    counts = [one for one in ALL if one["path"].endswith("count_tokens") and one["status"] == 200]
    assert len(counts) == 4
    for one in counts:
        assert dialect.read_count(one["response"].encode()) == json.loads(one["response"])["input_tokens"]
        asked = dialect.write_count_ask(Plan(turn_of(one), one["request"]["model"], False))
        assert json.loads(asked) == one["request"]
