"""Neutral messages as input items of this dialect."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.json import decode as _decode

from ...core.parts import Citation, Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from ...core.unread import unread, words_for
from ..file_ids import of_openai
from .grammar import NAME, own

_LONGEST_CALL_ID = 64


class ItemWriter:
    """write(messages) -> items, JSON-ready (an item that its caller wrote in this dialect as Raw bytes).

    dropped: kinds of content that could not be said."""

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self._items: list[Any] = []
        self._kinds: dict[str, str] = {}

    def write(self, messages: Iterable[Message]) -> list[Any]:
        for message in messages:
            native = message.native
            self._note_calls(message)
            if native is not None and native.dialect == NAME:
                self._items.extend(native_items(native.raw))
            elif message.role == "assistant":
                if message.name:
                    self._drop("name")
                self._assistant(message.parts)
            else:
                self._said_to_model(message)
        return self._items

    def _note_calls(self, message: Message) -> None:
        for part in message.parts:
            if type(part) is ToolCall:
                self._kinds[part.id] = part.kind

    def _drop(self, what: str) -> None:
        if what not in self.dropped:
            self.dropped.append(what)

    # to the model

    def _said_to_model(self, message: Message) -> None:
        if message.name:
            self._drop("name")
        role = "user" if message.role == "tool" else message.role
        content: list[Part] = []
        for part in message.parts:
            if type(part) is ToolResult:
                self._content(role, content)
                self._result(part)
            elif type(part) is Foreign and own(part.state).get("type"):
                if part.kind == "item_reference" or not part.kind.startswith("input_"):
                    self._content(role, content)
                    self._items.append(part.state.payload)
                else:
                    content.append(part)
            else:
                content.append(part)
        self._content(role, content)

    def _content(self, role: str, parts: list[Part]) -> None:
        """One message of the parts gathered so far, which are then taken."""
        if len(parts) == 1 and type(parts[0]) is Text:
            self._items.append({"role": role, "content": parts[0].text})
        elif parts:
            content = [said for part in parts if (said := self._input(part)) is not None]
            if content:
                self._items.append({"role": role, "content": content})
        parts.clear()

    def _input(self, part: Part) -> dict[str, Any] | None:
        """An input_* content part, or None (reported) when this dialect has no word for it."""
        said: dict[str, Any] | None = None
        if isinstance(part, Text | Refusal):
            said = {"type": "input_text", "text": part.text}
        elif isinstance(part, Media):
            said = media(part)
            if said is None and part.optional:
                self._drop(unread(part))
                said = {"type": "input_text", "text": words_for(part).text}
            elif said is None:
                self._drop(part.kind)
        elif isinstance(part, Foreign):
            said = own(part.state) or None
            if said is None:
                self._drop(part.kind)
        elif type(part) is not Reasoning:
            self._drop(type(part).__name__)
        return said

    def _result(self, result: ToolResult) -> None:
        custom = self._kinds.get(result.id) == "custom" or own(result.state).get("type") == "custom_tool_call_output"
        parts = result.parts
        if result.is_error:  # the dialect has no flag for it: the words must say so
            parts = (Text("Error: "), *parts) if parts else (Text("Error"),)
        if all(type(part) is Text for part in parts):
            output: Any = "".join([part.text for part in parts if type(part) is Text])
            if len(parts) > 1 and not result.is_error:
                output = [{"type": "input_text", "text": part.text} for part in parts if type(part) is Text]
        else:
            output = [said for part in parts if (said := self._output(part)) is not None]
        kind = "custom_tool_call_output" if custom else "function_call_output"
        self._items.append({"type": kind, "call_id": call_id(result.id), "output": output})

    def _output(self, part: Part) -> dict[str, Any] | None:
        """The same in an output, which holds text, images and files, no sound."""
        if not isinstance(part, Media) or part.kind != "audio":
            return self._input(part)
        if not part.optional:
            self._drop(part.kind)
            return None
        self._drop(unread(part))
        return {"type": "input_text", "text": words_for(part).text}

    # by the model

    def _assistant(self, parts: tuple[Part, ...]) -> None:
        said: list[Text | Refusal] = []
        for part in parts:
            if isinstance(part, Text | Refusal):
                if said and type(part) is Text and part.state != _state(said[0]):
                    self._message(said)
                said.append(part)
                continue
            self._message(said)
            if type(part) is ToolCall:
                self._items.append(call(part))
            elif type(part) is Reasoning:
                self._reasoning(part)
            elif type(part) is ToolResult:
                self._result(part)
            elif isinstance(part, Foreign | Media):
                self._made(part)
        self._message(said)

    def _message(self, said: list[Text | Refusal]) -> None:
        """One message item of the parts gathered so far, which are then taken. An empty text says nothing."""
        parts = [part for part in said if part.text]
        state = own(_state(said[0])) if said else {}
        said.clear()
        if not parts:
            return
        if not state and len(parts) == 1 and type(parts[0]) is Text and not parts[0].citations:
            self._items.append({"role": "assistant", "content": parts[0].text})
            return
        content = [output_part(part) for part in parts]
        item = {"type": "message", "role": "assistant", "content": content}
        self._items.append({**item, "status": "completed", **state} if state else item)

    def _reasoning(self, part: Reasoning) -> None:
        """Only what this dialect issued goes back, and only when it carries itself: an id alone means something
        just where the provider kept the response."""
        item = own(part.state)
        if item.get("type") == "reasoning" and (item.get("encrypted_content") or item.get("content")):
            self._items.append(item)

    def _made(self, part: Foreign | Media) -> None:
        item = own(part.state)
        if item.get("type"):
            made = {"result": part.data} if type(part) is Media and part.data else {}
            self._items.append({**item, **made})
        else:
            self._drop(part.kind)


def is_marked(part: Part) -> bool:
    """Does the part carry a caller's cache mark, or something in it?"""
    if getattr(part, "cache", None) is not None:
        return True
    return isinstance(part, ToolResult) and any(is_marked(inner) for inner in part.parts)


