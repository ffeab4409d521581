"""What an answer says, read off each dialect's own words in the plainest way: written against the services' documents
and recordings, with nothing of the server's code, so that both can be compared."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class Call:
    id: str
    name: str
    arguments: Any


@dataclass
class Voice:
    """One choice. details: the thought as some services tell it a second time.
    stop: stop | length | tool_calls | content_filter | pause | error, as the dialect's own word says:
    some say "stop" when tools are called. declined: its words are a refusal, where a dialect tells them apart."""

    text: str = ""
    thought: str = ""
    details: str = ""
    calls: list[Call] = field(default_factory=list)
    stop: str = "error"
    declined: bool = False

    def called(self, id: str | None, name: str, arguments: Any) -> None:
        self.calls.append(Call(id or "", name, parsed(arguments)))


class Broken(Exception):
    """The answer is an error, or ends in one."""


@dataclass
class Heard:
    """usage: input (cached included), output (reasoning included), cached; None when nothing was said of it."""

    voices: list[Voice]
    usage: tuple[int, int, int] | None = None


def heard(dialect: str, body: bytes, stream: bool) -> Heard:
    """stream: the body is an event stream, or Google's array of pieces."""
    text = body.decode()
    if not stream:
        return _WHOLE[dialect](json.loads(text))
    values = json.loads(text) if text.lstrip()[:1] == "[" else list(events(text))
    if len(values) == 1 and dialect not in ("gemini", "openai_responses") and not _is_chunk(values[0]):
        return _WHOLE[dialect](values[0])
    return _STREAM[dialect](values)


def events(text: str) -> Iterator[Json]:
    for frame in text.replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].lstrip(" ") for line in frame.split("\n") if line.startswith("data:"))
        if data and data.strip() != "[DONE]":
            yield json.loads(data)
        elif frame.startswith("error: "):  # llama.cpp's way
            yield {"error": json.loads(frame[7:])}


def _is_chunk(value: Json) -> bool:
    """A stream of one chunk, not a whole answer in the place of a stream."""
    return any("delta" in choice for choice in value.get("choices") or ())


