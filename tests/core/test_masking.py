from __future__ import annotations

import html
import json
import re
import time
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midstream.core import masking
from midstream.core.masking import credentials, masked, masked_start, masked_text

SECRETS = [
    "canary-token-12345",
    'pa"ss\\word-1',
    "a/b+c=d e&f",
    "<käse>'🧀'\\",
    '\\\\\\"""',
    "¬¬¬¬¬¬¬",
    "tab\tand\nline-9\r\x07",
]


def ways(text: str) -> list[str]:
    """How services write a text."""
    coded = [text, json.dumps(text), json.dumps(text, ensure_ascii=False), json.dumps(text).replace("/", "\\/")]
    coded += [quote(text), quote(text, safe=""), quote_plus(text), quote(text, safe="").lower(), html.escape(text)]
    coded += ["".join(one if one.isalnum() and one.isascii() else f"&#{ord(one)};" for one in text)]
    coded += ["".join(one if one.isalnum() else f"\\u{ord(one):04X}" for one in text)] if text.isascii() else []
    return [*coded, json.dumps({"body": json.dumps({"k": text})}), json.dumps(json.dumps(json.dumps([text])))]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_however_it_is_written(secret: str):
    for way in ways(secret):
        told = masked(f"before {way} after {way}".encode(), [secret]).decode()
        assert told.startswith("before ")
        assert " after " in told
        assert told.count("***") == 2, (way, told)
        assert not any(one in told for one in ways(secret)), told


@given(st.from_regex(r"[A-Z][A-Za-z0-9_./+=\"\\ é<-]{7,30}[a-z]", fullmatch=True), st.text(), st.text())
def test_json_stays_json(secret: str, before: str, after: str):
    before, after = (one.encode("utf-8", "replace").decode() for one in (before, after))
    value = {"k": [before + secret + after, 1], "l": before}
    for written in (json.dumps(value).encode(), msgspec.json.encode(value)):
        told = json.loads(masked(written, [secret]))
        assert (told["l"], told["k"][1]) == (before, 1)
        assert secret not in told["k"][0]
        assert "***" in told["k"][0]


@pytest.mark.parametrize("secret", ["key-\\1\\\\2\\\\\\3", "ends-in-one\\", "ends-in-two\\\\", '\\\\"in-front'])
def test_backslashes_are_found_and_json_stays_json(secret: str):
    value = {"k": [f'said "{secret}" and "{secret}', f'{secret}"', secret]}
    for written in (json.dumps(value), json.dumps(value).replace("\\\\", "\\u005c")):
        assert json.loads(masked(written.encode(), [secret])) == {"k": ['said "***" and "***', '***"', "***"]}
    assert masked_text(f"raw {secret}.", [secret]) == "raw ***."


def test_a_text_of_many_backslashes_is_looked_at_in_few_steps():
    """The ways to share them out among those of a secret are more than can ever be tried."""
    text = b"a model `aaaaaa" + b"\\" * 300 + b"c`"
    assert masked(text, ["aaaaaa" + "\\" * 40 + "b1"]) is text


def test_what_is_short_or_not_there_is_left_alone():
    data = b'{"k": "12345 \\u00e9 *"}'
    assert masked(data, ["12345", "", "other-token"]) is data


@pytest.mark.parametrize("secret", [*SECRETS[:3], "bell\x07-käse-9999"])
def test_of_a_text_that_was_cut_within_a_secret_no_part_of_it_is_left(secret: str):
    for way in ways(secret)[:-2]:
        data = f"before {way.strip(chr(34))}".encode()
        for size in range(len(b"before "), len(data) + 1):
            assert masked_start(data[:size], ["another-secret", secret]) in (b"before ", b"before ***"), (way, size)
        assert masked_start(data + b" after it, much more", [secret]) == b"before *** after it, much more"


def test_a_text_of_any_signs_is_masked_as_its_bytes_are():
    assert masked_text("käse \ud83e: canary-token-12345 \ud800", ["canary-token-12345"]) == "käse \ud83e: *** \ud800"


def test_what_is_secret_of_headers():
    headers = {
        "Authorization": "Bearer tok-abcdef", "x-api-key": "kkkkkk", "X-Auth": "a1b2c3", "x-region": "europe",
        "x-trace": "abcdefgh12345678", "cookie": "s=1; t=22", "x-author": "Jane Doe", "x-token": "short",
    }  # fmt: skip
    assert credentials(headers) == ["tok-abcdef", "kkkkkk", "a1b2c3", "abcdefgh12345678", "s=1; t=22"]
    assert credentials({"authorization": "Basic dXNlcjpwYXNzd29yZA=="}) == ["dXNlcjpwYXNzd29yZA==", "password"]
    assert credentials({"authorization": "Basic dXNlcjpwYXNzd29yZA"}) == ["dXNlcjpwYXNzd29yZA", "password"]
    assert credentials({"authorization": " Bearer  tok-abcdef ", "x-token": " two words-1 "}) == [
        "tok-abcdef", "words-1",
    ]  # fmt: skip
    assert credentials({"authorization": "Basic !"}) == []


def begins(secret: str, data: bytes) -> int:
    """Where at the end of data the secret begins, tried from each place on."""
    signs = [re.compile(masking._sign(one)) for one in secret]
    begun = masking._BEGUN.fullmatch
    for at in range(max(len(data) - masking._WIDEST * len(secret), 0), len(data)):
        last = place = at
        for sign in signs:
            found = sign.match(data, place)
            if found is None:
                break
            last, place = place, found.end()
        if place == len(data) or (place > at and (begun(data, place) or begun(data, last))):
            return at
    return len(data)


PIECES = st.sampled_from([*'aab1-"\\%&#; +<\n\x07é🧀', "\\u00", "\\\\", "%2", "&#3", "&quo", "aaaaaaa", '\\"\\'])
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@given(st.data(), st.lists(PIECES, min_size=2, max_size=6).map("".join), TEXTS)
@settings(max_examples=500, deadline=None)
def test_where_a_secret_begins_is_where_it_begins_when_all_places_are_tried(
    data: st.DataObject, secret: str, text: str
):
    written = data.draw(st.sampled_from(ways(secret))) * data.draw(st.integers(1, 2))
    whole = f"{text}{written}".encode()
    cut = whole[: data.draw(st.integers(0, len(whole)))] + data.draw(TEXTS).encode()[:3]
    assert masking._begins(secret, cut) == begins(secret, cut)


@pytest.mark.parametrize("one", ["a", "-", "\\", "é"])
def test_a_long_secret_of_one_letter_costs_what_the_text_is_long(one: str):
    secret, text = one * 4_000 + "b", (one * 3_000 + "c").encode() * 3
    before = time.process_time()
    assert masked_start(text, [secret]) == text
    assert time.process_time() - before < 1