def _state(part: Text | Refusal) -> Any:
    return part.state if type(part) is Text else None


def native_items(raw: bytes) -> list[Raw]:
    """The items in a Message's native bytes: one object, or the array of several."""
    return _decode(raw, type=list[Raw]) if raw.lstrip()[:1] == b"[" else [Raw(raw)]


def call_id(given: str) -> str:
    """The call's id, shortened (always to the same one) where it is longer than this dialect allows."""
    if len(given) <= _LONGEST_CALL_ID:
        return given
    return f"{given[:31]}_{hashlib.sha256(given.encode()).hexdigest()[:32]}"


def call(part: ToolCall) -> dict[str, Any]:
    """A function_call or custom_tool_call item."""
    if part.kind == "custom":
        item = {"type": "custom_tool_call", "call_id": call_id(part.id), "name": part.name, "input": part.arguments}
    else:
        arguments = part.arguments or "{}"
        item = {"type": "function_call", "call_id": call_id(part.id), "name": part.name, "arguments": arguments}
    return {**item, **own(part.state)}


def output_part(part: Text | Refusal) -> dict[str, Any]:
    """An output_text or refusal part."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": annotations_of(part.citations)}


def annotations_of(citations: tuple[Citation, ...]) -> list[dict[str, Any]]:
    """Citations as annotations; one without a URL that another dialect issued has no form here."""
    made = []
    for citation in citations:
        given = own(citation.state)
        if given:
            made.append(given)
        elif citation.url:
            made.append(
                {
                    "type": "url_citation",
                    "url": citation.url,
                    "title": citation.title or "",
                    "start_index": citation.start or 0,
                    "end_index": citation.end or 0,
                }
            )
    return made


def media(part: Media) -> dict[str, Any] | None:
    """input_image, input_file or input_audio; None for what this dialect does not take (video, audio by URL),
    and for files of other vendors."""
    if part.file_id is not None and not of_openai(part):
        return None
    if part.kind == "image":
        return _image(part)
    if part.kind == "file":
        return _file(part)
    if part.kind == "audio" and part.data is not None:
        form = part.mime.partition("/")[2].removeprefix("x-")
        form = {"mpeg": "mp3", "wave": "wav", "vnd.wave": "wav"}.get(form, form) or "wav"
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": form}}
    return None


def _image(part: Media) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "input_image", "detail": part.detail or "auto"}
    if part.file_id is not None:
        said["file_id"] = part.file_id
    else:
        said["image_url"] = part.url if part.data is None else f"data:{part.mime or 'image/png'};base64,{part.data}"
    return said


def _file(part: Media) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "input_file"}
    if part.file_id is not None:
        said["file_id"] = part.file_id
    elif part.url is not None:
        said["file_url"] = part.url
    else:
        mime = part.mime or "application/pdf"
        said["file_data"] = f"data:{mime};base64,{part.data or ''}"
        said["filename"] = part.name or _file_name(mime)
    if part.detail is not None:
        said["detail"] = part.detail
    return said


def _file_name(mime: str) -> str:
    """Data without a name is refused: one by its type."""
    kind = mime.partition("/")[2].partition(";")[0]
    return "file." + {"plain": "txt", "markdown": "md"}.get(kind, kind if kind.isalnum() else "bin")
