"""Messages -> this dialect's messages: its own bytes where a message has them, else written anew."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from ...core.media_types import is_text
from ...core.parts import (
    Cache,
    Foreign,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)
from ...core.unread import unread, words_for
from ..file_ids import of_openai
from ..stranded import thoughts_word
from .dropped import Dropped
from .fitted import fitted_message, short_id
from .params_out import cache_mark
from .parts_out import media_url, own, own_members, write_call
from .quirks import NAME, Quirks

Written: TypeAlias = dict[str, Any] | Raw
_encode = msgspec.json.Encoder().encode


class MessagesWriter:
    """dropped: collects what this service cannot be told."""

    def __init__(self, quirks: Quirks, dropped: Dropped) -> None:
        self._quirks = quirks
        self._dropped = dropped
        self._modern = "function_call" in quirks.refuses

    def write(self, messages: Iterable[Message], then: Sequence[Message] = ()) -> list[Written]:
        """then: what the caller's own words say behind them."""
        out: list[Written] = []
        held: list[Media | Foreign] = []
        for message, after in _with_next(_merged(messages), then):
            if held and message.role != "tool":
                out += self._shown(held)
                held = []
            if message.native is not None and message.native.dialect == NAME and not self._too_old(message):
                out.append(Raw(fitted_message(message.native.raw, self._quirks, [])))
            elif (text := _only_text(message)) is not None:
                out.append(self._named(message, {"role": self._role(message), "content": text}))
            elif message.role == "assistant":
                out += self._assistant(message, after)
            else:
                out += self._results(message, held)
                out += self._plain(message)
        if held:
            out += self._shown(held)
        return out

    def _too_old(self, message: Message) -> bool:
        """Does it call, or answer, as this service has never known it?"""
        if not self._modern:
            return False
        called = any(isinstance(part, ToolCall) for part in message.parts)
        return _by_name(message) or (called and message.native is not None and b'"function_call"' in message.native.raw)

    def _named(self, message: Message, written: dict[str, Any]) -> dict[str, Any]:
        if message.name is not None:
            if self._quirks.names:
                written["name"] = message.name
            else:
                self._dropped.add("name")
        return written

    def _role(self, message: Message) -> str:
        return "system" if message.role == "developer" and not self._quirks.developer_role else message.role

    def _plain(self, message: Message) -> Iterator[Written]:
        """System, developer and user messages."""
        parts = [part for part in message.parts if not isinstance(part, ToolResult)]
        if message.role == "tool" or (not parts and message.parts):
            return
        role = self._role(message)
        content = self._content(parts)
        if content is not None:
            yield self._named(message, {"role": role, "content": content})

    def _results(self, message: Message, held: list[Media | Foreign]) -> Iterator[Written]:
        """One message per result. Media in a result follow later, in a user's message."""
        for result in message.parts:
            if not isinstance(result, ToolResult):
                continue
            said = [part for part in result.parts if isinstance(part, Text)]
            held += [part for part in result.parts if not isinstance(part, Text)]
            if result.is_error:
                said = [Text("Error: " + text_of(tuple(said)))]
            content = self._content(said)
            if result.cache is not None:
                content = self._marked_content(content, result.cache)
            yield {"role": "tool", "tool_call_id": self._id(result.id), "content": "" if content is None else content}

    def _marked_content(self, content: Any, cache: Cache) -> Any:
        if not self._quirks.cache_control:
            self._dropped.add("cache_control")
            return content
        items = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        return [*items[:-1], {**items[-1], "cache_control": cache_mark(cache.ttl)}]

    def _shown(self, held: list[Media | Foreign]) -> Iterator[Written]:
        content = self._content(held)
        if content is not None:
            yield {"role": "user", "content": content}

    def _assistant(self, message: Message, after: Message | None) -> Iterator[Written]:
        written: dict[str, Any] = {"role": "assistant", "content": None}
        thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
        said: list[Part] = [part for part in message.parts if not isinstance(part, Reasoning | ToolCall | Refusal)]
        told = bool(thoughts) and thoughts_word(message) is not None
        if self._quirks.reasoning_history == "thinking":
            said = [part for part in message.parts if not isinstance(part, ToolCall | Refusal) and not _is_sealed(part)]
            if told and any(one.state is not None for one in thoughts if _is_sealed(one)):
                self._dropped.add("reasoning")
        elif thoughts:
            self._reasoning(thoughts, written, told)
        content = self._content(said)
        written["content"] = content
        refusals = "".join(part.text for part in message.parts if isinstance(part, Refusal))
        if refusals:
            written["refusal"] = refusals
        calls = [self._call(part) for part in message.parts if isinstance(part, ToolCall)]
        if len(calls) == 1 and "function" in calls[0] and _by_name(after) and not self._modern:
            written["function_call"] = calls[0]["function"]
        elif calls:
            written["tool_calls"] = calls
        if content is None and not calls and not refusals:
            if message.parts and written.keys() == {"role", "content"}:
                return  # nothing of it can be said here
            written["content"] = ""
        yield self._named(message, written)

    def _reasoning(self, thoughts: list[Reasoning], written: dict[str, Any], told: bool) -> None:
        """told: the caller has sent them; what was put back for it is left out without a word."""
        field = self._quirks.reasoning_history
        details = [item for thought in thoughts for item in own_members(thought.state).get("reasoning_details", ())]
        if field == "reasoning_details" and details:
            written["reasoning_details"] = details
        elif field is not None:
            written["reasoning" if field == "reasoning_details" else field] = "".join(one.text for one in thoughts)
            if told and any(one.state is not None and not own_members(one.state) for one in thoughts):
                self._dropped.add("reasoning")
        elif told:
            self._dropped.add("reasoning")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        written = write_call(call)
        written["id"] = self._id(call.id)
        if call.kind == "custom" and not self._quirks.custom_tools:
            written = {
                "id": written["id"],
                "type": "function",
                "function": {"name": call.name, "arguments": _input_object(call.arguments)},
            }
        return self._mark(written, call.cache)

    def _id(self, call_id: str) -> str:
        return short_id(call_id) if self._quirks.short_ids else call_id

    def _mark(self, written: dict[str, Any], cache: Cache | None) -> dict[str, Any]:
        if cache is not None:
            if self._quirks.cache_control:
                written["cache_control"] = cache_mark(cache.ttl)
            else:
                self._dropped.add("cache_control")
        return written

    def _content(self, parts: Iterable[Part]) -> Any:
        """A string where one will do; None when nothing is left to say."""
        items = [item for part in parts if (item := self._item(part)) is not None]
        if not items:
            return None
        return items[0]["text"] if len(items) == 1 and items[0].keys() == {"type", "text"} else items

    def _item(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text():
                return self._mark({"type": "text", "text": part.text, **own_members(part.state)}, part.cache)
            case Refusal():
                return {"type": "text", "text": part.text}
            case Reasoning():
                return {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
            case Media():
                item = self.media(part)
                if item is None and part.optional:
                    self._dropped.add(unread(part))
                    return {"type": "text", "text": words_for(part).text}
                if item is None:
                    self._dropped.add_part(part.kind)
                    return None
                return self._mark(item | own_members(part.state), part.cache)
            case Foreign():
                payload = own(part.state)
                if isinstance(payload, dict) and "type" in payload:
                    return dict(payload)
                self._dropped.add_part(part.kind)
        return None

    def media(self, media: Media) -> dict[str, Any] | None:
        """None for what this service cannot be sent."""
        if media.data is not None and is_text(media.mime):
            return _as_text(media)
        if media.kind not in self._quirks.media:
            return None
        url = media_url(media)
        if media.kind == "image" and url is not None:
            detail = {} if media.detail is None else {"detail": media.detail}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        if media.kind == "video" and url is not None:
            return {"type": "video_url", "video_url": {"url": url}}
        if media.kind == "audio" and media.data is not None:
            return {"type": "input_audio", "input_audio": {"data": media.data, "format": _audio_format(media.mime)}}
        return self._file(media, url) if media.kind == "file" else None

    def _file(self, media: Media, url: str | None) -> dict[str, Any] | None:
        named = {} if media.name is None else {"filename": media.name}
        if self._quirks.file_urls == "document_url" and url is not None:
            name = {} if media.name is None else {"document_name": media.name}
            return {"type": "document_url", "document_url": url, **name}
        if of_openai(media):
            return {"type": "file", "file": {"file_id": media.file_id, **named}}
        if media.data is not None:  # OpenAI takes a file without a name for one without data
            named = {"filename": media.name or f"file.{media.mime.partition('/')[2] or 'pdf'}"}
        if media.data is not None or (media.url is not None and self._quirks.file_urls == "file_data"):
            return {"type": "file", "file": {"file_data": url, **named}}
        return None


def _is_sealed(part: Part) -> bool:
    """Is it a thought without words, which at most its own service can read?"""
    return isinstance(part, Reasoning) and not part.text


def _only_text(message: Message) -> str | None:
    """What most of a long history is, and all that is to be written of it: one text without anything else to it."""
    if len(message.parts) != 1 or message.role == "tool":
        return None
    [part] = message.parts
    if type(part) is not Text or part.state is not None or part.cache is not None or part.citations:
        return None
    return part.text


def _merged(messages: Iterable[Message]) -> Iterator[Message]:
    """Neighbouring messages of an assistant are one message here (parallel calls of dialects that list them apart)."""
    last: Message | None = None
    for message in messages:
        if last is not None and _one_voice(last, message):
            last = Message("assistant", last.parts + message.parts, name=last.name)
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def _with_next(messages: Iterable[Message], then: Sequence[Message]) -> Iterable[tuple[Message, Message | None]]:
    """Each of the messages, and the one behind it."""
    listed = [*messages]
    return zip(listed, [*listed[1:], then[0] if then else None], strict=False)


def _by_name(message: Message | None) -> bool:
    """Is it a result of the role `function`, which belongs behind a `function_call`?"""
    if message is None or message.native is None or message.native.dialect != NAME:
        return False
    return any(isinstance(part, ToolResult) and part.by_name for part in message.parts)


def _one_voice(last: Message, message: Message) -> bool:
    if not last.role == message.role == "assistant" or last.name != message.name:
        return False
    return not any(one.native is not None and one.native.dialect == NAME for one in (last, message))


def _as_text(media: Media) -> dict[str, Any] | None:
    try:
        text = base64.b64decode(media.data or "", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return {"type": "text", "text": f"{media.name}:\n{text}" if media.name else text}


def _audio_format(mime: str) -> str:
    form = mime.partition("/")[2].removeprefix("x-")
    return {"mpeg": "mp3", "wave": "wav", "": "wav"}.get(form, form)


def _input_object(text: str) -> str:
    return _encode({"input": text}).decode()
