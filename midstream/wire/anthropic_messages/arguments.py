"""A call's arguments in a stream: what is an object is told as it comes, what is none waits for its end."""

from __future__ import annotations

from io import StringIO

import msgspec
from msgspec import Raw

from ...core.parts import ToolCall
from ..object_text import ObjectText
from .block_write import write_input

_encode = msgspec.json.Encoder().encode


class Arguments:
    """What a client is told of one call's arguments, so that it has in the end what an answer in one piece says."""

    __slots__ = ("_call", "_coming", "_text", "_told")

    def __init__(self, call: ToolCall) -> None:
        self._call = call
        self._coming = ObjectText()
        self._text = StringIO()
        self._told = 0

    def more(self, text: str) -> str:
        """What can be told after the next piece."""
        self._text.write(text)
        told = self._coming.more(text)
        if self._told or not self._coming.wrong:
            self._told += len(told)
            return told
        return ""

    def last(self, text: str) -> None:
        """Nothing comes after this piece: `rest` tells it."""
        self._text.write(text)

    def rest(self) -> str | None:
        """What is still to be told at the end; None when what was told has become no object."""
        text = self._text.getvalue()
        value = write_input(msgspec.structs.replace(self._call, arguments=text))
        if not self._told:
            return _encode(value).decode() if value != {} else ""
        return text[self._told :] if isinstance(value, Raw) else None

    @property
    def is_cut(self) -> bool:
        """Does it only lack its end?"""
        return not self._coming.wrong