def parsed(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except ValueError:
        return arguments


# ----------------------------------------------------------------------------------------------------- OpenAI Chat

_CHAT_STOPS = {"function_call": "tool_calls", "error": "error", "model_length": "length", "sensitive": "content_filter"}


def _chat(body: Json) -> Heard:
    voices = []
    for choice in sorted(body["choices"], key=lambda choice: choice.get("index") or 0):
        voice, message = Voice(), choice.get("message") or {}
        _chat_words(voice, message)
        for call in message.get("tool_calls") or ():
            _chat_call(voice, call)
        if message.get("function_call"):
            voice.called("", message["function_call"]["name"], message["function_call"]["arguments"])
        stop = choice.get("finish_reason") or "error"
        voice.thought = voice.thought or voice.details
        voice.stop = _CHAT_STOPS.get(stop, stop)
        voices.append(voice)
    return Heard(voices, _chat_usage(body.get("usage")))


def _chat_words(voice: Voice, message: Json) -> None:
    content = message.get("content") or ""
    if isinstance(content, list):
        for item in content:
            if item["type"] == "text":
                voice.text += item["text"]
            elif item["type"] == "thinking":
                voice.thought += "".join(piece.get("text") or "" for piece in item["thinking"])
    else:
        voice.text += content if isinstance(content, str) else compact(content)
    voice.text += message.get("refusal") or ""
    voice.declined = voice.declined or bool(message.get("refusal"))
    for detail in message.get("reasoning_details") or ():
        voice.details += detail.get("text") or detail.get("summary") or ""
    voice.thought += message.get("reasoning_content") or message.get("reasoning") or ""


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _chat_call(voice: Voice, call: Json) -> None:
    if call.get("type") == "custom":
        voice.called(call.get("id"), call["custom"]["name"], {"input": call["custom"].get("input") or ""})
    else:
        voice.called(call.get("id"), call["function"]["name"], call["function"].get("arguments") or "")


def _chat_usage(usage: Json | None) -> tuple[int, int, int] | None:
    if not usage:
        return None
    inside = usage.get("prompt_tokens_details") or {}
    elsewhere = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens")
    cached = inside.get("cached_tokens") or next((usage[name] for name in elsewhere if usage.get(name)), 0)
    output = usage.get("completion_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    beside = (usage.get("total_tokens") or 0) - usage["prompt_tokens"] - output
    if beside > 0 and beside == inside.get("audio_tokens"):  # Mistral counts sound beside the prompt
        return usage["prompt_tokens"] + beside, output, cached
    if beside > 0 and reasoning in (0, beside):
        output += beside  # the services that count reasoning beside the completion, and name it or not
    return usage["prompt_tokens"], output, cached


def _chat_stream(chunks: list[Json]) -> Heard:
    messages: dict[int, Json] = {}
    stops: dict[int, str] = {}
    calls: dict[tuple[int, int], Json] = {}
    usage = None
    voices: dict[int, Voice] = {}
    for chunk in chunks:
        if chunk.get("error"):
            raise Broken(chunk["error"])
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk.get("choices") or ():
            number, delta = choice.get("index") or 0, choice.get("delta") or {}
            _chat_words(voices.setdefault(number, Voice()), delta)
            for place, call in enumerate(delta.get("tool_calls") or ()):
                at = call.get("index")
                _join(calls.setdefault((number, place if at is None else at), {}), call)
            if delta.get("function_call"):
                _join(messages.setdefault(number, {}), delta["function_call"])
            stops[number] = choice.get("finish_reason") or stops.get(number, "error")
    for (number, _), call in sorted(calls.items()):
        _chat_call(voices[number], call)
    for number, called in messages.items():
        voices[number].called("", called["name"], called.get("arguments"))
    for number, voice in voices.items():
        voice.thought = voice.thought or voice.details
        voice.stop = _CHAT_STOPS.get(stops[number], stops[number])
    return Heard([voices[number] for number in sorted(voices)], _chat_usage(usage))


def _join(whole: Json, piece: Json) -> None:
    """Pieces of one call: what it is stands in the first, its text grows."""
    for name, value in piece.items():
        if isinstance(value, dict):
            _join(whole.setdefault(name, {}), value)
        elif name in ("arguments", "input"):
            whole[name] = (whole.get(name) or "") + (value or "")
        elif value:
            whole.setdefault(name, value)


# ------------------------------------------------------------------------------------------------------- Anthropic

_ANTHROPIC_STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}


def _anthropic(body: Json) -> Heard:
    voice = Voice()
    for block in body["content"]:
        match block["type"]:
            case "text":
                voice.text += block["text"]
            case "thinking":
                voice.thought += block["thinking"]
            case "tool_use":
                voice.called(block["id"], block["name"], block["input"])
    voice.stop = _ANTHROPIC_STOPS[body["stop_reason"]]
    return Heard([voice], _anthropic_usage(body["usage"]))


def _anthropic_usage(usage: Json) -> tuple[int, int, int]:
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    sums = usage["input_tokens"] + cached + written, usage["output_tokens"], cached
    others = [_anthropic_usage(one) for one in usage.get("iterations") or () if one["type"] == "advisor_message"]
    return tuple(map(sum, zip(sums, *others, strict=True)))  # type: ignore[return-value]


def _anthropic_stream(frames: list[Json]) -> Heard:
    body: Json = {}
    blocks: dict[int, Json] = {}
    for frame in frames:
        match frame["type"]:
            case "message_start":
                body = dict(frame["message"])
            case "content_block_start":
                assert frame["index"] == len(blocks), "the indexes of blocks rise by one"
                blocks[frame["index"]] = {**frame["content_block"], "json": ""}
            case "content_block_delta":
                _anthropic_delta(blocks[frame["index"]], frame["delta"])
            case "message_delta":
                body |= {name: value for name, value in frame["delta"].items() if value is not None}
                told = {name: value for name, value in frame["usage"].items() if value is not None}
                body["usage"] = body["usage"] | told
            case "error":
                raise Broken(frame)
    for block in blocks.values():
        if block["type"] == "tool_use" and block["json"]:
            block["input"] = parsed(block["json"])
    return _anthropic({**body, "content": list(blocks.values())})


def _anthropic_delta(block: Json, delta: Json) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]


# ---------------------------------------------------------------------------------------------------------- Gemini

#: As numbers where a client asks for them so.
_GEMINI_WORDS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 6: "LANGUAGE", 7: "BLOCKLIST"}
_GEMINI_STOPS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "pause",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"),
        "content_filter",
    ),
}


def _gemini(body: Json) -> Heard:
    return _gemini_stream([body])


