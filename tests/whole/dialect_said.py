"""An answer in the words of a dialect, whole or as a stream: the mouth of `dialect_upstream`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .dialect_heard import Heard
from .upstream import Said, stream, whole

INPUT, CACHED, OUTPUT, REASONING = 30, 7, 17, 5
#: Longer than a server waits for: a failure is passed on at once.
RETRY_AFTER = "61"
_OPENAI_TYPES = {400: "invalid_request_error", 429: "rate_limit_error", 529: "server_error"}
_ANTHROPIC_TYPES = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
_GEMINI_STATUS = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 529: "UNAVAILABLE"}


def failure(dialect: str, status: int, message: str) -> Said:
    """529 is Anthropic's; the others say 503."""
    given, body = status, {}
    if dialect == "anthropic":
        body = {"type": "error", "error": {"type": _ANTHROPIC_TYPES[status], "message": message}, "request_id": "req_u"}
    else:
        given = 503 if status == 529 else status
        body = {"error": {"message": message, "type": _OPENAI_TYPES[status], "param": None, "code": None}}
    if dialect == "gemini":
        body = {"error": {"code": given, "message": message, "status": _GEMINI_STATUS[status]}}
    return whole(body, given, retry_after=RETRY_AFTER)


def answer(heard: Heard, saying: Any) -> Said:
    """saying: a dialect_upstream.Saying."""
    said = {"chat": _Chat, "responses": _Responses, "anthropic": _Anthropic, "gemini": _Gemini}[heard.dialect](
        heard, saying
    )
    if not heard.stream:
        return whole(said.whole())
    return stream(*said.frames())


