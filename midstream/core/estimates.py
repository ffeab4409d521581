"""How many tokens something has, by estimate: four bytes of text are one, a picture or file is a thousand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from .parts import Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from .turn import EmbedAsk, Fields, Prompt, Turn

#: Rough enough to be called an estimate: bytes of text per token, and tokens of a picture or file.
BYTES_PER_TOKEN, MEDIA_TOKENS, MESSAGE_TOKENS = 4, 1000, 4
#: Bytes of a medium, in a body that nobody has read, that would count as more tokens by its size than it does.
_LEAST = MEDIA_TOKENS * BYTES_PER_TOKEN
#: How media begin that stand in a body, as an address (`"data:image/png;base64,...`) or as a member (`"data": "...`).
_BEGINS = b'"data'
#: No body has more of them: so many beginnings, all but a few of them of something else, are looked at.
_LOOKED_AT = 10_000
_MEDIUM = re.compile(rb'"data(?::[^"]{0,200}?;(?i:base64),|"\s*:\s*")(?=[\w+/\\-]{64})')


def tokens_of(message: Message) -> int:
    size, more = 0, MESSAGE_TOKENS
    for part in message.parts:
        if type(part) is ToolResult:
            for piece in part.parts:
                size += _bytes(piece)
                more += MEDIA_TOKENS if type(piece) is Media else 0
        elif type(part) is Media:
            more += MEDIA_TOKENS
        else:
            size += _bytes(part)
    return size // BYTES_PER_TOKEN + more


def size_of(prompt: Prompt) -> int:
    """Its messages, tools and form."""
    beside = [told for told in (prompt.tools, prompt.params.format) if told]
    size = sum(len(msgspec.json.encode(told)) for told in beside)
    return sum(map(tokens_of, prompt.messages)) + size // BYTES_PER_TOKEN


def tokens_asked(turn: Turn, history: Sequence[Message], size: int) -> int:
    """What a model is asked with. size: bytes of the body that the turn came in, by which one that nobody has read is
    estimated: that is not done for this."""
    before = sum(map(tokens_of, history)) if history else 0
    known = turn.known
    if known is None:
        if turn.only_texts or size <= _LEAST:
            return before + size // BYTES_PER_TOKEN
        return before + _unread(turn.fields, size)
    if not isinstance(known, Prompt):
        return before + _embedded(known)
    return before + size_of(known) + MESSAGE_TOKENS  # a service ends it with the beginning of an answer


def _embedded(asked: EmbedAsk) -> int:
    texts = sum(_length(one) for one in asked.inputs if isinstance(one, str))
    return -(-texts // BYTES_PER_TOKEN) + sum(len(one) for one in asked.inputs if not isinstance(one, str))


def _unread(fields: Fields, size: int) -> int:
    media = [one for raw in fields.values() for one in _media(bytes(raw)) if one > _LEAST]
    return (size - sum(media)) // BYTES_PER_TOKEN + MEDIA_TOKENS * len(media)


def _media(raw: bytes) -> Iterable[int]:
    """How many bytes each has."""
    place = raw.find(_BEGINS)
    for _ in range(_LOOKED_AT):
        if place < 0:
            return
        end = place + len(_BEGINS)
        begun = _MEDIUM.match(raw, place)
        if begun is not None and raw[place - 1 : place] != b"\\":  # else it is a piece of a text
            end = raw.find(b'"', begun.end())
            yield end - begun.end()
        place = raw.find(_BEGINS, end)


def _bytes(part: Part) -> int:
    if isinstance(part, Text | Reasoning | Refusal):
        return _length(part.text)
    if isinstance(part, ToolCall):
        return _length(part.name) + _length(part.arguments)
    return 0


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
