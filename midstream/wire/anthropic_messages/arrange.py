"""Messages in the order that this format demands: system apart, user first, roles in turn, results before words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...core.parts import Message, Text
from .block_write import Block, BlockWriter
from .names import NAME
from .unsigned import signed_message


class _Content(Struct):
    content: Raw


class _Kind(Struct):
    type: str = ""


_content = msgspec.json.Decoder(_Content).decode
_kind = msgspec.json.Decoder(_Kind).decode
_raws = msgspec.json.Decoder(list[Raw]).decode


class Turned(Struct):
    """One message to be sent. raw: it as it was once written; then blocks are read only when something joins it."""

    role: str
    blocks: list[Block]
    raw: bytes | None = None

    def opened(self) -> list[Block]:
        if self.raw is not None:
            content = _content(self.raw).content
            text = bytes(content)[:1] == b'"'
            self.blocks = [{"type": "text", "text": msgspec.json.decode(content)}] if text else [*_raws(content)]
            self.raw = None
        return self.blocks

    def value(self) -> Any:
        if self.raw is not None:
            return Raw(self.raw)
        only = self.blocks[0] if len(self.blocks) == 1 else None
        plain = isinstance(only, dict) and set(only) == {"type", "text"}
        return {"role": self.role, "content": only["text"] if plain else self.blocks}  # type: ignore[index, call-overload]


def split_system(messages: Sequence[Message]) -> tuple[list[Message], Sequence[Message]]:
    """The system and developer messages up front, and the rest."""
    count = 0
    while count < len(messages) and messages[count].role in ("system", "developer"):
        if messages[count].native is not None and messages[count].native.dialect == NAME:  # type: ignore[union-attr]
            break  # it was written among the messages: it stays there
        count += 1
    return list(messages[:count]), messages[count:]


def arrange(messages: Iterable[Message], writer: BlockWriter) -> list[Turned]:
    """The messages to send, without regard to what must come first of all."""
    turns: list[Turned] = []
    joined: dict[int, Turned] = {}
    carried = False
    for message in messages:
        turn = _turn(message, carried, writer)
        native = message.native
        carried = message.role == "tool" and native is not None and native.dialect == NAME and bool(native.raw)
        if turn is None:
            continue
        if turns and turns[-1].role == turn.role:
            turns[-1].opened().extend(turn.opened())
            joined[len(turns)] = turns[-1]
        else:
            turns.append(turn)
    for turn in joined.values():  # once each: thousands of messages of one role may become one turn
        turn.blocks = _results_first(turn.blocks)
    return turns


def _turn(message: Message, carried: bool, writer: BlockWriter) -> Turned | None:
    """None for what an earlier message's bytes already hold, and for what leaves nothing to send."""
    role = "assistant" if message.role == "assistant" else "user"
    native = message.native
    if native is not None and native.dialect == NAME and (native.raw or carried):
        raw = signed_message(native.raw) if native.raw else None
        writer.ids.end()
        return Turned("system" if message.role == "system" else role, [], raw) if raw else None
    if message.name is not None:
        writer.drop("messages.name")
    blocks = writer.blocks(message.parts, role)
    if message.role in ("system", "developer") and blocks:
        writer.drop("messages.role")
        blocks = [{"type": "text", "text": "<system>"}, *blocks, {"type": "text", "text": "</system>"}]
    return Turned(role, _results_first(blocks)) if blocks else None


def _results_first(blocks: list[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: _type_of(block) != "tool_result")


def _type_of(block: Block) -> Any:
    return block.get("type") if isinstance(block, dict) else _kind(block).type


def user_first(turns: list[Turned]) -> list[Turned]:
    """The service wants a user's message first; a conversation that begins otherwise gets the shortest one."""
    if turns and turns[0].role == "user":
        return turns
    return [Turned("user", [{"type": "text", "text": "Continue."}]), *turns]


def system_blocks(messages: Iterable[Message], writer: BlockWriter) -> list[Block]:
    """The text of system messages; the field takes nothing else."""
    blocks: list[Block] = []
    for message in messages:
        for part in message.parts:
            if type(part) is not Text:
                writer.drop("messages.content")
            elif (block := writer.text(part)) is not None:
                blocks.append(block)
    return blocks


def system_value(blocks: list[Block]) -> Any:
    """A string, or the list of blocks when one carries more than text."""
    if all(isinstance(block, dict) and set(block) == {"type", "text"} for block in blocks):
        return "\n\n".join(block["text"] for block in blocks)  # type: ignore[call-overload]
    return blocks
