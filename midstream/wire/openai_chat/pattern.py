"""What the chunks of one text have in common: most services write them alike but for the text itself, and a chunk that
is known but for that is read several times faster than JSON."""

from __future__ import annotations

import re

import msgspec

_string = msgspec.json.Decoder(str).decode
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning)":\s*("(?:[^"\\]|\\.)*")')
#: Chunks that are looked at. A service that puts something new into each (OpenAI's `obfuscation`) has no pattern.
_LESSONS = 4


class Pattern:
    """Of the chunks that go on with the part that is open. Sound because JSON is: a string in the place of a string
    leaves everything around it what it was."""

    __slots__ = ("_after", "_before", "_lessons")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._lessons = 0

    def text_of(self, line: bytes) -> str:
        """The text of a chunk that fits; "" when it does not, or says nothing."""
        if not self._before or not line.startswith(self._before) or not line.endswith(self._after):
            return ""
        try:
            return _string(line[len(self._before) : -len(self._after)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    def learn(self, line: bytes, text: str) -> None:
        """line: a chunk that says this text of the open part and nothing else."""
        if self._lessons == _LESSONS:
            return
        self._lessons += 1
        told = list(_TEXT.finditer(line))
        if len(told) == 1 and _string(told[0].group(1)) == text:
            start, end = told[0].span(1)
            self._before, self._after = line[:start], line[end:]

    def forget(self) -> None:
        """Another part is open now."""
        self._before = b""
