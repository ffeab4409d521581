"""What providers of each dialect say, frame by frame, so that a fault can strike between any two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
#: In this order: nothing visible yet, text, the stop, what was used, the end mark.
PHASES = ("start", "text", "more", "finish", "usage", "done")
DIALECT_OF = {
    "openai_compatible": "chat",
    "groq": "chat",
    "mistral": "chat",
    "open_router": "chat",
    "openai": "chat",
    "openai_response": "responses",
    "anthropic": "messages",
    "gemini": "gemini",
}
BUSY = {"chat": "rate_limit_exceeded", "responses": "rate_limit_exceeded", "messages": "rate_limit_error"}

Frames = list[tuple[str, bytes]]
Call = tuple[str, str, Any]


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def texts(case: str) -> tuple[str, str]:
    """What every good answer says: its own case, so that no answer can be taken for another's."""
    return f"Hé {case} ", f"wörld 😀 of {case}"


def data(value: Any, event: str = "") -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + encode(value) + b"\n\n"


def chat_chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data({**base, "choices": [choice], **more})


CHAT_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def chat_usage(usage: Any = None) -> bytes:
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    return data({**base, "usage": usage or CHAT_USAGE})


DONE = b"data: [DONE]\n\n"


def _chat(said: Sequence[str], usage: Any) -> Frames:
    return [
        ("start", chat_chunk({"role": "assistant", "content": ""})),
        *_phased(chat_chunk({"content": text}) for text in said),
        ("finish", chat_chunk({}, "stop")),
        ("usage", chat_usage(usage)),
        ("done", DONE),
    ]


def _phased(frames: Any) -> Frames:
    return [("text" if place == 0 else "more", frame) for place, frame in enumerate(frames)]


def _event(kind: str, **members: Any) -> bytes:
    return data({"type": kind, **members}, kind)


def _response(status: str, output: Sequence[Any] = (), usage: Any = None) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": list(output),
        "error": None, "incomplete_details": None, "usage": usage, "parallel_tool_calls": True, "tools": [],
        "tool_choice": "auto",
    }  # fmt: skip


RESPONSE_USAGE = {
    "input_tokens": INPUT_TOKENS,
    "output_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


def _responses(said: Sequence[str], usage: Any) -> Frames:
    part = {"type": "output_text", "text": "", "annotations": []}
    whole = {**part, "text": "".join(said)}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = {**item, "status": "completed", "content": [whole]}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return [
        ("start", _event("response.created", response=_response("in_progress"))),
        ("start", _event("response.output_item.added", output_index=0, item=item)),
        ("start", _event("response.content_part.added", part=part, **at)),
        *_phased(_event("response.output_text.delta", delta=text, **at) for text in said),
        ("finish", _event("response.output_text.done", text=whole["text"], **at)),
        ("finish", _event("response.output_item.done", output_index=0, item=done)),
        ("done", _event("response.completed", response=_response("completed", [done], usage or RESPONSE_USAGE))),
    ]


def _messages(said: Sequence[str], usage: Any) -> Frames:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
    }  # fmt: skip
    text = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        ("start", _event("message_start", message=message)),
        ("start", _event("content_block_start", index=0, content_block=text)),
        *_phased(_event("content_block_delta", index=0, delta={"type": "text_delta", "text": said}) for said in said),
        ("finish", _event("content_block_stop", index=0)),
        ("usage", _event("message_delta", delta=end, usage=usage or {"output_tokens": OUTPUT_TOKENS})),
        ("done", _event("message_stop")),
    ]


GEMINI_USAGE = {
    "promptTokenCount": INPUT_TOKENS,
    "candidatesTokenCount": OUTPUT_TOKENS,
    "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
}


def gemini_chunk(parts: Any, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **more.pop("candidate", {})}
    return {"candidates": [candidate], "modelVersion": "m", "responseId": "r1", **more}


def _gemini(said: Sequence[str], usage: Any) -> Frames:
    last = gemini_chunk([{"text": ""}], candidate={"finishReason": "STOP"}, usageMetadata=usage or GEMINI_USAGE)
    return [
        ("start", data(gemini_chunk([{"text": ""}]))),
        *_phased(data(gemini_chunk([{"text": text}])) for text in said),
        ("finish", data(last)),
    ]


_FRAMES = {"chat": _chat, "responses": _responses, "messages": _messages, "gemini": _gemini}


def frames(dialect: str, said: Sequence[str], usage: Any = None) -> Frames:
    """A good stream, with the phase that each frame ends."""
    return _FRAMES[dialect](said, usage)


