"""The official SDKs behind one small interface, so that one table of cases runs through all of them: each voice asks
a face as its vendor's documentation says, strict where the SDK can be strict, and hands back what it understood."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import openai
from google import genai
from google.genai import errors, types
from openai.lib.streaming.chat import ChatCompletionStreamState

from .serving import ADMIN_KEY


@dataclass
class Got:
    """An answer in neutral words. calls: (id, name, arguments). turn: the message that the client sends back."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    stop: str = ""
    input: int = 0
    cached: int = 0
    output: int = 0
    model: str = ""
    turn: Any = None


class Voice(Protocol):
    """ask: turns are made by user, Got.turn and results. max_tokens: None where the SDK lets it be left out."""

    def user(self, text: str, image: bytes | None = None) -> Any: ...

    def results(self, results: Sequence[tuple[str, str, str]]) -> list[Any]: ...

    def ask(
        self, model: str, turns: Sequence[Any], *, stream: bool = False, system: str = "", tools: Sequence[str] = (),
        schema: dict[str, Any] | None = None, max_tokens: int | None = None, effort: bool = False,
    ) -> Got: ...  # fmt: skip


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def png() -> bytes:
    """The smallest picture there is."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return body


class Chat:
    """openai. Sends back of an answer only what every chat client knows: content and tool calls."""

    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(
            base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0, _strict_response_validation=True
        )

    def user(self, text: str, image: bytes | None = None) -> Any:
        if image is None:
            return {"role": "user", "content": text}
        url = "data:image/png;base64," + base64.b64encode(image).decode()
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return {"role": "user", "content": parts}

    def results(self, results: Sequence[tuple[str, str, str]]) -> list[Any]:
        return [{"role": "tool", "tool_call_id": id, "content": text} for id, _, text in results]

    def options(self, model: str, turns: Sequence[Any], **asked: Any) -> dict[str, Any]:
        system = [{"role": "system", "content": asked["system"]}] if asked.get("system") else []
        options: dict[str, Any] = {"model": model, "messages": [*system, *turns]}
        if asked.get("tools"):
            options["tools"] = [
                {"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
                for name in asked["tools"]
            ]
        if asked.get("schema"):
            form = {"name": "place", "schema": asked["schema"], "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        if asked.get("max_tokens"):
            options["max_completion_tokens"] = asked["max_tokens"]
        if asked.get("effort"):
            options["reasoning_effort"] = "low"
        return options

    def ask(self, model: str, turns: Sequence[Any], *, stream: bool = False, **asked: Any) -> Got:
        options = self.options(model, turns, **asked)
        if not stream:
            return self.got(self.client.chat.completions.create(**options))
        state = ChatCompletionStreamState()
        ids, thought = set(), ""
        for chunk in self.client.chat.completions.create(
            **options, stream=True, stream_options={"include_usage": True}
        ):
            ids.add(chunk.id)
            thought += "".join(getattr(one.delta, "reasoning_content", None) or "" for one in chunk.choices)
            state.handle_chunk(chunk)
        assert len(ids) == 1
        got = self.got(state.current_completion_snapshot)
        got.thought = thought
        return got

    def got(self, answer: Any) -> Got:
        (choice,) = answer.choices
        message, usage = choice.message, answer.usage
        calls = [(one.id, one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ()]
        turn = {"role": "assistant", "content": message.content}
        if calls:
            turn["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for id, name, arguments in calls
            ]
        return Got(
            message.content or "", getattr(message, "reasoning_content", None) or "", calls,
            {"tool_calls": "calls"}.get(choice.finish_reason, choice.finish_reason),
            usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0,
            usage.completion_tokens, answer.model, turn,
        )  # fmt: skip

    def complaint(self, call: Any) -> tuple[type[Exception], int, str]:
        try:
            call()
        except openai.APIStatusError as error:
            return type(error), error.status_code, error.message
        raise AssertionError("no error")


class Messages:
    """anthropic. Sends an answer's blocks back as they came, as the API demands of its clients."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.Anthropic(
            base_url=url, api_key=ADMIN_KEY, max_retries=0, _strict_response_validation=True
        )

    def user(self, text: str, image: bytes | None = None) -> Any:
        if image is None:
            return {"role": "user", "content": text}
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(image).decode()}
        return {"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": text}]}

    def results(self, results: Sequence[tuple[str, str, str]]) -> list[Any]:
        blocks = [{"type": "tool_result", "tool_use_id": id, "content": text} for id, _, text in results]
        return [{"role": "user", "content": blocks}]

    def options(self, model: str, turns: Sequence[Any], **asked: Any) -> dict[str, Any]:
        options: dict[str, Any] = {"model": model, "messages": list(turns)}
        options["max_tokens"] = asked.get("max_tokens") or 4096
        if asked.get("system"):
            options["system"] = asked["system"]
        if asked.get("tools"):
            options["tools"] = [{"name": name, "description": name, "input_schema": SCHEMA} for name in asked["tools"]]
        if asked.get("schema"):
            options["output_config"] = {"format": {"type": "json_schema", "schema": asked["schema"]}}
        if asked.get("effort"):
            options["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return options

    def ask(self, model: str, turns: Sequence[Any], *, stream: bool = False, **asked: Any) -> Got:
        options = self.options(model, turns, **asked)
        if not stream:
            return self.got(self.client.messages.create(**options))
        with self.client.messages.stream(**options) as events:
            text = "".join(events.text_stream)
            got = self.got(events.get_final_message())
        assert text == got.text
        return got

    def got(self, answer: Any) -> Got:
        blocks, usage = answer.content, answer.usage
        word = answer.stop_reason
        cached = usage.cache_read_input_tokens or 0
        return Got(
            "".join(block.text for block in blocks if block.type == "text"),
            "".join(block.thinking for block in blocks if block.type == "thinking"),
            [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"],
            {"end_turn": "stop", "max_tokens": "length", "tool_use": "calls"}.get(word, word),
            usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0), cached, usage.output_tokens,
            answer.model, {"role": "assistant", "content": blocks},
        )  # fmt: skip

    def complaint(self, call: Any) -> tuple[type[Exception], int, str]:
        try:
            call()
        except anthropic.APIStatusError as error:
            return type(error), error.status_code, error.message
        raise AssertionError("no error")


class Gemini:
    """google-genai. Sends an answer's content back as it came."""

    def __init__(self, url: str) -> None:
        self.client = genai.Client(api_key=ADMIN_KEY, http_options=types.HttpOptions(base_url=url))

    def user(self, text: str, image: bytes | None = None) -> Any:
        shown = [types.Part.from_bytes(data=image, mime_type="image/png")] if image is not None else []
        return types.Content(role="user", parts=[*shown, types.Part.from_text(text=text)])

    def results(self, results: Sequence[tuple[str, str, str]]) -> list[Any]:
        parts = [
            types.Part(function_response=types.FunctionResponse(id=id, name=name, response={"output": text}))
            for id, name, text in results
        ]
        return [types.Content(role="user", parts=parts)]

    def options(self, model: str, turns: Sequence[Any], **asked: Any) -> dict[str, Any]:
        config: dict[str, Any] = {}
        if asked.get("system"):
            config["system_instruction"] = asked["system"]
        if asked.get("tools"):
            named = [{"name": name, "description": name, "parameters_json_schema": SCHEMA} for name in asked["tools"]]
            config["tools"] = [types.Tool(function_declarations=named)]
        if asked.get("schema"):
            config |= {"response_mime_type": "application/json", "response_json_schema": asked["schema"]}
        if asked.get("max_tokens"):
            config["max_output_tokens"] = asked["max_tokens"]
        if asked.get("effort"):
            config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 1024}
        return {"model": model, "contents": list(turns), "config": config}

    def ask(self, model: str, turns: Sequence[Any], *, stream: bool = False, **asked: Any) -> Got:
        options = self.options(model, turns, **asked)
        if not stream:
            return self.got([self.client.models.generate_content(**options)])
        return self.got(list(self.client.models.generate_content_stream(**options)))

    def got(self, answers: list[Any]) -> Got:
        parts = [
            part
            for answer in answers
            for candidate in answer.candidates or ()
            for part in (candidate.content.parts if candidate.content else None) or ()
        ]
        calls = [part.function_call for part in parts if part.function_call]
        stops = [one.finish_reason for answer in answers for one in answer.candidates or () if one.finish_reason]
        assert len(stops) == 1
        usage = answers[-1].usage_metadata
        words = {"STOP": "calls" if calls else "stop", "MAX_TOKENS": "length"}
        return Got(
            "".join(part.text for part in parts if part.text and not part.thought),
            "".join(part.text for part in parts if part.text and part.thought),
            [(call.id or "", call.name, call.args) for call in calls], words.get(stops[0].value, stops[0].value),
            usage.prompt_token_count, usage.cached_content_token_count or 0,
            (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0), answers[-1].model_version or "",
            types.Content(role="model", parts=parts),
        )  # fmt: skip

    def complaint(self, call: Any) -> tuple[type[Exception], int, str]:
        try:
            call()
        except errors.APIError as error:
            return type(error), error.code, error.message or ""
        raise AssertionError("no error")


VOICES: dict[str, type[Any]] = {"chat": Chat, "messages": Messages, "gemini": Gemini}