def _gemini_stream(pieces: list[Json]) -> Heard:
    voices: dict[int, Voice] = {}
    stops: dict[int, str] = {}
    usage = None
    for piece in pieces:
        if "error" in piece:
            raise Broken(piece)
        usage = piece.get("usageMetadata") or usage
        if (piece.get("promptFeedback") or {}).get("blockReason"):
            voices.setdefault(0, Voice())
            stops[0] = "SAFETY"
        for candidate in piece.get("candidates") or ():
            number = candidate.get("index") or 0
            _gemini_parts(voices.setdefault(number, Voice()), (candidate.get("content") or {}).get("parts") or ())
            stop = candidate.get("finishReason") or stops.get(number, "")
            stops[number] = _GEMINI_WORDS.get(stop, stop) if isinstance(stop, int) else stop
    for number, voice in voices.items():
        voice.stop = _GEMINI_STOPS.get(stops[number], "error")
    return Heard([voices[number] for number in sorted(voices)], _gemini_usage(usage))


def _gemini_parts(voice: Voice, parts: Any) -> None:
    for part in parts:
        if "text" in part:
            if part.get("thought"):
                voice.thought += part["text"]
            else:
                voice.text += part["text"]
        elif "name" not in part.get("functionCall", {"name": ""}):
            _gemini_piece(voice.calls[-1].arguments, part["functionCall"])
        elif "functionCall" in part:
            voice.called(part["functionCall"].get("id"), part["functionCall"]["name"], part["functionCall"].get("args"))


def _gemini_piece(arguments: Json, piece: Json) -> None:
    """More of a call's arguments, each with its place, as in $.list[0].name."""
    for one in piece.get("partialArgs") or ():
        *path, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", one["jsonPath"])]
        holder: Any = arguments
        for step, following in itertools.pairwise((*path, last)):
            _grow(holder, step, [] if isinstance(following, int) else {})
            holder = holder[step]
        value = next((one[name] for name in ("stringValue", "numberValue", "boolValue") if name in one), None)
        _grow(holder, last, "" if isinstance(value, str) else None)
        holder[last] = holder[last] + value if isinstance(value, str) else value


def _grow(holder: Any, step: str | int, empty: Any) -> None:
    if isinstance(holder, dict):
        holder.setdefault(step, empty)
    elif step == len(holder):
        holder.append(empty)


def _gemini_usage(usage: Json | None) -> tuple[int, int, int] | None:
    if usage is None:
        return None
    count = lambda name: usage.get(name) or 0  # noqa: E731
    output = count("candidatesTokenCount") + count("thoughtsTokenCount")
    return count("promptTokenCount") + count("toolUsePromptTokenCount"), output, count("cachedContentTokenCount")


# ------------------------------------------------------------------------------------------------ OpenAI Responses

#: "complete" is a word of servers that imitate the format; a queued response has not begun to answer.
_RESPONSES_STOPS = {
    "completed": "stop",
    "complete": "stop",
    "queued": "pause",
    "max_output_tokens": "length",
    "incomplete": "length",
    "content_filter": "content_filter",
}


def _responses(body: Json) -> Heard:
    voice = Voice()
    for item in body["output"]:
        match item["type"]:
            case "message":
                voice.text += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
                voice.declined = voice.declined or any(part["type"] == "refusal" for part in item["content"])
            case "function_call":
                voice.called(item["call_id"], item["name"], item["arguments"])
            case "custom_tool_call":
                voice.called(item["call_id"], item["name"], {"input": item["input"]})
            case "reasoning":
                told = item.get("summary") or item.get("content") or ()
                voice.thought += "\n\n".join(part["text"] for part in told)
    reason = (body.get("incomplete_details") or {}).get("reason") or body["status"]
    voice.stop = _RESPONSES_STOPS.get(reason, "error")
    usage = body.get("usage")
    if not usage:
        return Heard([voice])
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return Heard([voice], (usage["input_tokens"], usage["output_tokens"], cached))


def _responses_stream(frames: list[Json]) -> Heard:
    if any(frame["type"] == "error" for frame in frames):
        raise Broken(frames[-1])
    ends = ("response.completed", "response.incomplete", "response.failed")
    [body] = [frame["response"] for frame in frames if frame["type"] in ends]
    done = [frame for frame in frames if frame["type"] == "response.output_item.done"]
    if not body["output"] and done:
        body["output"] = [frame["item"] for frame in sorted(done, key=lambda frame: frame["output_index"])]
    return _responses(body)


_WHOLE: dict[str, Callable[[Json], Heard]] = {
    "openai_chat": _chat,
    "anthropic_messages": _anthropic,
    "gemini": _gemini,
    "openai_responses": _responses,
}
_STREAM: dict[str, Callable[[list[Json]], Heard]] = {
    "openai_chat": _chat_stream,
    "anthropic_messages": _anthropic_stream,
    "gemini": _gemini_stream,
    "openai_responses": _responses_stream,
}
