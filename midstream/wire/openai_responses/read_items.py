"""Input items as neutral messages.

Grouping: what the model said between two messages to it is one assistant Message: its reasoning and hosted items, at
most one message item, its tool calls. Every item from elsewhere, each tool output included, is a Message of its own.
`native` of a Message: the bytes of its item, or, where it stands for several, the JSON array of them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from ...core.errors import BadRequest
from ...core.parts import Cache, Foreign, Media, Message, Native, Part, Refusal, Role, State, Text, ToolCall, ToolResult
from .contents import call_of, citations_of, image_of, reasoning_of
from .grammar import NAME, state_of

_decode = msgspec.json.Decoder().decode
_raws = msgspec.json.Decoder(list[Raw]).decode

_ROLES = ("user", "assistant", "system", "developer")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
#: Items that stand in the caller's place: answers to what a hosted tool asked, and references.
_FROM_CALLER = (
    "item_reference", "additional_tools", "mcp_approval_response", "computer_call_output", "local_shell_call_output",
    "shell_call_output", "apply_patch_call_output", "tool_search_output", "program_output", "configuration",
)  # fmt: skip


def read_input(raw: bytes) -> tuple[Message, ...]:
    """`input`: a text, or a list of items. Raises BadRequest with the item's path."""
    value = _decode(raw)
    if isinstance(value, str):
        return (Message("user", (Text(value),)),)
    if not isinstance(value, list):
        raise BadRequest("input must be a string or a list of items", param="input")
    reader = _Items()
    for number, (item, own_bytes) in enumerate(zip(value, _raws(raw), strict=True)):
        reader.add(item, bytes(own_bytes), f"input[{number}]")
    return reader.messages()