def _pieces(text: str) -> Iterator[str]:
    """Three pieces at most."""
    step = max(1, len(text) // 3 + 1)
    for start in range(0, len(text), step):
        yield text[start : start + step]


def _data(value: Any) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


class _Dialect:
    def __init__(self, heard: Heard, saying: Any) -> None:
        self.heard = heard
        self.saying = saying
        self.reasoned = REASONING if saying.thought else 0

    @property
    def provider(self) -> str:
        return self.heard.provider


class _Chat(_Dialect):
    """OpenAI Chat as each service speaks it."""

    def whole(self) -> Any:
        return {
            "id": "chatcmpl-u1", "object": "chat.completion", "created": 1700000000, "model": self.saying.model,
            "choices": [{"index": 0, "message": self._message(), "finish_reason": self._reason(), "logprobs": None}],
            "usage": self._usage(),
        }  # fmt: skip

    def _message(self) -> dict[str, Any]:
        saying = self.saying
        message: dict[str, Any] = {"role": "assistant", "content": saying.text or None, "refusal": None}
        message.update(self._thought(saying.thought) if saying.thought else {})
        if isinstance(message["content"], list) and saying.text:
            message["content"].append({"type": "text", "text": saying.text})
        if saying.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function",
                 "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
                for call in saying.calls
            ]  # fmt: skip
        return message

    def _thought(self, text: str) -> dict[str, Any]:
        """OpenAI itself keeps its thoughts to itself."""
        detail = {"type": "reasoning.text", "text": text, "index": 0, "format": "anthropic-claude-v1"}
        ways: dict[str, dict[str, Any]] = {
            "groq": {"reasoning": text},
            "mistral": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
            "open_router": {"reasoning": text, "reasoning_details": [detail | {"signature": self.saying.signature}]},
            "openai_compatible": {"reasoning_content": text},
        }
        return ways.get(self.provider, {})

    def _reason(self) -> str:
        return "tool_calls" if self.saying.calls else "length" if self.saying.short else "stop"

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
            "prompt_tokens_details": {"cached_tokens": CACHED},
            "completion_tokens_details": {"reasoning_tokens": self.reasoned},
        }  # fmt: skip

    def _chunk(self, delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _data(
            {"id": "chatcmpl-u1", "object": "chat.completion.chunk", "created": 1700000000, "model": self.saying.model,
             "choices": choices, **more}
        )  # fmt: skip

    def frames(self) -> Iterable[bytes]:
        saying = self.saying
        if self.provider == "open_router":
            yield b": OPENROUTER PROCESSING\n\n"
        yield self._chunk({"role": "assistant", "content": ""})
        for delta in self._thoughts():
            yield self._chunk(delta)
        for piece in _pieces(saying.text):
            yield self._chunk({"content": piece})
        for index, call in enumerate(saying.calls):
            for delta in self._called(index, call):
                yield self._chunk({"tool_calls": [delta]})
        options = self.heard.body.get("stream_options") or {}
        if self.provider == "mistral":  # unasked, with the last choice
            yield self._chunk({"content": ""}, self._reason(), usage=self._usage())
        else:
            yield self._chunk({}, self._reason())
            if options.get("include_usage"):
                yield self._chunk(None, usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _thoughts(self) -> Iterator[dict[str, Any]]:
        if self.provider == "open_router" and self.saying.thought:
            details = self._thought(self.saying.thought)["reasoning_details"][0]
            for piece in _pieces(self.saying.thought):
                unsigned = {name: value for name, value in details.items() if name != "signature"}
                yield {"reasoning": piece, "reasoning_details": [{**unsigned, "text": piece}]}
            yield {"reasoning": None, "reasoning_details": [{**details, "text": ""}]}
        elif self.saying.thought:
            for piece in _pieces(self.saying.thought):
                if delta := self._thought(piece):
                    yield delta

    def _called(self, index: int, call: Any) -> Iterator[dict[str, Any]]:
        arguments = json.dumps(call.arguments)
        named = {"index": index, "id": call.id, "type": "function"}
        if self.provider in ("groq", "mistral"):  # calls come whole
            yield {**named, "function": {"name": call.name, "arguments": arguments}}
            return
        yield {**named, "function": {"name": call.name, "arguments": ""}}
        for piece in _pieces(arguments):
            yield {"index": index, "function": {"arguments": piece}}


class _Responses(_Dialect):
    def whole(self) -> Any:
        return self._response("incomplete" if self.saying.short else "completed", self._items())

    def _response(self, status: str, output: list[Any]) -> dict[str, Any]:
        ended = status != "in_progress"
        return {
            "id": "resp_u1", "object": "response", "created_at": 1700000000, "status": status, "error": None,
            "model": self.saying.model, "output": output, "instructions": None, "parallel_tool_calls": True,
            "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [], "metadata": {}, "store": False,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "usage": self._usage() if ended else None,
        }  # fmt: skip

    def _usage(self) -> dict[str, Any]:
        return {
            "input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
            "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": self.reasoned},
        }  # fmt: skip

    def _items(self) -> list[dict[str, Any]]:
        saying, items = self.saying, []
        if saying.thought:
            items.append({
                "id": "rs_1", "type": "reasoning", "encrypted_content": saying.signature,
                "summary": [{"type": "summary_text", "text": saying.thought}],
            })  # fmt: skip
        if saying.text:
            part = {"type": "output_text", "text": saying.text, "annotations": [], "logprobs": []}
            status = "incomplete" if saying.short else "completed"
            items.append({"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [part]})
        for number, call in enumerate(saying.calls):
            items.append({
                "id": f"fc_{number}", "type": "function_call", "call_id": call.id, "name": call.name,
                "arguments": json.dumps(call.arguments), "status": "completed",
            })  # fmt: skip
        return items

    def frames(self) -> Iterable[bytes]:
        for number, event in enumerate(self._events()):
            event = {"type": event["type"], "sequence_number": number, **event}
            yield f"event: {event['type']}\n".encode() + _data(event)

    def _events(self) -> Iterator[dict[str, Any]]:
        items = self._items()
        yield {"type": "response.created", "response": self._response("in_progress", [])}
        yield {"type": "response.in_progress", "response": self._response("in_progress", [])}
        for index, item in enumerate(items):
            at = {"output_index": index}
            empty = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {"summary": []}}
            opened = {**item, "status": "in_progress", **empty[item["type"]]}
            if item["type"] == "reasoning":
                opened.pop("status")
            yield {"type": "response.output_item.added", **at, "item": opened}
            yield from self._growing(item, {**at, "item_id": item["id"]})
            yield {"type": "response.output_item.done", **at, "item": item}
        end = "incomplete" if self.saying.short else "completed"
        yield {"type": f"response.{end}", "response": self._response(end, items)}

    def _growing(self, item: dict[str, Any], at: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if item["type"] == "function_call":
            for piece in _pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **at, **done}
            return
        if item["type"] == "reasoning":
            part, at, kind, name = item["summary"][0], {**at, "summary_index": 0}, "reasoning_summary_text", "summary"
            opening = "response.reasoning_summary_part"
        else:
            part, at, kind, name = item["content"][0], {**at, "content_index": 0}, "output_text", "content"
            opening = "response.content_part"
        probs = {"logprobs": []} if name == "content" else {}
        yield {"type": f"{opening}.added", **at, "part": {**part, "text": ""}}
        for piece in _pieces(part["text"]):
            yield {"type": f"response.{kind}.delta", **at, "delta": piece, **probs}
        yield {"type": f"response.{kind}.done", **at, "text": part["text"], **probs}
        yield {"type": f"{opening}.done", **at, "part": part}


class _Anthropic(_Dialect):
    def whole(self) -> Any:
        return {**self._message(), "content": self._blocks(), **self._stopped(), "usage": self._usage(OUTPUT)}

    def _message(self) -> dict[str, Any]:
        return {
            "id": "msg_u1", "type": "message", "role": "assistant", "model": self.saying.model, "content": [],
            "stop_reason": None, "stop_sequence": None,
        }  # fmt: skip

    def _stopped(self) -> dict[str, Any]:
        word = "tool_use" if self.saying.calls else "max_tokens" if self.saying.short else "end_turn"
        return {"stop_reason": word, "stop_sequence": None}

    def _usage(self, output: int) -> dict[str, Any]:
        return {
            "input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED, "cache_creation_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output, "service_tier": "standard",
        }  # fmt: skip

    def _blocks(self) -> list[dict[str, Any]]:
        saying, blocks = self.saying, []
        if saying.thought:
            blocks.append({"type": "thinking", "thinking": saying.thought, "signature": saying.signature})
        if saying.text:
            blocks.append({"type": "text", "text": saying.text})
        return blocks + [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in saying.calls
        ]

    def frames(self) -> Iterable[bytes]:
        for event in self._events():
            yield f"event: {event['type']}\n".encode() + _data(event)

    def _events(self) -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": {**self._message(), "usage": self._usage(1)}}
        yield {"type": "ping"}
        for index, block in enumerate(self._blocks()):
            empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}
            yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty[block["type"]]}}
            for delta in self._deltas(block):
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        told = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
        usage = {name: count for name, count in self._usage(OUTPUT).items() if name in told}
        yield {"type": "message_delta", "delta": self._stopped(), "usage": usage}
        yield {"type": "message_stop"}

    def _deltas(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if block["type"] == "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            for piece in _pieces(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}
            return
        for piece in _pieces(block[block["type"]]):
            yield {"type": f"{block['type']}_delta", block["type"]: piece}
        if "signature" in block:
            yield {"type": "signature_delta", "signature": block["signature"]}


class _Gemini(_Dialect):
    def whole(self) -> Any:
        return self._frame(list(self._parts([self.saying.text] if self.saying.text else [])), last=True)

    def _parts(self, texts: list[str]) -> Iterator[dict[str, Any]]:
        """The signature stands on the first call, else on the last text."""
        saying = self.saying
        signed = {"thoughtSignature": saying.signature} if saying.signature else {}
        if saying.thought:
            yield {"text": saying.thought, "thought": True}
        for place, text in enumerate(texts):
            last = place + 1 == len(texts) and not saying.calls
            yield {"text": text, **(signed if last else {})}
        for place, call in enumerate(saying.calls):
            named = {"id": call.id} if call.id else {}
            yield {
                "functionCall": {**named, "name": call.name, "args": call.arguments},
                **(signed if place == 0 else {}),
            }

    def _frame(self, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if self.saying.short else "STOP"
        usage: dict[str, Any] = {
            "promptTokenCount": INPUT, "cachedContentTokenCount": CACHED,
            "candidatesTokenCount": OUTPUT - self.reasoned, "totalTokenCount": INPUT + OUTPUT,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": INPUT}],
        }  # fmt: skip
        if self.reasoned:
            usage["thoughtsTokenCount"] = self.reasoned
        if not last:
            usage = {"promptTokenCount": INPUT, "totalTokenCount": INPUT}
        return {
            "candidates": [candidate], "usageMetadata": usage, "modelVersion": self.saying.model, "responseId": "u1"
        }  # fmt: skip

    def frames(self) -> Iterable[bytes]:
        parts = list(self._parts(list(_pieces(self.saying.text))))
        for place, part in enumerate(parts):
            yield _data(self._frame([part], last=place + 1 == len(parts)))
