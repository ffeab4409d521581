"""Thinking without a signature: shown to this format's clients when another service thought, refused by this one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

_EMPTY = re.compile(rb'"signature"\s*:\s*""')


class _Block(Struct):
    type: Any = None
    signature: Any = None


class _Message(Struct):
    role: str
    content: str | list[Raw]


_message = msgspec.json.Decoder(_Message).decode
_messages = msgspec.json.Decoder(list[Raw]).decode
_block = msgspec.json.Decoder(_Block).decode
_encode = msgspec.json.Encoder().encode


def signed_messages(raw: bytes) -> bytes:
    """A list of messages without unsigned thinking; the same bytes when there is none, which costs one look."""
    if not _EMPTY.search(raw):
        return raw
    try:
        kept = [signed_message(bytes(message)) for message in _messages(raw)]
    except msgspec.DecodeError:
        return raw  # the service itself says what is wrong with it
    return b"[" + b",".join(message for message in kept if message is not None) + b"]"


def signed_message(raw: bytes) -> bytes | None:
    """One message without unsigned thinking; None when nothing else is in it. Raises msgspec.DecodeError."""
    if not _EMPTY.search(raw):
        return raw
    message = _message(raw)
    if isinstance(message.content, str):
        return raw
    kept = [block for block in message.content if not _is_unsigned(block)]
    if len(kept) == len(message.content):
        return raw
    return _encode({"role": message.role, "content": kept}) if kept else None


def goes_on_unsigned(raw: bytes) -> bool:
    """begins_unsigned for a list of messages; False for what is none."""
    if b'"tool_result"' not in raw:
        return False
    try:
        return begins_unsigned(bytes(message) for message in reversed(_messages(raw)))
    except msgspec.DecodeError:
        return False


def begins_unsigned(latest: Iterable[bytes]) -> bool:
    """Do the messages, given from the last to the first, end in results of a tool turn that began without thinking?
    The service refuses to go on with thinking enabled then: another service, or this one without thinking, has made
    the calls. It thinks once in a turn: calls that follow on results need no thought of their own."""
    called, messages = False, iter(latest)
    for results, before in zip(messages, messages, strict=False):
        if b'"tool_result"' not in results or b'"tool_use"' not in before:
            break
        if b'"thinking"' in before or b'"redacted_thinking"' in before:
            return False
        called = True
    return called


def _is_unsigned(raw: Raw) -> bool:
    if not _EMPTY.search(bytes(raw)):
        return False
    block = _block(raw)
    return (block.type, block.signature) == ("thinking", "")
