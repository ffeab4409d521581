"""The text and the JSON of an answer, in the charset that it says.

What the other side may name is a list. Python knows codings that are none of the web's: one takes the square of a
text's length, others raise what no charset raises."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from encodings.aliases import aliases
from functools import cache
from typing import Any

import msgspec

#: Bytes that are decoded at once: between two such pieces other threads go on.
PIECE = 64 * 1024

_ONE_BYTE = frozenset({
    "ascii", "latin_1", *(f"iso8859_{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    *(f"cp{number}" for number in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258, 437, 850, 852, 855, 866, 874)),
    "koi8_r", "koi8_u", "mac_roman", "mac_cyrillic", "tis_620",
})  # fmt: skip
_WIDE = frozenset({"utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"})
_READ = _ONE_BYTE | _WIDE | {
    "utf_8", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "shift_jis", "cp932", "euc_jp", "iso2022_jp", "euc_kr",
    "cp949",
}  # fmt: skip
_NO_WORD = re.compile(r"[^a-z0-9]")
_NAMES = {_NO_WORD.sub("", name): codec for name, codec in aliases.items() if codec in _READ}
_NAMES |= {_NO_WORD.sub("", name): name for name in _READ}
_NAMES |= {"utf8sig": "utf_8", "xsjis": "shift_jis", "xgbk": "gbk", "xeucjp": "euc_jp", "xcp1252": "cp1252"}
_CHARSET = re.compile(r'charset="?([\w.:-]{1,40})')
_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}["']?([\w.:-]{1,40})""", re.IGNORECASE)
_MARK = codecs.BOM_UTF8


def text_of(body: bytes, content_type: str) -> str:
    return _decoded(body, _codec(content_type) or "utf_8")


def html_of(body: bytes, content_type: str) -> str:
    """What the answer's head says counts before what the page says of itself. A page whose word for it can be read as
    plain bytes is of no wider charset."""
    codec = _codec(content_type)
    if codec is None and (declared := _DECLARED.search(body, 0, 2048)) is not None:
        codec = _known(declared[1].decode("latin-1"))
        codec = None if codec in _WIDE else codec
    return _decoded(body, codec or "utf_8")


def json_of(
    body: bytes, content_type: str = "", type: Any = Any, *, hide: Callable[[str], str] = lambda text: text
) -> Any:
    """JSON is UTF-8 whatever is said of it, and what is not is of the charset that is said. hide: takes out of what is
    of another one what is not to be read. Raises msgspec.DecodeError."""
    try:
        return msgspec.json.decode(body.removeprefix(_MARK), type=type)
    except (UnicodeError, RecursionError) as error:
        problem = msgspec.DecodeError(str(error))
    except msgspec.DecodeError as error:
        problem = error
    codec = _codec(content_type)
    if codec is None or codec == "utf_8":
        raise problem
    try:
        return msgspec.json.decode(hide(_decoded(body, codec)), type=type)
    except (UnicodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _codec(content_type: str) -> str | None:
    named = _CHARSET.search(content_type.lower())
    return None if named is None else _known(named[1])


def _known(charset: str) -> str | None:
    return _NAMES.get(_NO_WORD.sub("", charset.lower()))


def _decoded(body: bytes, codec: str) -> str:
    """What the charset does not have is U+FFFD."""
    if codec in _ONE_BYTE:
        text, _ = codecs.charmap_decode(body, "replace", _table(codec))
        return text
    if not codec.startswith("utf"):
        return body.decode(codec, "replace")
    if codec in ("utf_16", "utf_32"):
        big = codecs.BOM_UTF16_BE if codec == "utf_16" else codecs.BOM_UTF32_BE
        codec += "_be" if body.startswith(big) else "_le"
    decoder = codecs.getincrementaldecoder(codec)("replace")
    pieces = [decoder.decode(body[at : at + PIECE]) for at in range(0, len(body), PIECE)]
    return "".join([*pieces, decoder.decode(b"", True)]).removeprefix("\ufeff")


@cache
def _table(codec: str) -> str:
    """With every byte in it: one that a charset leaves out takes a hundred times as long to be replaced."""
    return bytes(range(256)).decode(codec, "replace")
