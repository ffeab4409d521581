"""What a provider understands of a request in its dialect, and what it would refuse: the ears of `dialect_upstream`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


class Complaint(Exception):
    """The request is one that the real service answers with 400."""


@dataclass
class Heard:
    """One request in neutral words. text: of the last user message. results: the tool results that end the request,
    as (id, name, text); the name is "" where the dialect has none. calls: every earlier call as (id, name, arguments).
    signed: every signature, encrypted thought or signed detail that came back. images: (mime, base64)."""

    provider: str
    dialect: str
    model: str
    stream: bool
    body: dict[str, Any]
    system: str = ""
    text: str = ""
    images: list[tuple[str, str]] = field(default_factory=list)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    results: list[tuple[str, str, str]] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    thinks: bool = False

    @property
    def must_call(self) -> str:
        """The name of the tool that the answer has to call; "" when it may speak."""
        choice: Any = self.body.get("tool_choice")
        if self.dialect == "gemini":
            choice = (self.body.get("toolConfig") or {}).get("functionCallingConfig") or {}
            names = choice.get("allowedFunctionNames") or list(self.tools)
            return names[0] if choice.get("mode") == "ANY" else ""
        if isinstance(choice, dict) and (name := choice.get("name") or (choice.get("function") or {}).get("name")):
            return str(name)
        word = choice.get("type") if isinstance(choice, dict) else choice
        return next(iter(self.tools)) if word in ("any", "required") else ""


def _names(text: str) -> set[str]:
    return set(text.split())


CHAT_FIELDS = _names(
    """
    audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages metadata modalities
    model n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format
    safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
    """
)
MISTRAL_FIELDS = _names(
    """
    model messages temperature top_p max_tokens stream stop random_seed response_format tools tool_choice n
    presence_penalty frequency_penalty prediction parallel_tool_calls prompt_mode reasoning_effort metadata
    safe_prompt prompt_cache_key
    """
)
ANTHROPIC_FIELDS = _names(
    """
    max_tokens messages model cache_control container context_management inference_geo mcp_servers metadata
    output_config service_tier stop_sequences stream system temperature thinking tool_choice tools top_k top_p
    speed
    """
)
#: Members of a message that these two know; anything else is refused by name.
MESSAGE_FIELDS = {
    "mistral": _names("role content tool_calls tool_call_id prefix name"),
    "groq": _names("role content tool_calls tool_call_id name reasoning"),
}
GEMINI_FIELDS = _names("contents tools toolConfig safetySettings systemInstruction generationConfig cachedContent")
RESPONSES_FIELDS = _names(
    """
    background context_management conversation include input instructions max_output_tokens max_tool_calls
    metadata model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream
    stream_options temperature text tool_choice tools top_logprobs top_p truncation user
    """
)


def hear(provider: str, dialect: str, model: str, stream: bool, body: dict[str, Any]) -> Heard:
    """Raises Complaint."""
    heard = Heard(provider, dialect, str(body.get("model", model)), stream or body.get("stream") is True, body)
    {"chat": _chat, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}[dialect](heard)
    known = {id for id, _, _ in heard.calls}
    for id, _, _ in heard.results:
        _check(not id or id in known, f"a result for the call {id!r}, which was never made")
    return heard


def _check(good: bool, message: str) -> None:
    if not good:
        raise Complaint(message)


def _known_fields(body: dict[str, Any], allowed: set[str]) -> None:
    unknown = sorted(body.keys() - allowed)
    _check(not unknown, f"extra inputs are not permitted: {', '.join(unknown)}")


def _chat(heard: Heard) -> None:
    body = heard.body
    if heard.provider in ("openai", "groq"):
        _known_fields(body, CHAT_FIELDS)
    elif heard.provider == "mistral":
        _known_fields(body, MISTRAL_FIELDS)
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        _known_fields(message, MESSAGE_FIELDS.get(heard.provider, set(message)))
        if role in ("system", "developer"):
            _check(role == "system" or heard.provider == "openai", "unknown role developer")
            heard.system += _joined(content)
        elif role == "user":
            heard.text, heard.results = _joined(content), []
            heard.images = [_data_url(part["image_url"]["url"]) for part in _typed(content, "image_url")]
        elif role == "assistant":
            heard.results = []
            heard.signed += [
                word
                for detail in message.get("reasoning_details") or ()
                if (word := detail.get("signature") or detail.get("data"))
            ]
            _check(content is not None or bool(message.get("tool_calls")), "an assistant message without content")
            for call in message.get("tool_calls") or ():
                _short(heard, call["id"])
                function = call["function"]
                heard.calls.append((call["id"], function["name"], json.loads(function["arguments"])))
        elif role == "tool":
            _short(heard, message["tool_call_id"])
            heard.results.append((message["tool_call_id"], "", _joined(content)))
    answered = {id for id, _, _ in heard.results}
    for last in body["messages"][-1 - len(heard.results) :][:1]:
        called = {call["id"] for call in last.get("tool_calls") or ()}
        _check(called == answered or not answered, "an assistant message with tool_calls must be followed by results")
    heard.tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body.get("tools", ())}
    form = body.get("response_format") or {}
    heard.schema = form["json_schema"]["schema"] if form.get("type") == "json_schema" else None
    heard.max_tokens = body.get("max_completion_tokens", body.get("max_tokens"))
    heard.thinks = "reasoning_effort" in body or "reasoning" in body


def _short(heard: Heard, id: str) -> None:
    if heard.provider == "mistral":
        _check(re.fullmatch(r"[a-zA-Z0-9]{9}", id) is not None, f"tool call id {id!r} must be nine letters or digits")


def _responses(heard: Heard) -> None:
    body = heard.body
    _known_fields(body, RESPONSES_FIELDS)
    heard.system = body.get("instructions") or ""
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    for item in items:
        kind, role = item.get("type", "message"), item.get("role")
        if kind == "function_call_output":
            heard.results.append((item["call_id"], "", _joined(item["output"])))
            continue
        heard.results = []
        if kind == "function_call":
            heard.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        elif kind == "reasoning":
            heard.signed.append(item["encrypted_content"])
        elif role in ("system", "developer"):
            heard.system += _joined(item["content"])
        elif role == "user":
            heard.text = _joined(item["content"])
            heard.images = [_data_url(part["image_url"]) for part in _typed(item["content"], "input_image")]
    heard.tools = {tool["name"]: tool.get("parameters") or {} for tool in body.get("tools", ())}
    form = (body.get("text") or {}).get("format") or {}
    heard.schema = form["schema"] if form.get("type") == "json_schema" else None
    heard.max_tokens = body.get("max_output_tokens")
    heard.thinks = bool(body.get("reasoning"))


def _anthropic(heard: Heard) -> None:
    body = heard.body
    _known_fields(body, ANTHROPIC_FIELDS)
    _check(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
    heard.max_tokens = body["max_tokens"]
    heard.system = _joined(body.get("system"))
    thinking = (body.get("thinking") or {}).get("type")
    heard.thinks = thinking in ("enabled", "adaptive")
    last = ""
    for place, message in enumerate(body["messages"]):
        role, content = message["role"], message["content"]
        _check(role in ("user", "assistant"), f"messages.{place}: unexpected role {role}")
        _check(bool(place) or role == "user", "messages: first message must use the user role")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if role == "assistant":
            _thoughts_first(heard, blocks, place, place + 2 == len(body["messages"]))
        else:
            heard.results = [
                (block["tool_use_id"], "", _joined(block.get("content"))) for block in _typed(blocks, "tool_result")
            ]
            owed = {block["id"] for block in last or () if block["type"] == "tool_use"}
            _check(
                owed == {id for id, _, _ in heard.results},
                f"messages.{place}: tool_use ids were found without tool_result blocks immediately after, or the other "
                "way round",
            )
            heard.text = _joined(blocks)
            heard.images = [
                (block["source"]["media_type"], block["source"]["data"]) for block in _typed(blocks, "image")
            ]
        last = blocks
    heard.tools = {tool["name"]: tool.get("input_schema") or {} for tool in body.get("tools", ())}
    form = (body.get("output_config") or {}).get("format") or {}
    heard.schema = form.get("schema")


def _thoughts_first(heard: Heard, blocks: list[dict[str, Any]], place: int, last: bool) -> None:
    for block in _typed(blocks, "thinking"):
        _check(bool(block.get("signature")), f"messages.{place}: thinking.signature: Field required")
        heard.signed.append(block["signature"])
    for block in _typed(blocks, "tool_use"):
        _check(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]) is not None, "tool_use.id: String should match pattern")
        heard.calls.append((block["id"], block["name"], block["input"]))
    if last and (heard.body.get("thinking") or {}).get("type") == "enabled" and _typed(blocks, "tool_use"):
        _check(
            blocks[0]["type"] in ("thinking", "redacted_thinking"),
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        )


def _camel(value: Any) -> Any:
    """Google takes members in both spellings, and says nothing about what stands inside of these."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, member in value.items():
        name = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        own = name in ("args", "response", "parametersJsonSchema", "responseJsonSchema", "responseSchema", "parameters")
        out[name] = member if own else _camel(member)
    return out


