"""Recorded exchanges: nothing of them is lost on the way through."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.genai import types
from msgspec.structs import replace

from midstream.core.dialect import Say
from midstream.core.events import Answer, Attempted, Event, Fold, fold
from midstream.core.parts import Foreign, Media, Reasoning, State, Text, ToolCall, ToolResult
from midstream.core.turn import Plan, Turn
from midstream.wire import gemini
from midstream.wire.strict_json import read_object

CORPUS = Path(os.environ.get("MIDSTREAM_WIRE_CORPUS", Path(__file__).parents[3] / "shared" / "wire")) / "gemini.jsonl"
SAY = Say("say-1", 1, "as-called")
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"no recorded exchanges at {CORPUS}")


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in CORPUS.read_bytes().splitlines()] if CORPUS.exists() else []


ROWS = _rows()
GENERATED = [row for row in ROWS if "enerateContent" in row["path"]]
STREAMS = [row for row in GENERATED if ":stream" in row["path"]]
WHOLES = [row for row in GENERATED if ":stream" not in row["path"] and row["status"] == 200]
EMBEDS = [row for row in ROWS if "Embed" in row["path"]]


def _id(row: dict[str, Any]) -> str:
    return str(row["id"])


def _chunks(row: dict[str, Any]) -> list[dict[str, Any]]:
    text = row["response"]
    if text.lstrip().startswith("["):
        return json.loads(text)
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line[6:]) for line in lines]


def _events(row: dict[str, Any]) -> list[Event]:
    reader = gemini.answer_reader()
    return [*reader.feed(row["response"].encode()), *reader.finish()]


def _plan(body: bytes, history: tuple[Any, ...] = (), model: str = "gemini-2.5-flash") -> Plan:
    turn = Turn("gemini", read_object(body), gemini.read_ask, model=model)
    return Plan(turn, model, stream=False, history=history)


def _naive(responses: list[dict[str, Any]]) -> dict[str, Any]:
    """What the responses say, read with nothing but their own names."""
    out: dict[str, Any] = {"text": "", "thoughts": "", "signatures": [], "calls": [], "others": [], "finish": ""}
    usage: dict[str, Any] = {}
    for response in responses:
        usage = response.get("usageMetadata", usage)
        for candidate in response.get("candidates", []):
            out["finish"] = candidate.get("finishReason", out["finish"])
            for part in candidate.get("content", {}).get("parts", []):
                if "thoughtSignature" in part and set(part) <= {"text", "thought", "thoughtSignature", "functionCall"}:
                    out["signatures"].append(part["thoughtSignature"])
                if "functionCall" in part:
                    call = part["functionCall"]
                    out["calls"].append((call["name"], call.get("args", {})))
                elif "text" in part:
                    out["thoughts" if part.get("thought") else "text"] += part["text"]
                elif set(part) - {"thoughtSignature"}:
                    out["others"].append(part)
    out["in"] = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    out["cached"] = usage.get("cachedContentTokenCount", 0)
    out["out"] = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    out["reasoning"] = usage.get("thoughtsTokenCount", 0)
    return out


def _meaning(answer: Answer) -> dict[str, Any]:
    parts = [part for choice in answer.choices for part in choice.parts]
    signed = [part.state.payload["thoughtSignature"] for part in parts if _signed(part)]
    return {
        "text": "".join(part.text for part in parts if isinstance(part, Text)),
        "thoughts": "".join(part.text for part in parts if isinstance(part, Reasoning)),
        "signatures": signed,
        "calls": [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, ToolCall)],
        "others": [_other(part) for part in parts if _other(part)],
        "finish": answer.choices[-1].native_stop,
        "in": answer.usage.input_tokens,
        "cached": answer.usage.cached_tokens,
        "out": answer.usage.output_tokens,
        "reasoning": answer.usage.out_reasoning,
    }


def _signed(part: Any) -> bool:
    known = isinstance(part, Text | Reasoning | ToolCall)
    return known and part.state is not None and "thoughtSignature" in part.state.payload


def _other(part: Any) -> Any:
    if isinstance(part, Foreign) and not part.kind.endswith("Metadata"):
        return part.state.payload
    if isinstance(part, Media):
        return {"inlineData": {"mimeType": part.mime, "data": part.data}, **(part.state.payload if part.state else {})}
    return None


@pytest.mark.parametrize("row", WHOLES, ids=_id)
def test_a_recorded_answer_keeps_its_meaning_and_its_bytes(row: dict[str, Any]) -> None:
    body = row["response"].encode()
    answer = gemini.read_answer(body)
    assert _meaning(answer) == _naive([json.loads(body)])
    assert gemini.write_answer(answer, SAY) == body
    called = any(isinstance(part, ToolCall) for part in answer.choices[0].parts)
    assert (answer.choices[0].stop == "tool_calls") == (called and answer.choices[0].native_stop == "STOP")


@pytest.mark.parametrize("row", WHOLES, ids=_id)
def test_a_recorded_answer_written_anew_reads_back_the_same(row: dict[str, Any]) -> None:
    answer = replace(gemini.read_answer(row["response"].encode()), native=None)
    written = gemini.write_answer(answer, SAY)
    types.GenerateContentResponse.model_validate(json.loads(written))
    again = gemini.read_answer(written)
    assert replace(again, native=None) == replace(answer, id=answer.id or SAY.id, tier="")


@pytest.mark.parametrize("row", STREAMS, ids=_id)
def test_a_recorded_stream_folds_to_what_it_says(row: dict[str, Any]) -> None:
    answer = fold(_events(row))
    assert _meaning(answer) == _naive(_chunks(row))
    assert all(choice.stop in {"stop", "tool_calls"} for choice in answer.choices)
    assert answer.model == _chunks(row)[-1]["modelVersion"]


@pytest.mark.parametrize("row", STREAMS, ids=_id)
def test_a_recorded_stream_is_relayed_byte_for_byte(row: dict[str, Any]) -> None:
    events = [Attempted("google", "gemini"), *_events(row)]
    array = row["response"].startswith("[")
    assert gemini.answer_writer(SAY, as_array=array).write(events) == row["response"].encode()
    other = gemini.answer_writer(SAY, as_array=not array).write(events)
    reader = gemini.answer_reader()
    again = fold([*reader.feed(other), *reader.finish()])
    assert again == fold(events)


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("row", STREAMS, ids=_id)
def test_a_recorded_stream_written_anew_folds_to_the_same_answer(row: dict[str, Any], as_array: bool) -> None:
    events = _events(row)
    writer = gemini.answer_writer(SAY, as_array)
    written = b"".join(writer.write([event]) for event in events)
    if as_array:
        for chunk in json.loads(written):
            types.GenerateContentResponse.model_validate(chunk)
    reader = gemini.answer_reader()
    assert fold([*reader.feed(written), *reader.finish()]) == replace(fold(events), tier="")


@pytest.mark.parametrize("row", STREAMS, ids=_id)
def test_a_recorded_stream_that_is_cut_never_stops(row: dict[str, Any]) -> None:
    body = row["response"].encode()
    for share in (0.3, 0.6, 0.9):
        reader = gemini.answer_reader()
        folding = Fold()
        for event in (*reader.feed(body[: int(len(body) * share)]), *reader.finish()):
            folding.add(event)
        if folding.error is None:
            assert share == 0.9  # only what follows finishReason was missing
            assert folding.answer().choices[0].native_stop


@pytest.mark.parametrize("row", GENERATED, ids=_id)
def test_a_recorded_request_is_passed_on_byte_for_byte(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"], separators=(",", ":"), ensure_ascii=False).encode()
    assert gemini.write_ask(_plan(body)).body == body


@pytest.mark.parametrize("row", GENERATED, ids=_id)
def test_a_recorded_request_becomes_history_without_loss(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    plan = _plan(body)
    history = tuple(message for message in plan.turn.prompt.messages if message.role != "system")
    asked = json.loads(
        gemini.write_ask(_plan(b'{"contents":[{"role":"user","parts":[{"text":"next"}]}]}', history)).body
    )
    assert [_parts(content) for content in _joined(asked["contents"][:-1])] == [
        _parts(content) for content in _joined(row["request"]["contents"])
    ]


def _joined(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for content in contents:
        if out and out[-1]["role"] == content.get("role", "user"):
            out[-1] = {"role": out[-1]["role"], "parts": out[-1]["parts"] + content["parts"]}
        else:
            out.append({"role": content.get("role", "user"), "parts": list(content["parts"])})
    return out


def _parts(content: dict[str, Any]) -> Any:
    return content["role"], content["parts"]


@pytest.mark.parametrize("row", GENERATED, ids=_id)
def test_a_recorded_request_translated_through_neutral_words_asks_the_same(row: dict[str, Any]) -> None:
    body = json.dumps(row["request"]).encode()
    prompt = gemini.read_ask(read_object(body))
    assert all(message.native and message.native.dialect == "gemini" for message in prompt.messages)
    bare = replace(prompt, messages=tuple(replace(message, native=None) for message in prompt.messages))
    turn = Turn("elsewhere", {}, lambda _: bare, model="gemini-2.5-flash")
    asked = gemini.write_ask(Plan(turn, "gemini-2.5-flash", stream=False))
    assert set(asked.dropped) <= set(prompt.extras) | {"messages.name", "reasoning"}
    again = gemini.read_ask(read_object(asked.body))
    assert [_said(message) for message in _merged(again.messages)] == [
        _said(message) for message in _merged(bare.messages)
    ]
    assert again.tools == prompt.tools
    if any(tool.kind == "function" for tool in prompt.tools):
        assert again.tool_choice == prompt.tool_choice
    assert replace(again.params, thinking=None, format=None) == replace(prompt.params, thinking=None, format=None)


def _merged(messages: Any) -> list[Any]:
    out: list[Any] = []
    for message in messages:
        parts = tuple(part for part in message.parts if not _unsent(part))
        if not parts:
            continue
        if out and out[-1].role == message.role:
            out[-1] = replace(out[-1], parts=out[-1].parts + parts)
        else:
            out.append(replace(message, parts=parts))
    return out


def _unsent(part: Any) -> bool:
    return isinstance(part, Reasoning | Text) and part.state is None and (isinstance(part, Reasoning) or not part.text)


def _said(message: Any) -> Any:
    """Without how a result was written, and without the mark of a call that nobody signed."""
    unsigned = State("gemini", {"thoughtSignature": gemini.PLACEHOLDER})
    parts = [
        replace(part, state=None) if isinstance(part, ToolResult) or getattr(part, "state", None) == unsigned else part
        for part in message.parts
    ]
    return message.role, parts


@pytest.mark.parametrize("row", EMBEDS, ids=_id)
def test_recorded_embeddings_keep_every_text_and_vector(row: dict[str, Any]) -> None:
    body = row["response"].encode()
    if row["status"] != 200:
        refused = gemini.read_error(row["status"], {}, body)
        assert (refused.status, refused.kind) == (404, "NOT_FOUND")
        assert gemini.write_error(refused, "r") == body
        return
    request = json.dumps(row["request"]).encode()
    ask = gemini.read_embed_ask(read_object(request), batch=True)
    turn = Turn("other", {}, gemini.read_ask, model="m", kind="embedding", embed=ask)
    assert json.loads(gemini.write_embed_ask(Plan(turn, ask.model, False)).body) == row["request"]
    embedded = gemini.read_embedded(body)
    assert [list(vector) for vector in embedded.vectors] == [one["values"] for one in json.loads(body)["embeddings"]]
    assert gemini.write_embedded(embedded, batch=True) == body
    anew = gemini.write_embedded(replace(embedded, native=None), batch=True)
    assert gemini.read_embedded(anew).vectors == embedded.vectors
