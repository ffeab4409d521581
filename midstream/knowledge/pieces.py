"""A text in pieces that a model can read one by one, cut where its author would."""

from __future__ import annotations

#: Characters of a piece, and of what it shares with the one before.
SIZE, SHARED = 1200, 150
_CUTS = ("\n\n", "\n", ". ", "? ", "! ", "; ", ", ", " ")


def pieces(text: str, size: int = SIZE, shared: int = SHARED) -> list[str]:
    """Together they hold every character of the text but white space at their ends. Cut at the end of a paragraph,
    else a line, a sentence, a word; a piece begins with the last words of the one before it."""
    made: list[str] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + size)
        if end < len(text):
            end = _cut(text, start + size // 2, end)
        piece = text[start:end].strip()
        if piece:
            made.append(piece)
        if end == len(text):
            break
        start = max(start + 1, _back(text, end, shared))
    return made


def _cut(text: str, least: int, most: int) -> int:
    """The last good place to cut between least and most."""
    for mark in _CUTS:
        found = text.rfind(mark, least, most)
        if found >= 0:
            return found + len(mark)
    return most


def _back(text: str, end: int, shared: int) -> int:
    """Where the next piece begins: after a space, so many characters before the end of this one, at most."""
    found = text.find(" ", max(0, end - shared), end)
    return end if found < 0 else found + 1
