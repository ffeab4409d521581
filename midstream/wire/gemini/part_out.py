"""One part of a content, our words to Google's: the same for what is asked and what is answered."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.json_words import arguments_in
from ...core.parts import (
    Foreign,
    Media,
    Part,
    Reasoning,
    Refusal,
    State,
    Text,
    ToolCall,
    ToolResult,
)
from ...core.unread import unread, words_for
from .part_in import is_own_file, result_text
from .shape import NAME

#: Foreign parts that Google puts beside a candidate's content, not into it.
BESIDE = ("groundingMetadata", "urlContextMetadata")

_decode = msgspec.json.Decoder().decode
_MAGIC = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)
_DEFAULT_MIME = {"image": "image/jpeg", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}
_MIME_BY_ENDING = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "pdf": "application/pdf", "txt": "text/plain", "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm",
    "mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac",
}  # fmt: skip


def write_part(part: Part, dropped: dict[str, None]) -> dict[str, Any] | None:
    """A part in Google's words, or None when there is nothing to send; what cannot be said is named in dropped.

    URLs become fileData: Google fetches https, gs and YouTube addresses itself and refuses the others with its own
    error. File names are left out: the API has no place for them. Reasoning of other issuers is left out."""
    if getattr(part, "cache", None) is not None:
        dropped["cache_control"] = None
    part = _told(part, dropped)
    match part:
        case Text():
            written: dict[str, Any] = {"text": part.text, **_attributes(part.state)}
            return written if part.text or len(written) > 1 else None
        case Reasoning():
            if part.state is None or part.state.issuer != NAME:
                return None
            return {"text": part.text, "thought": True, **_attributes(part.state)}
        case ToolCall():
            named = {"id": part.id} if part.id else {}
            call = {**_kept(part.state, "functionCall"), **named, "name": part.name, "args": arguments_of(part)}
            return {"functionCall": call, **_attributes(part.state)}
        case ToolResult():
            return {"functionResponse": _result(part, dropped)}
        case Media():
            return write_media(part, dropped)
        case Refusal():
            return {"text": part.text} if part.text else None
        case Foreign():
            if part.state.issuer != NAME:
                dropped[part.kind] = None
                return None
            return None if part.kind in BESIDE else dict(part.state.payload)


def _attributes(state: State | None) -> dict[str, Any]:
    if state is None or state.issuer != NAME or not isinstance(state.payload, dict):
        return {}
    return {name: value for name, value in state.payload.items() if name not in ("functionCall", "functionResponse")}


def _kept(state: State | None, name: str) -> dict[str, Any]:
    """The members of a call or response that have no neutral word."""
    kept = state.payload.get(name) if state is not None and state.issuer == NAME else None
    return kept if isinstance(kept, dict) else {}


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """A call's arguments as the object that Google's format demands. Text that is no JSON object stands under
    `_raw` (a function sees a name it does not know and says so to the model); a free-text tool's under `input`."""
    if call.kind == "custom":
        return {"input": call.arguments}
    try:
        value = arguments_in(call.arguments)
    except msgspec.DecodeError:
        return {"_raw": call.arguments}
    return value if isinstance(value, dict) else {"_raw": call.arguments}


def _result(result: ToolResult, dropped: dict[str, None]) -> dict[str, Any]:
    parts = [_told(part, dropped) for part in result.parts]
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if any(part.cache is not None for part in parts if isinstance(part, Text)):
        dropped["cache_control"] = None
    kept = _kept(result.state, "functionResponse")
    if kept and result_text(kept.get("response") or {}) == (text, result.is_error):
        written: dict[str, Any] = dict(kept)
    else:
        written = {"response": _response(text, result.is_error)}
    named = {"id": result.id} if result.id else {}
    media = [write_part(part, dropped) for part in parts if not isinstance(part, Text)]
    pieces = [piece for piece in media if piece is not None]
    return {**named, "name": result.name, **written, **({"parts": pieces} if pieces else {})}


def _response(text: str, is_error: bool) -> dict[str, Any]:
    if not is_error and text.startswith("{"):
        try:
            value = _decode(text)
        except (msgspec.DecodeError, RecursionError):
            value = None
        # An object that would itself read as {"output": ...} is wrapped, so that it comes back as it was.
        if isinstance(value, dict) and not (len(value) == 1 and value.keys() & {"output", "result", "error"}):
            return value
    return {"error" if is_error else "output": text}


def _told(part: Any, dropped: dict[str, None]) -> Any:
    """The part, or words where they may stand for it and it cannot be sent."""
    if not isinstance(part, Media) or not part.optional or write_media(part, {}) is not None:
        return part
    dropped[unread(part)] = None
    return words_for(part)


def write_media(media: Media, dropped: dict[str, None]) -> dict[str, Any] | None:
    """None for what Google does not have and cannot fetch."""
    if media.detail not in {None, "auto"}:
        dropped["detail"] = None
    rest = _attributes(media.state)
    if media.data is not None:
        return {"inlineData": {"mimeType": media.mime or _sniffed(media), "data": media.data}, **rest}
    if media.url is not None and media.url.startswith("data:"):
        head, _, data = media.url.partition(",")
        mime = head[5:].partition(";")[0] or media.mime or _sniffed(media)
        return {"inlineData": {"mimeType": mime, "data": data}, **rest}
    address = media.url
    if media.file_id is not None:
        if not is_own_file(media.file_id):
            dropped["file_id"] = None
            return None
        address = media.file_id
    if not address:
        return None
    ending = address.partition("?")[0].rpartition(".")[2].lower()
    mime = media.mime or _MIME_BY_ENDING.get(ending, "")
    return {"fileData": {**({"mimeType": mime} if mime else {}), "fileUri": address}, **rest}


def _sniffed(media: Media) -> str:
    for magic, mime in _MAGIC:
        if media.data and media.data.startswith(magic):
            return mime
    return _DEFAULT_MIME[media.kind]
