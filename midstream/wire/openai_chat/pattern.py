"""What the chunks of one text have in common: most services write them alike but for the text itself, and a chunk that
is known but for that is read several times faster than JSON."""

from __future__ import annotations

import re

import msgspec

_string = msgspec.json.Decoder(str).decode
_strings = msgspec.json.Decoder(list[str]).decode
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning)":\s*("(?:[^"\\]|\\.)*")')
#: Chunks that are looked at. A service that puts something new into each (OpenAI's `obfuscation`) has no pattern.
_LESSONS = 4


class Pattern:
    """Of the frames that go on with the part that is open. Sound because JSON is: a string in the place of a string
    leaves everything around it what it was, and holds no line end that could make two frames of one."""

    __slots__ = ("_after", "_before", "_end", "_lessons", "_start")

    def __init__(self) -> None:
        # With the quotes of the text, which stands from `start` to `end`, counted from behind.
        self._before = self._after = b""
        self._start = self._end = 0
        self._lessons = 0

    def text_of(self, raw: bytes) -> str:
        """The text of the frames that raw is, one or several; "" when one of them does not fit, or they say nothing.
        raw: begins where a frame begins."""
        start, end = self._start, self._end
        if not start or raw[:start] != self._before or raw[end:] != self._after:
            return ""
        said = raw[start - 1 : end + 1]
        try:
            return _string(said)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._several(raw)

    def _several(self, raw: bytes) -> str:
        before, after = self._before, self._after
        start, end = self._start, self._end + 2
        told = [line[start:end] for line in raw[:-2].split(b"\n\n")]
        # A search for what stands between two texts would take several times as long.
        if b"%b%b%b" % (before, (after + before).join(told), after) != raw:
            return ""
        try:
            texts = _strings(b'["%b"]' % b'","'.join(told))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        return "".join(texts) if len(texts) == len(told) else ""

    def lead(self, raw: bytes) -> tuple[str, int]:
        """The text of those frames at the beginning of raw that fit, and how many bytes they are."""
        size = raw.rfind(self._after) + len(self._after) if self._start else 0
        return self.text_of(raw[:size]), size

    def learn(self, raw: bytes, text: str) -> None:
        """raw: a frame of one data line that says this text of the open part and nothing else."""
        if self._lessons == _LESSONS:
            return
        self._lessons += 1
        told = list(_TEXT.finditer(raw))
        if len(told) == 1 and _string(told[0].group(1)) == text:
            start, end = told[0].span(1)
            self._before, self._after = raw[: start + 1], raw[end - 1 :]
            self._start, self._end = len(self._before), -len(self._after)

    def forget(self) -> None:
        """Another part is open now."""
        self._start = 0
