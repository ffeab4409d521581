"""A text in pieces that a model can read one by one, cut where its author would, and whole again."""

from __future__ import annotations

from collections.abc import Iterable

from ..store.documents import Piece

#: Characters of a piece, and of what it shares with the one before.
SIZE, SHARED = 1200, 150
_CUTS = ("\n\n", "\n", ". ", "? ", "! ", "; ", ", ", " ")


def pieces(text: str, size: int = SIZE, shared: int = SHARED) -> list[Piece]:
    """Together they hold every character of the text. Cut at the end of a paragraph, else a line, a sentence, a word; a
    piece begins with the last words of the one before it."""
    made: list[Piece] = []
    start = before = 0
    while start < len(text):
        end = min(len(text), start + size)
        if end < len(text):
            end = _cut(text, start + size // 2, end)
        made.append(Piece(text[start:end], before - start))
        if end == len(text):
            break
        start, before = max(start + 1, _back(text, end, shared)), end
    return made


def whole(pieces: Iterable[Piece]) -> str:
    """The text that was cut into these. Where the white space at their ends was not kept, a text without spaces may
    have another line's end at a cut than it had."""
    text: list[str] = []
    before = ""
    for piece in pieces:
        text.append(_more(before, piece.text) if piece.shared is None else piece.text[piece.shared :])
        before = piece.text
    return "".join(text)


def _more(before: str, piece: str) -> str:
    """What a piece adds to the one before it, where neither has the white space at its ends any more: that of the one
    before, which counts for where this one begins, was a character or some."""
    for lost in range(1, 5):
        again = before[_back(before + "\n" * lost, len(before) + lost, SHARED) :].lstrip()
        if again and piece.startswith(again):
            return piece[len(again) :]
    return ("\n" if before and len(before) < SIZE else "") + piece


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
