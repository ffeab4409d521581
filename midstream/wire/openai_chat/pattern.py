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
    """Of the frames that go on with the part that is open. Sound because JSON is: a string in the place of a string
    leaves everything around it what it was, and holds no line end that could make two frames of one."""

    __slots__ = ("_after", "_before", "_lessons")

    def __init__(self) -> None:
        # With the quotes of the text.
        self._before = self._after = b""
        self._lessons = 0

    def text_of(self, raw: bytes) -> str:
        """The text of a frame that fits; "" when it does not, or says nothing."""
        before, after = self._before, self._after
        if not before or not raw.startswith(before) or not raw.endswith(after):
            return ""
        try:
            return _string(raw[len(before) - 1 : 1 - len(after)])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    def learn(self, raw: bytes, text: str) -> None:
        """raw: a frame of one data line that says this text of the open part and nothing else."""
        if self._lessons == _LESSONS:
            return
        self._lessons += 1
        told = list(_TEXT.finditer(raw))
        if len(told) == 1 and _string(told[0].group(1)) == text:
            start, end = told[0].span(1)
            self._before, self._after = raw[: start + 1], raw[end - 1 :]

    def forget(self) -> None:
        """Another part is open now."""
        self._before = b""
