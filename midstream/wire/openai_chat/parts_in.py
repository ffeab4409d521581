"""Pieces of a reply that streams and whole bodies share: reasoning details, citations, tool calls, media."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.json_words import decoded
from ...core.parts import Citation, Foreign, Media, Part, Reasoning, State, Text, ToolCall
from .quirks import NAME
from .shapes import Call, Named, Said, Sound

_encode = msgspec.json.Encoder().encode


def thought_of(said: Said) -> str | None:
    """Reasoning under either of its names; None when neither is there."""
    if said.reasoning_content or said.reasoning is None:
        return said.reasoning_content
    return said.reasoning


def details_text(details: list[Any]) -> str:
    """The readable text in OpenRouter's reasoning_details."""
    texts = (item.get("text") or item.get("summary") for item in details if isinstance(item, dict))
    return "".join(text for text in texts if isinstance(text, str))


def details_state(details: list[Any]) -> State:
    return State(NAME, {"reasoning_details": details})


class Details:
    """The reasoning details of a stream, put together: pieces of one index and type are one detail."""

    def __init__(self) -> None:
        self._known: list[dict[str, Any]] = []
        #: The details of an index and type: nearly always one. Those without an index are never gone on with.
        self._alike: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
        #: The pieces of a detail's text, joined when all have come: there may be many thousands.
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def add(self, more: list[Any]) -> None:
        for item in more:
            if not isinstance(item, dict):
                continue
            key = (item.get("index"), item.get("type"))
            named = all(isinstance(one, str | int | float) for one in key if one is not None) and key[0] is not None
            alike = self._alike.setdefault(key, []) if named else []
            old = next((one for one in alike if item.get("id") is None or one.get("id") in (None, item["id"])), None)
            if old is None:
                self._known.append(dict(item))
                alike.append(self._known[-1])
            else:
                self._go_on(old, item)

    def _go_on(self, old: dict[str, Any], item: dict[str, Any]) -> None:
        for name, value in item.items():
            if name in ("text", "summary", "data") and isinstance(value, str) and isinstance(old.get(name), str):
                self._pieces.setdefault((id(old), name), [old[name]]).append(value)
            elif value is not None:
                self._pieces.pop((id(old), name), None)
                old[name] = value

    def whole(self) -> list[dict[str, Any]]:
        for one in self._known:
            for name in ("text", "summary", "data"):
                if (pieces := self._pieces.pop((id(one), name), None)) is not None:
                    one[name] = "".join(pieces)
        return self._known


def read_citations(annotations: list[Any]) -> tuple[Citation, ...]:
    """url_citation annotations; others (OpenRouter's parsed files) are kept as state."""
    return tuple(_citation(item) for item in annotations if isinstance(item, dict))


def read_sources(results: Any, addresses: Any) -> tuple[Citation, ...]:
    """What a service that searches (Perplexity, xAI) tells beside its choices: results, or no more than addresses."""
    found = results if isinstance(results, list) and results else addresses
    listed = [{"url": one} if isinstance(one, str) else one for one in found] if isinstance(found, list) else []
    return tuple(
        Citation(url=one["url"], title=_of(one, "title", str), quote=_of(one, "snippet", str))
        for one in listed
        if isinstance(one, dict) and isinstance(one.get("url"), str)
    )


def _citation(item: dict[str, Any]) -> Citation:
    cited = item.get("url_citation")
    if item.get("type") != "url_citation" or not isinstance(cited, dict):
        return Citation(state=State(NAME, item))
    return Citation(
        url=_of(cited, "url", str),
        title=_of(cited, "title", str),
        quote=_of(cited, "content", str),
        start=_of(cited, "start_index", int),
        end=_of(cited, "end_index", int),
    )


def _of(item: dict[str, Any], name: str, kind: type) -> Any:
    value = item.get(name)
    return value if isinstance(value, kind) else None


def read_content_item(item: Any) -> Part | None:
    """One item of a content list (Mistral's replies); None when it says nothing."""
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if kind == "text":
        text = item.get("text")
        return Text(text) if isinstance(text, str) else None
    if kind == "thinking":
        return Reasoning(thinking_text(item.get("thinking")))
    if kind == "image_url":
        return read_image(item)
    return Foreign(str(kind), State(NAME, item))


def thinking_text(thinking: Any) -> str:
    """The text of Mistral's thinking: a string, or a list of text items."""
    if isinstance(thinking, str):
        return thinking
    items = thinking if isinstance(thinking, list) else []
    texts = (item.get("text") for item in items if isinstance(item, dict))
    return "".join(text for text in texts if isinstance(text, str))


def read_image(item: Any) -> Media | None:
    """An {image_url: {url}} item, or one whose image_url is the address itself."""
    image = item.get("image_url") if isinstance(item, dict) else None
    url = image.get("url") if isinstance(image, dict) else image
    return media_of_url("image", url) if isinstance(url, str) else None


def media_of_url(kind: Any, url: str, **more: Any) -> Media:
    """Media by address; a base64 data: URL becomes its data."""
    if url.startswith("data:"):
        head, comma, data = url[5:].partition(",")
        if comma and head.endswith(";base64"):
            return Media(kind, mime=head[: -len(";base64")], data=data, **more)
    return Media(kind, url=url, **more)


def read_sound(sound: Sound, data: str) -> Media:
    """Spoken output. The format is the one that was asked for, which a reply does not repeat."""
    about = {"id": sound.id, "transcript": sound.transcript, "expires_at": sound.expires_at}
    kept = {name: value for name, value in about.items() if value is not None}
    return Media("audio", data=data, state=State(NAME, kept) if kept else None)


def as_text(value: Any) -> str:
    """A call's arguments, or a content that should be JSON: services also send the object itself, or nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()


def whole_arguments(arguments: Any) -> str:
    """Like as_text, for arguments known to be complete: JSON text inside a JSON string is unpacked."""
    text = as_text(arguments)
    if is_wrapped(text):
        try:
            inner = decoded(text)
            if isinstance(inner, str) and isinstance(decoded(inner), dict):
                return inner
        except msgspec.DecodeError:
            pass
    return text


def is_wrapped(arguments: str) -> bool:
    """Does the text of arguments begin as a JSON string does?"""
    return arguments.lstrip().startswith('"')


def call_id(answer_id: str, choice: int, position: int) -> str:
    """An id for a call that came without one: the same whenever the same answer is read."""
    letters = "".join(letter for letter in answer_id if letter.isalnum() and letter.isascii())[-16:]
    return f"call_{letters}{choice}x{position}"


def unique_id(given: str | int | None, taken: set[str], answer_id: str, choice: int, position: int) -> str:
    """The call's own id, or one made from its position when it is missing or was used before."""
    own = str(given) if given not in (None, "") else call_id(answer_id, choice, position)
    unique = own
    while unique in taken:
        unique = f"{own}_{position}"
        position += 1
    taken.add(unique)
    return unique


def called(call: Call) -> tuple[Named, bool]:
    """(what is called, is it a custom tool?)"""
    custom, function = call.custom, call.function
    if custom is not None and (custom.name or custom.input or function is None):
        return custom, True
    return function or Named(), False


def read_call(call: Call, own_id: str) -> ToolCall:
    """A call that is complete."""
    named, custom = called(call)
    state = State(NAME, {"extra_content": call.extra_content}) if call.extra_content is not None else None
    if custom:
        return ToolCall(own_id, named.name or "", named.input or "", kind="custom", state=state)
    return ToolCall(own_id, named.name or "", whole_arguments(named.arguments), state=state)
