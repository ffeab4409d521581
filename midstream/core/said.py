"""What was said before something: the words of messages as a digest, the same however a client parts them or writes
their ids and thoughts anew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .parts import Message, Part, ToolResult, text_of


class Said:
    """Digests of what was said before each of some messages, made when they are asked for, in order."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._digest = hashlib.blake2s(digest_size=16)
        self._place = 0

    def before(self, place: int) -> bytes:
        """16 bytes. place: no less than the last time."""
        for message in self._messages[self._place : place]:
            said = (_words(part) for part in message.parts)
            self._digest.update(f"{message.role}\0{''.join(said).strip()}\0".encode("utf-8", "surrogatepass"))
        self._place = place
        return self._digest.digest()


def all_said(messages: Sequence[Message]) -> bytes:
    """What `Said` tells of all of them."""
    return Said(messages).before(len(messages))


def _words(part: Part) -> str:
    return text_of(part.parts if isinstance(part, ToolResult) else (part,))
