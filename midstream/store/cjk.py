"""Chinese and Japanese put no spaces between words, so that each of their signs is indexed as a word of its own, on
both databases: SQLite's triggers call `apart` (every connection has it), PostgreSQL does the same by an expression."""

from __future__ import annotations

import re

#: Iteration marks and zero, kana, bopomofo, ideographs, kana of half width. The migration `signs` says the same.
SIGNS = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
_SIGN = re.compile(f"[{SIGNS}]")
_WORD = re.compile(f"[{SIGNS}]+|[^\\W_{SIGNS}]+")


def apart(text: str) -> str:
    """The text with a space on both sides of every sign."""
    return text if text.isascii() else _SIGN.sub(r" \g<0> ", text)


def words_in(text: str) -> list[str]:
    """Letters and digits only; what is written in signs is one word from one mark or other letter to the next."""
    return _WORD.findall(text)


def in_signs(word: str) -> bool:
    """Of one of `words_in`."""
    return _SIGN.match(word) is not None
