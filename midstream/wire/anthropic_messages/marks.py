"""Cache marks: how many a request holds, and which are taken off when they are more than the service takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from .arrange import Turned
from .block_write import Block

#: In a request; a fifth is refused.
MAX_MARKS = 4
_WORD = b'"cache_control"'
_NONE = Raw(b"null")

#: Where marks stand: the list of tools, the system blocks, a message.
Place: TypeAlias = list[Block] | Turned


class _Block(Struct):
    cache_control: Raw = _NONE
    content: Raw = _NONE


_block = msgspec.json.Decoder(_Block).decode
_raws = msgspec.json.Decoder(list[Raw]).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def marks(places: Iterable[Place]) -> int:
    """How many marks stand there."""
    return sum(_marks_at(place) for place in places)


def raw_marks(raw: bytes) -> int:
    """How many marks a JSON list of blocks or tools holds. 0 for what is none: the service says what is wrong."""
    return sum(_marks_of(block) for block in _listed(raw))


def raw_messages_marks(raw: bytes) -> int:
    """The same for a JSON list of messages."""
    return sum(raw_marks(bytes(_read(message).content)) for message in _listed(raw))


def take_marks(places: Iterable[Place], number: int) -> None:
    """Takes so many marks off, the first ones first."""
    for place in places:
        if number <= 0:
            return
        if _marks_at(place):
            blocks = place if isinstance(place, list) else place.opened()
            number = _take(blocks, number)


def _marks_at(place: Place) -> int:
    if isinstance(place, Turned) and place.raw is not None:
        return raw_marks(bytes(_read(place.raw).content)) if _WORD in place.raw else 0
    blocks = place.blocks if isinstance(place, Turned) else place
    return sum(_marks_of(block) for block in blocks)


def _take(blocks: list[Block], number: int) -> int:
    """How many are still to be taken."""
    for at, block in enumerate(blocks):
        count = min(_marks_of(block), number)
        if count:
            blocks[at] = _without(block, count)
            number -= count
    return number


def _marks_of(block: Any) -> int:
    """The block's own mark and those in a result's content. The word in a call's input or a tool's schema is none."""
    if isinstance(block, Raw) and _WORD not in bytes(block):
        return 0
    return _is_marked(block) + sum(_is_marked(inner) for inner in _inner(block))


def _is_marked(block: Any) -> bool:
    if isinstance(block, dict):
        return block.get("cache_control") is not None
    return isinstance(block, Raw) and bytes(_read(block).cache_control) != b"null"


def _inner(block: Any) -> list[Any]:
    content = block.get("content") if isinstance(block, dict) else _read(block).content
    if isinstance(content, Raw):
        return _listed(bytes(content))
    return content if isinstance(content, list) else []


def _listed(raw: bytes) -> list[Raw]:
    """The items of a list that may hold marks. What does not have the word is not looked at."""
    if _WORD not in raw:
        return []
    try:
        return _raws(raw)
    except msgspec.DecodeError:
        return []


def _read(raw: bytes | Raw) -> _Block:
    try:
        return _block(raw)
    except msgspec.DecodeError:
        return _Block()


def _without(block: Block, number: int) -> Block:
    """The block with so many marks less; its own one is the last that is taken."""
    members: dict[str, Any] = dict(block) if isinstance(block, dict) else dict(_members(block))
    inner = [*_inner(block)]
    for at, one in enumerate(inner):
        if number and _is_marked(one):
            inner[at] = _unmarked(one)
            number -= 1
    if inner:
        members["content"] = inner
    return _unmarked(members) if number else members


def _unmarked(block: Block) -> Block:
    members: dict[str, Any] = dict(block) if isinstance(block, dict) else dict(_members(block))
    members.pop("cache_control", None)
    return members