def whole(dialect: str, said: Sequence[str], usage: Any = None) -> bytes:
    """A good answer in one piece."""
    text = "".join(said)
    if dialect == "chat":
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        base = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
        return encode({**base, "choices": [choice], "usage": usage or CHAT_USAGE})
    if dialect == "responses":
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        return encode(_response("completed", [item], usage or RESPONSE_USAGE))
    if dialect == "messages":
        used = usage or {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
        base = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
        return encode({**base, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": used})
    stop = {"finishReason": "STOP"}
    return encode(gemini_chunk([{"text": text}], candidate=stop, usageMetadata=usage or GEMINI_USAGE))


def error(dialect: str, status: int, message: str = "the upstream says no") -> bytes:
    """An error body, as the service writes it with this HTTP status."""
    if dialect == "messages":
        kind = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error"}.get(status, "api_error")
        return encode({"type": "error", "error": {"type": kind, "message": message}})
    if dialect == "gemini":
        return encode({"error": {"code": status, "message": message, "status": "UNAVAILABLE"}})
    return encode({"error": {"message": message, "type": "server_error", "param": None, "code": f"up_{status}"}})


def error_frame(dialect: str, status: int) -> bytes:
    """An error inside a stream that began with 200."""
    if dialect == "messages":
        return b"event: error\ndata: " + error(dialect, status) + b"\n\n"
    if dialect == "responses":
        code = "rate_limit_exceeded" if status == 429 else "server_error"
        failure = {"code": code, "message": "the upstream says no"}
        return _event("response.failed", response={**_response("failed"), "error": failure})
    if dialect == "chat":
        return data({"error": {"message": "the upstream says no", "code": status, "type": "server_error"}})
    return b"data: " + error(dialect, status) + b"\n\n"


def call_frames(dialect: str, calls: Sequence[Call]) -> Frames:
    """A stream that calls tools, arguments in two pieces each. calls: (id, name, arguments)."""
    out: Frames = [("start", frames(dialect, ())[0][1])]
    for place, (id, name, arguments) in enumerate(calls):
        text = encode(arguments).decode()
        if dialect == "chat":
            head = {"index": place, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
            out.append(("text", chat_chunk({"tool_calls": [head]})))
            for piece in (text[:3], text[3:]):
                more = {"index": place, "function": {"arguments": piece}}
                out.append(("more", chat_chunk({"tool_calls": [more]})))
        elif dialect == "messages":
            block = {"type": "tool_use", "id": id, "name": name, "input": {}}
            out.append(("text", _event("content_block_start", index=place, content_block=block)))
            for piece in (text[:3], text[3:]):
                delta = {"type": "input_json_delta", "partial_json": piece}
                out.append(("more", _event("content_block_delta", index=place, delta=delta)))
            out.append(("more", _event("content_block_stop", index=place)))
        elif dialect == "responses":
            item = {"id": f"fc_{place}", "type": "function_call", "call_id": id, "name": name, "arguments": ""}
            at = {"item_id": item["id"], "output_index": place}
            out.append(("text", _event("response.output_item.added", output_index=place, item=item)))
            for piece in (text[:3], text[3:]):
                out.append(("more", _event("response.function_call_arguments.delta", delta=piece, **at)))
            done = {**item, "arguments": text, "status": "completed"}
            out.append(("more", _event("response.output_item.done", output_index=place, item=done)))
        else:
            part = {"functionCall": {"name": name, "args": arguments}}
            out.append(("text" if place == 0 else "more", data(gemini_chunk([part]))))
    return [*out, *_call_end(dialect, calls)]


def _call_end(dialect: str, calls: Sequence[Call]) -> Frames:
    if dialect == "chat":
        return [("finish", chat_chunk({}, "tool_calls")), ("usage", chat_usage()), ("done", DONE)]
    if dialect == "messages":
        end = {"stop_reason": "tool_use", "stop_sequence": None}
        used = {"output_tokens": OUTPUT_TOKENS}
        return [("usage", _event("message_delta", delta=end, usage=used)), ("done", _event("message_stop"))]
    if dialect == "responses":
        items = [
            {"id": f"fc_{place}", "type": "function_call", "call_id": id, "name": name, "status": "completed",
             "arguments": encode(arguments).decode()}
            for place, (id, name, arguments) in enumerate(calls)
        ]  # fmt: skip
        return [("done", _event("response.completed", response=_response("completed", items, RESPONSE_USAGE)))]
    last = gemini_chunk([{"text": ""}], candidate={"finishReason": "STOP"}, usageMetadata=GEMINI_USAGE)
    return [("finish", data(last))]
