"""A JSON object that comes in pieces: how much of its text can be told before all of it is there. Who reads the pieces
parses them as they come, and what was told cannot be taken back: only what still begins an object goes out."""

from __future__ import annotations

import re

from ..core.json_words import MAX_DEPTH

_BLANK = re.compile(r"[ \t\n\r]*")
_ESCAPE = r'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[\da-fA-F]{4}|u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})'
_INSIDE = re.compile(rf'[^"\\\x00-\x1f]*(?:{_ESCAPE}[^"\\\x00-\x1f]*)*')
#: An escape whose rest may still come.
_BEGUN = re.compile(r"\\(?:u[\da-fA-F]{0,4}(?:\\(?:u[\da-fA-F]{0,3})?)?)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_WORD = re.compile(r"[-+.\w]*")
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)

#: What comes next.
_FIRST, _KEY, _KEY_OR_END, _COLON, _VALUE, _VALUE_OR_END, _MORE_OR_END, _STRING, _NOTHING = range(9)
_KEYS = (_KEY, _KEY_OR_END)
_VALUES = (_VALUE, _VALUE_OR_END)
_OPENS = {"{": _KEY_OR_END, "[": _VALUE_OR_END}
_CLOSES = {"}": ("{", _KEY_OR_END), "]": ("[", _VALUE_OR_END)}
#: What is held there without an end, and goes on: it is looked at once, however many pieces it comes in.
_GOES_ON = {_FIRST: _BLANK, _VALUE: _WORD, _VALUE_OR_END: _WORD}


class ObjectText:
    """more: the next piece, and what can be told after it. wrong: what has come begins no object. Words, numbers and
    escapes are told when they are complete."""

    __slots__ = ("_held", "_is_key", "_next", "_open", "wrong")

    def __init__(self) -> None:
        self._held: list[str] = []
        self._next = _FIRST
        self._open: list[str] = []
        self._is_key = False
        self.wrong = False

    def more(self, text: str) -> str:
        if self._next == _STRING and not self._held and _PLAIN.fullmatch(text):  # most of what is long
            return "" if self.wrong else text
        if self.wrong:
            return ""
        if self._held and (pattern := _GOES_ON.get(self._next)) is not None and pattern.fullmatch(text):
            self._held.append(text)
            return ""
        data, at = "".join((*self._held, text)), 0
        while at < len(data) and not self.wrong:
            after = self._step(data, at)
            if after == at:
                break
            at = after
        self._held = [data[at:]] if at < len(data) else []
        return data[:at]

    def _step(self, data: str, at: int) -> int:
        """The place behind the next token; the same place when it is not complete, or wrong."""
        if self._next == _STRING:
            return self._inside(data, at)
        blank = _end(_BLANK, data, at)
        if self._next == _FIRST:  # not even white space is told of what may be no object
            self.wrong = blank < len(data) and data[blank] != "{"
            return at if self.wrong or blank == len(data) else self._enter("{", blank)
        if blank > at:
            return blank
        char, expected = data[at], self._next
        if char == '"' and expected in (*_KEYS, *_VALUES):
            self._is_key, self._next = expected in _KEYS, _STRING
        elif char in _OPENS and expected in _VALUES:
            return self._enter(char, at)
        elif char in _CLOSES and expected in (_MORE_OR_END, _CLOSES[char][1]) and self._open[-1] == _CLOSES[char][0]:
            self._open.pop()
            self._left()
        elif char == "," and expected == _MORE_OR_END:
            self._next = _KEY if self._open[-1] == "{" else _VALUE
        elif char == ":" and expected == _COLON:
            self._next = _VALUE
        else:
            return self._word(data, at)
        return at + 1

    def _enter(self, char: str, at: int) -> int:
        self._open.append(char)
        self._next = _OPENS[char]
        self.wrong = len(self._open) > MAX_DEPTH
        return at + 1

    def _left(self) -> None:
        self._next = _MORE_OR_END if self._open else _NOTHING

    def _inside(self, data: str, at: int) -> int:
        end = _end(_INSIDE, data, at)
        if end > at or end == len(data):
            return end
        if data[at] != '"':
            self.wrong = _BEGUN.fullmatch(data, at) is None
            return at
        if self._is_key:
            self._next = _COLON
        else:
            self._left()
        return at + 1

    def _word(self, data: str, at: int) -> int:
        """A number, true, false or null."""
        end = _end(_WORD, data, at)
        self.wrong = (
            self._next not in _VALUES or end == at or (end < len(data) and not _SCALAR.fullmatch(data, at, end))
        )
        if self.wrong or end == len(data):
            return at
        self._left()
        return end


def _end(pattern: re.Pattern[str], data: str, at: int) -> int:
    found = pattern.match(data, at)
    return found.end() if found else at
