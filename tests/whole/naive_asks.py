"""What a request says, read off each dialect's own words in the plainest way: nothing of the server's code is used."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .naive_answers import parsed

Json = dict[str, Any]


@dataclass
class Side:
    """Everything that one side says before the other goes on. text: without white space, since dialects cut texts
    differently. media: how many images, sounds and files."""

    model: bool
    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    media: int = 0

    def says(self, text: str | None) -> None:
        self.text += bare(text)


@dataclass
class Meant:
    """allowed: the tools among which the choice was limited, if it was."""

    system: str = ""
    sides: list[Side] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    max_tokens: int | None = None
    temperature: float | None = None
    stop: list[str] = field(default_factory=list)

    def gathered(self) -> Meant:
        """Without sides that say nothing, and with those of one speaker put together."""
        said, self.sides = self.sides, []
        for one in said:
            if one != Side(one.model):
                side = self.side(one.model)
                side.text += one.text
                side.calls += one.calls
                side.results += one.results
                side.media += one.media
        return self

    def user_says(self, text: str) -> None:
        """Dialects that know the system only in front are told of later words so."""
        for place, piece in enumerate(re.split("</?system>", text)):
            if place % 2:
                self.system += bare(piece)
            else:
                self.side(False).says(piece)

    def side(self, model: bool) -> Side:
        if not self.sides or self.sides[-1].model != model:
            self.sides.append(Side(model))
        return self.sides[-1]


def bare(text: str | None) -> str:
    return "".join((text or "").split())


def meant(dialect: str, body: Json) -> Meant:
    found = {"openai_chat": _chat, "anthropic_messages": _anthropic, "gemini": _gemini, "openai_responses": _responses}[
        dialect
    ](body)
    return found.gathered()


def words(part: Json) -> str | None:
    """The text of a part; None when it holds none. A text file's content is text, however it is sent."""
    if part.get("text") is not None:
        return part["text"]
    if part.get("type") == "search_result":
        return f"{part['title']}:" + "".join(block["text"] for block in part["content"])
    if (part.get("source") or {}).get("type") == "text":
        return part["source"]["data"]
    inline = part.get("inlineData") or {}
    if inline.get("mimeType", "").startswith("text/"):
        return base64.b64decode(inline["data"]).decode()
    url = (part.get("file") or part).get("file_data")
    mime, _, data = url.partition(";base64,") if isinstance(url, str) else ("", "", "")
    return base64.b64decode(data).decode() if mime.startswith("data:text/") else part.get("refusal")


def result(value: Any) -> Any:
    """A tool's result: text and the objects that wrap it mean the same."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return bare(value)
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        if name == "error" and isinstance(inner, str):
            return failed(inner)
        if name in ("result", "output"):
            return result(inner)
    return bare(value) if isinstance(value, str) else value


def failed(text: str) -> str:
    """A tool's failure: a mark in some dialects, a first word in others."""
    return bare(text) if text.startswith("Error") else "Error:" + bare(text)


def _texts(content: Any, side: Side | None = None, of_tool: bool = False) -> str:
    """The text of a string or of a list of parts; the side is told of its media. of_tool: files of a tool's result are
    no part of its text, since some dialects can only show them beside it."""
    if not isinstance(content, list):
        return content or ""
    texts = []
    for part in content:
        text = part if isinstance(part, str) else words(part)
        is_file = isinstance(part, dict) and "text" not in part and part.get("type") != "search_result"
        if text is not None and of_tool and side is not None and is_file:
            side.says(text)
        elif text is not None:
            texts.append(text)
        elif side is not None and part["type"] in _MEDIA:
            side.media += 1
    return "".join(texts)


_MEDIA = frozenset(
    (
        *("image_url", "input_audio", "file", "video_url", "document_url"),
        *("image", "document"),
        *("input_image", "input_file"),
    )
)


# ----------------------------------------------------------------------------------------------------- OpenAI Chat


