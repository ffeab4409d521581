"""Where in a TOML text each key and list element stands. The text is known to be valid: tomllib has read it."""

from __future__ import annotations

import re
import tomllib

#: Keys of tables and places in lists, from the top.
KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of every table header, key and list element."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)
        self._elements: dict[KeyPath, int] = {}
        self.lines: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        double = self._text.startswith("[[", self._at)
        self._at += 1 + double
        path = self._key(())
        self._at += 1 + double
        if double:
            count = self._elements[path] = self._elements.get(path, -1) + 1
            path = (*path, count)
            self._note(path)
        return path

    def _pair(self, table: KeyPath) -> None:
        path = self._key(table)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """A key, dotted or not, below `table` (or below the last element of a list of tables)."""
        path = table
        while True:
            self._skip(_SPACE)
            path = (*path, self._key_part())
            self._note(path)
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return path
            self._at += 1
            if path in self._elements:
                path = (*path, self._elements[path])

    def _key_part(self) -> str:
        match = _BARE.match(self._text, self._at) or _STRING.match(self._text, self._at)
        if match is None:
            raise ValueError("no key here")
        self._at = match.end()
        part = match[0]
        return str(tomllib.loads(f"key = {part}")["key"]) if part[0] in "\"'" else part

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        opening = self._text[self._at]
        if opening == "[":
            self._sequence("]", path, numbered=True)
        elif opening == "{":
            self._sequence("}", path, numbered=False)
        else:
            self._skip(_STRING if opening in "\"'" else _SCALAR)

    def _sequence(self, closing: str, path: KeyPath, *, numbered: bool) -> None:
        self._at += 1
        place = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == closing:
                self._at += 1
                return
            if numbered:
                self._note((*path, place))
                self._value((*path, place))
            else:
                self._pair(path)
            place += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError("not a value")
        self._at = match.end()

    def _note(self, path: KeyPath) -> None:
        start, line = self._counted
        line += self._text.count("\n", start, self._at)
        self._counted = (self._at, line)
        self.lines.setdefault(path, line)