def _gemini(heard: Heard) -> None:
    body = heard.body = _camel(heard.body)
    _known_fields(body, GEMINI_FIELDS)
    heard.system = _joined((body.get("systemInstruction") or {}).get("parts"))
    for content in body["contents"]:
        parts = content["parts"]
        heard.signed += [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        if content.get("role") == "model":
            heard.calls += [(call.get("id", ""), call["name"], call.get("args") or {}) for call in calls]
            owed = [call["name"] for call in calls]
            heard.results = []
            continue
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        heard.results = [(one.get("id", ""), one["name"], _response_text(one["response"])) for one in answers]
        if answers:
            _check(
                sorted(owed) == sorted(one["name"] for one in answers),
                "the number of function response parts must be equal to the number of function call parts",
            )
        heard.text = _joined(parts) or heard.text
        heard.images = [
            (part["inlineData"]["mimeType"], part["inlineData"]["data"]) for part in parts if "inlineData" in part
        ]
    for tool in body.get("tools") or ():
        for one in tool.get("functionDeclarations") or ():
            heard.tools[one["name"]] = one.get("parametersJsonSchema") or one.get("parameters") or {}
    config = body.get("generationConfig") or {}
    heard.schema = config.get("responseJsonSchema") or config.get("responseSchema")
    heard.max_tokens = config.get("maxOutputTokens")
    heard.thinks = "thinkingConfig" in config


def _response_text(response: dict[str, Any]) -> str:
    return next(
        (str(response[key]) for key in ("output", "result") if key in response),
        json.dumps(response, separators=(",", ":")),
    )


def _typed(content: Any, kind: str) -> list[dict[str, Any]]:
    return [part for part in content if part.get("type") == kind] if isinstance(content, list) else []


def _joined(content: Any) -> str:
    if isinstance(content, str) or not content:
        return content or ""
    return "".join(_texts(content))


def _texts(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if "text" in part and not part.get("thought"):
            yield part["text"]


def _data_url(url: str) -> tuple[str, str]:
    head, _, data = url.partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), data