def _chat(body: Json) -> Meant:
    found = Meant(max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"))
    found.temperature = body.get("temperature")
    stop = body.get("stop") or []
    found.stop = [stop] if isinstance(stop, str) else stop
    for tool in (*(body.get("tools") or ()), *({"function": one} for one in body.get("functions") or ())):
        if "function" in tool or "custom" in tool:
            found.tools.append((tool.get("function") or tool["custom"])["name"])
    for message in body["messages"]:
        _chat_message(found, message)
    return found


def _chat_message(found: Meant, message: Json) -> None:
    role, content = message["role"], message.get("content")
    if role in ("system", "developer"):
        found.system += bare(_texts(content))
    elif role in ("tool", "function"):
        side = found.side(False)
        side.results.append(result(_texts(content, side, of_tool=True)))
    elif role == "user":
        found.user_says(_texts(content, found.side(False)))
    else:
        side = found.side(True)
        side.says(_texts(content, side))
        side.says(message.get("refusal"))
        for call in message.get("tool_calls") or ():
            if "custom" in call:
                side.calls.append((call["custom"]["name"], {"input": call["custom"]["input"]}))
            else:
                side.calls.append((call["function"]["name"], parsed(call["function"].get("arguments"))))
        if message.get("function_call"):
            side.calls.append((message["function_call"]["name"], parsed(message["function_call"]["arguments"])))


# ------------------------------------------------------------------------------------------------------- Anthropic


def _anthropic(body: Json) -> Meant:
    found = Meant(bare(_texts(body.get("system"))), max_tokens=body.get("max_tokens"))
    found.temperature = body.get("temperature")
    found.stop = body.get("stop_sequences") or []
    found.tools = [tool["name"] for tool in body.get("tools") or () if tool.get("type", "custom") == "custom"]
    if body.get("tool_choice") == {"type": "none"} and not any("description" in tool for tool in body["tools"]):
        found.tools = []  # only named because they stand in the messages
    for message in body["messages"]:
        content = message["content"]
        if message["role"] == "system":  # in the middle of a conversation
            found.system += bare(_texts(content))
            continue
        if message["role"] == "user":
            _anthropic_user(found, content)
            continue
        side = found.side(True)
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                side.says(block["text"])
            elif block["type"] == "tool_use":
                side.calls.append((block["name"], block["input"]))
    return found


def _anthropic_user(found: Meant, content: Any) -> None:
    if not isinstance(content, list):
        found.user_says(content)
        return
    found.user_says("".join(words(block) or "" for block in content))
    for block in content:
        _anthropic_block(found.side(False), block)


def _anthropic_block(side: Side, block: Json) -> None:
    match block["type"]:
        case "tool_result":
            text = _texts(block.get("content"), side, of_tool=True)
            side.results.append(failed(text) if block.get("is_error") else result(text))
        case "image" | "document" if words(block) is None:
            side.media += 1


# ---------------------------------------------------------------------------------------------------------- Gemini


_CAMEL = {
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "inline_data": "inlineData",
    "file_data": "fileData",
}


def _parts(content: Json | None) -> Iterator[Json]:
    """Under the names that Google's JSON uses; it takes snake_case too."""
    parts = (content or {}).get("parts") or []
    for part in parts if isinstance(parts, list) else [parts]:
        yield {_CAMEL.get(name, name): value for name, value in part.items()}


def _gemini(body: Json) -> Meant:
    config = body.get("generationConfig") or {}
    found = Meant(bare("".join(words(part) or "" for part in _parts(body.get("systemInstruction")))))
    found.max_tokens, found.temperature = config.get("maxOutputTokens"), config.get("temperature")
    found.stop = config.get("stopSequences") or []
    tools = body.get("tools") or []
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    found.allowed = calling.get("allowedFunctionNames") or []
    for tool in [tools] if isinstance(tools, dict) else tools:
        declared = tool.get("functionDeclarations") or tool.get("function_declarations") or ()
        found.tools += [one["name"] for one in declared]
    for content in body["contents"]:
        model = content.get("role") == "model"
        said = "".join(words(part) or "" for part in _parts(content) if not part.get("thought"))
        if model:
            found.side(True).says(said)
        else:
            found.user_says(said)
        for part in _parts(content):
            _gemini_part(found.side(model), part)
    return found


def _gemini_part(side: Side, part: Json) -> None:
    if "functionCall" in part:
        side.calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
    elif "functionResponse" in part:
        response = part["functionResponse"]
        side.results.append(result(response.get("response") or {}))
        for inner in _parts(response):
            side.says(words(inner))
            _gemini_medium(side, inner)
    else:
        _gemini_medium(side, part)


def _gemini_medium(side: Side, part: Json) -> None:
    if "inlineData" in part or "fileData" in part:
        side.media += words(part) is None


# ------------------------------------------------------------------------------------------------ OpenAI Responses


def _responses(body: Json) -> Meant:
    found = Meant(bare(body.get("instructions")), max_tokens=body.get("max_output_tokens"))
    found.temperature = body.get("temperature")
    found.tools = [tool["name"] for tool in body.get("tools") or () if tool["type"] in ("function", "custom")]
    given = body["input"]
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        match item.get("type", "message"):
            case "message" if item["role"] in ("system", "developer"):
                found.system += bare(_texts(item["content"]))
            case "message" if item["role"] == "user":
                found.user_says(_texts(item["content"], found.side(False)))
            case "message":
                found.side(True).says(_texts(item["content"]))
            case "function_call":
                found.side(True).calls.append((item["name"], parsed(item["arguments"])))
            case "custom_tool_call":
                found.side(True).calls.append((item["name"], {"input": item["input"]}))
            case "function_call_output" | "custom_tool_call_output":
                side = found.side(False)
                side.results.append(result(_texts(item["output"], side, of_tool=True)))
    return found
