"""What a client got: read off the socket, and judged by the grammar of the face that it asked."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

ERROR_TYPES = {
    "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
    "conflict_error", "request_too_large", "rate_limit_error", "api_error", "timeout_error", "overloaded_error",
}  # fmt: skip


@dataclass
class Got:
    """framed: the HTTP answer came to its proper end. seconds: until then."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    framed: bool = False
    seconds: float = 0.0
    raw: bytes = b""


async def ask(port: int, method: str, path: str, body: bytes, headers: dict[str, str], seconds: float) -> Got:
    """One request on a connection of its own, read to its end. Raises TimeoutError."""
    lines = [f"{method} {path} HTTP/1.1", "host: midstream", "connection: close", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            pieces = []
            try:
                while piece := await reader.read(1 << 16):
                    pieces.append(piece)
            except ConnectionError:
                pass
        finally:
            writer.close()
    got = read_reply(b"".join(pieces))
    got.seconds = time.monotonic() - began
    return got


def read_reply(raw: bytes) -> Got:
    head, blank, rest = raw.partition(b"\r\n\r\n")
    if not blank:
        return Got(raw=raw)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    got = Got(int(first.split(" ")[1]), headers, rest, raw=raw)
    if headers.get("transfer-encoding") == "chunked":
        got.body, got.framed = _unchunked(rest)
    else:
        got.framed = len(rest) == int(headers.get("content-length", -1))
    return got


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body, and whether it has its end. A flood has gigabytes: nothing is copied twice."""
    body, view, at = bytearray(), memoryview(data), 0
    while (end := data.find(b"\r\n", at)) >= 0:
        length = int(data[at:end] or b"0", 16)
        at = end + 2
        if length == 0:
            return bytes(body), data[at:] == b"\r\n"
        body += view[at : at + length]
        at += length + 2
    return bytes(body), False


@dataclass
class Read:
    """text: of the answer. ended: its end was said. error: the error's code (chat), type (messages) or status
    (gemini), "" = none. faults: what the grammar does not allow. calls: names of the tools called."""

    text: str = ""
    ended: bool = False
    error: str = ""
    status: int = 0
    message: str = ""
    calls: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    stopped: bool = False
    usage: tuple[int, int] | None = None
    faults: list[str] = field(default_factory=list)

    def blame(self, what: str) -> None:
        self.faults.append(what)


def read(face: str, streamed: bool, got: Got) -> Read:
    found = Read()
    if not got.framed:
        found.blame("the HTTP answer has no proper end")
    try:
        text = got.body.decode()
    except UnicodeDecodeError:
        found.blame("not UTF-8")
        return found
    if got.status != 200:
        _error(face, _json(text, found), got.status, found)
    elif streamed:
        _stream(face, text, found)
    else:
        {"chat": _chat, "messages": _messages, "gemini": _gemini}[face](_json(text, found), found, False)
        found.ended = True
    return found


def _json(text: str, found: Read) -> Any:
    try:
        return json.loads(text, parse_constant=lambda word: found.blame(f"the constant {word}"))
    except (ValueError, RecursionError):
        found.blame(f"not JSON: {text[:80]!r}")
        return {}


def _error(face: str, value: Any, status: int, found: Read) -> None:
    """The error object in the shape of the face."""
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        found.error = "shapeless"
        found.blame(f"an error without its shape: {str(value)[:200]}")
        return
    found.status, found.message = status, error["message"]
    if face == "chat":
        found.error = str(error.get("code"))
        if error.get("code") is None or not isinstance(error.get("type"), str):
            found.blame(f"no code or type: {error}")
    elif face == "messages":
        found.error = str(error.get("type"))
        if value.get("type") != "error" or not isinstance(error.get("type"), str):
            found.blame(f"not Anthropic's error: {value}")
    else:
        found.error = str(error.get("status"))
        if not isinstance(error.get("code"), int) or not isinstance(error.get("status"), str):
            found.blame(f"not Google's error: {value}")
        elif error["code"] != status and status != 200:
            found.blame(f"the error says {error['code']}, the answer {status}")


def _stream(face: str, text: str, found: Read) -> None:
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    frames = [frame for frame in text.split("\n\n") if frame.strip()]
    for frame in frames:
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        words = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
        name = next((line[6:].strip() for line in lines if line.startswith("event:")), "")
        if not words:
            continue
        word = "\n".join(words)
        if found.ended:
            if word == "[DONE]" and found.ended and face == "chat":
                found.blame("[DONE] twice")
            else:
                found.blame(f"after the end: {word[:80]}")
            continue
        if found.error:
            found.blame(f"after the error: {word[:80]}")
            found.ended = found.ended or word == "[DONE]" or '"message_stop"' in word
            continue
        if face == "chat" and word == "[DONE]":
            found.ended = True
            continue
        value = _json(word, found)
        if not isinstance(value, dict):
            found.blame(f"a frame that is no object: {word[:80]}")
            continue
        if "error" in value and value["error"] is not None and (face != "messages" or value.get("type") == "error"):
            _error(face, value, 200, found)
            continue
        _STREAMED[face](value, found, True, name)
    if face == "gemini" and not found.error:
        found.ended = True  # its stream has no end mark: a finishReason must have come
        if not found.stopped:
            found.blame("the stream ended without a finishReason and without an error")


def _chat(value: Any, found: Read, streamed: bool, name: str = "") -> None:
    choices = value.get("choices") or []
    for choice in choices[:1]:
        said = choice.get("delta" if streamed else "message") or {}
        if isinstance(said.get("content"), str):
            found.text += said["content"]
        for call in said.get("tool_calls") or []:
            function = call.get("function") if isinstance(call, dict) else None
            place = call.get("index") if streamed and isinstance(call, dict) else len(found.calls)
            if function and function.get("name") and place not in found.places:
                found.places.append(place)
                found.calls.append(function["name"])
                found.ids.append(call.get("id"))
    usage = value.get("usage")
    if isinstance(usage, dict):
        found.usage = (usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _messages(value: Any, found: Read, streamed: bool, name: str = "") -> None:
    if not streamed:
        for block in value.get("content") or []:
            found.text += block.get("text", "") if block.get("type") == "text" else ""
            _block(block, found)
        usage = value.get("usage") or {}
        found.usage = (usage.get("input_tokens"), usage.get("output_tokens"))
        return
    kind = value.get("type")
    if name and kind and name != kind:
        found.blame(f"event {name} with type {kind}")
    if kind == "content_block_delta" and value["delta"].get("type") == "text_delta":
        found.text += value["delta"]["text"]
    elif kind == "content_block_start":
        _block(value["content_block"], found)
    elif kind == "message_delta":
        usage = value.get("usage") or {}
        found.usage = (usage.get("input_tokens", -1), usage.get("output_tokens"))
    elif kind == "message_stop":
        found.ended = True


def _block(block: Any, found: Read) -> None:
    if block.get("type") == "tool_use":
        found.calls.append(block["name"])
        found.ids.append(block["id"])


def _gemini(value: Any, found: Read, streamed: bool, name: str = "") -> None:
    for candidate in (value.get("candidates") or [])[:1]:
        for part in (candidate.get("content") or {}).get("parts") or []:
            if not isinstance(part, dict):
                continue
            found.text += part.get("text", "") if not part.get("thought") else ""
            if "functionCall" in part:
                found.calls.append(part["functionCall"]["name"])
        if candidate.get("finishReason"):
            found.stopped = True
    usage = value.get("usageMetadata")
    if isinstance(usage, dict):
        found.usage = (usage.get("promptTokenCount"), usage.get("candidatesTokenCount"))


_STREAMED = {"chat": _chat, "messages": _messages, "gemini": _gemini}
