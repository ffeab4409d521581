"""One part of a content, Google's words to ours: the same for what is asked and what is answered."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from ...core.errors import BadRequest
from ...core.media_types import kind_of
from ...core.parts import Foreign, Media, Part, Reasoning, State, Text, ToolCall, ToolResult
from .shape import NAME, listed, members, shaped

#: Members that say something about a part's data rather than being the data.
ATTRIBUTES = frozenset({"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
_FILES_API = ("https://generativelanguage.googleapis.com/", "files/")
_VIDEO_SITES = ("https://www.youtube.com/", "https://youtube.com/", "https://m.youtube.com/", "https://youtu.be/")
_encode = msgspec.json.Encoder().encode


class _Call(Struct, frozen=True):
    name: str
    id: str = ""
    args: dict[str, Any] = {}


class _Response(Struct, frozen=True):
    name: str = ""
    id: str = ""
    response: dict[str, Any] = {}


class _Blob(Struct, frozen=True):
    data: str
    mimeType: str = ""
    displayName: str | None = None


class _File(Struct, frozen=True):
    fileUri: str
    mimeType: str = ""
    displayName: str | None = None


def read_part(value: Any, path: str) -> Part:
    """A part; ids that the caller left out stay "". Raises BadRequest with the field's path."""
    part = members(value, path)
    names = [name for name in part if name in _READERS] or [name for name in part if name not in ATTRIBUTES]
    if len(names) > 1 and names[0] in _READERS:
        raise BadRequest(f"{path} holds {names[0]} and {names[1]}: a part is one of them", param=f"{path}.{names[1]}")
    thought = part.get("thought") is True
    if not names or names == ["text"]:
        text = shaped(part.get("text", ""), str, f"{path}.text")
        state = _state(part, {"text", "thought"})
        return Reasoning(text, summary=True, state=state) if thought else Text(text, state=state)
    name = names[0]
    read = _READERS.get(name)
    if read is None or (thought and name in {"inlineData", "fileData"}):
        # A picture that the model only thought of is not part of its answer.
        return Foreign(name if read is None else "thought", State(NAME, part))
    state = _state(part, {name})
    return read(members(part[name], f"{path}.{name}"), f"{path}.{name}", state)


def _state(part: dict[str, Any], leave_out: set[str]) -> State | None:
    rest = {name: value for name, value in part.items() if name not in leave_out}
    return State(NAME, rest) if rest else None


def _call(value: dict[str, Any], path: str, state: State | None) -> Part:
    call = shaped(value, _Call, path)
    if not call.name:
        raise BadRequest(f"{path}.name must not be empty", param=f"{path}.name")
    rest = {name: item for name, item in value.items() if name not in _Call.__struct_fields__}
    if rest:
        state = State(NAME, {**(state.payload if state else {}), "functionCall": rest})
    return ToolCall(call.id, call.name, _encode(call.args).decode(), state=state)


def _response(value: dict[str, Any], path: str, state: State | None) -> Part:
    found = shaped(value, _Response, path)
    text, is_error = result_text(found.response)
    parts: list[Text | Media | Foreign] = [Text(text)]
    for number, item in enumerate(listed(value.get("parts"), f"{path}.parts")):
        part = read_part(item, f"{path}.parts[{number}]")
        if not isinstance(part, Text | Media | Foreign):
            at = f"{path}.parts[{number}]"
            raise BadRequest(f"{at} must be inlineData or fileData", param=at)
        parts.append(part)
    kept = {name: item for name, item in value.items() if name not in {"id", "name", "parts"}}
    payload = {**(state.payload if state else {}), "functionResponse": kept}
    return ToolResult(found.id, tuple(parts), found.name, is_error, state=State(NAME, payload))


def result_text(response: dict[str, Any]) -> tuple[str, bool]:
    """What a function answered, as text, and whether it is an error: Google names them `output` and `error`."""
    if len(response) == 1:
        name, value = next(iter(response.items()))
        if name in {"output", "result", "error"}:
            return value if isinstance(value, str) else _encode(value).decode(), name == "error"
    return _encode(response).decode(), False


def _blob(value: dict[str, Any], path: str, state: State | None) -> Part:
    blob = shaped(value, _Blob, path)
    return Media(
        kind_of(blob.mimeType), blob.mimeType, data=standard_base64(blob.data), name=blob.displayName, state=state
    )


def _file(value: dict[str, Any], path: str, state: State | None) -> Part:
    found = shaped(value, _File, path)
    if not found.fileUri:
        raise BadRequest(f"{path}.fileUri must not be empty", param=f"{path}.fileUri")
    kind = kind_of(found.mimeType)
    if found.fileUri.startswith(_FILES_API):
        return Media(kind, found.mimeType, file_id=found.fileUri, name=found.displayName, state=state)
    if not found.mimeType and found.fileUri.startswith(_VIDEO_SITES):
        kind = "video"
    return Media(kind, found.mimeType, url=found.fileUri, name=found.displayName, state=state)


def is_own_file(file_id: str) -> bool:
    """Is it the name or address of a file in Google's Files API?"""
    return file_id.startswith(_FILES_API)


def standard_base64(data: str) -> str:
    """Google takes and some of its clients send the URL-safe alphabet, which no other dialect does."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    missing = -len(data) % 4
    return data + "=" * missing if missing and "\n" not in data else data


_READERS = {
    "text": None,
    "functionCall": _call,
    "functionResponse": _response,
    "inlineData": _blob,
    "fileData": _file,
}
