"""Chinese and Japanese put no spaces between words, so that each of their signs is indexed as a word of its own. For
documents SQLite's triggers call `apart` (every connection has it), PostgreSQL does the same by an expression."""

from __future__ import annotations

import re
import unicodedata

#: Iteration marks and zero, kana, bopomofo, ideographs, kana of half width. The migration `signs` says the same.
SIGNS = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
_SIGN = re.compile(f"[{SIGNS}]")
_WORD = re.compile(f"[{SIGNS}]+|[^\\W_{SIGNS}]+")
_WITH_MARKS = re.compile(f"[{SIGNS}]+|[^\\W_{SIGNS}][^\\s{SIGNS}]*")


class _Marked(dict[int, str]):
    """Letters, digits and marks are kept: vowels of the scripts of India, accents that are characters of their own.
    Found out when a character is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kept = char.isalnum() or (unicodedata.category(char) in ("Mn", "Mc") and not selects_a_form(char))
        self[code] = found = char if kept else " "
        return found


def selects_a_form(char: str) -> bool:
    """Of a glyph, which says nothing."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


_marked = _Marked()


def apart(text: str) -> str:
    """The text with a space on both sides of every sign."""
    return text if text.isascii() else _SIGN.sub(r" \g<0> ", text)


def words_in(text: str) -> list[str]:
    """Letters, with the marks on them, and digits only; what is written in signs is one word from one mark or other
    letter to the next."""
    return _WORD.findall(text) if text.isascii() else _WITH_MARKS.findall(text.translate(_marked))


def in_signs(word: str) -> bool:
    """Of one of `words_in`."""
    return _SIGN.match(word) is not None