class _Items:
    def __init__(self) -> None:
        self._done: list[Message] = []
        self._parts: list[Part] = []
        self._natives: list[bytes] = []
        self._spoken = False
        self._names: dict[str, str] = {}

    def messages(self) -> tuple[Message, ...]:
        self._close()
        return tuple(self._done)

    def add(self, item: Any, raw: bytes, path: str) -> None:
        if not isinstance(item, dict):
            raise BadRequest(f"{path} must be an object", param=path)
        kind = item.get("type", "message")
        if not isinstance(kind, str):
            raise BadRequest(f"{path}.type must be a string", param=f"{path}.type")
        if kind == "message":
            self._message(item, raw, path)
        elif kind in _OUTPUTS:
            self._alone("tool", (self._output(item, path),), raw)
        elif kind in _FROM_CALLER:
            self._alone("user", (Foreign(kind, State(NAME, item)),), raw)
        else:
            part = _made_by_model(kind, item, path)
            if isinstance(part, ToolCall):
                self._names[part.id] = part.name
                self._spoken = True
            self._parts.append(part)
            self._natives.append(raw)

    def _message(self, item: dict[str, Any], raw: bytes, path: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise BadRequest(f"{path}.role must be one of {', '.join(_ROLES)}", param=f"{path}.role")
        state = state_of({**item, "type": "message"}) if role == "assistant" else None
        parts = read_content(item.get("content"), f"{path}.content", state)
        if role != "assistant":
            self._alone(role, parts, raw)
            return
        if self._spoken:
            self._close()
        self._spoken = True
        self._parts.extend(parts)
        self._natives.append(raw)

    def _alone(self, role: Role, parts: tuple[Part, ...], raw: bytes) -> None:
        self._close()
        self._done.append(Message(role, parts, native=Native(NAME, raw)))

    def _close(self) -> None:
        """The assistant's turn, if one is open, is complete."""
        if self._natives:
            many = len(self._natives) > 1
            raw = b"[" + b",".join(self._natives) + b"]" if many else self._natives[0]
            self._done.append(Message("assistant", tuple(self._parts), native=Native(NAME, raw)))
        self._parts, self._natives, self._spoken = [], [], False

    def _output(self, item: dict[str, Any], path: str) -> ToolResult:
        call_id = required(item, "call_id", path)
        content = read_content(item.get("output"), f"{path}.output", None)
        parts = tuple([part for part in content if isinstance(part, Text | Media | Foreign)])
        custom = State(NAME, {"type": item["type"]}) if item["type"] == "custom_tool_call_output" else None
        return ToolResult(call_id, parts, name=self._names.get(call_id, ""), state=custom)


def _made_by_model(kind: str, item: dict[str, Any], path: str) -> Part:
    if kind in ("function_call", "custom_tool_call"):
        required(item, "call_id", path)
        required(item, "name", path)
        words = "input" if kind == "custom_tool_call" else "arguments"
        if not isinstance(item.get(words), str):
            raise BadRequest(f"{path}.{words} must be a string", param=f"{path}.{words}")
        return call_of(item)
    if kind == "reasoning":
        return reasoning_of(item)
    image = image_of(item) if kind == "image_generation_call" else None
    return image or Foreign(kind, State(NAME, item))


def required(item: dict[str, Any], name: str, path: str) -> str:
    """item[name], a string that is not empty."""
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{path}.{name} must be a string", param=f"{path}.{name}")
    return value


def read_content(content: Any, path: str, state: State | None) -> tuple[Part, ...]:
    """A message's content or a tool's output: a text, or a list of parts. state: of the message that they make."""
    if isinstance(content, str):
        return (Text(content, state=state),)
    if not isinstance(content, list):
        raise BadRequest(f"{path} must be a string or a list of parts", param=path)
    return tuple([_part(part, f"{path}[{number}]", state) for number, part in enumerate(content)])


def _part(part: Any, path: str, state: State | None) -> Part:
    if not isinstance(part, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        words = part.get("text")
        if not isinstance(words, str):
            raise BadRequest(f"{path}.text must be a string", param=f"{path}.text")
        return Text(words, citations=citations_of(part), cache=_cache(part), state=state)
    if kind == "refusal":
        return Refusal(_string(part, "refusal", path) or "")
    if kind == "input_image":
        return _image(part, path)
    if kind == "input_file":
        return _file(part, path)
    if kind == "input_audio":
        return _audio(part, path)
    if not isinstance(kind, str):
        raise BadRequest(f"{path}.type must be a string", param=f"{path}.type")
    return Foreign(kind, State(NAME, part))


def _cache(part: dict[str, Any]) -> Cache | None:
    mark = part.get("prompt_cache_breakpoint")
    if not isinstance(mark, dict):
        return None
    return Cache("1h" if mark.get("ttl") == "12h" else "5m")


def _string(part: dict[str, Any], name: str, path: str) -> str | None:
    value = part.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{path}.{name} must be a string", param=f"{path}.{name}")
    return value


def _data_url(url: str, path: str) -> tuple[str, str]:
    """(mime, base64 text) of `data:<mime>;base64,<text>`."""
    head, comma, data = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise BadRequest(f"{path} must be a data URL in base64", param=path)
    return head[5 : -len(";base64")].partition(";")[0], data


def _image(part: dict[str, Any], path: str) -> Media:
    url, file_id = _string(part, "image_url", path), _string(part, "file_id", path)
    detail = _string(part, "detail", path)
    if file_id is not None:
        return Media("image", file_id=file_id, detail=detail, cache=_cache(part))
    if url is None:
        raise BadRequest(f"{path} needs image_url or file_id", param=f"{path}.image_url")
    if url.startswith("data:"):
        mime, data = _data_url(url, f"{path}.image_url")
        return Media("image", mime=mime, data=data, detail=detail, cache=_cache(part))
    return Media("image", url=url, detail=detail, cache=_cache(part))


def _file(part: dict[str, Any], path: str) -> Media:
    url, file_id = _string(part, "file_url", path), _string(part, "file_id", path)
    data, name = _string(part, "file_data", path), _string(part, "filename", path)
    detail, cache = _string(part, "detail", path), _cache(part)
    if file_id is not None:
        return Media("file", file_id=file_id, name=name, detail=detail, cache=cache)
    if url is not None:
        return Media("file", url=url, name=name, detail=detail, cache=cache)
    if data is None:
        raise BadRequest(f"{path} needs file_data, file_url or file_id", param=f"{path}.file_data")
    mime = ""
    if data.startswith("data:"):
        mime, data = _data_url(data, f"{path}.file_data")
    elif name is not None and name.lower().endswith(".pdf"):
        mime = "application/pdf"
    return Media("file", mime=mime, data=data, name=name, detail=detail, cache=cache)


def _audio(part: dict[str, Any], path: str) -> Media:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise BadRequest(f"{path}.input_audio must be an object", param=f"{path}.input_audio")
    form = _string(audio, "format", f"{path}.input_audio") or "wav"
    data = required(audio, "data", f"{path}.input_audio")
    return Media("audio", mime=f"audio/{form}", data=data)
