"""Words as they are compared when messages are searched: the same on both databases, whatever they know of letters.

Case and accents do not count, nor do vowel points of Hebrew and Arabic. Vowel signs of the scripts of India and of
South-East Asia do: they make other words."""

from __future__ import annotations

import unicodedata

from .cjk import in_signs, selects_a_form, words_in
from .database import Database, Statement

#: Characters of a word that count.
MAX_WORD = 64
#: Messages whose words are folded at once, of those stored before there was a place for it.
BATCH = 100

_LEFT = "SELECT message_id, text FROM message_texts WHERE folded IS NULL ORDER BY message_id LIMIT $1"
_FOLD = "UPDATE message_texts SET folded = $2 WHERE message_id = $1 AND folded IS NULL"


class _Folds(dict[int, str]):
    """What stands for a character of text in form D, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _fold(chr(code))
        return found


def _fold(char: str) -> str:
    if char.isalnum():
        return char
    kind = unicodedata.category(char)
    if kind in ("Mn", "Mc"):
        return "" if _is_accent(char) else char
    # Joiners and marks of direction stand inside words; the space without width parts them.
    return "" if kind == "Me" or (kind == "Cf" and char != "\u200b") else " "


def _is_accent(char: str) -> bool:
    """By its combining class: points of Hebrew and Arabic, or what stands over, under or through a letter (vowel signs
    of other scripts have other classes, or none)."""
    place = unicodedata.combining(char)
    return place == 1 or 10 <= place <= 36 or place >= 202 or char == "\u034f" or selects_a_form(char)


_folds = _Folds()


def folded(text: str) -> str:
    """Its words with spaces between them."""
    if text.isascii():
        return " ".join(words_in(text.lower()))
    apart_from_marks = unicodedata.normalize("NFD", text.casefold()).translate(_folds)
    return " ".join(unicodedata.normalize("NFC", apart_from_marks).split())


def indexed(text: str) -> str:
    """What a message is found by: each of its words once, a sign of Chinese and Japanese as a word of its own."""
    found = dict.fromkeys(words_in(text.lower() if text.isascii() else folded(text)))
    words: dict[str, None] = {}
    for word in found:
        if word.isascii() or not in_signs(word):
            words[word[:MAX_WORD]] = None
        else:
            words.update(dict.fromkeys(word))
    return " ".join(words)


def words_of(text: str) -> list[str]:
    """The words of a query; what is written in signs is one word."""
    return list(dict.fromkeys([word[:MAX_WORD] for word in words_in(folded(text))]))


async def fold_old(db: Database) -> None:
    """Messages that an older version has stored are found like all others. Several processes may do this at once."""
    while rows := await db.read(_LEFT, BATCH):
        folding: list[Statement] = [(_FOLD, (id, indexed(text))) for id, text in rows]
        await db.alter(folding)
