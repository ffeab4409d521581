from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.tools._charsets import _READ, html_of, json_of, text_of


@pytest.mark.parametrize(
    "name, codec",
    [
        ("utf-8", "utf-8"), ("UTF8", "utf-8"), ("iso-8859-1", "latin-1"), ("latin1", "latin-1"), ("US-ASCII", "ascii"),
        ("windows-1251", "cp1251"), ("cp1251", "cp1251"), ("koi8-r", "koi8-r"), ("iso-8859-15", "iso8859-15"),
        ("utf-16", "utf-16"), ("utf-16le", "utf-16-le"), ("shift_jis", "shift-jis"), ("x-sjis", "shift-jis"),
        ("euc-kr", "euc-kr"), ("ks_c_5601-1987", "euc-kr"), ("gb2312", "gb2312"), ("GBK", "gbk"), ("big5", "big5"),
        ("iso-2022-jp", "iso2022-jp"), ("euc-jp", "euc-jp"), ("macintosh", "mac-roman"), ("windows-1252", "cp1252"),
    ],
)  # fmt: skip
def test_text_is_read_in_the_charset_that_it_names(name: str, codec: str):
    text = "".join(one for one in "hé жя 日本 한국 汉字" if one.encode(codec, "ignore").decode(codec) == one)
    assert text_of(text.encode(codec), f'text/plain; Charset="{name}"') == text


@pytest.mark.parametrize("name", ["punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7",
                                  "zip", "base64", "rot13", "mbcs", "nonsense", "", "."])  # fmt: skip
def test_of_no_other_coding_anything_is_read(name: str):
    for body in ("hé".encode(), b"+AGE- \\x41", b"a-b", b"\xff"):
        assert text_of(body, f"text/plain; charset={name}") == body.decode("utf-8", "replace")
        page = b"<meta charset=%b>%b" % (name.encode(), body)
        assert html_of(page, "text/html") == page.decode("utf-8", "replace")


def test_what_the_head_says_comes_before_what_the_page_says():
    page = "<meta charset='koi8-r'>é"
    assert html_of(page.encode(), "text/html; charset=utf-8") == page
    russian = "<meta charset='koi8-r'>жя"
    assert html_of(russian.encode("koi8-r"), "text/html") == russian
    wide = "<meta charset='utf-16'>é"
    assert html_of(wide.encode(), "text/html") == wide


@given(st.binary(max_size=400), st.sampled_from(sorted(_READ)))
def test_any_bytes_are_some_text(body: bytes, codec: str):
    assert isinstance(text_of(body, f"text/plain; charset={codec}"), str)


@pytest.mark.parametrize("codec", sorted(_READ))
def test_no_charset_takes_long(codec: str):
    for body in (b"\xff", b"\x81", b"\x00\xd8", b"\x1b$", b"a9"):
        before = time.process_time()
        text_of(body * (1_000_000 // len(body)), f"text/plain; charset={codec}")
        assert time.process_time() - before < 1.0


WORD = {"a": {"b": "café"}}
TEXT = msgspec.json.encode(WORD).decode()


@pytest.mark.parametrize(
    "body, kind",
    [
        (TEXT.encode(), ""),
        (TEXT.encode("utf-8-sig"), "application/json"),
        (TEXT.encode("latin-1"), "application/json; charset=iso-8859-1"),
        (TEXT.encode(), "application/json; charset=iso-8859-1"),
        (TEXT.encode("utf-16"), "application/json; charset=utf-16"),
    ],
)
def test_json_is_read_with_a_mark_before_it_and_in_the_charset_that_it_has(body: bytes, kind: str):
    assert json_of(body, kind) == WORD


@pytest.mark.parametrize(
    "body", [TEXT.encode("latin-1"), b'{"a":"\xff"}', b"", b"\xef\xbb\xbf", b"[" * 5000, TEXT.encode("utf-16")]
)
def test_what_is_no_json_is_told_so(body: bytes):
    for kind in ("", "application/json; charset=utf-8", "application/json; charset=punycode"):
        with pytest.raises(msgspec.DecodeError):
            json_of(body, kind)


@given(st.binary(max_size=200), st.sampled_from(["", *sorted(_READ)]))
def test_any_bytes_are_json_or_none(body: bytes, codec: str):
    try:
        json_of(body, f"application/json; charset={codec}")
    except msgspec.DecodeError:
        return
