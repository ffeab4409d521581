"""The content of a message: a string, or a list of parts in the forms that services know."""

from __future__ import annotations

from typing import Any, TypeGuard

import msgspec

from ...core.errors import BadRequest
from ...core.parts import Cache, Foreign, Media, Part, Reasoning, Refusal, State, Text
from .parts_in import media_of_url, thinking_text
from .quirks import NAME

_MIMES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


#: Types of parts whose content is the member of the same name.
_KINDS = ("text", "image_url", "input_audio", "file", "refusal")


def text_at(told: dict[str, Any], name: str, path: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        what = "is missing" if value is None else "must be a string"
        raise BadRequest(f"{path}.{name} {what}", param=f"{path}.{name}")
    return value


def _kind(part: dict[str, Any]) -> str:
    """What a part without a type can only be, "" for one that says its type or tells nothing."""
    held = [kind for kind in _KINDS if kind in part] if part.get("type") is None else []
    return held[0] if len(held) == 1 else ""


def rest_of(told: dict[str, Any], known: frozenset[str]) -> State | None:
    """Members without a neutral meaning, kept for this dialect."""
    rest = {name: value for name, value in told.items() if name not in known and value is not None}
    return State(NAME, rest) if rest else None


def read_cache(told: dict[str, Any], path: str) -> Cache | None:
    """The cache_control extension: Anthropic's {type: "ephemeral", ttl?}."""
    mark = told.get("cache_control")
    if mark is None:
        return None
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in ("5m", "1h"):
        raise BadRequest(
            f'{path}.cache_control must be {{"type": "ephemeral"}}, with a ttl of "5m" or "1h" if any',
            param=f"{path}.cache_control",
        )
    return Cache(mark.get("ttl", "5m"))


def carries(part: Part) -> TypeGuard[Text | Media | Foreign]:
    """May the part stand in a tool's result?"""
    return isinstance(part, Text | Media | Foreign)


def read_content(content: Any, path: str) -> tuple[Part, ...]:
    """None gives no parts; so does "" (an assistant that only calls tools)."""
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise BadRequest(f"{path} must be a string or an array of parts", param=path)
    return tuple(_part(part, f"{path}[{at}]") for at, part in enumerate(content))


def _part(part: Any, path: str) -> Part:
    if isinstance(part, str):  # Mistral takes bare strings
        return Text(part)
    if not isinstance(part, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    kind = _kind(part) or text_at(part, "type", path)
    cache = read_cache(part, path)
    if kind == "text":
        text = text_at(part, "text", path)
        return Text(text, cache=cache, state=rest_of(part, frozenset({"type", "text", "cache_control"})))
    if kind == "refusal":
        return Refusal(text_at(part, "refusal", path))
    if kind == "thinking":
        return Reasoning(thinking_text(part.get("thinking")))
    reader = _MEDIA.get(kind)
    if reader is None:
        return Foreign(kind, State(NAME, part))
    media = reader(part, path)
    if cache is not None:
        media = msgspec.structs.replace(media, cache=cache)
    state = rest_of(part, frozenset({"type", kind, "cache_control", "document_name"}))
    return media if state is None else msgspec.structs.replace(media, state=state)


def _image(part: dict[str, Any], path: str) -> Media:
    image = part.get("image_url")
    if isinstance(image, str):
        return media_of_url("image", image)
    inner = _object(part, "image_url", path)
    detail = inner.get("detail")
    if detail is not None and not isinstance(detail, str):
        raise BadRequest(f"{path}.image_url.detail must be a string", param=f"{path}.image_url.detail")
    return media_of_url("image", text_at(inner, "url", f"{path}.image_url"), detail=detail)


def _audio(part: dict[str, Any], path: str) -> Media:
    sound = part.get("input_audio")
    if isinstance(sound, str):  # Mistral: an address, or the data
        if sound.startswith(("http:", "https:", "data:")):
            return media_of_url("audio", sound)
        return Media("audio", data=sound)
    inner = _object(part, "input_audio", path)
    form = text_at(inner, "format", f"{path}.input_audio")
    data = text_at(inner, "data", f"{path}.input_audio")
    return Media("audio", mime=_MIMES.get(form, f"audio/{form}"), data=data)


def _file(part: dict[str, Any], path: str) -> Media:
    inner = _object(part, "file", path)
    name = inner.get("filename")
    if name is not None and not isinstance(name, str):
        raise BadRequest(f"{path}.file.filename must be a string", param=f"{path}.file.filename")
    if inner.get("file_id") is not None:
        return Media("file", file_id=text_at(inner, "file_id", f"{path}.file"), name=name)
    data = text_at(inner, "file_data", f"{path}.file")
    if data.startswith(("data:", "http:", "https:")):
        return media_of_url("file", data, name=name)
    return Media("file", mime="application/pdf", data=data, name=name)


def _video(part: dict[str, Any], path: str) -> Media:
    inner = _object(part, "video_url", path)
    return media_of_url("video", text_at(inner, "url", f"{path}.video_url"))


def _document(part: dict[str, Any], path: str) -> Media:
    name = part.get("document_name")
    return media_of_url("file", text_at(part, "document_url", path), name=name if isinstance(name, str) else None)


def _object(part: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    value = part.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"{path}.{name} must be an object", param=f"{path}.{name}")
    return value


_MEDIA = {"image_url": _image, "input_audio": _audio, "file": _file, "video_url": _video, "document_url": _document}
